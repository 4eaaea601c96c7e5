//! Recorded histories of real threads, checked for linearizability: is there an order of the operations, each at some instant between its call and its return, in which a plain
//! sequential model gives the same answers?

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests make threads as they like")]

pub(crate) mod growth;
mod jobs;
mod linear;
mod ring;
pub(crate) mod threads;

use crate::rng::Rng;
use crate::sync::chaos::set_hook;
use linear::Event;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use threads::{Barrier, Mutex};

/// The order of calls and returns.
#[derive(Default)]
struct Watch(AtomicU64);

impl Watch {
    fn record<O>(&self, history: &mut Vec<Event<O>>, act: impl FnOnce() -> O) {
        let called = self.0.fetch_add(1, SeqCst);
        let operation = act();
        history.push(Event { called, returned: self.0.fetch_add(1, SeqCst), operation });
    }
}

/// In a quarter of the rounds, this thread is held up at crash points: between any two shared accesses it may lose its core, for a time slice or longer.
fn hold_up(rng: &mut Rng) {
    let mut dice = (rng.up_to(3) == 0).then(|| rng.clone());
    set_hook(Some(Box::new(move |_| {
        let Some(dice) = &mut dice else { return };
        match dice.up_to(15) {
            0..4 => std::thread::yield_now(),
            4 => std::thread::sleep(Duration::from_micros(1 + dice.up_to(60))),
            _ => {}
        }
    })));
}

/// What one thread does in one round; its records go to the end of the history.
type Part<W, O> = dyn Fn(&W, &Watch, &mut Rng, &mut Vec<Event<O>>) + Send + Sync;

/// Plays `rounds` rounds in `threads` threads, each in a world of its own, and gives each round's history to `judge`.
fn play<W, O>(
    seed: u64,
    rounds: u64,
    threads: usize,
    world: impl Fn() -> W,
    part: Arc<Part<W, O>>,
    mut judge: impl FnMut(u64, &W, Vec<Event<O>>),
) where
    W: Send + Sync + 'static,
    O: Send + 'static,
{
    type Stage<W, O> = Mutex<(Option<Arc<W>>, Vec<Event<O>>)>;
    let (gate, stage, watch) = (Arc::new(Barrier::new(threads + 1)), Arc::new(Stage::<W, O>::default()), Arc::new(Watch::default()));
    let players: Vec<_> = (0..threads as u64)
        .map(|thread| {
            let (gate, stage, watch, part) = (gate.clone(), stage.clone(), watch.clone(), part.clone());
            std::thread::spawn(move || {
                let mut rng = Rng::new(seed.wrapping_mul(0x9E37_79B9) ^ thread << 32);
                loop {
                    gate.wait();
                    let Some(world) = stage.lock().unwrap().0.clone() else { return };
                    let mut history = Vec::new();
                    hold_up(&mut rng);
                    rng.next_u64();
                    part(&world, &watch, &mut rng, &mut history);
                    drop(world);
                    stage.lock().unwrap().1.append(&mut history);
                    gate.wait();
                }
            })
        })
        .collect();
    for round in 0..rounds {
        stage.lock().unwrap().0 = Some(Arc::new(world()));
        gate.wait();
        gate.wait();
        let (world, history) = std::mem::take(&mut *stage.lock().unwrap());
        judge(round, &world.expect("it is there"), history);
    }
    gate.wait();
    players.into_iter().for_each(|player| player.join().unwrap());
}
