//! A producer waits for one slot at a time.

use ringmill::Producer;

fn both(producer: &mut Producer<u32>) {
    let (one, other) = (producer.publish_async(1), producer.publish_async(2));
    drop((one, other));
}

fn main() {}
