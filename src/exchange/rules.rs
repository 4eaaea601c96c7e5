//! The step of the protocol that a model may leave out, to show that it is needed.

/// Whether the step is taken. [`Sound`] takes it.
pub trait Rules {
    /// A swap moves the version word together with the table, under its lock.
    const VERSION_LAST: bool = true;
}

/// It is taken.
#[derive(Debug)]
pub struct Sound;

impl Rules for Sound {}
