//! Runs a model: under loom through its schedules, otherwise a few rounds on real threads.

#[cfg(ringmill_sanitize)]
pub mod one_thread;

use ringmill::sync::{Parker, Unparker};
use std::task::{Wake, Waker};

/// A task whose executor is a thread that parks.
pub fn waker_of(parker: &Parker) -> Waker {
    struct Thread(Unparker);
    impl Wake for Thread {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    std::sync::Arc::new(Thread(parker.unparker())).into()
}

/// How far a model is explored.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(loom), allow(dead_code, reason = "real threads have no schedule to bound"))]
pub struct Bound {
    /// Preemptions per execution; `None`: all interleavings.
    pub preemptions: Option<usize>,
    /// Seconds before the model is cut. A cut model fails: it proved nothing.
    pub seconds: u64,
}

impl Bound {
    pub const ALL: Bound = Bound { preemptions: None, seconds: 120 };

    pub const fn preemptions(bound: usize) -> Bound {
        Bound { preemptions: Some(bound), seconds: 120 }
    }
}

/// Checks `model`, prints the number of executions and DONE, fails when it was cut.
#[cfg(loom)]
pub fn check(name: &str, bound: Bound, model: impl Fn() + Send + Sync + 'static) {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    ringmill::sync::reached();
    let executions = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&executions);
    let began = std::time::Instant::now();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = bound.preemptions;
    builder.max_branches = 20_000;
    let seconds = crate::weaken::seconds(bound.seconds);
    builder.max_duration = Some(std::time::Duration::from_secs(seconds));
    builder.checkpoint_interval = 500;
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let cut = began.elapsed().as_secs() >= seconds;
    let verdict = if cut { "CUT" } else { "DONE" };
    let preemptions = bound.preemptions.map_or("all".to_owned(), |bound| bound.to_string());
    println!(
        "{name}: {} executions, preemptions {preemptions}, {:.1} s, {verdict}",
        executions.load(Ordering::Relaxed),
        began.elapsed().as_secs_f64()
    );
    crate::weaken::told(&ringmill::sync::reached());
    assert!(!cut || crate::weaken::reaches(), "{name} was cut after {seconds} s: raise the limit or shrink the model");
}

/// Runs `model` in some schedules.
#[cfg(ringmill_shuttle)]
pub fn check(_name: &str, _bound: Bound, model: impl Fn() + Send + Sync + 'static) {
    shuttle::check_random(model, 50);
}

/// Runs `model` some rounds on real threads.
#[cfg(not(any(loom, ringmill_shuttle)))]
pub fn check(_name: &str, _bound: Bound, model: impl Fn() + Send + Sync + 'static) {
    for _ in 0..50 {
        model();
    }
}

/// What a panic said.
#[cfg(any(loom, ringmill_shuttle))]
pub fn message(panic: &(dyn std::any::Any + Send)) -> String {
    panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string())).unwrap_or_default()
}

/// A failing twin: the same model with a mutation must be caught. Asks nothing of real threads, which may be lucky.
#[cfg(loom)]
pub fn must_fail(name: &str, bound: Bound, model: impl Fn() + Send + Sync + 'static) {
    if crate::weaken::runs() {
        return;
    }
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(name, bound, model)));
    let Err(panic) = outcome else { panic!("{name}: the mutation was not caught, so its model proves nothing") };
    let message = message(&*panic);
    assert!(!message.contains("was cut after"), "{name}: cut before the mutation was caught");
    println!("{name}: caught: {}", message.lines().next().unwrap_or_default());
}

#[cfg(not(loom))]
pub fn must_fail(_name: &str, _bound: Bound, model: impl Fn() + Send + Sync + 'static) {
    let _ = &model;
}

/// As [`must_fail`], in a process of its own: for mutations that end in a deadlock while a thread waits on a condition variable. loom's
/// report unwinds through the waiter's guard, panics again, and aborts the process. The output must hold `reason`.
#[cfg(loom)]
pub fn must_die(name: &str, reason: &str, bound: Bound, model: impl Fn() + Send + Sync + 'static) {
    const TWIN: &str = "RINGMILL_TWIN";
    if crate::weaken::runs() {
        return;
    }
    if std::env::var(TWIN).as_deref() == Ok(name) {
        return check(name, bound, model);
    }
    let test = std::thread::current().name().expect("a test's thread bears its name").to_owned();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([test.as_str(), "--exact", "--nocapture", "--test-threads=1"])
        .env(TWIN, name)
        .output()
        .unwrap();
    let output = format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(!child.status.success(), "{name}: the mutation was not caught, so its model proves nothing\n{output}");
    assert!(output.contains(reason), "{name}: caught, but not for \"{reason}\"\n{output}");
    println!("{name}: caught, {reason}");
}

#[cfg(not(loom))]
pub fn must_die(_name: &str, _reason: &str, _bound: Bound, model: impl Fn() + Send + Sync + 'static) {
    let _ = &model;
}

/// Rules that are sound but for one, each for a twin: name, rule, type and value.
macro_rules! twins {
    ($($(#[$doc:meta])* $name:ident $field:ident: $type:ty = $value:expr;)*) => { $(
        $(#[$doc])*
        #[derive(Debug)]
        struct $name;

        impl Rules for $name {
            const $field: $type = $value;
        }
    )* };
}

pub(crate) use twins;
