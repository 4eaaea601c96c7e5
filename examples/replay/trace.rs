//! Reading a trace file into records, losing no line.
//!
//! *Invariant*: every line that is not blank becomes exactly one record, in the end sorted by arrival; a line that cannot be read
//! becomes an invalid record with the arrival of the line before it, so that it stays among its neighbours and publishing refuses it
//! where everybody can see. Blank lines carry nothing and are skipped; so is the header of `azure-llm` and a byte order mark.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::args::{Format, RECORDS_MAX};
use crate::record::{DEFAULT, Fault, Names, Record, Work};
use crate::{apache, azure, jsonl};

/// The longest line, in bytes and without its end.
pub const LINE_MAX: usize = 64 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Records in the order of their arrival.
#[derive(Debug, Default)]
pub struct Trace {
    /// Where they come from, for messages.
    pub name: String,
    /// At least one.
    pub records: Vec<Arc<Record>>,
}

impl Trace {
    /// The lines that cannot be read, in the order of the records.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.records.iter().filter_map(|record| match &record.work {
            Work::Invalid(fault) => Some(fault),
            _ => None,
        })
    }
}

/// Why a trace cannot be replayed at all.
#[derive(Debug)]
pub enum TraceError {
    /// It cannot be opened or read.
    Io(PathBuf, io::Error),
    /// It is a directory.
    Directory(PathBuf),
    /// It has no record.
    Empty(PathBuf),
    /// It has more records than a replay can hold.
    TooMany(PathBuf),
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TraceError::Io(path, error) => write!(f, "cannot read --trace {}: {error}", path.display()),
            TraceError::Directory(path) => write!(f, "cannot read --trace {}: it is a directory, expected a file", path.display()),
            TraceError::Empty(path) => write!(f, "--trace {} has no record, expected at least one", path.display()),
            TraceError::TooMany(path) => write!(f, "--trace {} has too many records, expected up to {RECORDS_MAX}", path.display()),
        }
    }
}

impl std::error::Error for TraceError {}

/// Reads a file.
pub fn read(path: &Path, format: Format) -> Result<Trace, TraceError> {
    let failed = |error| TraceError::Io(path.to_path_buf(), error);
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(TraceError::Directory(path.to_path_buf()));
    }
    let records = records(BufReader::new(file), format).map_err(failed)?;
    match records.len() as u64 {
        0 => Err(TraceError::Empty(path.to_path_buf())),
        1..=RECORDS_MAX => Ok(arrange(path.display().to_string(), records)),
        _ => Err(TraceError::TooMany(path.to_path_buf())),
    }
}

/// Sorts records by arrival, equal ones as they were, and counts arrivals from the first.
pub fn arrange(name: String, mut records: Vec<Record>) -> Trace {
    let is_valid = |record: &&mut Record| !matches!(record.work, Work::Invalid(_));
    let first = records.iter_mut().filter(is_valid).map(|record| record.at).min().unwrap_or_default();
    for record in &mut records {
        // invalid lines before the first valid one have no time: they come first
        record.at = record.at.saturating_sub(first);
    }
    records.sort_by_key(|record| record.at);
    Trace { name, records: records.into_iter().map(Arc::new).collect() }
}

/// The records of a whole input, line by line; one more than [`RECORDS_MAX`] at most.
pub fn records(mut input: impl BufRead, format: Format) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut names = Names::default();
    let mut bytes = Vec::new();
    let mut latest = Duration::ZERO;
    for line in 1.. {
        let Some(complete) = read_line(&mut input, &mut bytes)? else { break };
        let text = text(&bytes, complete, line == 1);
        if matches!(text, Ok(text) if skipped(text, format, line)) {
            continue;
        }
        let record = text.and_then(|text| parse(text, format, &mut names)).unwrap_or_else(|fault| invalid(fault, line, latest, &mut names));
        latest = record.at;
        records.push(Record { line, ..record });
        if records.len() as u64 > RECORDS_MAX {
            break;
        }
    }
    Ok(records)
}

/// Reads one line without its end into `bytes`, at most [`LINE_MAX`] of it; the rest of a longer one is passed over. `None` at the end
/// of the file, else whether the line is whole.
fn read_line(input: &mut impl BufRead, bytes: &mut Vec<u8>) -> io::Result<Option<bool>> {
    bytes.clear();
    let limit = LINE_MAX as u64 + 2;
    if input.by_ref().take(limit).read_until(b'\n', bytes)? == 0 {
        return Ok(None);
    }
    let ended = bytes.pop_if(|byte| *byte == b'\n').is_some();
    bytes.pop_if(|byte| *byte == b'\r');
    if !ended && bytes.len() > LINE_MAX {
        input.skip_until(b'\n')?;
    }
    let complete = bytes.len() <= LINE_MAX;
    bytes.truncate(LINE_MAX);
    Ok(Some(complete))
}

fn text(bytes: &[u8], complete: bool, first: bool) -> Result<&str, Fault> {
    if !complete {
        return Err(Fault::at(LINE_MAX, format!("expected the end of the line within {LINE_MAX} bytes")));
    }
    let bytes = if first { bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes) } else { bytes };
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Fault::at(at, format!("expected UTF-8 text, found the byte 0x{:02x}", bytes[at]))
    })
}

fn skipped(text: &str, format: Format, line: u64) -> bool {
    text.trim().is_empty() || (format == Format::AzureLlm && line == 1 && text.trim() == azure::HEADER)
}

fn parse(text: &str, format: Format, names: &mut Names) -> Result<Record, Fault> {
    match format {
        Format::Apache => apache::record(text, names),
        Format::AzureLlm => azure::record(text, names),
        Format::Jsonl => jsonl::record(text, names),
    }
}

fn invalid(fault: Fault, line: u64, at: Duration, names: &mut Names) -> Record {
    let work = Work::Invalid(Fault { line, ..fault });
    Record { line, at, tenant: names.get("-"), key: names.get("invalid"), lane: DEFAULT, work }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that is gone when the test ends.
    struct TempFile(PathBuf);

    impl TempFile {
        fn new(name: &str, content: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("ringmill-replay-{}-{name}", std::process::id()));
            std::fs::write(&path, content).unwrap();
            TempFile(path)
        }
    }

    impl Drop for TempFile {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn load(name: &str, content: &[u8], format: Format) -> Result<Trace, TraceError> {
        let file = TempFile::new(name, content);
        read(&file.0, format)
    }

    fn shape(trace: &Trace) -> Vec<(u64, u128, bool)> {
        trace.records.iter().map(|record| (record.line, record.at.as_micros(), !matches!(record.work, Work::Invalid(_)))).collect()
    }

    #[test]
    fn a_missing_file_names_itself() {
        let message = read(Path::new("no/such/file"), Format::Jsonl).unwrap_err().to_string();
        assert!(message.starts_with("cannot read --trace no/such/file: "), "{message}");
    }

    #[test]
    fn a_directory_is_refused() {
        let error = read(&std::env::temp_dir(), Format::Apache).unwrap_err();
        assert!(matches!(error, TraceError::Directory(_)), "{error}");
        assert!(error.to_string().ends_with("it is a directory, expected a file"));
    }

    #[test]
    fn a_file_without_records_is_refused() {
        for content in [&b""[..], b"\n\r\n  \n", BYTE_ORDER_MARK] {
            assert!(matches!(load("empty", content, Format::Jsonl), Err(TraceError::Empty(_))));
        }
        assert!(matches!(load("header", azure::HEADER.as_bytes(), Format::AzureLlm), Err(TraceError::Empty(_))));
    }

    #[test]
    fn one_bad_line_in_the_middle_stays_among_its_neighbours() {
        let trace = load("middle", b"{\"at_us\":10}\n{oops}\n{\"at_us\":30}\n", Format::Jsonl).unwrap();
        assert_eq!(shape(&trace), [(1, 0, true), (2, 0, false), (3, 20, true)]);
        let fault = trace.faults().next().unwrap();
        assert_eq!((fault.line, fault.column, trace.faults().count()), (2, 2, 1));
        assert_eq!(fault.to_string(), "2:2: key must be a string");
    }

    #[test]
    fn records_are_sorted_by_arrival_and_equal_ones_keep_their_order() {
        let trace = load("order", b"{\"at_us\":30}\n{\"at_us\":10}\n{\"at_us\":30}\n{\"at_us\":10}", Format::Jsonl).unwrap();
        assert_eq!(shape(&trace), [(2, 0, true), (4, 0, true), (1, 20, true), (3, 20, true)]);
    }

    #[test]
    fn a_truncated_last_line_is_invalid_and_the_rest_is_read() {
        let trace = load("cut", b"{\"at_us\":1}\n{\"at_us\":2,\"ten", Format::Jsonl).unwrap();
        assert_eq!(shape(&trace), [(1, 0, true), (2, 0, false)]);
        assert_eq!(trace.faults().next().unwrap().line, 2);
    }

    #[test]
    fn binary_lines_are_invalid_at_their_first_bad_byte() {
        let trace = load("binary", b"ab\xFF\xFEcd\n\x00\x01\x02\n{\"at_us\":5}\n", Format::Jsonl).unwrap();
        assert_eq!(shape(&trace), [(1, 0, false), (2, 0, false), (3, 0, true)]);
        assert_eq!(trace.faults().next().unwrap().to_string(), "1:3: expected UTF-8 text, found the byte 0xff");
    }

    #[test]
    fn a_file_of_another_kind_is_all_invalid_and_nothing_is_lost() {
        let noise: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let lines = noise
            .split(|byte| *byte == b'\n')
            .filter(|line| std::str::from_utf8(line).is_ok_and(|text| !text.trim().is_empty()) || std::str::from_utf8(line).is_err());
        let expected = lines.count();
        for format in [Format::Apache, Format::AzureLlm, Format::Jsonl] {
            let trace = load("noise", &noise, format).unwrap();
            assert_eq!((trace.records.len(), trace.faults().count()), (expected, expected));
        }
    }

    #[test]
    fn a_line_of_the_greatest_length_is_read_and_a_longer_one_is_not() {
        for (end, name) in [("\n", "lf"), ("\r\n", "crlf"), ("", "none")] {
            for (length, valid) in
                [(LINE_MAX - 1, true), (LINE_MAX, true), (LINE_MAX + 1, false), (LINE_MAX + 2, false), (5 * LINE_MAX, false)]
            {
                let mut content = b"{\"at_us\":1}".to_vec();
                content.resize(length, b' ');
                content.extend_from_slice(end.as_bytes());
                if !end.is_empty() {
                    content.extend_from_slice(b"{\"at_us\":1}");
                }
                let trace = load(&format!("long-{name}"), &content, Format::Jsonl).unwrap();
                let count = if end.is_empty() { 1 } else { 2 };
                assert_eq!((trace.records.len(), trace.faults().count()), (count, usize::from(!valid)), "{length} {name}");
                if let Some(fault) = trace.faults().next() {
                    assert_eq!(fault.to_string(), "1:65537: expected the end of the line within 65536 bytes");
                }
            }
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_line() {
        let trace = load("mark", b"\xEF\xBB\xBF{\"at_us\":1}\n\xEF\xBB\xBF{\"at_us\":2}\n", Format::Jsonl).unwrap();
        assert_eq!(shape(&trace), [(1, 0, true), (2, 0, false)], "only at the start of the file");
    }

    #[test]
    fn azure_has_a_header_crlf_and_no_end_of_the_last_line() {
        let content =
            b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:17:03.9799600,4808,10\r\n2023-11-16 18:17:04.0319600,3180,8";
        let trace = load("azure", content, Format::AzureLlm).unwrap();
        assert_eq!(shape(&trace), [(2, 0, true), (3, 52_000, true)]);
    }

    #[test]
    fn a_header_in_the_middle_is_invalid() {
        let content = b"2023-11-16 18:17:04,1,1\nTIMESTAMP,ContextTokens,GeneratedTokens\n";
        let trace = load("no-header", content, Format::AzureLlm).unwrap();
        assert_eq!(shape(&trace), [(1, 0, true), (2, 0, false)]);
    }
}
