//! A drawing of a topology: four columns, from the exchanges that are published to, to the queues, their dead-letter queues, and the exchanges after those.

use super::data::{BindingSpec, DeadLetterQueueSpec, Topology};
use super::words::written;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

const BOX_WIDTH: u32 = 220;
const LINE: u32 = 16;
const PAD: u32 = 12;
const ROW_GAP: u32 = 24;
const COLUMN_GAP: u32 = 200;
const MARGIN: u32 = 24;
/// The most characters of a line that fit a box.
const FIT: usize = 30;
/// How many binding keys an edge shows.
const LABELS_MAX: usize = 4;

impl BindingSpec {
    /// What an edge says.
    pub(super) fn label(&self) -> String {
        if self.lane == 0 { self.routing_key.clone() } else { format!("{} (lane {})", self.routing_key, self.lane) }
    }
}

impl DeadLetterQueueSpec {
    /// How many letters it keeps, and for how long.
    pub(super) fn label(&self) -> String {
        let kept = match self.config.retention {
            Some(age) => format!("kept {}", written(age)),
            None if self.config.moves_on() => "moved on at once".to_owned(),
            None => "kept for ever".to_owned(),
        };
        format!("{} letters, {kept}", self.config.capacity)
    }
}

impl Topology {
    /// The topology as an SVG drawing, which needs no other file.
    ///
    /// # Complexity
    /// O(n log n) in exchanges, queues and bindings. Edges are straight and may cross; one shows at most four binding keys.
    ///
    /// ```
    /// use ringmill::topology::Topology;
    ///
    /// let topology = Topology::from_toml("queues = [{ name = 'mails & more' }]", "mails.toml")?;
    /// let svg = topology.to_svg();
    /// assert!(svg.starts_with("<svg ") && svg.contains("mails &amp; more"));
    /// # Ok::<(), ringmill::topology::TopologyError>(())
    /// ```
    pub fn to_svg(&self) -> String {
        let boxes = self.boxes();
        let columns = boxes.values().map(|placed| placed.column + 1).max().unwrap_or(1);
        let width = 2 * MARGIN + columns * BOX_WIDTH + (columns - 1) * COLUMN_GAP;
        let height = boxes.values().map(|placed| placed.y + placed.height()).max().unwrap_or(0) + MARGIN;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">\
             <path d=\"M0 0L8 4L0 8z\" fill=\"#555\"/></marker></defs>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
        );
        for edge in self.edges() {
            if let (Some(from), Some(to)) = (boxes.get(&edge.from), boxes.get(&edge.to)) {
                draw_edge(&mut svg, from, to, &edge);
            }
        }
        for placed in boxes.values() {
            placed.draw(&mut svg);
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// Every box in its place.
    fn boxes(&self) -> BTreeMap<Id, Placed> {
        let last: BTreeSet<&str> = self.dead_letter_exchanges().collect();
        let mut boxes = BTreeMap::new();
        let mut next = [MARGIN; 4];
        let mut place = |id: Id, column: u32, look: Look, lines: Vec<String>| {
            let y = &mut next[column as usize];
            let placed = Placed { column, y: *y, look, lines };
            *y += placed.height() + ROW_GAP;
            boxes.insert(id, placed);
        };
        for exchange in &self.exchanges {
            let column = if last.contains(exchange.name.as_str()) && exchange.bindings.is_empty() { 3 } else { 0 };
            place((Kind::Exchange, exchange.name.clone()), column, Look::Exchange, vec![exchange.name.clone(), exchange.kind.to_string()]);
        }
        for queue in &self.queues {
            let config = &queue.config;
            let lanes: Vec<String> = config.lanes.iter().map(|lane| format!("{} {}", lane.name, lane.weight)).collect();
            let lines = vec![
                config.name.clone(),
                format!("{} jobs, pool {}", config.capacity, config.pool),
                if lanes.len() > 1 { format!("lanes {}", lanes.join(", ")) } else { "one lane".to_owned() },
                format!("{} attempts, lease {}", config.retry.max_attempts, written(config.visibility)),
            ];
            place((Kind::Queue, config.name.clone()), 1, Look::Queue, lines);
        }
        for queue in &self.dead_letter_queues {
            let lines = vec![queue.name.clone(), queue.label()];
            place((Kind::Queue, queue.name.clone()), 2, Look::DeadLetters, lines);
        }
        boxes
    }

    /// One edge between two boxes, with every label that belongs to it.
    fn edges(&self) -> Vec<Edge> {
        let mut edges: BTreeMap<(Id, Id, bool), Vec<String>> = BTreeMap::new();
        let mut edge = |from: Id, to: Id, label: String, dashed| edges.entry((from, to, dashed)).or_default().push(label);
        for exchange in &self.exchanges {
            let from = (Kind::Exchange, exchange.name.clone());
            for binding in &exchange.bindings {
                edge(from.clone(), (Kind::Queue, binding.queue.clone()), binding.label(), false);
            }
            if let Some(alternate) = &exchange.alternate {
                edge(from, (Kind::Exchange, alternate.clone()), "unroutable".to_owned(), true);
            }
        }
        for (queue, dlq) in self.queues.iter().filter_map(|queue| Some((queue, queue.dlq.as_ref()?))) {
            edge((Kind::Queue, queue.name().to_owned()), (Kind::Queue, dlq.clone()), "dead".to_owned(), true);
        }
        for (keeper, letters) in self.letters() {
            let from = (Kind::Queue, keeper.to_owned());
            if let Some(exchange) = &letters.exchange {
                edge(from.clone(), (Kind::Exchange, exchange.clone()), letters.routing_key.clone().unwrap_or_default(), true);
            }
            if let Some(queue) = &letters.queue {
                edge(from, (Kind::Queue, queue.clone()), "dead".to_owned(), true);
            }
        }
        edges.into_iter().map(|((from, to, dashed), labels)| Edge { from, to, labels, dashed }).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Exchange,
    Queue,
}

type Id = (Kind, String);

#[derive(Debug, Clone, Copy)]
enum Look {
    Exchange,
    Queue,
    DeadLetters,
}

struct Placed {
    column: u32,
    y: u32,
    look: Look,
    lines: Vec<String>,
}

struct Edge {
    from: Id,
    to: Id,
    labels: Vec<String>,
    dashed: bool,
}

impl Placed {
    fn x(&self) -> u32 {
        MARGIN + self.column * (BOX_WIDTH + COLUMN_GAP)
    }

    fn height(&self) -> u32 {
        2 * PAD + LINE * self.lines.len() as u32
    }

    fn draw(&self, svg: &mut String) {
        let (radius, fill, dash) = match self.look {
            Look::Exchange => (20, "#e8f0fe", ""),
            Look::Queue => (3, "#eef7ee", ""),
            Look::DeadLetters => (3, "#fbeeee", " stroke-dasharray=\"5 3\""),
        };
        let (x, y, height) = (self.x(), self.y, self.height());
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{BOX_WIDTH}\" height=\"{height}\" rx=\"{radius}\" fill=\"{fill}\" stroke=\"#555\"{dash}/>"
        );
        for (row, line) in (0..).zip(&self.lines) {
            let weight = if row == 0 { " font-weight=\"bold\"" } else { "" };
            let (x, y) = (x + PAD, y + PAD + LINE * row + 12);
            let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\"{weight}>{}</text>", escaped(&fitting(line)));
        }
    }
}

/// From the right side of one box to the left side of another; within a column or backwards, in a bow on the right.
fn draw_edge(svg: &mut String, from: &Placed, to: &Placed, edge: &Edge) {
    let dash = if edge.dashed { " stroke-dasharray=\"5 3\"" } else { "" };
    let (y1, y2) = (from.y + from.height() / 2, to.y + to.height() / 2);
    let (path, x, y) = if to.column > from.column {
        let (x1, x2) = (from.x() + BOX_WIDTH, to.x());
        (format!("M{x1} {y1}L{x2} {y2}"), x1 + (x2 - x1) / 2, (y1 + y2) / 2)
    } else {
        let (x1, x2) = (from.x() + BOX_WIDTH, to.x() + BOX_WIDTH);
        let bow = x1.max(x2) + COLUMN_GAP / 4;
        (format!("M{x1} {y1}C{bow} {y1} {bow} {y2} {x2} {y2}"), bow, (y1 + y2) / 2)
    };
    let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"#555\" marker-end=\"url(#arrow)\"{dash}/>");
    let shown = edge.labels.iter().take(LABELS_MAX).cloned();
    let left = edge.labels.len().saturating_sub(LABELS_MAX);
    let more = (left > 0).then(|| format!("and {left} more"));
    for (row, label) in (0..).zip(shown.chain(more).filter(|label| !label.is_empty())) {
        let (label, y) = (escaped(&fitting(&label)), (y + LINE * row).saturating_sub(4));
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" fill=\"#333\">{label}</text>");
    }
}

/// As much of a line as fits a box.
fn fitting(line: &str) -> String {
    if line.chars().count() <= FIT { line.to_owned() } else { line.chars().take(FIT - 3).chain("...".chars()).collect() }
}

/// Text of XML. Control characters are none.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
