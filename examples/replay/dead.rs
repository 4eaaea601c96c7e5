//! Dead letters as JSON lines.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::record::{LANES, Record};

/// A job that no delivery could finish.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    pub record: Arc<Record>,
    /// A short name of the cause: `rejected`, `max_attempts`, `expired`, ...
    pub reason: String,
    /// Deliveries it had.
    pub attempts: u32,
    /// The last error's words.
    pub error: String,
}

#[derive(Serialize)]
struct Line<'a> {
    line: u64,
    at_us: u64,
    tenant: &'a str,
    key: &'a str,
    lane: &'a str,
    reason: &'a str,
    attempts: u32,
    error: &'a str,
}

/// The file of `--dead-letters`.
#[derive(Debug)]
pub struct DeadLetterFile<W: Write>(BufWriter<W>);

impl DeadLetterFile<File> {
    /// Makes the file, or empties it.
    pub fn create(path: &Path) -> io::Result<Self> {
        File::create(path).map(Self::new)
    }
}

impl<W: Write> DeadLetterFile<W> {
    fn new(to: W) -> Self {
        DeadLetterFile(BufWriter::new(to))
    }

    /// Writes one letter.
    pub fn write(&mut self, letter: &DeadLetter) -> io::Result<()> {
        let record = &letter.record;
        let line = Line {
            line: record.line,
            at_us: u64::try_from(record.at.as_micros()).unwrap_or(u64::MAX),
            tenant: &record.tenant,
            key: &record.key,
            lane: LANES.get(usize::from(record.lane)).unwrap_or(&"?"),
            reason: &letter.reason,
            attempts: letter.attempts,
            error: &letter.error,
        };
        serde_json::to_writer(&mut self.0, &line)?;
        self.0.write_all(b"\n")
    }

    /// Writes what is buffered.
    pub fn finish(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Names, Script, Work};
    use std::time::Duration;

    #[test]
    fn a_letter_is_one_line_of_json() {
        let name = Names::default().get("a\"b\n");
        let record = Record {
            line: 7,
            at: Duration::from_micros(5),
            tenant: name.clone(),
            key: name,
            lane: 2,
            work: Work::Scripted(Script::default()),
        };
        let letter =
            DeadLetter { record: Arc::new(record), reason: "rejected".to_string(), attempts: 1, error: "scripted rejection".to_string() };
        let mut file = DeadLetterFile::new(Vec::new());
        file.write(&letter).unwrap();
        file.write(&letter).unwrap();
        file.finish().unwrap();
        let text = String::from_utf8(file.0.into_inner().unwrap()).unwrap();
        assert_eq!(text.lines().count(), 2);
        let value: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!((&value["line"], &value["at_us"], &value["lane"], &value["attempts"]), (&7.into(), &5.into(), &"low".into(), &1.into()));
        assert_eq!(
            (&value["tenant"], &value["reason"], &value["error"]),
            (&"a\"b\n".into(), &"rejected".into(), &"scripted rejection".into())
        );
    }
}
