//! A job that is published again and again.

/// One such job. Its periods are counted from 1; nobody sees the timer come by, nor, if periods are skipped, how many of them a job stands for.
#[derive(Debug, Clone, Copy)]
pub struct Period {
    began: u64,
    every: u64,
    catch_up: bool,
    /// So many periods the timer has seen, at least.
    seen: u64,
    /// So many have had their jobs: at least, and at most.
    least: u64,
    most: u64,
}

impl Period {
    pub fn new(began: u64, every: u64, catch_up: bool) -> Self {
        Period { began, every, catch_up, seen: 0, least: 0, most: 0 }
    }

    fn due(&self, now: u64) -> u64 {
        (now - self.began) / self.every
    }

    /// Nobody has anything to do: the timer has come by.
    pub fn is_at_rest(&mut self, now: u64) {
        self.seen = self.due(now);
    }

    /// Somebody came by and made so many jobs: never before they are due, and all that the timer has seen.
    pub fn makes(&mut self, jobs: u64, now: u64) {
        let due = self.due(now);
        let (must, may) = if self.catch_up {
            (self.seen.saturating_sub(self.least), due - self.least)
        } else {
            (u64::from(self.seen > self.most), u64::from(due > self.least))
        };
        assert!((must..=may).contains(&jobs), "{jobs} jobs are made, at {now}, and not {must} to {may}: {self:?}");
        if self.catch_up {
            self.least += jobs;
        } else if jobs > 0 {
            (self.least, self.most) = (self.seen.max(self.least + 1), due);
        }
    }
}
