//! An exchange sends to queues of its own payload.

use ringmill::{Binding, ExchangeConfig, QueueConfig, Runtime};

fn main() {
    let mut builder = Runtime::builder();
    let mails = builder.pull_queue::<String>(QueueConfig::new("mails")).unwrap();
    let tasks = builder.exchange(ExchangeConfig::<u32>::topic("tasks")).unwrap();
    tasks.bind(Binding::new("#", &mails)).unwrap();
}
