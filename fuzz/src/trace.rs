//! Trace files of the replay example: every line that is not blank is one record, in the order of arrival.

use crate::args::Format;
use crate::faulty;
use crate::reader::{self, LINE_MAX};
use crate::record::Work;
use ringmill::RoutingKey;

pub fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let format = match kind {
        b'a' => Format::Apache,
        b'z' => Format::AzureLlm,
        _ => Format::Jsonl,
    };
    let Ok(records) = reader::records(data, format) else { panic!("reading from memory does not fail") };
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let blank = |line: &[u8]| std::str::from_utf8(line).is_ok_and(|text| text.trim().is_empty());
    let lines_said = lines.iter().filter(|line| !blank(line) && line.len() <= LINE_MAX).count();
    assert!(records.len() <= lines.len());
    assert!(records.len() + 1 >= lines_said, "{} records of {lines_said} lines: a header and a byte order mark may go", records.len());
    assert!(records.windows(2).all(|pair| pair[0].line < pair[1].line));
    let trace = reader::arrange(String::new(), records);
    assert!(trace.records.windows(2).all(|pair| pair[0].at <= pair[1].at));
    for record in &trace.records {
        let line = lines[record.line as usize - 1];
        match &record.work {
            Work::Invalid(fault) => {
                assert_eq!(fault.line, record.line);
                assert!((1..=line.len().min(LINE_MAX) + 1).contains(&fault.column), "{fault} of {line:?}");
                assert!(!fault.message.is_empty());
            }
            work => {
                let key = RoutingKey::new(&record.key);
                assert!(key.is_ok(), "{key:?} of {line:?}");
                assert!(record.lane < 3 && (1..=LINE_MAX).contains(&record.tenant.len()));
                // the lie: no script stalls for an odd time
                assert!(!(faulty() && matches!(work, Work::Scripted(script) if script.stall_ms % 2 == 1)), "an odd stall");
            }
        }
    }
}
