//! A predicate is asked by every publisher.

use ringmill::{Binding, QueueHandle};
use std::rc::Rc;

fn bind(queue: &QueueHandle<u32>, least: Rc<u32>) -> Binding<u32> {
    Binding::new("#", queue).when(move |_, n| *n >= *least)
}

fn main() {}
