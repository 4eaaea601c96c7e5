//! Topology files of any content: they are read or refused, with every fault at a place that is there, in bounded time.

use crate::faulty;
use ringmill::Runtime;
use ringmill::topology::{FAULTS_MAX, Topology};

pub fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = if *kind == b't' { Topology::from_toml(text, "t") } else { Topology::from_yaml(text, "t") };
    match read {
        Ok(topology) => {
            topology.validate().expect("what is read is valid");
            assert!(topology.to_svg().ends_with("</svg>\n"));
            assert!(topology.to_dot().starts_with("digraph"));
            // the lie: no exchange has an alternate
            assert!(!(faulty() && topology.exchanges.iter().any(|exchange| exchange.alternate.is_some())), "an alternate");
            if topology.queues.len() < 4 && small(text) {
                let mut builder = Runtime::builder();
                let declared = topology.declare_pull::<u32>(&mut builder).expect("what is valid can be declared");
                assert_eq!(declared.queues().count(), topology.queues.len());
            }
        }
        Err(error) => {
            let text = text.replace("\r\n", "\n");
            let lines: Vec<&str> = text.split(['\n', '\r']).collect();
            assert!((1..=FAULTS_MAX).contains(&error.faults().len()));
            for fault in error.faults() {
                assert!(!fault.message().is_empty());
                let Some(line) = fault.line() else { continue };
                let column = fault.column().expect("a line has a column");
                assert!((1..=lines.len()).contains(&line), "line {line} of {}: {fault}", lines.len());
                let width = lines[line - 1].chars().count();
                assert!((1..=width + 1).contains(&column), "column {column} of {width}: {fault}");
            }
            let _ = (error.to_string(), error.completion());
        }
    }
}

/// No number has more than five digits: memory for every slot is taken when a queue is declared.
fn small(text: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').all(|word| word.len() < 6 || !word.starts_with(|c: char| c.is_ascii_digit()))
}
