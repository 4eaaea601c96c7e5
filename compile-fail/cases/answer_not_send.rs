//! An answer moves to the thread that waits for it.

use ringmill::{Payload, Request};
use std::rc::Rc;

struct Ask;

impl Payload for Ask {}

impl Request for Ask {
    type Answer = Rc<str>;
}

fn main() {}
