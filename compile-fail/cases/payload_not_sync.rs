//! After a lease has run out two threads read one payload.

use std::cell::Cell;

struct Tries(Cell<u32>);

impl ringmill::Payload for Tries {}

fn main() {}
