//! State beside a handler.

use crate::runtime::handler::{Context, Handler};
use crate::verdict::{IntoVerdict, Verdict};
use std::fmt;
use std::sync::Arc;

/// Makes a handler of a function of shared state, payload and context.
///
/// The function may be a method of the state: `with_state(mailer, Mailer::send)`. Handlers of several queues, of several payload types, share one state by
/// cloning the `Arc`; a function that wants several things has them in a tuple or a struct, and one that wants a trait object takes `&(dyn Store + 'static)`.
/// Whether the function takes that state, and the queue's payload,
/// is checked when the program is compiled.
///
/// ```
/// use ringmill::{Context, JobError, QueueConfig, Runtime, with_state};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// #[derive(Default)]
/// struct Mailer { sent: AtomicU64 }
///
/// impl Mailer {
///     fn welcome(&self, address: &String, _: &Context<String>) -> Result<(), JobError> {
///         if !address.contains('@') {
///             return Err(JobError::fatal("no address"));
///         }
///         self.sent.fetch_add(1, Ordering::Relaxed);
///         Ok(())
///     }
///
///     fn newsletter(&self, readers: &u64, _: &Context<u64>) {
///         self.sent.fetch_add(*readers, Ordering::Relaxed);
///     }
/// }
///
/// let mailer = Arc::new(Mailer::default());
/// let mut builder = Runtime::builder();
/// let welcomes = builder.queue(QueueConfig::new("welcomes"), with_state(mailer.clone(), Mailer::welcome))?;
/// let newsletters = builder.queue(QueueConfig::new("newsletters"), with_state(mailer.clone(), Mailer::newsletter))?;
/// let runtime = builder.build()?;
/// welcomes.producer()?.publish("ada@example.org".to_owned())?;
/// newsletters.producer()?.publish(40)?;
/// runtime.shutdown(Default::default());
/// assert_eq!(mailer.sent.load(Ordering::Relaxed), 41);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A function of another state, or another payload than the queue's, does not compile:
///
/// ```compile_fail,E0631
/// # use ringmill::{Context, with_state};
/// # use std::sync::Arc;
/// fn count(counter: &u32, job: &String, context: &Context<String>) {}
/// let handler = with_state(Arc::new("not a counter"), count);
/// ```
///
/// ```compile_fail,E0277
/// # use ringmill::{Context, QueueConfig, QueueHandle, Runtime, with_state};
/// # use std::sync::Arc;
/// fn count(counter: &u32, job: &String, context: &Context<String>) {}
/// let queue: QueueHandle<u64> = Runtime::builder().queue(QueueConfig::new("numbers"), with_state(Arc::new(0), count)).unwrap();
/// ```
#[doc(alias = "extractor")]
#[doc(alias = "extension")]
pub fn with_state<S, T, F, R>(state: Arc<S>, handler: F) -> WithState<S, F>
where
    S: Send + Sync + ?Sized + 'static,
    F: Fn(&S, &T, &Context<T>) -> R + Send + Sync + 'static,
    R: IntoVerdict,
{
    WithState { state, handler }
}

/// A handler [with state](with_state).
pub struct WithState<S: ?Sized, F> {
    state: Arc<S>,
    handler: F,
}

impl<S, T, F, R> Handler<T> for WithState<S, F>
where
    S: Send + Sync + ?Sized + 'static,
    F: Fn(&S, &T, &Context<T>) -> R + Send + Sync + 'static,
    R: IntoVerdict,
{
    #[inline]
    fn handle(&self, payload: &T, context: &Context<T>) -> Verdict {
        (self.handler)(&self.state, payload, context).into_verdict()
    }
}

impl<S: ?Sized, F: Clone> Clone for WithState<S, F> {
    fn clone(&self) -> Self {
        WithState { state: Arc::clone(&self.state), handler: self.handler.clone() }
    }
}

impl<S: ?Sized, F> fmt::Debug for WithState<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithState").finish_non_exhaustive()
    }
}
