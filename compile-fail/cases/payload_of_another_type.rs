//! A producer takes the payloads of its queue.

use ringmill::{QueueConfig, Runtime};

fn main() {
    let mut builder = Runtime::builder();
    let mails = builder.pull_queue::<String>(QueueConfig::new("mails")).unwrap();
    mails.producer().unwrap().publish(640_u32).unwrap();
}
