//! Azure's traces of language-model inference: `TIMESTAMP,ContextTokens,GeneratedTokens`, with CRLF line ends.
//!
//! ```text
//! 2023-11-16 18:17:03.9799600,4808,10
//! ```
//!
//! | what | rule |
//! |---|---|
//! | tenant | `azure` for all: the trace does not say |
//! | routing key | `llm.<class>`, the class by context tokens: `upto_1024`, `upto_2048`, `upto_4096`, `upto_8192`, `over_8192` |
//! | lane | low above 4 096 context tokens, else default |
//! | service time | a busy loop of 100 ns per context token and 1 us per generated token, times `--work-scale` |

use std::time::Duration;

use crate::civil::Civil;
use crate::cursor::Cursor;
use crate::record::{DEFAULT, Fault, LOW, Names, Record, Work};

/// The first line of such a file. A file without it is read too.
pub const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens";
/// More context tokens than this go to the low lane.
const CONTEXT_DEFAULT_MAX: u32 = 4096;
/// The most tokens of a record, so that its service time stays below seventeen minutes.
const TOKENS_MAX: u64 = 1_000_000_000;
const FRACTION_DIGITS_MAX: u32 = 9;

/// The service time of an inference before scaling.
pub fn service(context: u32, generated: u32) -> Duration {
    Duration::from_nanos(u64::from(context) * 100 + u64::from(generated) * 1000)
}

/// The record of a line; its `at` counts from 1970.
pub fn record(line: &str, names: &mut Names) -> Result<Record, Fault> {
    let mut cursor = Cursor::new(line);
    let at = timestamp(&mut cursor)?;
    cursor.expect(',', "after the timestamp")?;
    let context = cursor.number(TOKENS_MAX, "context tokens")? as u32;
    cursor.expect(',', "after the context tokens")?;
    let generated = cursor.number(TOKENS_MAX, "generated tokens")? as u32;
    cursor.end()?;
    let lane = if context > CONTEXT_DEFAULT_MAX { LOW } else { DEFAULT };
    let work = Work::Llm { context, generated };
    Ok(Record { line: 0, at, tenant: names.get("azure"), key: names.get(class(context)), lane, work })
}

fn class(context: u32) -> &'static str {
    match context {
        0..=1024 => "llm.upto_1024",
        1025..=2048 => "llm.upto_2048",
        2049..=4096 => "llm.upto_4096",
        4097..=8192 => "llm.upto_8192",
        _ => "llm.over_8192",
    }
}

/// `2023-11-16 18:17:03.9799600`: UTC, with up to nine digits of a second's fraction or none.
fn timestamp(cursor: &mut Cursor<'_>) -> Result<Duration, Fault> {
    let year = cursor.ranged(4, 1970, 9999, "a year")?;
    cursor.expect('-', "after the year")?;
    let month = cursor.ranged(2, 1, 12, "a month")?;
    cursor.expect('-', "after the month")?;
    let day = cursor.ranged(2, 1, 31, "a day")?;
    cursor.expect(' ', "after the day")?;
    let hour = cursor.ranged(2, 0, 23, "an hour")?;
    cursor.expect(':', "after the hour")?;
    let minute = cursor.ranged(2, 0, 59, "a minute")?;
    cursor.expect(':', "after the minute")?;
    let second = cursor.ranged(2, 0, 60, "a second")?;
    let nanos = if cursor.skip(".") { fraction(cursor)? } else { 0 };
    let civil = Civil { year, month, day, hour, minute, second, nanos, offset: 0 };
    civil.since_epoch().ok_or_else(|| Fault::at(0, "expected a day that exists"))
}

/// The digits behind the point, in nanoseconds.
fn fraction(cursor: &mut Cursor<'_>) -> Result<u32, Fault> {
    let start = cursor.offset();
    let digits = cursor.number(u64::MAX, "a fraction of a second")?;
    let count = (cursor.offset() - start) as u32;
    if count > FRACTION_DIGITS_MAX {
        return Err(Fault::at(start, format!("expected 1 to {FRACTION_DIGITS_MAX} digits of a second's fraction, found {count}")));
    }
    Ok(digits as u32 * 10_u32.pow(FRACTION_DIGITS_MAX - count))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "2023-11-16 18:17:03.9799600,4808,10";

    fn read(line: &str) -> Result<Record, Fault> {
        record(line, &mut Names::default())
    }

    #[test]
    fn every_field_is_read() {
        let record = read(LINE).unwrap();
        assert_eq!(record.at, Duration::new(1_700_158_623, 979_960_000));
        assert_eq!(record.work, Work::Llm { context: 4808, generated: 10 });
        assert_eq!((&*record.tenant, &*record.key, record.lane), ("azure", "llm.upto_8192", LOW));
    }

    #[test]
    fn long_prompts_go_to_the_low_lane() {
        assert_eq!(read("2023-11-16 18:17:03,4096,1").unwrap().lane, DEFAULT);
        assert_eq!(read("2023-11-16 18:17:03,4097,1").unwrap().lane, LOW);
    }

    #[test]
    fn service_time_counts_both_kinds_of_tokens() {
        assert_eq!(service(4808, 10), Duration::from_nanos(490_800));
        assert_eq!(service(0, 0), Duration::ZERO);
    }

    #[test]
    fn a_prefix_is_a_fault_or_a_shorter_record() {
        for len in 0..LINE.len() - 1 {
            let fault = read(&LINE[..len]).expect_err("a prefix is no record");
            assert!((1..=len + 1).contains(&fault.column), "{len}: {fault}");
        }
        assert_eq!(read(&LINE[..LINE.len() - 1]).unwrap().work, Work::Llm { context: 4808, generated: 1 }, "cut inside the last number");
    }

    #[test]
    fn faults_say_where_and_what() {
        for (line, column, message) in [
            ("2023-11-16 18:17:03.9799600,,10", 29, "expected context tokens, found ','"),
            ("2023-11-16 18:17:03.9799600,5,-1", 31, "expected generated tokens, found '-'"),
            ("2023-11-16 18:17:03.9799600,5,1,2", 32, "expected the end of the line, found ','"),
            ("2023-02-30 18:17:03,5,1", 1, "expected a day that exists"),
            ("2023-11-16 18:17:03.0123456789,5,1", 21, "expected 1 to 9 digits of a second's fraction, found 10"),
            ("2023-11-16 18:17:03,5000000000,1", 21, "expected context tokens up to 1000000000, found 5000000000"),
        ] {
            assert_eq!(read(line).unwrap_err(), Fault { line: 0, column, message: message.to_string() });
        }
    }
}
