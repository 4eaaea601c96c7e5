//! Memory: what a slot takes, payload and all, in a queue of 65 536 with payloads of 64 bytes.
//!
//! Each figure is the growth of the resident set of a process of its own while it makes a queue and fills it: an allocator that has been used before hands out
//! pages that are resident already.

use super::SUITE;
use crate::contest::{Better, Contest, Role, Subject};
use ringmill::{LaneConfig, QueueConfig, Runtime};
use std::process::Command;

const SLOTS: usize = 65_536;
type Payload = [u64; 8];
const PAYLOAD: Payload = [0x5A; 8];

/// The hidden option that makes this program such a process.
pub const OPTION: &str = "--resident";

/// What is weighed: makes a queue and fills it.
type Fill = fn() -> Box<dyn std::any::Any>;

const SUBJECTS: [(&str, Role, Fill); 7] = [
    ("ringmill, 1 lane", Role::Mill, || runtime(1)),
    ("ringmill, 8 lanes", Role::Mill, || runtime(8)),
    ("crossbeam ArrayQueue", Role::Baseline, || {
        let queue = crossbeam_queue::ArrayQueue::new(SLOTS);
        (0..SLOTS).for_each(|_| queue.push(PAYLOAD).expect("there is room"));
        Box::new(queue)
    }),
    ("crossbeam-channel", Role::Peer, || {
        let channel = crossbeam_channel::bounded(SLOTS);
        (0..SLOTS).for_each(|_| channel.0.send(PAYLOAD).expect("it is open"));
        Box::new(channel)
    }),
    ("crossbeam-channel, Box<dyn FnOnce>", Role::Peer, || {
        let channel = crossbeam_channel::bounded::<Box<dyn FnOnce() + Send>>(SLOTS);
        for _ in 0..SLOTS {
            let payload = std::hint::black_box(PAYLOAD);
            let job = Box::new(move || {
                std::hint::black_box(payload);
            });
            channel.0.send(job).expect("it is open");
        }
        Box::new(channel)
    }),
    ("kanal", Role::Peer, || {
        let channel = kanal::bounded(SLOTS);
        (0..SLOTS).for_each(|_| channel.0.send(PAYLOAD).expect("it is open"));
        Box::new(channel)
    }),
    ("flume", Role::Peer, || {
        let channel = flume::bounded(SLOTS);
        (0..SLOTS).for_each(|_| channel.0.send(PAYLOAD).expect("it is open"));
        Box::new(channel)
    }),
];

fn runtime(lanes: usize) -> Box<dyn std::any::Any> {
    let mut builder = Runtime::builder();
    let lanes = (0..lanes).map(|lane| LaneConfig::new(format!("lane-{lane}")));
    let queue =
        builder.pull_queue::<Payload>(QueueConfig::new("jobs").capacity(SLOTS as u64).lanes(lanes)).expect("the settings are valid");
    let runtime = builder.build().expect("threads can be started");
    let producer = queue.producer().expect("accounts are left");
    for _ in 0..SLOTS {
        producer.publish(PAYLOAD).expect("there is room");
    }
    assert_eq!(queue.depth() as usize, SLOTS);
    Box::new((runtime, queue, producer))
}

pub fn contest() -> Contest {
    let subject = |(name, role, _): &(&'static str, Role, Fill)| {
        let name = *name;
        Subject::new(name, *role, move || vec![in_child(name)])
    };
    let empty = Contest::new(SUITE, "memory, 65 536 slots of 64 bytes", "bytes/slot", Better::Lower);
    SUBJECTS.iter().map(subject).fold(empty, Contest::with)
}

/// `None` where the system does not tell.
fn in_child(name: &str) -> Option<f64> {
    let program = std::env::current_exe().ok()?;
    let output = Command::new(program).args([OPTION, name]).output().expect("this program can be started again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// In the child: bytes a slot, on standard output.
pub fn weigh(name: &str) {
    let (.., fill) = SUBJECTS.iter().find(|(subject, ..)| *subject == name).expect("it is one of the subjects");
    // what is paid once: code pages, the standard library's own
    let before = resident();
    let filled = fill();
    if let Some(grown) = resident().zip(before).map(|(after, before)| after.saturating_sub(before)) {
        println!("{}", grown as f64 / SLOTS as f64);
    }
    drop(filled);
}

/// Bytes of this process that are in memory.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kibi| kibi * 1024)
}
