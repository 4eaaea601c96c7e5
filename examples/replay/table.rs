//! Tables of plain text, and numbers a person can read.

/// Rows of cells whose columns line up: the first column to the left, the others to the right.
#[derive(Debug, Default)]
pub struct Table(Vec<Vec<String>>);

impl Table {
    /// A table with these column heads.
    pub fn new(heads: &[&str]) -> Self {
        Table(vec![heads.iter().map(|head| head.to_string()).collect()])
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.push(cells.into_iter().collect());
    }

    /// The lines, indented by two spaces, with a rule under the heads.
    pub fn render(&self) -> String {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| self.0.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (index, row) in self.0.iter().enumerate() {
            let cells = row.iter().zip(&widths).enumerate();
            let line: Vec<String> =
                cells.map(|(n, (cell, width))| if n == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }).collect();
            text += &format!("  {}\n", line.join("  ").trim_end());
            if index == 0 {
                text += &format!("  {}\n", "-".repeat(widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1)));
            }
        }
        text
    }
}

/// `1234567` as `1 234 567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Nanoseconds in the unit that fits, three digits or more.
pub fn nanos(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} us", scaled(ns, 1e3)),
        1_000_000..1_000_000_000 => format!("{} ms", scaled(ns, 1e6)),
        _ => format!("{} s", scaled(ns, 1e9)),
    }
}

fn scaled(ns: u64, unit: f64) -> String {
    let value = ns as f64 / unit;
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$}")
}

/// At most `max` characters of a name, control characters replaced, with a mark where it was cut.
pub fn short(name: &str, max: usize) -> String {
    let printable = name.chars().map(|c| if c.is_control() { '?' } else { c });
    if name.chars().count() <= max { printable.collect() } else { printable.take(max - 1).chain(['~']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["lane", "n"]);
        table.row(["critical".to_string(), "5".to_string()]);
        table.row(["é".to_string(), "1 234".to_string()]);
        assert_eq!(table.render(), "  lane          n\n  ---------------\n  critical      5\n  é         1 234\n");
    }

    #[test]
    fn numbers_are_readable() {
        let numbers = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1 000", "1 234 567"]);
        let times = [0, 999, 1000, 12_345, 123_456, 5_000_000, 61_000_000_000].map(nanos);
        assert_eq!(times, ["0 ns", "999 ns", "1.00 us", "12.3 us", "123 us", "5.00 ms", "61.0 s"]);
    }

    #[test]
    fn long_and_strange_names_are_tamed() {
        assert_eq!(short("abcdef", 6), "abcdef");
        assert_eq!(short("abcdefg", 6), "abcde~");
        assert_eq!(short("a\u{1b}[2J", 6), "a?[2J");
    }
}
