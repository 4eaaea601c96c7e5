//! The table of what is expected, and the judgement of what was found.
//!
//! ```text
//! # a comment
//! compiler: rustc 1.95.0 (59807616e 2026-04-14), x86_64-unknown-linux-gnu
//! publish                  130   5 %   a job published
//! ```
//!
//! A row is a path, the instructions of one operation, how much more or less may be found, and, for the reader, what one operation is.

use crate::paths::PATHS;
use std::fmt;

/// How far a path may be off, unless its row says otherwise.
const TOLERANCE_PERCENT: u64 = 5;

const HEAD: &str = "\
# Instructions of one operation in one thread; docs/benchmarks.md says how they are counted.
# Written by `cargo bench --profile release --bench instructions -- --update`, which keeps the tolerances.
";

/// What is expected of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub path: String,
    pub instructions: u64,
    pub tolerance_percent: u64,
}

/// What is expected, and of which compiler.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    pub compiler: String,
    pub rows: Vec<Row>,
}

/// How a count compares with its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    AsExpected,
    Dearer,
    /// As bad as dearer: until the table follows, what was gained could be lost again and nobody would know.
    Cheaper,
}

impl Row {
    pub fn judge(&self, found: u64) -> Judgement {
        // at least one instruction, however short the path
        let leeway = (self.instructions * self.tolerance_percent).div_ceil(100);
        if found > self.instructions + leeway {
            Judgement::Dearer
        } else if found + leeway < self.instructions {
            Judgement::Cheaper
        } else {
            Judgement::AsExpected
        }
    }

    fn parse(line: &str) -> Option<Row> {
        let mut words = line.split_whitespace();
        let (path, instructions, tolerance, percent) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let (instructions, tolerance_percent) = (instructions.parse().ok()?, tolerance.parse().ok()?);
        (percent == "%").then(|| Row { path: path.to_owned(), instructions, tolerance_percent })
    }
}

impl Table {
    /// Reads a table; the error names the line.
    pub fn parse(text: &str) -> Result<Table, String> {
        let mut table = Table::default();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            match line.strip_prefix("compiler: ") {
                Some(compiler) => compiler.clone_into(&mut table.compiler),
                None => table.rows.push(
                    Row::parse(line)
                        .ok_or_else(|| format!("line {number}: `{line}` is not a path, its instructions and its tolerance in %"))?,
                ),
            }
        }
        Ok(table)
    }

    pub fn row(&self, path: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.path == path)
    }

    /// A path without a row is judged by nobody, and a row without a path says nothing: what there is of both.
    pub fn mismatches(&self) -> Vec<String> {
        let rowless = PATHS.iter().filter(|path| self.row(path.name).is_none()).map(|path| format!("`{}` has no row", path.name));
        let pathless = |row: &&Row| PATHS.iter().all(|path| path.name != row.path);
        rowless.chain(self.rows.iter().filter(pathless).map(|row| format!("there is no path `{}`", row.path))).collect()
    }

    /// The table for what was found, with the tolerances of this one.
    pub fn updated(&self, compiler: &str, found: &[u64]) -> Table {
        let row = |(path, &instructions): (&crate::paths::Path, &u64)| Row {
            path: path.name.to_owned(),
            instructions,
            tolerance_percent: self.row(path.name).map_or(TOLERANCE_PERCENT, |row| row.tolerance_percent),
        };
        Table { compiler: compiler.to_owned(), rows: PATHS.iter().zip(found).map(row).collect() }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}\ncompiler: {}\n", self.compiler)?;
        for Row { path, instructions, tolerance_percent } in &self.rows {
            let operation = PATHS.iter().find(|known| known.name == path).map_or("", |known| known.operation);
            writeln!(f, "{path:<20} {instructions:>6} {tolerance_percent:>3} %   {operation}")?;
        }
        Ok(())
    }
}
