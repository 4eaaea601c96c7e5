//! A payload that is answered.

use crate::job::Payload;
use std::time::Duration;

/// A payload whose handler may give something back, and what that is.
///
/// A job with such a payload can be published [watched](crate::Producer::watched): its publisher gets a [`Completion`](crate::Completion) that waits for the
/// job's end and has the answer that the handler gave with [`Context::complete`](crate::Context::complete). The type of the answer belongs to the payload, so
/// both sides are checked when they are compiled. Payloads that come with the crate are answered by `()`: a job that is waited for, and has nothing to say.
///
/// ```
/// use ringmill::{Payload, Request};
///
/// struct Resize { width: u32, height: u32 }
///
/// impl Payload for Resize {}
///
/// impl Request for Resize {
///     type Answer = Vec<u8>; // the picture
/// }
/// # let _ = Resize { width: 1, height: 1 };
/// ```
#[doc(alias = "reply")]
#[doc(alias = "Message")]
pub trait Request: Payload {
    /// What a handler answers.
    type Answer: Send + 'static;
}

macro_rules! unanswered {
    ($($type:ty),* $(,)?) => { $(impl Request for $type { type Answer = (); })* };
}

unanswered!((), bool, char, u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64, String, &'static str, Duration);

impl<P: Send + Sync + 'static> Request for Vec<P> {
    type Answer = ();
}

impl<P: Send + Sync + 'static> Request for Box<[P]> {
    type Answer = ();
}

impl<A: Send + Sync + 'static, B: Send + Sync + 'static> Request for (A, B) {
    type Answer = ();
}

/// As `P` is answered.
impl<P: Request> Request for Box<P> {
    type Answer = P::Answer;
}

/// As `P` is answered.
impl<P: Request> Request for std::sync::Arc<P> {
    type Answer = P::Answer;
}
