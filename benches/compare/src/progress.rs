//! What is going on, on standard error.

use crate::machine::State;
use crate::rounds::Outcome;
use std::io::Write;
use std::time::Instant;

/// One line per contest, a dot per round.
pub struct Progress {
    began: Instant,
    contest: Instant,
    dropped: usize,
    done: usize,
    of: usize,
}

impl Progress {
    pub fn new(contests: usize) -> Self {
        Progress { began: Instant::now(), contest: Instant::now(), dropped: 0, done: 0, of: contests }
    }

    pub fn begin(&mut self, suite: &str, shape: &str, subjects: usize) {
        self.contest = Instant::now();
        self.dropped = 0;
        self.done += 1;
        eprint!("[{:>2}/{}] {suite:<8} {shape:<34} {subjects:>2} subjects ", self.done, self.of);
        self.flush();
    }

    pub fn round(&self) {
        eprint!(".");
        self.flush();
    }

    /// A run did not count.
    pub fn dropped(&mut self) {
        self.dropped += 1;
    }

    pub fn end(&self, outcome: &Outcome) {
        let counted = State::ALL.map(|state| format!("{} {}", outcome.rounds_in(state), state.name())).join(", ");
        let [took, total] = [self.contest, self.began].map(|since| since.elapsed().as_secs_f64());
        eprintln!(" {counted}, {} runs dropped, {took:.1} s of {total:.0} s", self.dropped);
    }

    fn flush(&self) {
        // progress that cannot be shown is no reason to stop
        let _ = std::io::stderr().flush();
    }
}
