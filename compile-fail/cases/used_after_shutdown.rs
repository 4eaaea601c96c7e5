//! A shutdown takes the runtime.

use ringmill::Runtime;

fn main() {
    let runtime = Runtime::builder().build().unwrap();
    let report = runtime.shutdown(Default::default());
    assert!(report.is_clean() && runtime.snapshot().queues.is_empty());
}
