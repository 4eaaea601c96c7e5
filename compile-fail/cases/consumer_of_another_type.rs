//! A consumer gives the payloads of its queue.

use ringmill::{Consumer, QueueConfig, Runtime};

fn main() {
    let mut builder = Runtime::builder();
    let mails = builder.pull_queue::<String>(QueueConfig::new("mails")).unwrap();
    let _: Consumer<u32> = mails.consumer().unwrap();
}
