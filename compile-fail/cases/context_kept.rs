//! A context ends with its delivery.

use ringmill::{Context, QueueConfig, Runtime};

fn keep(context: &Context<u32>) -> &'static Context<u32> {
    context
}

fn main() {
    Runtime::builder().queue(QueueConfig::new("q"), |_: &u32, context: &Context<u32>| drop(keep(context))).unwrap();
}
