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
use serde_json::Value;

use crate::record::{DEFAULT, Fault, LANES, Names, Record, Script, Work};
use crate::table::short;

const AT_US_MAX: u64 = 1_000_000_000_000_000;
const NAME_MAX: usize = 255;
const SERVICE_US_MAX: u64 = 60_000_000;
const FAIL_TIMES_MAX: u64 = 255;
const STALL_MS_MAX: u64 = 60_000;

/// A line as JSON has it. What a field may hold is checked here, where its name is known.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at_us: Value,
    #[serde(default = "default_name")]
    tenant: Value,
    #[serde(default = "default_name")]
    key: Value,
    #[serde(default = "default_lane")]
    lane: Value,
    #[serde(default = "none")]
    service_us: Value,
    #[serde(default = "none")]
    fail_times: Value,
    #[serde(default = "off")]
    reject: Value,
    #[serde(default = "off")]
    panic: Value,
    #[serde(default = "none")]
    stall_ms: Value,
}

fn default_name() -> Value {
    "default".into()
}

fn default_lane() -> Value {
    DEFAULT.into()
}

fn none() -> Value {
    0.into()
}

fn off() -> Value {
    false.into()
}

/// The record of a line.
pub fn record(text: &str, names: &mut Names) -> Result<Record, Fault> {
    // serde would take an array of the fields in their order as well
    if !text.trim_start().starts_with('{') {
        return Err(Fault::at(text.len() - text.trim_start().len(), "expected a JSON object"));
    }
    let line: Line = serde_json::from_str(text).map_err(|error| syntax(&error))?;
    let up_to = |name: &str, value: &Value, max: u64| {
        let found = value.as_u64().filter(|found| *found <= max);
        found.ok_or_else(|| field(text, name, format!("is {}: expected 0 to {max}", shown(value))))
    };
    let flag = |name: &str, value: &Value| {
        value.as_bool().ok_or_else(|| field(text, name, format!("is {}: expected true or false", shown(value))))
    };
    let script = Script {
        service_us: up_to("service_us", &line.service_us, SERVICE_US_MAX)?,
        fail_times: up_to("fail_times", &line.fail_times, FAIL_TIMES_MAX)? as u32,
        reject: flag("reject", &line.reject)?,
        panic: flag("panic", &line.panic)?,
        stall_ms: up_to("stall_ms", &line.stall_ms, STALL_MS_MAX)?,
    };
    Ok(Record {
        line: 0,
        at: Duration::from_micros(up_to("at_us", &line.at_us, AT_US_MAX)?),
        tenant: names.get(tenant(text, &line.tenant)?),
        key: names.get(key(text, &line.key)?),
        lane: up_to("lane", &line.lane, LANES.len() as u64 - 1)? as u8,
        work: Work::Scripted(script),
    })
}

/// What stands there, not all of it if it is long.
fn shown(value: &Value) -> String {
    short(&value.to_string(), 60)
}

/// serde_json's own words, without the position that it adds to them and that the fault carries anyway.
fn syntax(error: &serde_json::Error) -> Fault {
    let text = error.to_string();
    let message = text.rfind(" at line ").map_or(text.as_str(), |at| &text[..at]);
    Fault::at(error.column().saturating_sub(1), message)
}

fn tenant<'l>(text: &str, value: &'l Value) -> Result<&'l str, Fault> {
    let tenant = name(text, "tenant", value)?;
    if tenant.is_empty() {
        return Err(field(text, "tenant", format!("is 0 bytes long: expected 1 to {NAME_MAX}")));
    }
    Ok(tenant)
}

fn key<'l>(text: &str, value: &'l Value) -> Result<&'l str, Fault> {
    let key = name(text, "key", value)?;
    let is_word = |word: &str| !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '*' | '#'));
    if !key.split('.').all(is_word) {
        return Err(field(text, "key", format!("is {key:?}: expected words joined by '.', without '*', '#' and spaces")));
    }
    Ok(key)
}

fn name<'l>(text: &str, of: &str, value: &'l Value) -> Result<&'l str, Fault> {
    let name = value.as_str().ok_or_else(|| field(text, of, format!("is {}: expected a text", shown(value))))?;
    if name.len() > NAME_MAX {
        return Err(field(text, of, format!("is {} bytes long: expected 1 to {NAME_MAX}", name.len())));
    }
    Ok(name)
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
            (r#"{"at_us":-1}"#, 2, "`at_us` is -1: expected 0 to 1000000000000000"),
            (r#"{"at_us":1.5}"#, 2, "`at_us` is 1.5: expected 0 to 1000000000000000"),
            (r#"{"at_us":null}"#, 2, "`at_us` is null: expected 0 to 1000000000000000"),
            (r#"{"at_us":0,"reject":1}"#, 12, "`reject` is 1: expected true or false"),
            (r#"{"at_us":0,"tenant":["a"]}"#, 12, r#"`tenant` is ["a"]: expected a text"#),
            (r#"{"at_us":0"#, 10, "EOF while parsing an object"),
            (r#" [0,"a","k",1,0,0,false,false,0]"#, 2, "expected a JSON object"),
            ("nonsense", 1, "expected a JSON object"),
        ] {
            let fault = read(line).unwrap_err();
            assert_eq!((fault.column, fault.message.as_str()), (column, message), "{line}");
        }
        for (line, needle) in [
            (r#"{"at_us":0,"lanes":1}"#, "unknown field `lanes`"),
            (r#"{"at_us":0,"at_us":1}"#, "duplicate field `at_us`"),
            (r#"{"at_us":0} x"#, "trailing characters"),
        ] {
            let fault = read(line).unwrap_err();
            assert!(fault.message.contains(needle) && fault.column >= 1 && fault.column <= line.len(), "{line}: {fault}");
        }
    }
}
