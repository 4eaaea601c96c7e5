//! A topology as a graph for Graphviz.

use super::data::Topology;
use std::fmt::Write;

impl Topology {
    /// The topology in the DOT language: exchanges are ellipses, queues boxes, dead-letter queues dashed boxes; edges have binding keys and lanes.
    ///
    /// ```
    /// use ringmill::topology::Topology;
    ///
    /// let topology = Topology::from_toml("queues = [{ name = 'mails' }]", "mails.toml")?;
    /// assert!(topology.to_dot().contains(r#""queue mails" [shape=box"#));
    /// # Ok::<(), ringmill::topology::TopologyError>(())
    /// ```
    pub fn to_dot(&self) -> String {
        let mut dot =
            String::from("digraph topology {\n    rankdir=LR;\n    node [fontname=\"sans-serif\"];\n    edge [fontname=\"sans-serif\"];\n");
        let mut line = |text: std::fmt::Arguments<'_>| {
            let _ = writeln!(dot, "    {text};");
        };
        for exchange in &self.exchanges {
            let label = quoted(&format!("{}\n{}", exchange.name, exchange.kind));
            line(format_args!("{} [shape=ellipse, label={label}]", id("exchange", &exchange.name)));
        }
        for queue in &self.queues {
            let label = quoted(&format!("{}\n{}\npool {}", queue.name(), queue.config.capacity, queue.config.pool));
            line(format_args!("{} [shape=box, label={label}]", id("queue", queue.name())));
        }
        for queue in &self.dead_letter_queues {
            let label = quoted(&format!("{}\n{}", queue.name, queue.label()));
            line(format_args!("{} [shape=box, style=dashed, label={label}]", id("queue", &queue.name)));
        }
        for exchange in &self.exchanges {
            let from = id("exchange", &exchange.name);
            for binding in &exchange.bindings {
                let label = quoted(&binding.label());
                line(format_args!("{from} -> {} [label={label}]", id("queue", &binding.queue)));
            }
            if let Some(alternate) = &exchange.alternate {
                line(format_args!("{from} -> {} [style=dashed, label=\"unroutable\"]", id("exchange", alternate)));
            }
        }
        for queue in &self.queues {
            if let Some(dlq) = &queue.dlq {
                line(format_args!("{} -> {} [style=dashed, label=\"dead\"]", id("queue", queue.name()), id("queue", dlq)));
            }
        }
        for (keeper, letters) in self.letters() {
            let from = id("queue", keeper);
            if let Some(exchange) = &letters.exchange {
                let label = quoted(letters.routing_key.as_deref().unwrap_or_default());
                line(format_args!("{from} -> {} [style=dashed, label={label}]", id("exchange", exchange)));
            }
            if let Some(queue) = &letters.queue {
                line(format_args!("{from} -> {} [style=dashed, label=\"dead\"]", id("queue", queue)));
            }
        }
        dot.push_str("}\n");
        dot
    }
}

/// Exchanges and queues may have the same name.
fn id(what: &str, name: &str) -> String {
    quoted(&format!("{what} {name}"))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
