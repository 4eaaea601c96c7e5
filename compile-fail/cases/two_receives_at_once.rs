//! A consumer waits for one delivery at a time.

use ringmill::Consumer;

fn both(consumer: &mut Consumer<u32>) {
    let (one, other) = (consumer.recv_async(), consumer.recv_async());
    drop((one, other));
}

fn main() {}
