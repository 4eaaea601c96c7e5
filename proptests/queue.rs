//! The whole queue as a state machine under the manual clock, against a naive sequential model.
//!
//! Every act is carried out on both. Where the real queue has a choice (which of two leases the same sweep ends first, when within two sweeps) the model follows
//! it, after checking that the choice was one it had. After every act the ledger and the capacity add up, and every payload is where the model says: the
//! payloads themselves tell which of them live.

use proptest::prelude::*;
use proptest::test_runner::Config;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

mod acts;
mod model;
mod pair;

use model::{Act, How};
use pair::Pair;

fn act(with_ttl: bool) -> BoxedStrategy<Act> {
    let number = any::<usize>;
    let ttl = if with_ttl { prop_oneof![2 => Just(None), 1 => (0u64..30).prop_map(Some)].boxed() } else { Just(None).boxed() };
    let how = prop_oneof![
        3 => Just(How::Ack),
        3 => Just(How::Retry),
        2 => prop_oneof![Just(0), 1u64..20].prop_map(How::Snooze),
        2 => Just(How::Reject),
        1 => Just(How::Discard),
        1 => Just(How::Drop),
    ];
    prop_oneof![
        8 => (0usize..2, prop_oneof![2 => Just(0), 1 => 1u64..40], ttl).prop_map(|(lane, delay, ttl)| Act::Publish { lane, delay, ttl }),
        2 => (0usize..2, 0u32..9).prop_map(|(lane, jobs)| Act::Batch { lane, jobs }),
        14 => Just(Act::Recv),
        14 => (number(), how).prop_map(|(at, how)| Act::Settle(at, how)),
        1 => number().prop_map(Act::Forget),
        3 => (number(), 1u64..50).prop_map(|(at, length)| Act::Extend(at, length)),
        2 => number().prop_map(Act::Complete),
        3 => number().prop_map(Act::Cancel),
        1 => any::<bool>().prop_map(Act::Pause),
        2 => Just(Act::TakeLetter),
        2 => proptest::option::of(number()).prop_map(Act::Redrive),
        1 => Just(Act::PurgeLetters),
        1 => Just(Act::Purge),
        6 => prop_oneof![1u64..6, 1u64..50].prop_map(Act::Advance),
    ]
    .boxed()
}

/// What generates the acts: nothing but whether jobs have a time to live (then the dead letters have room for all; otherwise they are few and hold).
#[derive(Debug, Clone)]
struct Acts;

impl ReferenceStateMachine for Acts {
    type State = bool;
    type Transition = Act;

    fn init_state() -> BoxedStrategy<bool> {
        any::<bool>().no_shrink().boxed()
    }

    fn transitions(with_ttl: &bool) -> BoxedStrategy<Act> {
        act(*with_ttl)
    }

    fn apply(with_ttl: bool, _act: &Act) -> bool {
        with_ttl
    }
}

struct TheQueue;

impl StateMachineTest for TheQueue {
    type SystemUnderTest = Pair;
    type Reference = Acts;

    fn init_test(with_ttl: &bool) -> Pair {
        Pair::new(*with_ttl)
    }

    fn apply(mut pair: Pair, _with_ttl: &bool, act: Act) -> Pair {
        pair.carry_out(act);
        pair
    }

    fn teardown(pair: Pair, _with_ttl: bool) {
        pair.shut_down();
    }
}

/// `PROPTEST_CASES=200000 cargo test --test properties queue::` looks for longer.
fn config() -> Config {
    let default = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 4_000 };
    Config { cases, ..default }
}

prop_state_machine! {
    #![proptest_config(config())]

    #[test]
    fn the_queue_does_what_the_naive_model_does(sequential 1..120 => TheQueue);
}
