//! A dead letter as a line of text.

use super::record::{DeadLetter, Death, DeathRecord};
use crate::clock::{Rfc3339, Timestamp, Wall};
use std::fmt::{self, Write};

/// Adds the letter to `out`, as a JSON object (RFC 8259) in a line of its own, its payload as the string `payload`.
pub fn write_line<T>(out: &mut String, letter: &DeadLetter<T>, payload: &str, wall: &Wall) -> fmt::Result {
    let DeathRecord { deaths, last_error, failures, expiries, snoozes, published, routing_key } = &letter.record;
    let last = &deaths[0];
    write!(out, "{{\"job\":{},\"lane\":{},", letter.job.get(), letter.lane)?;
    write_death(out, last, wall)?;
    write!(out, ",\"routing_key\":{}", Text(letter.came_by.as_deref()))?;
    write!(out, ",\"original_routing_key\":{}", Text(routing_key.as_deref()))?;
    write!(out, ",\"last_error\":{}", Text(last_error.as_deref()))?;
    write!(out, ",\"attempts\":{{\"failures\":{failures},\"expiries\":{expiries},\"snoozes\":{snoozes}}}")?;
    write!(out, ",\"published\":{},\"deaths\":[", At(*published, wall))?;
    for (at, death) in deaths.iter().enumerate() {
        out.push_str(if at == 0 { "{" } else { ",{" });
        write_death(out, death, wall)?;
        write!(out, ",\"routing_key\":{}}}", Text(death.routing_key.as_deref()))?;
    }
    writeln!(out, "],\"payload\":{}}}", Text(Some(payload)))
}

fn write_death(out: &mut String, death: &Death, wall: &Wall) -> fmt::Result {
    let Death { queue, reason, count, first, last, .. } = death;
    write!(out, "\"queue\":{},\"reason\":\"{reason}\",\"count\":{count}", Text(Some(queue)))?;
    write!(out, ",\"first\":{},\"last\":{}", At(*first, wall), At(*last, wall))
}

/// A moment, as a JSON string.
struct At<'a>(Timestamp, &'a Wall);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", Rfc3339(self.1.at(self.0)))
    }
}

/// A text, as a JSON string or `null`.
struct Text<'a>(Option<&'a str>);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(mut rest) = self.0 else { return f.write_str("null") };
        f.write_char('"')?;
        while let Some(at) = rest.find(is_escaped) {
            f.write_str(&rest[..at])?;
            let mut behind = rest[at..].chars();
            match behind.next() {
                Some(c @ ('"' | '\\')) => write!(f, "\\{c}")?,
                Some('\n') => f.write_str("\\n")?,
                // (none of them needs more than four digits)
                Some(c) => write!(f, "\\u{:04x}", u32::from(c))?,
                None => {}
            }
            rest = behind.as_str();
        }
        f.write_str(rest)?;
        f.write_char('"')
    }
}

/// Beside what JSON wants escaped: what ends a line for some who read by lines.
fn is_escaped(c: char) -> bool {
    matches!(c, '"' | '\\' | '\u{2028}' | '\u{2029}') || c.is_control()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_json_string_in_one_line() {
        assert_eq!((Text(None).to_string(), Text(Some("")).to_string()), ("null".to_owned(), "\"\"".to_owned()));
        let hostile = "\0a\"\\\n\r\u{1b}\u{e9}\u{7f}\u{85}\u{2028}\u{10ffff}\\";
        let text = r#""\u0000a\"\\\n\u000d\u001bX\u007f\u0085\u2028Y\\""#.replace('X', "\u{e9}").replace('Y', "\u{10ffff}");
        assert_eq!(Text(Some(hostile)).to_string(), text);
    }
}
