//! ... nor changes it.

use ringmill::Delivery;

fn change(mut delivery: Delivery<String>) {
    delivery.push('!');
}

fn main() {}
