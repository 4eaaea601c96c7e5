//! Who has settled a delivery has no right to its payload.

use ringmill::Delivery;

fn read(delivery: Delivery<String>) -> usize {
    let text: &String = delivery.payload();
    delivery.ack().unwrap();
    text.len()
}

fn main() {}
