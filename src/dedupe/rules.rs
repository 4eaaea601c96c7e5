//! What a model may bend, to see that it notices.

/// The rules of a table.
pub trait Rules {
    /// A claim looks and enters under one lock.
    const CLAIMS_AT_ONCE: bool = true;
    /// A key is forgotten only by the job that has it.
    const FORGETS_ITS_OWN: bool = true;
    /// An entry stays where it was entered.
    const STAYS_PUT: bool = true;
    /// A claim that finds no room looks for what the shards keep.
    const LOOKS_FOR_ROOM: bool = true;
    /// Whoever looks for room waits for others who do.
    const LOOKS_ALONE: bool = true;
}

/// The rules as they are.
#[derive(Debug)]
pub struct Sound;

impl Rules for Sound {}
