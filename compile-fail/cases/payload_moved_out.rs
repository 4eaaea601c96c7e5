//! A handler that overran its lease may read the payload beside its successor: nobody takes it out.

use ringmill::Delivery;

fn take(delivery: Delivery<String>) -> String {
    *delivery
}

fn main() {}
