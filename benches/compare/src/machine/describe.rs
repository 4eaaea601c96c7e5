//! What a reader of figures wants to know about the machine.

use super::cores::cores;
use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The machine and its software, in one line.
pub fn describe() -> String {
    let read = |path| fs::read_to_string(path).ok();
    let field = |text: String, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let model = read("/proc/cpuinfo").and_then(|text| field(text, "model name")).unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = read("/proc/meminfo").and_then(|text| field(text, "MemTotal")).and_then(|kibi| {
        let kibi: f64 = kibi.split_whitespace().next()?.parse().ok()?;
        Some(format!("{:.0} GiB", kibi / (1024.0 * 1024.0)))
    });
    let kernel = read("/proc/sys/kernel/osrelease").map(|release| format!("{} {}", std::env::consts::OS, release.trim()));
    let compiler = output_of("rustc", &["--version"]);
    let cpus = format!("{} CPUs of {model}", cores().len());
    [Some(cpus), memory, kernel, compiler].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The commit that was built, if this is a clone.
pub fn commit() -> Option<String> {
    output_of("git", &["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--short", "HEAD"])
}

fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// Today in UTC, as in 2026-11-23.
pub fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = date_of(seconds / 86_400);
    format!("{year}-{month:02}-{day:02}")
}

/// The Gregorian date so many days after 1 January 1970.
fn date_of(days: u64) -> (u64, u64, u64) {
    // in years that begin in March, so that leap days come last, counted from the year 0
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    if month < 10 { (400 * era + year, month + 3, day) } else { (400 * era + year + 1, month - 9, day) }
}

#[cfg(test)]
mod tests {
    use super::date_of;

    #[test]
    fn dates_are_right_around_leap_days() {
        assert_eq!(date_of(0), (1970, 1, 1));
        assert_eq!(date_of(11_016), (2000, 2, 29));
        assert_eq!(date_of(11_017), (2000, 3, 1));
        assert_eq!(date_of(20_454), (2026, 1, 1));
        assert_eq!(date_of(20_780), (2026, 11, 23));
    }
}
