//! All workers of a pool share one handler.

use ringmill::{Context, QueueConfig, Runtime};
use std::cell::Cell;

fn main() {
    let seen = Cell::new(0);
    let mut builder = Runtime::builder();
    let count = move |_: &u32, _: &Context<u32>| seen.set(seen.get() + 1);
    builder.queue(QueueConfig::new("q"), count).unwrap();
}
