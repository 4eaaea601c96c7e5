//! One delivery, one right to settle it.

use ringmill::Delivery;

fn copy(delivery: &Delivery<u32>) -> Delivery<u32> {
    <Delivery<u32> as Clone>::clone(delivery)
}

fn main() {}
