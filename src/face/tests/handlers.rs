//! Handlers put together: several payload types, layers, handlers by kind, shared state.

use super::*;
use crate::limits::KIND_BYTES_MAX;
use crate::tests::threads::Mutex;
use crate::{Context, Job, JobError, Kind, Layer, Layers, Mux, Observed, Overflow, Request, Verdict, with_state};
use std::panic::panic_any;

/// What was seen, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A handler that notes `name` and ends with `verdict`.
fn noting<T>(log: &Log, name: &'static str, verdict: Verdict) -> impl Fn(&T, &Context<T>) -> Verdict + use<T> {
    let log = log.clone();
    move |_, _| {
        log.note(name);
        verdict.clone()
    }
}

fn last_error<T: Payload>(push: &Push<T>) -> String {
    push.queue.dead_letters().take().expect("there is a letter").record().last_error.as_deref().unwrap_or_default().to_owned()
}

// ---- several payload types ----

struct Resize {
    width: u32,
}

impl Payload for Resize {}

#[test]
fn one_pool_serves_queues_of_several_payload_types_by_their_weights() {
    let log = Log::default();
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    builder.pool(PoolConfig::new("default").workers(1)).unwrap();
    let mails = builder.queue(QueueConfig::new("mails").weight(2), noting::<String>(&log, "mail", Verdict::Ack)).unwrap();
    let images = builder.queue(QueueConfig::new("images").weight(1), noting::<Resize>(&log, "image", Verdict::Ack)).unwrap();
    let runtime = builder.build().unwrap();
    let (mail, image) = (mails.producer().unwrap(), images.producer().unwrap());
    for n in 0..30 {
        mail.publish(n.to_string()).unwrap();
        image.publish(Resize { width: n }).unwrap();
    }
    runtime.turn();
    let ran = log.take();
    assert_eq!(ran.len(), 60);
    assert_eq!(ran[..9].iter().filter(|kind| *kind == "mail").count(), 6, "{ran:?}");
    assert_eq!((mails.counts().acked, images.counts().acked), (30, 30));
    adds_up(&runtime);
}

#[test]
fn undone_jobs_of_several_types_come_back_each_as_its_own() {
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let mails = builder.queue(QueueConfig::new("mails"), |_: &String, _: &_| ()).unwrap();
    let images = builder.queue(QueueConfig::new("images"), |_: &Resize, _: &_| ()).unwrap();
    let numbers = builder.pull_queue::<u64>(QueueConfig::new("numbers")).unwrap();
    let runtime = builder.build().unwrap();
    mails.pause();
    images.pause();
    mails.producer().unwrap().publish("hello".to_owned()).unwrap();
    images.producer().unwrap().publish(Resize { width: 80 }).unwrap();
    numbers.producer().unwrap().publish(7).unwrap();
    let mut report = runtime.shutdown(at_once());
    assert_eq!(report.take_undone(&mails).into_iter().map(|undone| undone.payload).collect::<Vec<_>>(), ["hello"]);
    assert_eq!(report.take_undone(&images)[0].payload.width, 80);
    assert_eq!(report.take_undone(&numbers)[0].payload, 7);
}

#[test]
fn workers_on_threads_serve_several_payload_types_and_lose_none() {
    watched(|| {
        let sum = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let (one, other, third) = (sum.clone(), sum.clone(), sum.clone());
        let mut builder = Runtime::builder();
        builder.pool(PoolConfig::new("default").workers(2)).unwrap();
        let texts = builder.queue(QueueConfig::new("texts"), move |text: &String, _: &_| add(&one, text.len() as u64)).unwrap();
        let numbers = builder.queue(QueueConfig::new("numbers"), move |number: &u64, _: &_| add(&other, *number)).unwrap();
        let images = builder.queue(QueueConfig::new("images"), move |image: &Resize, _: &_| add(&third, image.width.into())).unwrap();
        let runtime = builder.build().unwrap();
        crate::tests::threads::scope(|scope| {
            scope.spawn(|| publish_2000(&texts, || "abc".to_owned()));
            scope.spawn(|| publish_2000(&numbers, || 5));
            scope.spawn(|| publish_2000(&images, || Resize { width: 7 }));
        });
        let report = runtime.shutdown(ShutdownOptions::default());
        assert!(report.is_clean());
        for name in ["texts", "numbers", "images"] {
            assert_eq!(report.queue(name).unwrap().counts.acked, 2_000, "{name}");
        }
        assert_eq!(sum.load(SeqCst), 2_000 * (3 + 5 + 7));
    });
}

fn publish_2000<T: Payload>(queue: &QueueHandle<T>, make: impl Fn() -> T) {
    let producer = queue.producer().unwrap();
    for _ in 0..2_000 {
        producer.publish(make()).unwrap();
    }
}

fn add(sum: &std::sync::atomic::AtomicU64, more: u64) {
    sum.fetch_add(more, SeqCst);
}

// ---- layers ----

/// A layer of a type of its own, for any payload.
#[derive(Clone)]
struct Named(Log, &'static str);

impl<T> Layer<T> for Named {
    fn call(&self, _: &T, _: &Context<T>, next: impl Fn() -> Verdict) -> Verdict {
        self.0.note(format!("{} in", self.1));
        let verdict = next();
        self.0.note(format!("{} out", self.1));
        verdict
    }
}

#[test]
fn the_first_layer_is_the_outermost() {
    let log = Log::default();
    let (start, end, closure) = (log.clone(), log.clone(), log.clone());
    let handler = Layers::new()
        .layer(Named(log.clone(), "one"))
        .observe(
            move |_: &u32, _| {
                start.note("two in");
                2
            },
            move |span: i32, _: &u32, _, _| end.note(format!("two out, {span}")),
        )
        .around(move |_: &u32, _, next| {
            closure.note("three in");
            let verdict = next();
            closure.note("three out");
            verdict
        })
        .handler(noting::<u32>(&log, "handler", Verdict::Ack));
    let push = Push::new(q(8), handler);
    push.producer.publish(1).unwrap();
    push.turn();
    let wanted = ["one in", "two in", "three in", "handler", "three out", "two out, 2", "one out"];
    assert_eq!(log.take(), wanted);
    assert_eq!(push.settled().acked, 1);
}

#[test]
fn a_stack_is_a_layer_and_serves_handlers_of_several_types() {
    let log = Log::default();
    let common = Layers::new().layer(Named(log.clone(), "a")).layer(Named(log.clone(), "b"));
    let text = common.clone().handler(noting::<String>(&log, "text", Verdict::Ack));
    let number = Layers::new().layer(Named(log.clone(), "0")).layer(common).handler(noting::<u32>(&log, "number", Verdict::Ack));
    let (texts, numbers) = (Push::new(q(8), text), Push::new(q(8), number));
    texts.producer.publish("x".to_owned()).unwrap();
    texts.turn();
    assert_eq!(log.take(), ["a in", "b in", "text", "b out", "a out"]);
    numbers.producer.publish(1).unwrap();
    numbers.turn();
    assert_eq!(log.take(), ["0 in", "a in", "b in", "number", "b out", "a out", "0 out"]);
}

#[test]
fn layers_take_no_room_that_they_do_not_need() {
    fn plain(_: &u32, _: &Context<u32>) {}
    let bare = Layers::new().handler(plain);
    let hooked = Layers::new().timed(|_: &u32, _, _, _| ()).catch_panic(|_: &u32, _, _| ()).handler(plain);
    assert_eq!((size_of_val(&bare), size_of_val(&hooked)), (0, 0));
}

#[test]
fn a_layer_may_end_the_delivery_itself_or_call_the_handler_again() {
    let log = Log::default();
    let handler = Layers::new()
        .around(|number: &u32, _, next| match number {
            0 => Verdict::Discard,
            1 => next(),
            _ => {
                let _ = next();
                next()
            }
        })
        .handler(noting::<u32>(&log, "ran", Verdict::Ack));
    let push = Push::new(q(8), handler);
    for (number, runs) in [(0, 0), (1, 1), (2, 2)] {
        push.producer.publish(number).unwrap();
        push.turn();
        assert_eq!(log.take().len(), runs, "{number}");
    }
    let counts = push.settled();
    assert_eq!((counts.acked, counts.dropped_discarded), (2, 1));
}

#[test]
fn a_layer_may_return_whatever_a_handler_may() {
    let guarded = Layers::new()
        .around(|number: &u32, _, next| if *number > 9 { Err(JobError::fatal("too many")) } else { Ok(next()) })
        .handler(|_: &u32, _: &_| ());
    let push = Push::new(q(8), guarded);
    push.producer.publish(3).unwrap();
    push.producer.publish(10).unwrap();
    push.turn();
    assert_eq!(last_error(&push), "too many");
    assert_eq!(push.settled().acked, 1);
}

#[test]
fn a_panic_is_seen_by_every_layer_within_the_net_and_mapped_outside_of_none() {
    let log = Log::default();
    let (outer, inner, ends) = (log.clone(), log.clone(), log.clone());
    let say = |log: &Log, who: &str, outcome: Observed<'_>| log.note(format!("{who}: {outcome:?}"));
    let handler = Layers::new()
        .timed(move |_: &u32, _, _, outcome| say(&outer, "outer", outcome))
        .catch_panic(|number: &u32, context: &Context<u32>, message| {
            Verdict::Reject(JobError::fatal(format!("job {number}, attempt {}: {message}", context.attempt())))
        })
        .timed(move |_: &u32, _, _, outcome| say(&inner, "inner", outcome))
        .observe(|_: &u32, _: &_| (), move |(), _: &u32, _, outcome| say(&ends, "innermost", outcome))
        .handler(|number: &u32, _: &_| -> Verdict { panic!("{number} is odd") });
    let push = Push::new(q(8), handler);
    push.producer.publish(7).unwrap();
    push.turn();
    let wanted = [
        r#"innermost: Panicked("7 is odd")"#,
        r#"inner: Panicked("7 is odd")"#,
        r#"outer: Ended(Reject(JobError { reason: "job 7, attempt 1: 7 is odd", class: Fatal }))"#,
    ];
    assert_eq!(log.take(), wanted);
    assert_eq!(last_error(&push), "job 7, attempt 1: 7 is odd");
    let counts = push.settled();
    assert_eq!((counts.panics, counts.dead_rejected), (0, 1), "the queue saw no panic");
}

#[test]
fn a_panic_becomes_whatever_verdict_the_net_says() {
    let handler = Layers::new()
        .catch_panic(|number: &u32, _, _| match number {
            0 => Verdict::Ack,
            1 => Verdict::Discard,
            2 => Verdict::Snooze(secs(3600)),
            _ => Verdict::RetryAfter("panicked".into(), secs(3600)),
        })
        .handler(|_: &u32, _: &_| -> Verdict { panic_any(5_u8) });
    let push = Push::new(q(8), handler);
    for number in 0..4 {
        push.producer.publish(number).unwrap();
    }
    push.turn();
    let counts = push.settled();
    assert_eq!((counts.acked, counts.dropped_discarded, counts.snoozed, counts.retried, counts.panics), (1, 1, 1, 1, 0));
}

#[test]
fn hooks_and_nets_that_panic_are_failed_attempts() {
    let observed = Layers::new().observe(|_: &u32, _: &_| (), |(), _: &u32, _, _| panic!("the hook")).handler(|_: &u32, _: &_| ());
    let netted = Layers::new()
        .catch_panic(|_: &u32, _, _| -> Verdict { panic!("the net") })
        .handler(|_: &u32, _: &_| -> Verdict { panic!("in it") });
    for (push, message) in
        [(Push::new(q(8).retry(at_once_up_to(2)), observed), "the hook"), (Push::new(q(8).retry(at_once_up_to(2)), netted), "the net")]
    {
        push.producer.publish(1).unwrap();
        push.advance(secs(1));
        assert_eq!(last_error(&push), format!("panicked: {message}"));
        assert_eq!(push.settled().panics, 2);
    }
}

#[test]
fn what_a_handler_chained_before_it_panicked_is_not_published() {
    let census = Census::default();
    let born = census.clone();
    let handler = Layers::new().catch_panic(|_: &Counted, _, _| ()).handler(move |job: &Counted, context: &Context<Counted>| {
        let verdict = context.complete_with(born.born(job.number + 1));
        assert!(job.number > 0, "a bug behind the follow-up");
        if job.number < 3 { verdict } else { Verdict::Ack }
    });
    let push = Push::new(q(8), handler);
    push.producer.publish(census.born(0)).unwrap();
    push.turn();
    assert_eq!((push.settled().acked, push.settled().accepted), (1, 1), "acked by the net, without a follow-up");
    assert_eq!(census.alive(), 0);
}

#[test]
fn what_a_handler_answered_before_it_panicked_is_no_answer() {
    let handler = Layers::new().catch_panic(|_: &Task, _, _| ()).handler(|task: &Task, context: &Context<Task>| {
        let verdict = context.complete(task.0.len());
        assert_ne!(task.0, "bug", "behind the answer");
        verdict
    });
    let push = Push::new(q(8), handler);
    let mut ends = ["bug", "fine"].map(|kind| push.producer.watched().publish(task(kind)).unwrap());
    push.turn();
    let answers = ends.each_mut().map(|end| end.try_take().unwrap().answer);
    assert_eq!(answers, [None, Some(4)]);
    assert_eq!(push.settled().acked, 2);
}

#[test]
fn times_are_those_of_the_runtimes_clock() {
    let (clock, log) = (Arc::new(ManualClock::new()), Log::default());
    let (hands, note) = (Arc::clone(&clock), log.clone());
    let handler = Layers::new()
        .timed(move |number: &u64, _, took, _| note.note(format!("{number}: {took:?}")))
        .handler(move |millis: &u64, _: &_| hands.advance(ms(*millis)));
    let push = Push::on(clock, q(8), handler);
    push.producer.publish(5).unwrap();
    push.producer.publish(0).unwrap();
    push.turn();
    assert_eq!(log.take(), ["5: 5ms", "0: 0ns"]);
}

#[test]
fn layers_and_kinds_are_there_in_the_publishers_own_thread_too() {
    let log = Log::default();
    let mux = Mux::by(|kind: &String| kind).on("known", noting::<String>(&log, "known", Verdict::Ack)).unwrap();
    let handler = Layers::new().layer(Named(log.clone(), "layer")).handler(mux);
    let push = Push::new(q(1).overflow(Overflow::CallerRuns), handler);
    push.producer.publish("known".to_owned()).unwrap();
    push.producer.publish("known".to_owned()).unwrap();
    assert_eq!(log.take(), ["layer in", "known", "layer out"], "the second one ran here");
    let error = push.producer.publish("unknown".to_owned()).unwrap_err();
    assert!(error.to_string().contains("no handler for kind `unknown`"), "{error}");
}

// ---- kinds ----

#[derive(Debug)]
struct Task(String);

impl Payload for Task {}

impl Request for Task {
    type Answer = usize;
}

impl Kind for Task {
    fn kind(&self) -> &str {
        assert_ne!(self.0, "panic", "no kind to be had");
        &self.0
    }
}

fn task(kind: &str) -> Job<Task> {
    Job::new(Task(kind.to_owned()))
}

/// Registers a handler that notes its own name.
fn mux_of(log: &Log, exact: &[&'static str], prefixes: &[&'static str]) -> Mux<Task> {
    let mux = exact.iter().fold(Mux::new(), |mux, name| mux.on(*name, noting(log, name, Verdict::Ack)).unwrap());
    prefixes.iter().fold(mux, |mux, name| mux.on_prefix(*name, noting(log, name, Verdict::Ack)).unwrap())
}

#[test]
fn the_exact_name_wins_then_the_longest_prefix_then_the_fallback() {
    let log = Log::default();
    let mux = mux_of(&log, &["mail", "mail:welcome"], &["mail:", "mail:w", "m"]);
    let mux = mux.fallback(noting(&log, "fallback", Verdict::Ack)).unwrap();
    let push = Push::new(q(16), mux);
    let kinds = ["mail", "mail:welcome", "mail:welcome:again", "mail:", "mai", "mailbox", "", "x", "MAIL"];
    for kind in kinds {
        push.producer.publish(task(kind)).unwrap();
    }
    push.turn();
    assert_eq!(log.take(), ["mail", "mail:welcome", "mail:w", "mail:", "m", "m", "fallback", "fallback", "fallback"]);
    assert_eq!(push.settled().acked, 9);
}

#[test]
fn one_name_may_be_an_exact_name_and_a_prefix() {
    let log = Log::default();
    let mux = Mux::new().on_prefix("mail", noting::<Task>(&log, "prefix", Verdict::Ack)).unwrap();
    let push = Push::new(q(8), mux.on("mail", noting(&log, "exact", Verdict::Ack)).unwrap());
    push.producer.publish(task("mail")).unwrap();
    push.producer.publish(task("mails")).unwrap();
    push.turn();
    assert_eq!(log.take(), ["exact", "prefix"]);
}

#[test]
fn a_kind_that_nobody_handles_is_rejected_by_name_at_once() {
    let push = Push::new(q(8), mux_of(&Log::default(), &["mail"], &["image:"]));
    for (kind, said) in [("video:cut", "video:cut"), ("", ""), ("image", "image"), ("tab\tquote`", "tab\\tquote`")] {
        push.producer.publish(task(kind)).unwrap();
        push.turn();
        assert_eq!(last_error(&push), format!("no handler for kind `{said}`"));
    }
    push.producer.publish(task(&"x".repeat(1_000_000))).unwrap();
    push.turn();
    assert_eq!(last_error(&push), format!("no handler for kind `{}...`", "x".repeat(KIND_BYTES_MAX)), "not the whole million");
    let counts = push.settled();
    assert_eq!((counts.dead_rejected, counts.retried), (5, 0));
}

#[test]
fn a_mux_without_handlers_rejects_everything() {
    let push = Push::new(q(8), Mux::<Task>::default());
    push.producer.publish(task("mail")).unwrap();
    push.turn();
    assert_eq!(push.settled().dead_rejected, 1);
}

#[test]
fn names_that_cannot_be_registered_are_named() {
    let mux = || mux_of(&Log::default(), &["mail"], &["image:"]);
    let handler = |_: &Task, _: &Context<Task>| ();
    let said = |result: Result<Mux<Task>, crate::ConfigError>| result.unwrap_err().to_string();
    assert_eq!(said(mux().on("mail", handler)), "mux: name is `mail`, registered twice, allowed is each once");
    assert_eq!(said(mux().on_prefix("image:", handler)), "mux: prefix is `image:`, registered twice, allowed is each once");
    assert_eq!(said(mux().on("", handler)), "mux: name is `` (0 bytes), allowed is 1..=255 bytes");
    assert_eq!(said(mux().on_prefix("", handler)), "mux: prefix is `` (0 bytes), allowed is 1..=255 bytes");
    let long = "é".repeat(128);
    let wanted = format!("mux: name is `{}...` (256 bytes), allowed is 1..=255 bytes", "é".repeat(127));
    assert_eq!(said(mux().on(long, handler)), wanted);
    assert!(mux().on("x".repeat(KIND_BYTES_MAX), handler).is_ok());
    let twice = mux().fallback(handler).unwrap().fallback(handler);
    assert_eq!(said(twice), "mux: fallback is registered twice, allowed is one");
}

#[test]
fn a_kind_that_panics_is_a_failed_attempt() {
    let push = Push::new(q(8).retry(at_once_up_to(3)), mux_of(&Log::default(), &["mail"], &[]));
    push.producer.publish(task("panic")).unwrap();
    push.advance(secs(1));
    assert!(last_error(&push).contains("no kind to be had"));
    assert_eq!(push.settled().panics, 3);
}

#[test]
fn muxes_layers_and_state_nest_in_any_order() {
    let log = Log::default();
    let sizes = Arc::new(Mutex::new(0));
    let resize =
        with_state(Arc::clone(&sizes), |sizes: &Mutex<usize>, task: &Task, _: &Context<Task>| *sizes.lock().unwrap() += task.0.len());
    let resize = Layers::new().layer(Named(log.clone(), "resize")).handler(resize);
    let images = mux_of(&log, &["image:rotate"], &[]).on("image:resize", resize).unwrap();
    let all = mux_of(&log, &["mail"], &[]).on_prefix("image:", images).unwrap();
    let push = Push::new(q(8), Layers::new().layer(Named(log.clone(), "all")).handler(all));
    for kind in ["mail", "image:rotate", "image:resize"] {
        push.producer.publish(task(kind)).unwrap();
    }
    push.turn();
    let wanted = ["all in", "mail", "all out", "all in", "image:rotate", "all out", "all in", "resize in", "resize out", "all out"];
    assert_eq!(log.take(), wanted);
    assert_eq!(*sizes.lock().unwrap(), "image:resize".len());
}

#[test]
fn one_mux_serves_two_queues() {
    let log = Log::default();
    let mux = Arc::new(mux_of(&log, &["mail"], &["image:"]));
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let queues = ["critical", "default"].map(|name| builder.queue(QueueConfig::new(name), Arc::clone(&mux)).unwrap());
    let runtime = builder.build().unwrap();
    for (queue, kind) in queues.iter().zip(["mail", "image:crop"]) {
        queue.producer().unwrap().publish(task(kind)).unwrap();
    }
    runtime.turn();
    let mut ran = log.take();
    ran.sort();
    assert_eq!(ran, ["image:", "mail"]);
}

#[test]
fn a_shared_payload_has_the_kind_of_what_is_shared() {
    let log = Log::default();
    let mux = Mux::new().on("mail", noting::<Arc<Task>>(&log, "mail", Verdict::Ack)).unwrap();
    let push = Push::new(q(8), mux);
    push.producer.publish(Arc::new(Task("mail".to_owned()))).unwrap();
    push.turn();
    assert_eq!(log.take(), ["mail"]);
}

// ---- state ----

trait Store: Send + Sync {
    fn put(&self, value: u32);
}

impl Store for Log {
    fn put(&self, value: u32) {
        self.note(value.to_string());
    }
}

impl Log {
    fn keep(&self, number: &u32, context: &Context<u32>) -> Result<(), JobError> {
        self.note(format!("{number}, attempt {}", context.attempt()));
        if context.attempt() == 1 { Err("once more".into()) } else { Ok(()) }
    }
}

#[test]
fn state_may_be_a_trait_object_a_tuple_or_the_receiver_of_a_method() {
    fn save(store: &(dyn Store + 'static), number: &u32, _: &Context<u32>) {
        store.put(*number);
    }
    let log = Log::default();
    let shared: Arc<dyn Store> = Arc::new(log.clone());
    let handlers: [Arc<dyn Handler<u32>>; 3] = [
        Arc::new(with_state(shared, save)),
        Arc::new(with_state(Arc::new((log.clone(), 10)), |(log, factor): &(Log, u32), number: &u32, _: &Context<u32>| {
            log.put(number * factor)
        })),
        Arc::new(with_state(Arc::new(log.clone()), Log::keep)),
    ];
    for (handler, wanted) in handlers.into_iter().zip([vec!["4"], vec!["40"], vec!["4, attempt 1", "4, attempt 2"]]) {
        let push = Push::new(q(8).retry(at_once_up_to(2)), handler);
        push.producer.publish(4).unwrap();
        push.advance(secs(1));
        assert_eq!(log.take(), wanted);
        assert_eq!(push.settled().acked, 1);
    }
}

#[test]
fn parts_say_what_they_are() {
    let mux = mux_of(&Log::default(), &["mail"], &["image:"]);
    assert_eq!(format!("{mux:?}"), r#"Mux { exact: ["mail"], prefixes: ["image:"], fallback: false, .. }"#);
    let handler = Layers::new().timed(|_: &u32, _, _, _| ()).catch_panic(|_: &u32, _, _| ()).handler(|_: &u32, _: &Context<u32>| ());
    assert_eq!(format!("{handler:?}"), "Layered { layers: (((), Timed), CatchPanic), .. }");
    assert_eq!(format!("{:?}", with_state(Arc::new(1), |_: &i32, _: &u32, _: &Context<u32>| ())), "WithState { .. }");
}
