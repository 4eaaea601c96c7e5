//! A run as data: steps that each say all that is chosen in them, so that a run with some of them left out is a run still.

use crate::world::How;
use ringmill::rng::Rng;

/// One step. Numbers of queues, jobs and deliveries are taken modulo how many there are.
#[derive(Debug, Clone)]
pub struct Step {
    pub act: Act,
    /// The seed of the scheduler's choices in this step.
    pub choices: u64,
}

#[derive(Debug, Clone)]
pub enum Act {
    Publish {
        queue: usize,
        lane: usize,
        delay: u64,
        ttl: Option<u64>,
        key: Option<u8>,
        plan: u64,
        watched: bool,
    },
    Batch {
        queue: usize,
        lane: usize,
        jobs: u64,
        key: Option<u8>,
        plan: u64,
    },
    /// Through the exchange, by one of its keys.
    Route {
        to: usize,
        key: Option<u8>,
        plan: u64,
    },
    /// A task publishes, and waits if it has to: for so long, or for as long as it takes.
    Wait {
        queue: usize,
        lane: usize,
        ttl: Option<u64>,
        key: Option<u8>,
        plan: u64,
        watched: bool,
        patience: Option<u64>,
    },
    /// One of those tasks looks again.
    Look(usize),
    /// One of them is dropped.
    GiveUp(usize),
    /// From here on a job is published again and again, and no other one; or none is.
    Every {
        every: u64,
        catch_up: bool,
        lane: usize,
        plan: u64,
    },
    Stop,
    /// One of the sets of bindings.
    Rebind(usize),
    /// So many acts of the scheduler's choice.
    Work(u64),
    /// Until nobody has anything to do.
    Idle,
    Advance(u64),
    /// The clock leaps, and nobody sees it.
    Leap(u64),
    Recv(usize),
    Settle(usize, How),
    Forget(usize),
    Extend(usize, u64),
    Cancel(usize, usize),
    Pause(usize, bool),
    Purge(usize),
    TakeLetter(usize),
    Redrive(usize, Option<usize>),
    PurgeLetters(usize),
    /// Publishes are refused from here on.
    Close,
}

/// The steps of a seed.
pub fn steps(rng: &mut Rng, many: usize) -> Vec<Step> {
    // a run is busy with some things and seldom does others
    let calm = rng.up_to(2);
    (0..many).map(|_| Step { act: act(rng, calm), choices: rng.next_u64() }).collect()
}

fn ttl(rng: &mut Rng) -> Option<u64> {
    (rng.up_to(4) == 0).then(|| rng.up_to(30))
}

fn key(rng: &mut Rng) -> Option<u8> {
    (rng.up_to(1) == 0).then(|| rng.up_to(4) as u8)
}

fn act(rng: &mut Rng, calm: u64) -> Act {
    let number = |rng: &mut Rng| rng.up_to(1 << 20) as usize;
    let publish = |rng: &mut Rng| Act::Publish {
        queue: number(rng),
        lane: rng.up_to(1) as usize,
        delay: if rng.up_to(2) == 0 { 1 + rng.up_to(40) } else { 0 },
        ttl: ttl(rng),
        key: key(rng),
        plan: rng.next_u64(),
        watched: rng.up_to(3) == 0,
    };
    match rng.up_to(110) {
        0..=21 => publish(rng),
        22..=24 => Act::Batch { queue: number(rng), lane: rng.up_to(1) as usize, jobs: rng.up_to(8), key: key(rng), plan: rng.next_u64() },
        25..=29 => Act::Route { to: number(rng), key: key(rng), plan: rng.next_u64() },
        30 => Act::Rebind(number(rng)),
        31..=47 => Act::Work(1 + rng.up_to(3)),
        48..=52 => Act::Idle,
        53..=63 => Act::Advance(if rng.up_to(5) == 0 { 1 + rng.up_to(120) } else { 1 + rng.up_to(5) }),
        64 if calm == 0 => Act::Leap(1 + rng.up_to(50)),
        64..=74 => Act::Recv(number(rng)),
        75..=84 => {
            let how = How::random(rng);
            Act::Settle(number(rng), how)
        }
        85 if calm == 0 => Act::Forget(number(rng)),
        85 | 86 => Act::Extend(number(rng), 1 + rng.up_to(49)),
        87..=89 => Act::Cancel(number(rng), number(rng)),
        90 => Act::Pause(number(rng), true),
        91 | 92 => Act::Pause(number(rng), false),
        93 if calm == 0 => Act::Purge(number(rng)),
        93 | 94 => Act::TakeLetter(number(rng)),
        95 | 96 => Act::Redrive(number(rng), (rng.up_to(1) == 0).then(|| number(rng))),
        97 => Act::PurgeLetters(number(rng)),
        98 if rng.up_to(40) == 0 => Act::Close,
        100..=103 => Act::Wait {
            queue: number(rng),
            lane: rng.up_to(1) as usize,
            ttl: ttl(rng),
            key: key(rng),
            plan: rng.next_u64(),
            watched: rng.up_to(3) == 0,
            patience: (rng.up_to(1) == 0).then(|| rng.up_to(40)),
        },
        104..=107 => Act::Look(number(rng)),
        108 => Act::GiveUp(number(rng)),
        109 => {
            let (catch_up, lane) = (rng.up_to(1) == 0, rng.up_to(1) as usize);
            Act::Every { every: 1 + rng.up_to(40), catch_up, lane, plan: rng.next_u64() }
        }
        110 => Act::Stop,
        _ => publish(rng),
    }
}
