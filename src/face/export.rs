//! Dead letters as text.

use super::letters::DeadLetterQueue;
use crate::clock::Wall;
use crate::dead_letter::write_line;
use crate::id::JobId;
use crate::job::Payload;
use crate::sync::contain;
use std::error::Error;
use std::fmt;
use std::io;

/// How far an [export](DeadLetterQueue::export) got that did not come to its end: what its `io::Error` has inside.
#[derive(Debug)]
#[non_exhaustive]
pub struct ExportError {
    /// So many letters were written whole.
    pub written: usize,
    /// The job whose letter was not; none if all were, and could not be flushed.
    pub job: Option<JobId>,
    /// Why.
    pub cause: ExportFault,
}

/// What ended an export.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExportFault {
    /// The writer did; it may have a part of the line.
    Io(io::Error),
    /// The function that makes a text of the payload panicked and said this; the writer has nothing of the line.
    Panicked(String),
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the export ended after {} letters", self.written)?;
        if let Some(job) = self.job {
            write!(f, ", at {job}")?;
        }
        match &self.cause {
            ExportFault::Io(error) => write!(f, ": {error}"),
            ExportFault::Panicked(message) => write!(f, ": its payload's text panicked: {message}"),
        }
    }
}

impl Error for ExportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            ExportFault::Io(error) => Some(error),
            ExportFault::Panicked(_) => None,
        }
    }
}

impl From<ExportError> for io::Error {
    fn from(error: ExportError) -> io::Error {
        let kind = match &error.cause {
            ExportFault::Io(error) => error.kind(),
            ExportFault::Panicked(_) => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

impl<T: Payload> DeadLetterQueue<'_, T> {
    /// Writes the letters that are there now to `out`, oldest first, one JSON object a line, and says how many. They stay where they are.
    ///
    /// `payload` makes a text of a payload. An object has, in this order: `job` (a number), `lane` (a number), `queue`, `reason`, `count`, `first` and `last` of the latest
    /// [death](crate::Death), `routing_key` (by which the job came to this queue), `original_routing_key`, `last_error`, `attempts` (`failures`, `expiries` and `snoozes` of its last life),
    /// `published`, `deaths` (all of them, the latest first, each with `queue`, `reason`, `count`, `first`, `last` and `routing_key`), and `payload`, a string. What is not known is `null`.
    /// Times are RFC 3339 in UTC, to the nanosecond, converted as by [`Runtime::wall_time`](crate::Runtime::wall_time) when the export begins. The reasons are those that
    /// [`DeathReason`](crate::DeathReason) displays. A line feed is at the end of each line and nowhere else.
    ///
    /// # Guarantees
    /// No letter is lost, whatever `payload` and `out` do. Both run under no lock, so they may take their time, publish, or act on these letters. While its text is made, a letter is out of the
    /// others' sight: `take`, `list`, `redrive` and `purge` go past it. Letters that come meanwhile are not written.
    ///
    /// # Errors
    /// The export ends at the first error of `out`, and when `payload` panics. The error says how far it got: an [`ExportError`] is [inside](io::Error::get_ref).
    ///
    /// # Allocation
    /// A line at a time. Each is written by one `write_all`: a `BufWriter` makes that cheap, and is flushed at the end.
    ///
    /// # Complexity
    /// O(log letters), and the length of its line, per letter.
    ///
    /// ```
    /// use ringmill::clock::ManualClock;
    /// use ringmill::{ExportError, QueueConfig, Runtime};
    /// use std::sync::Arc;
    ///
    /// let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    /// let words = builder.pull_queue::<&str>(QueueConfig::new("words"))?;
    /// let runtime = builder.build()?;
    /// let (producer, consumer) = (words.producer()?, words.consumer()?);
    /// for word in ["a", "b"] {
    ///     producer.publish(word)?;
    ///     consumer.recv()?.reject(format!("no \"{word}\""))?;
    /// }
    /// let letters = words.dead_letters();
    /// let mut text = Vec::new();
    /// assert_eq!(letters.export(&mut text, |word| word.to_string())?, 2);
    /// let text = String::from_utf8(text)?;
    /// let line = text.lines().next().unwrap();
    /// assert!(line.starts_with(r#"{"job":1,"lane":0,"queue":"words","reason":"rejected","count":1,"first":"1970-01-01T00:00:00.000000000Z","#));
    /// assert!(line.contains(r#""last_error":"no \"a\"","attempts":{"failures":0,"expiries":0,"snoozes":0}"#));
    /// assert!(line.ends_with(r#""payload":"a"}"#));
    /// assert_eq!(letters.len(), 2); // they stay
    ///
    /// let mut small = vec![0_u8; text.len() - 1]; // the second does not fit
    /// let error = letters.export(&mut &mut small[..], |word| word.to_string()).unwrap_err();
    /// let error: &ExportError = error.get_ref().and_then(|inside| inside.downcast_ref()).unwrap();
    /// assert_eq!(error.written, 1);
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn export(&self, out: &mut impl io::Write, payload: impl Fn(&T) -> String) -> io::Result<usize> {
        let clock = &*self.handle.clock;
        let (wall, mut round) = (Wall::read(clock), self.handle.queue.round());
        let (mut written, mut line) = (0, String::new());
        while let Some(letter) = round.next(clock.now()) {
            let job = Some(letter.job_id());
            line.clear();
            let text = contain(|| payload(letter.payload()));
            let text = text.map_err(|message| ExportError { written, job, cause: ExportFault::Panicked(message) })?;
            write_line(&mut line, &letter, &text, &wall).expect("a string takes all that is written to it");
            // it is back in its place before anybody waits for `out`
            drop(letter);
            out.write_all(line.as_bytes()).map_err(|error| ExportError { written, job, cause: ExportFault::Io(error) })?;
            written += 1;
        }
        out.flush().map_err(|error| ExportError { written, job: None, cause: ExportFault::Io(error) })?;
        Ok(written)
    }
}
