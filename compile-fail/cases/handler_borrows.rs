//! A handler may outlive whoever declared it.

use ringmill::{Context, QueueConfig, Runtime};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

fn main() {
    let seen = AtomicU32::new(0);
    let mut builder = Runtime::builder();
    let count = |_: &u32, _: &Context<u32>| {
        seen.fetch_add(1, Relaxed);
    };
    builder.queue(QueueConfig::new("q"), count).unwrap();
}
