//! A build without topology files.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use ringmill::{Handler, Runtime};

use super::PlanError;
use crate::args::Check;
use crate::drive::{Door, Queue};
use crate::record::Record;

/// There is none.
#[derive(Debug, Clone)]
pub enum Plan {}

impl Plan {
    pub fn load(_: &Path, _: Option<&str>) -> Result<Self, PlanError> {
        Err(PlanError::NotBuilt)
    }

    pub fn start<H: Handler<Arc<Record>>>(&self, _: impl Fn() -> H) -> Result<(Runtime, Vec<Queue>, Door), Box<dyn std::error::Error>> {
        match *self {}
    }
}

pub fn check(_: &Check, _: &mut dyn Write) -> Result<(), PlanError> {
    Err(PlanError::NotBuilt)
}
