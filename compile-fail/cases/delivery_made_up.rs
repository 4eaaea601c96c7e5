//! Nobody makes up a delivery, or the id of a job.

use ringmill::{Delivery, JobId};

fn forge() -> (Delivery<u32>, JobId) {
    (Delivery { parts: None }, JobId(7))
}

fn main() {}
