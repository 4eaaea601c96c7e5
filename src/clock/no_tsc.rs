//! No tick counter: another kind of machine, or a model of one. Stands in for `tsc`.

use super::disciplined::{Disciplined, Machine};

/// Nothing has this type.
#[derive(Debug)]
pub(super) enum Tsc {}

pub(super) fn process_wide() -> Option<&'static Disciplined<Tsc>> {
    None
}

impl Machine for Tsc {
    fn ticks(&self) -> u64 {
        match *self {}
    }

    fn ticks_after_loads(&self) -> u64 {
        match *self {}
    }

    fn os_nanos(&self) -> u64 {
        match *self {}
    }
}
