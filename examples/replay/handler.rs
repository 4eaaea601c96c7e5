//! What a worker does with one delivery. Knows nothing of the runtime: `drive` translates.

use std::hint::spin_loop;
use std::panic::resume_unwind;
use std::time::{Duration, Instant};

use crate::aggregate::{Aggregate, Tally};
use crate::record::{Record, Verdict, Work};
use crate::{apache, azure};

/// How a delivery that did not succeed ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Another delivery may succeed.
    Transient(String),
    /// No delivery can succeed.
    Fatal(String),
}

/// Handles delivery number `attempt` (from 1) of a record.
///
/// # Panics
/// When the trace says so. The panic hook is passed over: a scripted panic is no news and must not fill the screen.
pub fn handle(record: &Record, attempt: u32, work_scale: f64, aggregate: &Aggregate) -> Result<(), Failure> {
    let tally = perform(record, attempt, work_scale)?;
    match record.work.verdict(attempt) {
        Verdict::Ack => {
            aggregate.add(&record.tenant, &record.key, tally);
            Ok(())
        }
        Verdict::Transient(why) => Err(Failure::Transient(why.to_string())),
        Verdict::Reject(why) => Err(Failure::Fatal(why.to_string())),
        Verdict::Panic(why) => resume_unwind(Box::new(why.to_string())),
    }
}

fn perform(record: &Record, attempt: u32, work_scale: f64) -> Result<Tally, Failure> {
    match &record.work {
        Work::Apache { line, .. } => {
            let request = apache::parse(line).map_err(|fault| Failure::Fatal(fault.to_string()))?;
            Ok(Tally { jobs: 1, units: request.bytes, errors: u64::from(request.status >= 400) })
        }
        Work::Llm { context, generated } => {
            busy(azure::service(*context, *generated).mul_f64(work_scale));
            Ok(Tally { jobs: 1, units: u64::from(*context) + u64::from(*generated), errors: 0 })
        }
        Work::Scripted(script) => {
            if attempt == 1 && script.stall_ms > 0 {
                std::thread::sleep(Duration::from_millis(script.stall_ms));
            }
            busy(Duration::from_micros(script.service_us).mul_f64(work_scale));
            Ok(Tally { jobs: 1, units: script.service_us, errors: 0 })
        }
        Work::Invalid(fault) => Err(Failure::Fatal(fault.to_string())),
    }
}

/// Keeps this core busy for so long.
fn busy(service: Duration) {
    if service.is_zero() {
        return;
    }
    let start = Instant::now();
    while start.elapsed() < service {
        spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Names, Script};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn scripted(script: Script) -> Record {
        let name = Names::default().get("a");
        Record { line: 1, at: Duration::ZERO, tenant: name.clone(), key: name, lane: 0, work: Work::Scripted(script) }
    }

    #[test]
    fn only_success_is_added_up() {
        let sums = Aggregate::default();
        let record = scripted(Script { fail_times: 1, service_us: 3, ..Script::default() });
        assert_eq!(handle(&record, 1, 0.0, &sums), Err(Failure::Transient("scripted failure".to_string())));
        assert_eq!(sums.rankings(1).0.distinct, 0);
        assert_eq!(handle(&record, 2, 0.0, &sums), Ok(()));
        assert_eq!(sums.rankings(1).0.top[0].tally, Tally { jobs: 1, units: 3, errors: 0 });
    }

    #[test]
    fn a_scripted_panic_carries_its_words() {
        let record = scripted(Script { panic: true, ..Script::default() });
        let caught = catch_unwind(AssertUnwindSafe(|| handle(&record, 1, 1.0, &Aggregate::default()))).unwrap_err();
        assert_eq!(caught.downcast_ref::<String>().map(String::as_str), Some("scripted panic"));
    }

    #[test]
    fn service_is_never_shorter_than_asked_and_a_stall_happens_once() {
        let record = scripted(Script { service_us: 300, stall_ms: 20, ..Script::default() });
        let start = Instant::now();
        handle(&record, 2, 2.0, &Aggregate::default()).unwrap();
        let second = start.elapsed();
        handle(&record, 1, 2.0, &Aggregate::default()).unwrap();
        assert!(second >= Duration::from_micros(600));
        assert!(start.elapsed() - second >= Duration::from_micros(20_600));
    }
}
