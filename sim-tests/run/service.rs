//! The simulated service: its queues, settings and bindings.

use super::*;
use crate::model::Rule;

pub const WORK: usize = 0;
pub const PULL: usize = 1;
pub const KEYED: usize = 2;
pub const GRAVE: usize = 3;

pub const POOLS: [&str; 2] = ["default", "other"];

pub const ROUTES: [&str; 4] = ["a.b", "a.c", "d.b", "e"];
/// Sets of bindings: pattern, queue, lane.
pub const BINDINGS: [&[(&str, usize, usize)]; 4] = [
    &[("a.#", WORK, 1), ("*.b", PULL, 0), ("#", KEYED, 0)],
    &[("a.*", WORK, 0), ("a.c", PULL, 1)],
    &[("#", PULL, 0)],
    &[("*.b", WORK, 0), ("e", KEYED, 1), ("a.c", KEYED, 0)],
];

pub fn config(rules: &Rules, rng: &mut Rng) -> QueueConfig {
    let overflow = if rules.hold { DeadLetterOverflow::Hold } else { DeadLetterOverflow::DropOldest };
    let mut letters = DeadLetterConfig::new().capacity(rules.letters as u32).overflow(overflow);
    if rules.onward {
        letters = letters.queue("grave");
    }
    let retry = RetryPolicy::new().max_attempts(rules.attempts).max_expiries(rules.expiries).backoff(Backoff::fixed(ms(rules.backoff)));
    let mut config = QueueConfig::new(rules.name)
        .capacity(rules.capacity as u64)
        .lanes(lanes(rules))
        .overflow(rules.overflow)
        .visibility(ms(rules.visibility))
        .max_lease(ms(rules.max_lease))
        .retry(retry)
        .dead_letters(letters)
        .pool(POOLS[rules.pool])
        .weight(1 + rng.up_to(2) as u32);
    if let Some(rule) = rules.dedupe {
        let rule = match rule {
            Rule::WhileLive => Dedupe::WhileLive,
            Rule::Window(length) => Dedupe::Window(ms(length)),
            Rule::Debounce(length) => Dedupe::Debounce(ms(length)),
            Rule::KeepLast(length) => Dedupe::KeepLast(ms(length)),
        };
        config = config.dedupe(rule, 16);
    }
    if rules.partitions {
        config = config.partitions(4);
    }
    if let Some(age) = rules.retention {
        config = config.retention(ms(age));
    }
    if rng.up_to(1) == 0 {
        config = config.prefetch(1 + rng.up_to(7) as u32);
    }
    if rng.up_to(2) == 0 {
        config = config.discipline(Discipline::Strict { max_wait: ms(20) });
    }
    config
}

fn lanes(rules: &Rules) -> [LaneConfig; 2] {
    let mut lanes = [LaneConfig::new("high").weight(3), LaneConfig::new("low").weight(1)];
    if let Some((lane, slots)) = rules.reserve {
        lanes[lane] = lanes[lane].clone().reserve(slots as u32);
    }
    lanes
}

/// A third of the queues that may have a reserve have one, for either of their lanes.
pub fn reserve(capacity: usize, rng: &mut Rng) -> Option<(usize, usize)> {
    (rng.up_to(2) == 0).then(|| (rng.up_to(1) as usize, (1 + rng.up_to(1) as usize).min(capacity - 1)))
}

/// Topic matching, word by word.
pub fn matches(pattern: &str, key: &str) -> bool {
    fn from(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern, key) {
            ([], []) => true,
            (["#", rest @ ..], _) => (0..=key.len()).any(|skipped| from(rest, &key[skipped..])),
            (["*", rest @ ..], [_, key @ ..]) => from(rest, key),
            ([word, rest @ ..], [first, key @ ..]) => word == first && from(rest, key),
            _ => false,
        }
    }
    from(&pattern.split('.').collect::<Vec<_>>(), &key.split('.').collect::<Vec<_>>())
}

/// Most queues have the rule that has most to it.
pub fn rule(rng: &mut Rng) -> Rule {
    let length = 1 + rng.up_to(30);
    match rng.up_to(5) {
        0 => Rule::Window(length),
        1 => Rule::Debounce(length),
        2 => Rule::KeepLast(length),
        _ => Rule::WhileLive,
    }
}
