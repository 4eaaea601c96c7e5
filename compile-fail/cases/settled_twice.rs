//! A delivery is settled once.

use ringmill::{Delivery, Stale};

fn settle(delivery: Delivery<u32>) -> Result<(), Stale> {
    delivery.ack()?;
    delivery.retry("again")
}

fn main() {}
