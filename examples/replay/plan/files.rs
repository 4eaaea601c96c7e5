//! A build with topology files.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use ringmill::topology::Topology;
use ringmill::{Handler, Runtime};

use super::{PlanError, is_same_file};
use crate::args::Check;
use crate::drive::{Door, Queue};
use crate::record::Record;

/// A topology, and the exchange that jobs are published to.
#[derive(Debug, Clone)]
pub struct Plan {
    topology: Topology,
    exchange: String,
}

impl Plan {
    /// Reads a file and finds its exchange: the one that is named, or the only one that no other and no dead-letter queue leads to.
    pub fn load(path: &Path, exchange: Option<&str>) -> Result<Self, PlanError> {
        let topology = Topology::load(path).map_err(|error| PlanError::Faults(error.to_string()))?;
        let wanted = exchange.map(str::to_owned);
        let names = || topology.exchanges.iter().map(|exchange| exchange.name.as_str());
        let found: Vec<String> = match exchange {
            Some(wanted) => names().filter(|name| *name == wanted).map(str::to_owned).collect(),
            None => names().filter(|name| !is_led_to(&topology, name)).map(str::to_owned).collect(),
        };
        match found.as_slice() {
            [exchange] => Ok(Plan { exchange: exchange.clone(), topology }),
            _ => Err(PlanError::NoExchange { wanted, there: names().map(str::to_owned).collect(), fitting: found.len() }),
        }
    }

    /// Starts the runtime; every queue gets a handler of its own.
    pub fn start<H: Handler<Arc<Record>>>(
        &self,
        handler: impl Fn() -> H,
    ) -> Result<(Runtime, Vec<Queue>, Door), Box<dyn std::error::Error>> {
        let mut builder = Runtime::builder();
        let declared = self.topology.declare(&mut builder, |_queue| Some(handler()))?;
        let exchange = declared.exchange(&self.exchange).ok_or("the exchange was there when the file was read")?;
        let publisher = exchange.publisher();
        let queues = declared.queues().cloned().collect();
        Ok((builder.build()?, queues, Door::Exchange(Box::new(publisher))))
    }
}

fn is_led_to(topology: &Topology, name: &str) -> bool {
    let alternates = topology.exchanges.iter().filter_map(|exchange| exchange.alternate.as_deref());
    alternates.chain(topology.dead_letter_exchanges()).any(|led| led == name)
}

/// Validates a file, says what is in it, and draws it.
pub fn check(check: &Check, out: &mut dyn Write) -> Result<(), PlanError> {
    let topology = Topology::load(&check.file).map_err(|error| PlanError::Faults(error.to_string()))?;
    let drawings = [(&check.svg, Topology::to_svg as fn(&Topology) -> String), (&check.dot, Topology::to_dot)];
    for (path, draw) in drawings {
        if let Some(path) = path {
            if is_same_file(path, &check.file) {
                return Err(PlanError::SameFile(path.clone()));
            }
            std::fs::write(path, draw(&topology)).map_err(|error| PlanError::Output(path.clone(), error))?;
        }
    }
    let bindings: usize = topology.exchanges.iter().map(|exchange| exchange.bindings.len()).sum();
    writeln!(
        out,
        "{}: good; exchanges {}, bindings {bindings}, queues {}, dead-letter queues {}, pools {}",
        check.file.display(),
        topology.exchanges.len(),
        topology.queues.len(),
        topology.dead_letter_queues.len(),
        topology.pools.len(),
    )
    .map_err(|error| PlanError::Output("the answer".into(), error))
}
