//! What may go to several queues can be cloned.

use ringmill::{ExchangeConfig, Payload, Runtime};

struct Unique;

impl Payload for Unique {}

fn main() {
    let mut builder = Runtime::builder();
    let tasks = builder.exchange(ExchangeConfig::<Unique>::topic("tasks")).unwrap();
    let _ = tasks.publisher().publish("a.b", Unique);
}
