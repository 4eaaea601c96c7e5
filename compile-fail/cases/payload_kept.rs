//! A payload is lent for the time of the delivery.

use ringmill::{Context, QueueConfig, Runtime};
use std::sync::Mutex;

static LAST: Mutex<Option<&'static String>> = Mutex::new(None);

fn keep(text: &String, _: &Context<String>) {
    *LAST.lock().unwrap() = Some(text);
}

fn main() {
    Runtime::builder().queue(QueueConfig::new("q"), keep).unwrap();
}
