//! User code, with its panics kept in.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs user code. A panic comes back as its message.
///
/// What a panic carries may panic again when it is dropped; what that second panic carries is leaked.
#[inline]
pub(crate) fn contain<R>(act: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| {
        let text = panic.downcast_ref::<&'static str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let message = text.unwrap_or("a panic without a message").to_owned();
        if let Err(again) = catch_unwind(AssertUnwindSafe(move || drop(panic))) {
            std::mem::forget(again);
        }
        message
    })
}
