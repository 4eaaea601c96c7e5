//! What a model may bend, to see that it notices.

use crate::sync::atomic::Ordering::{self, Acquire, Release};

/// The rules of partitions.
pub trait Rules {
    /// Whoever releases a token finds out by the same step that nothing has come.
    const RELEASE_RECHECKS: bool = true;
    /// Whoever releases a token while jobs wait says that the partition is ready.
    const RELEASE_SAYS: bool = true;
    /// A taker clears the bit before it looks at the word.
    const CLEARS_FIRST: bool = true;
    /// A taker takes no token that somebody has.
    const TAKES_FREE: bool = true;
    /// Whoever says *ready* does not rely on a bit that it has not looked at after a fence.
    const FENCED: bool = true;
    /// What was set aside goes back to the line when its key waits no more, and is said to be ready.
    const RETURN_SAYS: bool = true;
    /// What was set aside is in the line again before its key waits no more.
    const RETURNS_FIRST: bool = true;
    /// Every push is counted in the word.
    const TAGGED: bool = true;
    /// `partition.enter`, release.
    const ENTER: Ordering = Release;
    /// `partition.enter` and `partition.pass`, acquire.
    const TAKE: Ordering = Acquire;
    /// `partition.pass`, release.
    const PASS: Ordering = Release;
}

/// The rules as they are.
#[derive(Debug)]
pub struct Sound;

impl Rules for Sound {}
