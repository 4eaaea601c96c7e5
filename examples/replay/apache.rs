//! The combined log format of web servers.
//!
//! ```text
//! 83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /a/b.png HTTP/1.1" 200 203023 "http://referer/" "agent"
//! client ident user [time]                      "method target protocol" status bytes "referer" "agent"
//! ```
//!
//! | what | rule |
//! |---|---|
//! | tenant | the client |
//! | routing key | `web.<method>.<first path segment>`, the method in lower case, the segment as [`segment`] has it |
//! | critical lane | any method but GET and HEAD; any status from 400 |
//! | low lane | of the rest, static assets: the last segment of the path ends in one of [`ASSETS`] |
//! | default lane | everything else: pages, and documents such as `.pdf`, `.txt` and `.xml` |
//! | verdict | 500-599: two deliveries fail, the third succeeds; 403 and 416: rejected; anything else: done |

use std::time::Duration;

use crate::civil::Civil;
use crate::cursor::Cursor;
use crate::record::{CRITICAL, DEFAULT, Fault, LOW, Names, Record, Work};

/// What makes a path a static asset: these extensions, in any case. Style and script, images, fonts, sound and film: what a page
/// pulls in, not what a reader asked for.
const ASSETS: [&str; 26] = [
    "css", "js", "mjs", "map", "avif", "bmp", "gif", "ico", "jpeg", "jpg", "png", "svg", "tif", "tiff", "webp", "eot", "otf", "ttf",
    "woff", "woff2", "mp3", "mp4", "ogg", "swf", "wav", "webm",
];
/// The longest word made of a path segment.
const SEGMENT_MAX: usize = 64;
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// One request of an access log. Quoted fields stand as they were written, escapes included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    pub client: &'a str,
    pub ident: &'a str,
    pub user: &'a str,
    /// Since 1970, UTC.
    pub time: Duration,
    pub method: &'a str,
    pub target: &'a str,
    pub protocol: &'a str,
    pub status: u16,
    /// `-` is 0.
    pub bytes: u64,
    pub referer: &'a str,
    pub agent: &'a str,
}

/// Reads a whole line.
pub fn parse(line: &str) -> Result<Request<'_>, Fault> {
    let mut cursor = Cursor::new(line);
    let client = cursor.word("a client address")?;
    cursor.expect(' ', "after the client")?;
    let ident = cursor.word("an identity or -")?;
    cursor.expect(' ', "after the identity")?;
    let user = cursor.word("a user or -")?;
    cursor.expect(' ', "after the user")?;
    let time = time(&mut cursor)?;
    cursor.expect(' ', "after the time")?;
    let (method, target, protocol) = request_line(&mut cursor)?;
    cursor.expect(' ', "after the request")?;
    let status = cursor.ranged(3, 100, 599, "a status")? as u16;
    cursor.expect(' ', "after the status")?;
    let bytes = if cursor.skip("-") { 0 } else { cursor.number(u64::MAX / 10, "a number of bytes or -")? };
    cursor.expect(' ', "after the bytes")?;
    let referer = cursor.quoted("the referer")?;
    cursor.expect(' ', "after the referer")?;
    let agent = cursor.quoted("the user agent")?;
    cursor.end()?;
    Ok(Request { client, ident, user, time, method, target, protocol, status, bytes, referer, agent })
}

/// `[17/May/2015:10:05:03 +0000]`
fn time(cursor: &mut Cursor<'_>) -> Result<Duration, Fault> {
    cursor.expect('[', "before the time")?;
    let start = cursor.offset();
    let day = cursor.ranged(2, 1, 31, "a day")?;
    cursor.expect('/', "after the day")?;
    let month = month(cursor)?;
    cursor.expect('/', "after the month")?;
    let year = cursor.ranged(4, 1970, 9999, "a year")?;
    cursor.expect(':', "after the year")?;
    let hour = cursor.ranged(2, 0, 23, "an hour")?;
    cursor.expect(':', "after the hour")?;
    let minute = cursor.ranged(2, 0, 59, "a minute")?;
    cursor.expect(':', "after the minute")?;
    let second = cursor.ranged(2, 0, 60, "a second")?;
    cursor.expect(' ', "after the second")?;
    let sign = if cursor.skip("-") { -1 } else { cursor.expect('+', "or '-' before the zone").map(|()| 1)? };
    let offset =
        sign * i64::from(cursor.ranged(2, 0, 23, "hours of the zone")? * 3600 + cursor.ranged(2, 0, 59, "minutes of the zone")? * 60);
    cursor.expect(']', "after the time")?;
    let civil = Civil { year, month, day, hour, minute, second, nanos: 0, offset };
    civil.since_epoch().ok_or_else(|| Fault::at(start, "expected a day that exists, not before 1970"))
}

fn month(cursor: &mut Cursor<'_>) -> Result<u32, Fault> {
    for (index, name) in MONTHS.iter().enumerate() {
        if cursor.skip(name) {
            return Ok(index as u32 + 1);
        }
    }
    Err(cursor.fault("a month from Jan to Dec"))
}

/// `"GET /path HTTP/1.1"`. Some clients send spaces in the target and servers write them down: the method ends at the first space, the
/// protocol starts behind the last.
fn request_line<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a str, &'a str, &'a str), Fault> {
    let start = cursor.offset() + 1;
    let line = cursor.quoted("the request")?;
    let parts = line.split_once(' ').and_then(|(method, rest)| rest.rsplit_once(' ').map(|(target, protocol)| (method, target, protocol)));
    let Some((method, target, protocol)) = parts else {
        return Err(Fault::at(start, "expected a method, a target and a protocol with spaces between them"));
    };
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)) {
        return Err(Fault::at(start, "expected a method"));
    }
    let target_at = start + method.len() + 1;
    if target.trim().is_empty() {
        return Err(Fault::at(target_at, "expected a target"));
    }
    if !protocol.starts_with("HTTP/") {
        return Err(Fault::at(target_at + target.len() + 1, "expected a protocol such as HTTP/1.1"));
    }
    Ok((method, target, protocol))
}

/// The record of a line; its `at` counts from 1970.
pub fn record(line: &str, names: &mut Names) -> Result<Record, Fault> {
    let request = parse(line)?;
    Ok(Record {
        line: 0,
        at: request.time,
        tenant: names.get(request.client),
        key: names.get(&routing_key(&request)),
        lane: lane(&request),
        work: Work::Apache { line: line.into(), status: request.status },
    })
}

/// The path of a target: without `scheme://authority`, query and fragment.
fn path(target: &str) -> &str {
    let target = match target.find("://") {
        Some(at) if !target.starts_with('/') => {
            let rest = &target[at + 3..];
            rest.find('/').map_or("/", |slash| &rest[slash..])
        }
        _ => target,
    };
    target.split(['?', '#']).next().unwrap_or("")
}

fn lane(request: &Request<'_>) -> u8 {
    if request.status >= 400 || !matches!(request.method, "GET" | "HEAD") {
        CRITICAL
    } else if is_asset(path(request.target)) {
        LOW
    } else {
        DEFAULT
    }
}

fn is_asset(path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or("");
    let Some((_, extension)) = file.rsplit_once('.') else { return false };
    ASSETS.iter().any(|asset| extension.eq_ignore_ascii_case(asset))
}

fn routing_key(request: &Request<'_>) -> String {
    format!("web.{}.{}", segment(&request.method.to_ascii_lowercase()), segment(first_segment(path(request.target))))
}

fn first_segment(path: &str) -> &str {
    path.split('/').find(|segment| !segment.is_empty()).unwrap_or("root")
}

/// One word of a routing key: letters, digits, `-` and `_` stay, any other character becomes `_` (a `.` would make two words, `*` and
/// `#` are wildcards of binding keys); at most 64 characters.
fn segment(text: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    text.chars().take(SEGMENT_MAX).map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        r#"83.149.9.216 - bob [17/May/2015:10:05:03 +0200] "GET /a/b.png?c=d HTTP/1.1" 200 203023 "http://r/\"x\"" "Mozilla \"5\"""#;

    fn line(request: &str, status: u16) -> String {
        format!(r#"1.2.3.4 - - [17/May/2015:10:05:03 +0000] "{request}" {status} - "-" "-""#)
    }

    fn key_and_lane(request: &str, status: u16) -> (String, u8) {
        let record = record(&line(request, status), &mut Names::default()).unwrap();
        (record.key.to_string(), record.lane)
    }

    #[test]
    fn every_field_is_read() {
        let request = parse(LINE).unwrap();
        assert_eq!((request.client, request.ident, request.user), ("83.149.9.216", "-", "bob"));
        assert_eq!(request.time, Duration::from_secs(16_572 * 86_400 + 8 * 3600 + 5 * 60 + 3));
        assert_eq!((request.method, request.target, request.protocol), ("GET", "/a/b.png?c=d", "HTTP/1.1"));
        assert_eq!((request.status, request.bytes), (200, 203_023));
        assert_eq!((request.referer, request.agent), (r#"http://r/\"x\""#, r#"Mozilla \"5\""#));
    }

    #[test]
    fn every_proper_prefix_is_a_fault_inside_the_line_and_never_a_panic() {
        for len in 0..LINE.len() {
            let fault = parse(&LINE[..len]).expect_err("a prefix is no line");
            assert!((1..=len + 1).contains(&fault.column), "{len}: {fault}");
        }
    }

    #[test]
    fn any_byte_gone_wrong_is_read_or_refused_but_never_a_panic() {
        for at in 0..LINE.len() {
            for wrong in ["\"", " ", "\\", "-", "9", "[", "é", "", "\0"] {
                let _ = parse(&format!("{}{wrong}{}", &LINE[..at], &LINE[at + 1..]));
            }
        }
    }

    #[test]
    fn faults_say_where_and_what() {
        let cases = [
            ("", 1, "expected a client address, found the end of the line"),
            ("1.2.3.4 - - 17/May", 13, "expected '[' before the time, found '1'"),
            ("1.2.3.4 - - [17/Mai/2015:10:05:03 +0000] ", 17, "expected a month from Jan to Dec, found 'M'"),
            ("1.2.3.4 - - [31/Feb/2015:10:05:03 +0000] ", 14, "expected a day that exists, not before 1970"),
            ("1.2.3.4 - - [17/May/2015:24:05:03 +0000] ", 26, "expected an hour from 0 to 23, found 24"),
        ];
        for (text, column, message) in cases {
            assert_eq!(parse(text).unwrap_err(), Fault { line: 0, column, message: message.to_string() });
        }
        assert_eq!(parse(&line("-", 408)).unwrap_err().column, 43);
        assert_eq!(parse(&line("GET /", 200)).unwrap_err().message, "expected a method, a target and a protocol with spaces between them");
        assert_eq!(parse(&line("GET / FTP/1", 200)).unwrap_err().message, "expected a protocol such as HTTP/1.1");
        assert_eq!(parse(&line("GET / HTTP/1.1", 600)).unwrap_err().message, "expected a status from 100 to 599, found 600");
        assert_eq!(parse(&format!("{LINE} x")).unwrap_err().message, "expected the end of the line, found ' '");
    }

    #[test]
    fn routing_keys_have_three_words() {
        for (request, key) in [
            ("GET / HTTP/1.1", "web.get.root"),
            ("GET /?x=/y HTTP/1.1", "web.get.root"),
            ("GET //blog/tags HTTP/1.0", "web.get.blog"),
            ("HEAD /robots.txt HTTP/1.0", "web.head.robots_txt"),
            ("POST /wp-login.php?a.b HTTP/1.1", "web.post.wp-login_php"),
            ("GET /~psionic/x y/z HTTP/1.1", "web.get._psionic"),
            ("OPTIONS * HTTP/1.1", "web.options._"),
            ("GET http://host.org/Images/a HTTP/1.1", "web.get.Images"),
            ("GET http://host.org HTTP/1.1", "web.get.root"),
            ("GET /redirect?to=http://x/y HTTP/1.1", "web.get.redirect"),
            ("GET /a#*%20 HTTP/1.1", "web.get.a"),
        ] {
            assert_eq!(key_and_lane(request, 200).0, key);
        }
        assert_eq!(key_and_lane(&format!("GET /{} HTTP/1.1", "é".repeat(500)), 200).0, format!("web.get.{}", "_".repeat(64)));
    }

    #[test]
    fn lanes_follow_method_status_and_extension() {
        for (request, status, lane) in [
            ("GET /a.html HTTP/1.1", 200, DEFAULT),
            ("GET /a/b.PNG?v=1 HTTP/1.1", 200, LOW),
            ("HEAD /style2.css HTTP/1.1", 304, LOW),
            ("GET /a.png/ HTTP/1.1", 200, DEFAULT),
            ("GET /png HTTP/1.1", 200, DEFAULT),
            ("GET /?x=a.png HTTP/1.1", 200, DEFAULT),
            ("GET /files/a.pdf HTTP/1.1", 206, DEFAULT),
            ("GET /a.png HTTP/1.1", 404, CRITICAL),
            ("GET / HTTP/1.1", 500, CRITICAL),
            ("POST /a.png HTTP/1.1", 200, CRITICAL),
            ("get / HTTP/1.1", 200, CRITICAL),
        ] {
            assert_eq!(key_and_lane(request, status).1, lane, "{request} {status}");
        }
    }
}
