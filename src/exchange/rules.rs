//! The steps of the protocols that a model may leave out, to show that they are needed.

/// Which steps are taken. [`Sound`] takes all of them.
pub trait Rules {
    /// A swap moves the version word together with the table, under its lock.
    const VERSION_LAST: bool = true;
    /// A fan-out gives back what it has before it waits.
    const GIVES_BACK: bool = true;
}

/// Every step.
#[derive(Debug)]
pub struct Sound;

impl Rules for Sound {}
