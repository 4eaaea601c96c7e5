//! Scripted jobs, one JSON object a line.
//!
//! ```json
//! {"at_us":0,"tenant":"a","key":"billing.invoice","lane":0,"service_us":5,"fail_times":1,"reject":false,"panic":false,"stall_ms":0}
//! ```
//!
//! | field | meaning | default | range |
//! |---|---|---|---|
//! | `at_us` | arrival, microseconds | required | 0 to 10^15 |
//! | `tenant` | on whose behalf | `default` | 1 to 255 bytes |
//! | `key` | routing key | `default` | words joined by `.`, no `*`, `#` or space, up to 255 bytes |
//! | `lane` | 0 critical, 1 default, 2 low | 1 | 0 to 2 |
//! | `service_us` | every delivery is busy so long, times `--work-scale` | 0 | 0 to 60 000 000 |
//! | `fail_times` | so many deliveries fail before one succeeds | 0 | 0 to 255 |
//! | `reject` | the delivery that does not fail rejects the job | false | |
//! | `panic` | failing deliveries panic; with `fail_times` 0 all do | false | |
//! | `stall_ms` | the first delivery sleeps so long first | 0 | 0 to 60 000 |
//!
//! A field of another name makes the line invalid: a typing error must not quietly become a default.

use std::time::Duration;

use serde::Deserialize;

use crate::record::{DEFAULT, Fault, LANES, Names, Record, Script, Work};

const AT_US_MAX: u64 = 1_000_000_000_000_000;
const NAME_MAX: usize = 255;
const SERVICE_US_MAX: u64 = 60_000_000;
const FAIL_TIMES_MAX: u64 = 255;
const STALL_MS_MAX: u64 = 60_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at_us: u64,
    #[serde(default = "default_name")]
    tenant: String,
    #[serde(default = "default_name")]
    key: String,
    #[serde(default = "default_lane")]
    lane: u64,
    #[serde(default)]
    service_us: u64,
    #[serde(default)]
    fail_times: u64,
    #[serde(default)]
    reject: bool,
    #[serde(default)]
    panic: bool,
    #[serde(default)]
    stall_ms: u64,
}

fn default_name() -> String {
    "default".to_string()
}

fn default_lane() -> u64 {
    u64::from(DEFAULT)
}

/// The record of a line.
pub fn record(text: &str, names: &mut Names) -> Result<Record, Fault> {
    // serde would take an array of the fields in their order as well
    if !text.trim_start().starts_with('{') {
        return Err(Fault::at(text.len() - text.trim_start().len(), "expected a JSON object"));
    }
    let line: Line = serde_json::from_str(text).map_err(|error| syntax(&error))?;
    check(text, &line)?;
    let script = Script {
        service_us: line.service_us,
        fail_times: line.fail_times as u32,
        reject: line.reject,
        panic: line.panic,
        stall_ms: line.stall_ms,
    };
    Ok(Record {
        line: 0,
        at: Duration::from_micros(line.at_us),
        tenant: names.get(&line.tenant),
        key: names.get(&line.key),
        lane: line.lane as u8,
        work: Work::Scripted(script),
    })
}

/// serde_json's own words, without the position that it adds to them and that the fault carries anyway.
fn syntax(error: &serde_json::Error) -> Fault {
    let text = error.to_string();
    let message = text.rfind(" at line ").map_or(text.as_str(), |at| &text[..at]);
    Fault::at(error.column().saturating_sub(1), message)
}

fn check(text: &str, line: &Line) -> Result<(), Fault> {
    up_to(text, "at_us", line.at_us, AT_US_MAX)?;
    up_to(text, "lane", line.lane, LANES.len() as u64 - 1)?;
    up_to(text, "service_us", line.service_us, SERVICE_US_MAX)?;
    up_to(text, "fail_times", line.fail_times, FAIL_TIMES_MAX)?;
    up_to(text, "stall_ms", line.stall_ms, STALL_MS_MAX)?;
    if line.tenant.is_empty() || line.tenant.len() > NAME_MAX {
        return Err(field(text, "tenant", format!("is {} bytes long: expected 1 to {NAME_MAX}", line.tenant.len())));
    }
    if line.key.len() > NAME_MAX {
        return Err(field(text, "key", format!("is {} bytes long: expected 1 to {NAME_MAX}", line.key.len())));
    }
    let is_word = |word: &str| !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '*' | '#'));
    if !line.key.split('.').all(is_word) {
        return Err(field(text, "key", format!("is {:?}: expected words joined by '.', without '*', '#' and spaces", line.key)));
    }
    Ok(())
}

fn up_to(text: &str, name: &str, value: u64, max: u64) -> Result<(), Fault> {
    if value > max { Err(field(text, name, format!("is {value}: expected 0 to {max}"))) } else { Ok(()) }
}

/// A fault at the field's name. (A text that reads the same may be a value.)
fn field(text: &str, name: &str, message: String) -> Fault {
    let quoted = format!("\"{name}\"");
    let is_name = |at: &usize| text[at + quoted.len()..].trim_start().starts_with(':');
    let at = text.match_indices(&quoted).map(|(at, _)| at).find(is_name);
    Fault::at(at.unwrap_or(0), format!("`{name}` {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Record, Fault> {
        record(line, &mut Names::default())
    }

    #[test]
    fn every_field_is_read() {
        let line = r#"{"at_us":7,"tenant":"a","key":"billing.invoice","lane":0,"service_us":5,"fail_times":1,"reject":true,"panic":true,"stall_ms":9}"#;
        let record = read(line).unwrap();
        assert_eq!((record.at, &*record.tenant, &*record.key, record.lane), (Duration::from_micros(7), "a", "billing.invoice", 0));
        assert_eq!(record.work, Work::Scripted(Script { service_us: 5, fail_times: 1, reject: true, panic: true, stall_ms: 9 }));
    }

    #[test]
    fn a_fault_is_at_the_name_of_its_field_and_not_at_a_value_that_reads_the_same() {
        let fault = read(r#"{"at_us":0,"tenant":"lane","lane" : 3}"#).unwrap_err();
        assert_eq!((fault.column, fault.message.as_str()), (28, "`lane` is 3: expected 0 to 2"));
    }

    #[test]
    fn only_the_arrival_is_required() {
        let record = read(r#" { "at_us" : 1 } "#).unwrap();
        assert_eq!((&*record.tenant, &*record.key, record.lane), ("default", "default", DEFAULT));
        assert_eq!(record.work, Work::Scripted(Script::default()));
        assert_eq!(read("{}").unwrap_err().message, "missing field `at_us`");
    }

    #[test]
    fn faults_say_where_and_what() {
        for (line, column, message) in [
            (r#"{"at_us":0,"lane":3}"#, 12, "`lane` is 3: expected 0 to 2"),
            (r#"{"at_us":0,"stall_ms":60001}"#, 12, "`stall_ms` is 60001: expected 0 to 60000"),
            (r#"{"at_us":0,"fail_times":256}"#, 12, "`fail_times` is 256: expected 0 to 255"),
            (r#"{"at_us":0,"tenant":""}"#, 12, "`tenant` is 0 bytes long: expected 1 to 255"),
            (r#"{"at_us":0,"key":"a..b"}"#, 12, r##"`key` is "a..b": expected words joined by '.', without '*', '#' and spaces"##),
            (r#"{"at_us":0"#, 10, "EOF while parsing an object"),
            (r#" [0,"a","k",1,0,0,false,false,0]"#, 2, "expected a JSON object"),
            ("nonsense", 1, "expected a JSON object"),
        ] {
            let fault = read(line).unwrap_err();
            assert_eq!((fault.column, fault.message.as_str()), (column, message), "{line}");
        }
        for (line, needle) in [
            (r#"{"at_us":0,"lanes":1}"#, "unknown field `lanes`"),
            (r#"{"at_us":-1}"#, "invalid value: integer `-1`, expected u64"),
            (r#"{"at_us":1.5}"#, "invalid type: floating point `1.5`, expected u64"),
            (r#"{"at_us":0,"at_us":1}"#, "duplicate field `at_us`"),
            (r#"{"at_us":0} x"#, "trailing characters"),
            (r#"{"at_us":0,"reject":1}"#, "invalid type: integer `1`, expected a boolean"),
        ] {
            let fault = read(line).unwrap_err();
            assert!(fault.message.contains(needle) && fault.column >= 1 && fault.column <= line.len(), "{line}: {fault}");
        }
    }
}
