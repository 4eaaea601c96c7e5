//! What a handler returns says what becomes of the job.

use ringmill::{Context, QueueConfig, Runtime};

fn main() {
    let mut builder = Runtime::builder();
    builder.queue(QueueConfig::new("q"), |n: &u32, _: &Context<u32>| *n).unwrap();
}
