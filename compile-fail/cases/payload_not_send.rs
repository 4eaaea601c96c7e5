//! A payload moves between threads.

use std::rc::Rc;

struct Shared(Rc<str>);

impl ringmill::Payload for Shared {}

fn main() {}
