//! Dead-lettering that would go in a circle by itself.
//!
//! A queue passes dead letters on. That goes *by itself* if a letter which came there may die without a handler having had a say: because it is evicted for
//! another (the queue is full and drops its oldest), or because it was not started in time (the queue has a retention). Two further kinds of death need no handler, and start no
//! circle: a job's own time to live, which a dead letter has not any more; and being dropped as new, which befalls publishes only: a letter that finds no room
//! waits where it is. Whether letters are kept for a time before they move on makes the round longer, not another one.
//!
//! So a circle of dead-lettering is refused if every queue in it passes letters on by itself: nothing would ever end it. One with a queue in which only handlers end
//! jobs (by rejecting them, failing too often, or never coming back) is a retry, and allowed if there is a pause in it. Without one, a job that every handler
//! rejects would go round as fast as it can be run, for ever: so a circle, be it a queue straight back to itself, is refused too if every queue in it moves its letters on at
//! once and every way in it is certain. Where a predicate or the key of each letter decides, the circle is let be.

/// A queue whose dead letters move on, or bindings that they go by.
#[derive(Debug, Clone, Default)]
pub struct Node<'g> {
    /// Letters that came here may go on without a handler.
    pub by_itself: bool,
    /// There is no pause: letters are not kept for a time, nor do they wait for one where they come to.
    pub at_once: bool,
    /// Where letters may go.
    pub ways: Vec<Way<'g>>,
}

/// A way to another node.
#[derive(Debug, Clone, Copy)]
pub struct Way<'g> {
    /// Its number.
    pub to: usize,
    /// The exchanges that lie between: the first, and how many it is with its alternates.
    pub through: (&'g str, usize),
    /// Every letter goes that way.
    pub certain: bool,
}

/// The most steps of a circle that are shown: the first of them and the last.
const SHOWN_MAX: usize = 8;

/// The longest name that is shown, in characters; longer ones are refused elsewhere.
const NAME_MAX: usize = 255;

/// A circle that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle {
    /// The ways that it is made of, one after another: the number of a node, and that of the way among its own.
    pub ways: Vec<(usize, usize)>,
    /// Every queue in it passes letters on by itself. If not, handlers do, and none of them pauses.
    pub by_itself: bool,
}

/// A path, for people; of a long one the middle is left out.
pub fn shown(path: &[impl AsRef<str>]) -> String {
    let step = |step: &_| {
        let name = AsRef::<str>::as_ref(step);
        name.char_indices().nth(NAME_MAX).map_or_else(|| name.to_owned(), |(end, _)| format!("{}\u{2026}", &name[..end]))
    };
    let joined = |steps: &[_]| steps.iter().map(step).collect::<Vec<_>>().join(" -> ");
    // to leave out one step would spare nothing
    if path.len() <= SHOWN_MAX + 1 {
        return joined(path);
    }
    let (first, last) = (&path[..SHOWN_MAX / 2], &path[path.len() - SHOWN_MAX / 2..]);
    format!("{} -> ({} more) -> {}", joined(first), path.len() - SHOWN_MAX, joined(last))
}

/// Whether a node was visited: not yet, on the way, with all that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    Open,
    Done,
}

/// The first circle that must not be, if there is one.
///
/// # Complexity
/// O(nodes + ways).
pub fn find(nodes: &[Node<'_>]) -> Option<Cycle> {
    let found = |by_itself| move |ways| Cycle { ways, by_itself };
    let by_itself = circle(nodes, |node| node.by_itself, |_| true).map(found(true));
    by_itself.or_else(|| circle(nodes, |node| node.at_once, |way| way.certain).map(found(false)))
}

/// The first circle of nodes and ways that count.
fn circle(nodes: &[Node<'_>], counts: impl Fn(&Node<'_>) -> bool, leads: impl Fn(&Way<'_>) -> bool) -> Option<Vec<(usize, usize)>> {
    let mut marks = vec![Mark::New; nodes.len()];
    for start in 0..nodes.len() {
        // the nodes on the way, each with the number of the way that is to be tried next
        let mut trail = vec![(start, 0)];
        while let Some((at, next)) = trail.last_mut() {
            let (at, way) = (*at, nodes[*at].ways.get(*next));
            *next += 1;
            if !counts(&nodes[at]) || marks[at] == Mark::Done {
                trail.pop();
                continue;
            }
            marks[at] = Mark::Open;
            let Some(way) = way else {
                marks[at] = Mark::Done;
                trail.pop();
                continue;
            };
            if !leads(way) {
                continue;
            }
            let to = way.to;
            if marks[to] == Mark::Open {
                let from = trail.iter().position(|(on, _)| *on == to).unwrap_or(0);
                return Some(trail[from..].iter().map(|&(on, next)| (on, next - 1)).collect());
            }
            trail.push((to, 0));
        }
    }
    None
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn node(by_itself: bool, to: &[usize]) -> Node<'static> {
        let ways = to.iter().map(|&to| Way { to, through: ("", 0), certain: true }).collect();
        Node { by_itself, at_once: false, ways }
    }

    fn found(nodes: &[Node<'_>]) -> Option<Vec<usize>> {
        find(nodes).map(|cycle| cycle.ways.into_iter().map(|(node, _)| node).collect())
    }

    #[test]
    fn a_circle_is_found_if_no_handler_is_in_it() {
        let round = |second| [node(true, &[4, 1]), node(second, &[2]), node(true, &[3, 0]), node(true, &[1]), node(true, &[])];
        assert_eq!(found(&round(true)), Some(vec![1, 2, 3]));
        assert_eq!(found(&round(false)), None);
        assert_eq!(found(&[node(true, &[1, 2]), node(true, &[3]), node(true, &[3]), node(true, &[])]), None);
    }

    #[test]
    fn without_a_pause_a_circle_is_refused_whoever_rejects() {
        let hot = |to: &[usize]| Node { at_once: true, ..node(false, to) };
        assert_eq!(find(&[hot(&[0])]), Some(Cycle { ways: vec![(0, 0)], by_itself: false }));
        let round = [hot(&[1]), hot(&[2]), hot(&[3]), hot(&[1])];
        assert_eq!(found(&round), Some(vec![1, 2, 3]));
        // a pause anywhere, or a way that not every letter goes
        for at in 1..4 {
            let mut later = round.clone();
            later[at].at_once = false;
            assert_eq!(found(&later), None);
            let mut perhaps = round.clone();
            perhaps[at].ways[0].certain = false;
            assert_eq!(found(&perhaps), None);
        }
        assert_eq!(found(&[node(true, &[0])]), Some(vec![0]));
    }

    #[test]
    fn long_paths_are_cut() {
        let long = "\u{e9}".repeat(300);
        assert_eq!(shown(&["a", &long]), format!("a -> {}\u{2026}", "\u{e9}".repeat(255)));
        let path: Vec<String> = (0..50_001).chain([0]).map(|n| n.to_string()).collect();
        assert_eq!(shown(&path), "0 -> 1 -> 2 -> 3 -> (49994 more) -> 49998 -> 49999 -> 50000 -> 0");
        assert!(!shown(&path[..9]).contains("more"));
    }

    #[test]
    fn long_ways_take_no_stack() {
        let mut nodes: Vec<Node<'_>> = (0..100_000).map(|n| node(true, &[n + 1])).chain([node(true, &[])]).collect();
        assert_eq!(found(&nodes), None);
        nodes[100_000] = node(true, &[50_000]);
        assert_eq!(found(&nodes).map(|cycle| (cycle.len(), cycle[0])), Some((50_001, 50_000)));
    }
}
