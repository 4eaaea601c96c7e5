//! Layers, and the stack of them.

use super::hooks::{Around, CatchPanic, Observe, Observed, Timed};
use crate::runtime::handler::{Context, Handler};
use crate::verdict::{IntoVerdict, Verdict};
use std::fmt;
use std::time::Duration;

/// What happens around a handler: before it, after it, or instead of it.
///
/// The layers that most programs need are methods of [`Layers`], and [`Layers::around`] makes one of a closure. Implement this trait for a layer that has
/// state or settings of its own, or fits around handlers of any payload.
///
/// A layer that does not call `next` ends the delivery by itself, with the verdict it returns; one that calls it twice has the handler called twice. What
/// counts is the verdict that the outermost layer returns; a follow-up ([`Context::complete_with`]) is published, and an answer ([`Context::complete`]) given, if
/// that is [`Verdict::Ack`]. A panic goes through a layer like through any function.
///
/// `()` is the layer that does nothing, and a pair of layers is a layer, the first one outside.
///
/// ```
/// use ringmill::clock::ManualClock;
/// use ringmill::{Context, Layer, Layers, QueueConfig, Runtime, Verdict};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use std::time::Duration;
///
/// /// While the switch is off, jobs come back later; that spends no attempt.
/// struct Switch(Arc<AtomicBool>);
///
/// impl<T> Layer<T> for Switch {
///     fn call(&self, _: &T, _: &Context<T>, next: impl Fn() -> Verdict) -> Verdict {
///         if self.0.load(Ordering::Relaxed) { next() } else { Verdict::Snooze(Duration::from_secs(60)) }
///     }
/// }
///
/// let (clock, on) = (Arc::new(ManualClock::new()), Arc::new(AtomicBool::new(false)));
/// let mut builder = Runtime::builder().manual(clock.clone());
/// let handler = Layers::new().layer(Switch(on.clone())).handler(|_: &&str, _: &_| ());
/// let mails = builder.queue(QueueConfig::new("mails"), handler)?;
/// let runtime = builder.build()?;
/// mails.producer()?.publish("hello")?;
/// runtime.advance(&clock, Duration::from_secs(30));
/// assert_eq!((mails.counts().snoozed, mails.counts().acked), (1, 0));
/// on.store(true, Ordering::Relaxed);
/// runtime.advance(&clock, Duration::from_secs(31));
/// assert_eq!(mails.counts().acked, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "middleware")]
pub trait Layer<T>: Send + Sync + 'static {
    /// Works on one job by calling `next`: the handler, within whatever layers lie further in.
    fn call(&self, payload: &T, context: &Context<T>, next: impl Fn() -> Verdict) -> Verdict;
}

impl<T> Layer<T> for () {
    #[inline]
    fn call(&self, _payload: &T, _context: &Context<T>, next: impl Fn() -> Verdict) -> Verdict {
        next()
    }
}

impl<T, A: Layer<T>, B: Layer<T>> Layer<T> for (A, B) {
    #[inline]
    fn call(&self, payload: &T, context: &Context<T>, next: impl Fn() -> Verdict) -> Verdict {
        self.0.call(payload, context, || self.1.call(payload, context, &next))
    }
}

/// A stack of layers, from the outermost to the innermost, to be put around a [handler](Layers::handler).
///
/// **Order**: the layer that is added first is the outermost. It sees the job first and the verdict last. So a `timed` above a `catch_panic` measures what the
/// latter makes of panics as well; below it, it sees the panics themselves.
///
/// ```text
/// Layers::new().timed(a).catch_panic(b).handler(h)
///
///     job   ->  timed  ->  catch_panic  ->  h
/// verdict  <-   timed  <-  catch_panic  <-  h
/// ```
///
/// A stack is a layer too, so one stack can be used for many handlers: [`clone`](Clone) it, or put it into another. Layers are part of the handler: they are
/// there wherever it runs, in the publisher's own thread ([`Overflow::CallerRuns`](crate::Overflow::CallerRuns)) as well.
///
/// # Guarantees
/// - A stack is compiled into its handler: nothing is boxed, and a stack without layers is the handler.
///
/// # Examples
/// ```
/// use ringmill::{Context, JobError, Layers, QueueConfig, Runtime, Verdict};
/// use std::sync::{Arc, Mutex};
///
/// fn send(address: &String, _: &Context<String>) {
///     assert!(address.contains('@'), "no address");
/// }
///
/// let seen = Arc::new(Mutex::new(Vec::new()));
/// let note = seen.clone();
/// let handler = Layers::new()
///     .around(move |address: &String, context, next| {
///         let verdict = next();
///         note.lock().unwrap().push((address.clone(), context.attempt(), verdict.clone()));
///         verdict
///     })
///     .catch_panic(|_: &String, _, message| Verdict::Reject(JobError::fatal(message)))
///     .handler(send);
///
/// let mut builder = Runtime::builder();
/// let mails = builder.queue(QueueConfig::new("mails"), handler)?;
/// let runtime = builder.build()?;
/// mails.producer()?.publish("nobody".to_owned())?;
/// runtime.shutdown(Default::default());
/// assert_eq!(*seen.lock().unwrap(), [("nobody".to_owned(), 1, Verdict::Reject(JobError::fatal("no address")))]);
/// assert_eq!((mails.counts().dead_lettered, mails.counts().panics), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "middleware")]
#[doc(alias = "ServiceBuilder")]
#[derive(Debug, Clone, Default)]
pub struct Layers<L = ()> {
    layers: L,
}

impl Layers {
    /// No layers yet.
    pub fn new() -> Self {
        Layers { layers: () }
    }
}

impl<L> Layers<L> {
    /// Adds a layer, inside of those there are.
    #[must_use]
    pub fn layer<N>(self, next: N) -> Layers<(L, N)> {
        Layers { layers: (self.layers, next) }
    }

    /// Adds a closure that works on a job by calling `next`, or does not call it.
    ///
    /// `next` is a reference to a trait object, since a closure cannot be generic: one indirect call, where the compiler does not see through it.
    ///
    /// ```
    /// use ringmill::{Context, JobError, Layers, QueueConfig, Runtime, Verdict};
    ///
    /// struct Order { paid: bool }
    /// impl ringmill::Payload for Order {}
    ///
    /// let handler = Layers::new()
    ///     .around(|order: &Order, _, next| if order.paid { next() } else { Verdict::Discard }) // instead of the handler
    ///     .around(|_: &Order, context, next| match next() {
    ///         Verdict::Retry(error) if context.attempt() == 2 => Verdict::Reject(error), // another verdict
    ///         verdict => verdict,
    ///     })
    ///     .handler(|_: &Order, _: &_| Err::<(), _>("no answer"));
    ///
    /// let mut builder = Runtime::builder();
    /// let orders = builder.queue(QueueConfig::new("orders"), handler)?;
    /// let runtime = builder.build()?;
    /// orders.producer()?.publish(Order { paid: false })?;
    /// orders.producer()?.publish(Order { paid: true })?;
    /// runtime.shutdown(Default::default());
    /// let counts = orders.counts();
    /// assert_eq!((counts.dropped_discarded, counts.retried, counts.dead_lettered), (1, 1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "from_fn")]
    #[must_use]
    pub fn around<T, F, R>(self, around: F) -> Layers<(L, Around<F>)>
    where
        F: Fn(&T, &Context<T>, &dyn Fn() -> Verdict) -> R + Send + Sync + 'static,
        R: IntoVerdict,
    {
        self.layer(Around(around))
    }

    /// Adds a pair of hooks that only look: `start` is called before the handler, `end` after it, also when it panicked; the panic then goes on. What `start`
    /// returns, such as an entered tracing span, is kept meanwhile and given to `end`.
    ///
    /// ```
    /// use ringmill::{Context, Layers, Observed, QueueConfig, Runtime};
    /// use std::sync::{Arc, Mutex};
    ///
    /// let log = Arc::new(Mutex::new(Vec::new()));
    /// let note = log.clone();
    /// let handler = Layers::new()
    ///     .observe(
    ///         |number: &u32, context: &Context<u32>| format!("{number}, attempt {}", context.attempt()),
    ///         move |span, _: &u32, _, outcome| {
    ///             note.lock().unwrap().push(match outcome {
    ///                 Observed::Ended(verdict) => format!("{span}: {verdict:?}"),
    ///                 Observed::Panicked(message) => format!("{span}: panic, {message}"),
    ///                 _ => unreachable!(),
    ///             });
    ///         },
    ///     )
    ///     .handler(|_: &u32, context: &Context<u32>| assert!(context.attempt() > 1, "not yet"));
    ///
    /// let mut builder = Runtime::builder();
    /// let numbers = builder.queue(QueueConfig::new("numbers"), handler)?;
    /// let runtime = builder.build()?;
    /// numbers.producer()?.publish(7)?;
    /// runtime.shutdown(Default::default());
    /// assert_eq!(*log.lock().unwrap(), ["7, attempt 1: panic, not yet", "7, attempt 2: Ack"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "tracing")]
    #[doc(alias = "TraceLayer")]
    #[must_use]
    pub fn observe<T, S, A, B>(self, start: A, end: B) -> Layers<(L, Observe<A, B>)>
    where
        A: Fn(&T, &Context<T>) -> S + Send + Sync + 'static,
        B: Fn(S, &T, &Context<T>, Observed<'_>) + Send + Sync + 'static,
    {
        self.layer(Observe { start, end })
    }

    /// Adds a hook that is told how long the handler took, by the runtime's clock, and how it ended. The whole queue's times are in
    /// [`LaneSnapshot`](crate::LaneSnapshot) anyway; this is for times by kind, by customer, by how it went.
    ///
    /// ```
    /// use ringmill::clock::ManualClock;
    /// use ringmill::{Layers, QueueConfig, Runtime};
    /// use std::sync::{Arc, Mutex};
    /// use std::time::Duration;
    ///
    /// let (clock, longest) = (Arc::new(ManualClock::new()), Arc::new(Mutex::new(Duration::ZERO)));
    /// let (hands, note) = (clock.clone(), longest.clone());
    /// let handler = Layers::new()
    ///     .timed(move |_: &u64, _, took, _| {
    ///         let mut longest = note.lock().unwrap();
    ///         *longest = took.max(*longest);
    ///     })
    ///     .handler(move |millis: &u64, _: &_| hands.advance(Duration::from_millis(*millis)));
    ///
    /// let mut builder = Runtime::builder().manual(clock.clone());
    /// let jobs = builder.queue(QueueConfig::new("jobs"), handler)?;
    /// let runtime = builder.build()?;
    /// for millis in [5, 20, 10] {
    ///     jobs.producer()?.publish(millis)?;
    /// }
    /// runtime.turn();
    /// assert_eq!(*longest.lock().unwrap(), Duration::from_millis(20));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn timed<T, F>(self, report: F) -> Layers<(L, Timed<F>)>
    where
        F: Fn(&T, &Context<T>, Duration, Observed<'_>) + Send + Sync + 'static,
    {
        self.layer(Timed(report))
    }

    /// Adds a net for panics: `verdict` is told the message and says what becomes of the job. Without it a panic is a failed attempt.
    ///
    /// A panic that ends here is none for the queue: it does not count among [`Counts::panics`](crate::Counts::panics). A follow-up or an
    /// answer that the handler left before it panicked is dropped.
    ///
    /// ```
    /// use ringmill::{JobError, Layers, QueueConfig, Runtime, Verdict};
    ///
    /// let handler = Layers::new()
    ///     .catch_panic(|_: &u32, _, message| Verdict::Reject(JobError::fatal(message))) // a bug does not go away by trying again
    ///     .handler(|number: &u32, _: &_| assert_eq!(number % 2, 0, "odd"));
    ///
    /// let mut builder = Runtime::builder();
    /// let numbers = builder.queue(QueueConfig::new("numbers"), handler)?;
    /// let runtime = builder.build()?;
    /// numbers.producer()?.publish(3)?;
    /// runtime.shutdown(Default::default());
    /// let letter = numbers.dead_letters().take().unwrap();
    /// assert!(letter.record().last_error.as_ref().unwrap().ends_with("odd\n  left: 1\n right: 0"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn catch_panic<T, F, R>(self, verdict: F) -> Layers<(L, CatchPanic<F>)>
    where
        F: Fn(&T, &Context<T>, &str) -> R + Send + Sync + 'static,
        R: IntoVerdict,
    {
        self.layer(CatchPanic(verdict))
    }

    /// Puts the layers around `handler`.
    pub fn handler<H>(self, handler: H) -> Layered<L, H> {
        Layered { layers: self.layers, handler }
    }
}

impl<T, L: Layer<T>> Layer<T> for Layers<L> {
    #[inline]
    fn call(&self, payload: &T, context: &Context<T>, next: impl Fn() -> Verdict) -> Verdict {
        self.layers.call(payload, context, next)
    }
}

/// A handler with [layers](Layers) around it.
#[derive(Clone)]
pub struct Layered<L, H> {
    layers: L,
    handler: H,
}

impl<T, L: Layer<T>, H: Handler<T>> Handler<T> for Layered<L, H> {
    #[inline]
    fn handle(&self, payload: &T, context: &Context<T>) -> Verdict {
        self.layers.call(payload, context, || self.handler.handle(payload, context))
    }
}

impl<L: fmt::Debug, H> fmt::Debug for Layered<L, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layered").field("layers", &self.layers).finish_non_exhaustive()
    }
}
