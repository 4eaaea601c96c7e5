//! The payload says of which type its answer is.

use ringmill::{Delivery, Payload, Request};

struct Add(u32, u32);

impl Payload for Add {}

impl Request for Add {
    type Answer = u32;
}

fn answer(delivery: Delivery<Add>) {
    let _ = delivery.complete("five");
}

fn main() {}
