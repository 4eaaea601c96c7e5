//! The layers there are.

use super::layer::Layer;
use crate::runtime::handler::Context;
use crate::sync::contain;
use crate::verdict::{IntoVerdict, Verdict};
use std::fmt;
use std::panic::resume_unwind;
use std::time::Duration;

/// How a handler came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Observed<'a> {
    /// It returned this verdict.
    Ended(&'a Verdict),
    /// It panicked, with this message.
    Panicked(&'a str),
}

/// Calls `next`, then `end`, also when `next` panics; the panic goes on, as its message.
#[inline]
fn watch(next: impl Fn() -> Verdict, end: impl FnOnce(Observed<'_>)) -> Verdict {
    match contain(next) {
        Ok(verdict) => {
            end(Observed::Ended(&verdict));
            verdict
        }
        Err(message) => {
            end(Observed::Panicked(&message));
            // whoever is outside gets the message; the panic hook has reported it already
            resume_unwind(Box::new(message))
        }
    }
}

/// A closure as a layer: [`Layers::around`](super::Layers::around).
#[derive(Clone)]
pub struct Around<F>(pub(super) F);

impl<T, F, R> Layer<T> for Around<F>
where
    F: Fn(&T, &Context<T>, &dyn Fn() -> Verdict) -> R + Send + Sync + 'static,
    R: IntoVerdict,
{
    #[inline]
    fn call(&self, payload: &T, context: &Context<T>, next: impl Fn() -> Verdict) -> Verdict {
        self.0(payload, context, &next).into_verdict()
    }
}

/// Hooks that look on: [`Layers::observe`](super::Layers::observe).
#[derive(Clone)]
pub struct Observe<A, B> {
    pub(super) start: A,
    pub(super) end: B,
}

impl<T, S, A, B> Layer<T> for Observe<A, B>
where
    A: Fn(&T, &Context<T>) -> S + Send + Sync + 'static,
    B: Fn(S, &T, &Context<T>, Observed<'_>) + Send + Sync + 'static,
{
    #[inline]
    fn call(&self, payload: &T, context: &Context<T>, next: impl Fn() -> Verdict) -> Verdict {
        let span = (self.start)(payload, context);
        watch(next, |outcome| (self.end)(span, payload, context, outcome))
    }
}

/// A hook that is told how long the handler took: [`Layers::timed`](super::Layers::timed).
#[derive(Clone)]
pub struct Timed<F>(pub(super) F);

impl<T, F> Layer<T> for Timed<F>
where
    F: Fn(&T, &Context<T>, Duration, Observed<'_>) + Send + Sync + 'static,
{
    #[inline]
    fn call(&self, payload: &T, context: &Context<T>, next: impl Fn() -> Verdict) -> Verdict {
        let began = context.clock().stamp();
        watch(next, |outcome| self.0(payload, context, context.clock().stamp().since(began), outcome))
    }
}

/// A net for panics: [`Layers::catch_panic`](super::Layers::catch_panic).
#[derive(Clone)]
pub struct CatchPanic<F>(pub(super) F);

impl<T, F, R> Layer<T> for CatchPanic<F>
where
    F: Fn(&T, &Context<T>, &str) -> R + Send + Sync + 'static,
    R: IntoVerdict,
{
    #[inline]
    fn call(&self, payload: &T, context: &Context<T>, next: impl Fn() -> Verdict) -> Verdict {
        contain(next).unwrap_or_else(|message| {
            // before the mapping: what that leaves is wanted
            context.drop_more();
            self.0(payload, context, &message).into_verdict()
        })
    }
}

macro_rules! debug_by_name {
    ($($name:ident<$($parameter:ident),*>),*) => { $(
        impl<$($parameter),*> fmt::Debug for $name<$($parameter),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )* };
}

debug_by_name!(Around<F>, Observe<A, B>, Timed<F>, CatchPanic<F>);
