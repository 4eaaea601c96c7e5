//! Dead letters as lines of text, read again by somebody else's parser.

use proptest::prelude::*;
use ringmill::clock::ManualClock;
use ringmill::{Binding, Consumer, DeadLetterConfig, ExchangeConfig, ExchangePublisher, QueueConfig, QueueHandle, Runtime};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

struct World {
    clock: Arc<ManualClock>,
    _runtime: Runtime,
    queue: QueueHandle<String>,
    publisher: ExchangePublisher<String>,
    consumer: Consumer<String>,
}

impl World {
    fn new(name: &str) -> Self {
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let letters = DeadLetterConfig::new().keep_routing_keys();
        let queue = builder.pull_queue::<String>(QueueConfig::new(name).capacity(16).dead_letters(letters)).unwrap();
        let exchange = builder.exchange(ExchangeConfig::topic("tasks")).unwrap();
        exchange.bind(Binding::new("#", &queue)).unwrap();
        let runtime = builder.build().unwrap();
        let (publisher, consumer) = (exchange.publisher(), queue.consumer().unwrap());
        World { clock, _runtime: runtime, queue, publisher, consumer }
    }

    fn reject(&mut self, key: &str, payload: &str, error: &str) {
        self.publisher.publish(key, payload.to_owned()).unwrap();
        self.consumer.try_recv().unwrap().reject(error.to_owned()).unwrap();
    }

    /// One object a line, the last line ended too.
    fn export(&self) -> Vec<Value> {
        let mut out = Vec::new();
        let written = self.queue.dead_letters().export(&mut out, String::clone).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!((lines.len(), lines[written]), (written + 1, ""));
        lines[..written].iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Strings with more of what is hard: quotes, controls, ends of lines, the ends of planes.
fn hostile() -> impl Strategy<Value = String> {
    let hard =
        prop::sample::select(vec!['"', '\\', '\0', '\n', '\r', '\u{1b}', '\u{7f}', '\u{85}', '\u{2028}', '\u{fffe}', '\u{10ffff}', '/']);
    prop::collection::vec(prop_oneof![hard, any::<char>()], 0..40).prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #[test]
    fn texts_come_back_as_they_were(name in "[a-z\"\\\\\u{e9}]{1,9}", letters in prop::collection::vec((hostile(), hostile()), 0..6)) {
        let mut world = World::new(&name);
        for (payload, error) in &letters {
            world.reject("some.key", payload, error);
        }
        let lines = world.export();
        prop_assert_eq!(lines.len(), letters.len());
        for ((payload, error), line) in letters.iter().zip(&lines) {
            prop_assert_eq!((&line["payload"], &line["last_error"]), (&Value::from(payload.clone()), &Value::from(error.clone())));
            prop_assert_eq!((&line["queue"], &line["deaths"][0]["queue"]), (&Value::from(name.clone()), &Value::from(name.clone())));
        }
        prop_assert_eq!(world.queue.dead_letters().len(), letters.len());
    }
}

#[test]
fn every_character_comes_back() {
    let mut world = World::new("q");
    let all: String = (0..=0x3_ffff).chain(0x10_ff00..=0x10_ffff).filter_map(char::from_u32).collect();
    world.reject("k", &all, "no");
    assert_eq!(world.export()[0]["payload"], all);
}

#[test]
fn a_line_has_the_whole_history() {
    let mut world = World::new("q");
    world.clock.advance(Duration::from_millis(1_500));
    world.reject("a.b", "x", "first");
    let job = world.queue.dead_letters().list(1)[0].job_id();
    world.clock.advance(Duration::from_secs(86_400 * 59));
    assert_eq!(world.queue.dead_letters().redrive(), Ok(true));
    world.consumer.try_recv().unwrap().reject("second").unwrap();
    world.clock.advance(Duration::from_secs(5)); // the time of the export is not that of the death
    let (first, last) = ("1970-01-01T00:00:01.500000000Z", "1970-03-01T00:00:01.500000000Z");
    let death = serde_json::json!({
        "queue": "q", "reason": "rejected", "count": 2, "first": first, "last": last, "routing_key": "a.b",
    });
    let whole = serde_json::json!({
        "job": job.get(), "lane": 0, "queue": "q", "reason": "rejected", "count": 2, "first": first, "last": last,
        "routing_key": "a.b", "original_routing_key": "a.b", "last_error": "second",
        "attempts": { "failures": 0, "expiries": 0, "snoozes": 0 }, "published": last, "deaths": [death], "payload": "x",
    });
    assert_eq!(world.export(), [whole]);
}
