//! Reserved slots are the producer's.

use ringmill::{QueueConfig, Runtime};

fn main() {
    let mut builder = Runtime::builder();
    let queue = builder.pull_queue::<u32>(QueueConfig::new("q")).unwrap();
    let producer = queue.producer().unwrap();
    let mut permits = producer.reserve(0, 4).unwrap();
    drop(producer);
    permits.publish(1).unwrap();
}
