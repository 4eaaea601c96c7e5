//! A queue under the manual clock, beside the naive one.

use crate::bytes::Bytes;
use crate::faulty;

#[path = "../../proptests/queue/acts.rs"]
mod acts;
#[path = "../../proptests/queue/model.rs"]
mod model;
#[path = "../../proptests/queue/pair.rs"]
mod pair;

use model::{Act, How};
use pair::Pair;

/// More calls tell nothing new and take long.
const CALLS_MAX: usize = 300;

pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let with_ttl = bytes.flag();
    let mut pair = Pair::new(with_ttl);
    for _ in 0..CALLS_MAX {
        if bytes.is_empty() {
            break;
        }
        let act = act(&mut bytes, with_ttl);
        // the lie: while there are dead letters, an extension purges the queue, and the model does not know
        if faulty() && matches!(act, Act::Extend(..)) && !pair.queue.dead_letters().is_empty() {
            pair.queue.purge();
        }
        pair.carry_out(act);
    }
    pair.shut_down();
}

fn act(bytes: &mut Bytes<'_>, with_ttl: bool) -> Act {
    let number = |bytes: &mut Bytes<'_>| usize::from(bytes.byte());
    match bytes.below(16) {
        0..=2 => {
            let (lane, delayed) = (usize::from(bytes.flag()), bytes.flag());
            let delay = if delayed { 1 + bytes.below(40) } else { 0 };
            let ttl = (with_ttl && bytes.flag()).then(|| bytes.below(30));
            Act::Publish { lane, delay, ttl }
        }
        3 => Act::Batch { lane: usize::from(bytes.flag()), jobs: bytes.below(9) as u32 },
        4 | 5 => Act::Recv,
        6 | 7 => {
            let at = number(bytes);
            let how = match bytes.below(6) {
                0 => How::Ack,
                1 => How::Retry,
                2 => How::Snooze(bytes.below(20)),
                3 => How::Reject,
                4 => How::Discard,
                _ => How::Drop,
            };
            Act::Settle(at, how)
        }
        8 => Act::Forget(number(bytes)),
        9 => Act::Extend(number(bytes), 1 + bytes.below(50)),
        10 => Act::Complete(number(bytes)),
        11 => Act::Cancel(number(bytes)),
        12 => Act::Advance(1 + bytes.below(50)),
        13 => Act::Redrive(bytes.flag().then(|| number(bytes))),
        14 => Act::Pause(bytes.flag()),
        _ => match bytes.below(3) {
            0 => Act::TakeLetter,
            1 => Act::PurgeLetters,
            _ => Act::Purge,
        },
    }
}
