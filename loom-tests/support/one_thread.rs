//! A test runner for sanitizers: one test after the other, in the main thread. The standard one hands results between threads through parts of the standard library that
//! ThreadSanitizer does not see into, prints from threads, and captures output.
//!
//! Arguments: words that a test's name must contain, `--skip WORD`, `--ignored`.

extern crate test;

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use test::{ShouldPanic, TestDescAndFn, TestFn};

pub fn run(tests: &[&TestDescAndFn]) {
    let (mut wanted, mut skipped, mut ignored) = (Vec::new(), Vec::new(), false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--skip" => skipped.extend(arguments.next()),
            "--ignored" => ignored = true,
            _ => wanted.push(argument),
        }
    }
    // a panic's report is printed by whatever thread panics
    set_hook(Box::new(|_| ()));
    let (mut passed, mut failed) = (0, Vec::new());
    for test in tests {
        let name = test.desc.name.as_slice();
        let says = |word: &String| name.contains(word.as_str());
        if test.desc.ignore != ignored || skipped.iter().any(says) || !(wanted.is_empty() || wanted.iter().any(says)) {
            continue;
        }
        let TestFn::StaticTestFn(body) = test.testfn else { continue };
        println!("test {name}");
        let outcome = catch_unwind(AssertUnwindSafe(body));
        match (outcome, test.desc.should_panic) {
            (Ok(_), ShouldPanic::No) | (Err(_), ShouldPanic::Yes | ShouldPanic::YesWithMessage(_)) => passed += 1,
            (Ok(_), _) => failed.push(format!("{name}: it did not panic")),
            (Err(panic), ShouldPanic::No) => {
                let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
                failed.push(format!("{name}: {}", text.unwrap_or_default()));
            }
        }
    }
    println!("{passed} passed, {} failed", failed.len());
    failed.iter().for_each(|failure| println!("FAILED {failure}"));
    if passed == 0 || !failed.is_empty() {
        std::process::exit(1);
    }
}
