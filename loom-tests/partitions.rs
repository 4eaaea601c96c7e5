//! A publish to a partition whose last job ends; two who take; a key that waits no more; a publisher that is stopped.

#![allow(clippy::disallowed_methods, reason = "outside of loom the models start real threads")]

use crate::support::{Bound, check, must_fail, twins};
use ringmill::chain::LinkArray;
use ringmill::key::OrderKey;
use ringmill::partitions::{Next, Partitions, Rules, Seat, Sound};
use ringmill::sync::atomic::Ordering::{self, Relaxed};
use ringmill::sync::{Arc, UnsafeCell, thread};

twins! {
    /// A release that has found nothing writes "nobody" over whatever has come since.
    ReleasesBlindly RELEASE_RECHECKS: bool = false;
    /// A release that leaves jobs behind tells nobody.
    ReleasesSilently RELEASE_SAYS: bool = false;
    /// A taker looks, then clears the bit that says that there is more.
    LooksThenClears CLEARS_FIRST: bool = false;
    /// A taker takes a token that somebody has.
    TakesAnybodys TAKES_FREE: bool = false;
    /// Whoever says *ready* believes a bit that it saw before its push was seen.
    Unfenced FENCED: bool = false;
    /// A key that waits no more tells nobody.
    ReturnsSilently RETURN_SAYS: bool = false;
    /// A key waits no more, and then what was set aside for it goes back to the line.
    ReturnsLate RETURNS_FIRST: bool = false;
    /// A top that was away and has come back is taken for one that has never left.
    Untagged TAGGED: bool = false;
    EnterRelaxed ENTER: Ordering = Relaxed;
    TakeRelaxed TAKE: Ordering = Relaxed;
    PassRelaxed PASS: Ordering = Relaxed;
}

/// Passes nothing on, and is stopped before it says that the partition is ready.
#[derive(Debug)]
struct SilentPassRelaxed;

impl Rules for SilentPassRelaxed {
    const PASS: Ordering = Relaxed;
    const RELEASE_SAYS: bool = false;
}

/// One partition of one or two lanes, and what the jobs' handlers write: loom sees two that are not ordered.
struct World<R: Rules> {
    partitions: Partitions<R>,
    links: LinkArray,
    payloads: [UnsafeCell<u32>; 5],
    work: UnsafeCell<u32>,
}

// SAFETY: loom watches the cells; that nobody else touches them meanwhile is what is being shown
unsafe impl<R: Rules> Sync for World<R> {}
// SAFETY: as above
unsafe impl<R: Rules> Send for World<R> {}

fn key(name: &str) -> OrderKey {
    // fixed, so that every execution is the same
    OrderKey::from_high_bits(if name == "a" { 1 << 40 } else { 2 << 40 })
}

impl<R: Rules> World<R> {
    fn new() -> Arc<Self> {
        Self::with_lanes(1)
    }

    fn with_lanes(lanes: usize) -> Arc<Self> {
        Arc::new(World {
            partitions: Partitions::with_rules(1, lanes, 5),
            links: LinkArray::new(5),
            payloads: std::array::from_fn(|_| UnsafeCell::new(0)),
            work: UnsafeCell::new(0),
        })
    }

    fn publish(&self, index: u32, name: &str) {
        self.publish_to(0, index, name);
    }

    fn publish_to(&self, lane: usize, index: u32, name: &str) {
        self.payloads[index as usize].with_mut(|payload| {
            // SAFETY: the publisher owns the index
            unsafe { *payload = index + 1 }
        });
        self.partitions.enter(&self.links, index, key(name), lane);
    }

    /// Seats that know their homes: later they take no lock, which would order what the model is about.
    fn seats<const N: usize>(&self) -> [Seat; N] {
        let mut seats: [Seat; N] = std::array::from_fn(|_| self.partitions.join());
        seats.iter_mut().for_each(|seat| assert_eq!(self.take(seat), None));
        seats
    }

    fn take(&self, seat: &mut Seat) -> Option<u32> {
        self.take_from(0, seat)
    }

    fn take_from(&self, lane: usize, seat: &mut Seat) -> Option<u32> {
        let mut out = [(0, 0)];
        (self.partitions.take_ready(&self.links, lane, seat, &mut out) == 1).then_some(out[0].0)
    }

    /// Runs a job that was taken.
    fn run(&self, index: u32) {
        self.payloads[index as usize].with(|payload| {
            // SAFETY: the job was taken
            assert_eq!(unsafe { *payload }, index + 1);
        });
        self.work.with_mut(|work| {
            // SAFETY: one job of the key at a time
            unsafe { *work += 1 }
        });
    }

    fn end(&self, index: u32) {
        self.partitions.leave(&self.links, self.partitions.place(index));
    }

    /// Takes and runs one, if there is one.
    fn take_one(&self, seat: &mut Seat) -> Option<u32> {
        let index = self.take(seat)?;
        self.run(index);
        self.end(index);
        Some(index)
    }

    /// Takes and runs what there is, one by one.
    fn drain(&self, seat: &mut Seat) -> Vec<u32> {
        std::iter::from_fn(|| self.take_one(seat)).collect()
    }

    /// Of a key whose first job is loose, which comes back, the second is set aside. Says which the first is.
    fn set_one_aside(&self, seat: &mut Seat) -> u32 {
        self.publish(0, "a");
        let loose = self.take(seat).expect("it is ready");
        self.publish(1, "a");
        self.partitions.step_aside(&self.links, loose);
        assert_eq!(self.take(seat), None, "it is set aside");
        loose
    }
}

/// Bad: the job that comes while the last one ends is neither taken by the one who ends that nor found by the next who looks.
fn publish_against_the_last_end<R: Rules + 'static>() {
    let world = World::<R>::new();
    let [mut seat] = world.seats();
    world.publish(0, "a");
    let head = world.take(&mut seat).expect("it is ready");
    let publisher = {
        let world = Arc::clone(&world);
        thread::spawn(move || world.publish(1, "a"))
    };
    world.run(head);
    world.end(head);
    let mut seen = world.drain(&mut seat);
    publisher.join().unwrap();
    seen.extend(world.drain(&mut seat));
    assert_eq!(seen, [1], "lost, or taken twice");
    assert_eq!(world.partitions.held(), 0, "the token is lost");
}

/// As above, by a publish to another lane. Bad: whoever ends the last job finds the new one, and says in the wrong lane that it is ready.
fn publish_to_another_lane_against_the_last_end<R: Rules + 'static>() {
    let world = World::<R>::with_lanes(2);
    let [mut seat] = world.seats();
    world.publish(0, "a");
    let head = world.take(&mut seat).expect("it is ready");
    let publisher = {
        let world = Arc::clone(&world);
        thread::spawn(move || world.publish_to(1, 1, "a"))
    };
    world.run(head);
    world.end(head);
    publisher.join().unwrap();
    assert_eq!(world.take_from(1, &mut seat), Some(1), "lost, or said to be of another lane");
}

/// As above, with an end that may go on with the next. (The younger of two lay once on another, and its link says so still to whoever does not see the publish.)
fn publish_against_going_on<R: Rules + 'static>() {
    let world = World::<R>::new();
    let [mut seat] = world.seats();
    world.publish(3, "a");
    world.publish(2, "a");
    assert_eq!(world.drain(&mut seat), [3, 2]);
    world.publish(0, "a");
    assert_eq!(world.take(&mut seat), Some(0));
    let publisher = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            world.publish(1, "a");
            world.publish(2, "a");
        })
    };
    let mut seen = Vec::new();
    let mut head = 0;
    loop {
        world.run(head);
        match world.partitions.go_on(&world.links, 0, 0, &mut seat, 8) {
            Next::Job(next) => {
                seen.push(next);
                head = next;
            }
            Next::Ready(_) | Next::Nothing => break,
        }
    }
    publisher.join().unwrap();
    seen.extend(world.drain(&mut seat));
    assert_eq!(seen, [1, 2]);
    assert_eq!(world.partitions.held(), 0);
}

/// Bad: a handler does not see what the one before it wrote.
fn a_handler_after_another<R: Rules + 'static>() {
    let world = World::<R>::new();
    let [mut seat] = world.seats();
    world.publish(0, "a");
    let head = world.take(&mut seat).expect("it is ready");
    let other = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            world.run(head);
            world.end(head);
        })
    };
    world.publish(1, "a");
    let mut seen = world.drain(&mut seat);
    other.join().unwrap();
    seen.extend(world.drain(&mut seat));
    assert_eq!(seen, [1]);
}

/// Bad: two have the token at once; or a job is run without what its publisher wrote, or beside the one before it; or out of order.
fn two_who_take<R: Rules + 'static>() {
    let world = World::<R>::new();
    let [mut seat, mut others_seat] = world.seats();
    let publisher = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            world.publish(0, "a");
            world.publish(1, "a");
        })
    };
    let other = {
        let world = Arc::clone(&world);
        thread::spawn(move || world.drain(&mut others_seat))
    };
    let mine = world.drain(&mut seat);
    publisher.join().unwrap();
    let others = other.join().unwrap();
    let rest = world.drain(&mut seat);
    let mut all: Vec<u32> = [&mine[..], &others, &rest].concat();
    assert!([&mine, &others].iter().all(|seen| seen.is_sorted()), "out of order");
    all.sort_unstable();
    assert_eq!(all, [0, 1], "lost, or taken twice");
}

/// Bad: a publish finds the bit set and leaves it alone, and the one who had cleared it looked before the push. (The publisher that made the partition ready is
/// stopped before it says so, so that nobody sets the bit again.)
fn a_stopped_publisher<R: Rules + 'static>() {
    let world = World::<R>::new();
    let [mut seat, mut takers_seat] = world.seats();
    // a bit that is set for nothing
    world.partitions.say_for_model(0, 0);
    let taker = {
        let world = Arc::clone(&world);
        thread::spawn(move || world.take(&mut takers_seat))
    };
    let stopped = {
        let world = Arc::clone(&world);
        thread::spawn(move || world.partitions.enter_and_stop(&world.links, 1, key("a"), 0))
    };
    world.partitions.enter(&world.links, 2, key("a"), 0);
    let taken = taker.join().unwrap();
    stopped.join().unwrap();
    if taken.is_none() {
        assert!(world.take(&mut seat).is_some(), "a job whose publish has returned is not found");
    }
}

/// Bad: one who looks at a partition whose token somebody has takes a job of it all the same; or forgets it, when the token is given back just then.
fn a_look_at_a_held_partition<R: Rules + 'static>() {
    let world = World::<R>::new();
    let [mut seat, mut others_seat] = world.seats();
    world.publish(0, "a");
    let head = world.take(&mut seat).expect("it is ready");
    world.publish(1, "a");
    // said by a publisher that came before the token was taken, and was slow
    world.partitions.say_for_model(0, 0);
    let other = {
        let world = Arc::clone(&world);
        thread::spawn(move || world.drain(&mut others_seat))
    };
    world.run(head);
    world.end(head);
    let mut seen = other.join().unwrap();
    seen.extend(world.drain(&mut seat));
    assert_eq!((seen, world.partitions.held()), (vec![1], 0), "lost, or taken twice");
}

/// Bad: what was set aside for a key is lost when the key waits no more, while the partition's last job ends.
fn a_key_waits_no_more<R: Rules + 'static>() {
    let world = World::<R>::new();
    let [mut seat] = world.seats();
    world.publish(0, "a");
    let loose = world.take(&mut seat).expect("it is ready");
    world.publish(1, "a");
    world.publish(2, "b");
    world.partitions.step_aside(&world.links, loose);
    assert_eq!(world.take(&mut seat), Some(2), "the other key goes on");
    let ending = {
        let world = Arc::clone(&world);
        // the loose job has come back, and has run
        thread::spawn(move || world.end(loose))
    };
    world.end(2);
    let mut seen = world.drain(&mut seat);
    ending.join().unwrap();
    seen.extend(world.drain(&mut seat));
    assert_eq!((seen, world.partitions.held(), world.partitions.waiting_keys()), (vec![1], 0, 0));
}

/// Bad: whoever takes what was set aside does not see what the other key's last handler wrote, which found nothing else to do and gave the token back without the
/// lock. (It looks because of a bit that was set for nothing: one that was set for this job would carry it all.)
fn set_aside_beside_the_last_end<R: Rules + 'static>() {
    let world = World::<R>::new();
    let [mut seat] = world.seats();
    world.publish(0, "a");
    let loose = world.take(&mut seat).expect("it is ready");
    world.publish(1, "a");
    world.publish(2, "b");
    world.partitions.step_aside(&world.links, loose);
    assert_eq!(world.take(&mut seat), Some(2), "the other key goes on");
    world.partitions.say_for_model(0, 0);
    let ending = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            world.run(2);
            world.end(2);
        })
    };
    let returning = {
        let world = Arc::clone(&world);
        // the loose job has come back, and has run
        thread::spawn(move || world.end(loose))
    };
    let mut seen = world.drain(&mut seat);
    ending.join().unwrap();
    returning.join().unwrap();
    seen.extend(world.drain(&mut seat));
    assert_eq!((seen, world.partitions.held()), (vec![1], 0));
}

/// Bad: the key's next job, which waits in the inbox, is taken before what was set aside is back in the line.
fn set_aside_before_what_is_in_the_inbox<R: Rules + 'static>() {
    let world = World::<R>::new();
    let [mut seat] = world.seats();
    let loose = world.set_one_aside(&mut seat);
    world.publish(2, "a");
    let returning = {
        let world = Arc::clone(&world);
        // the loose job has come back, and has run
        thread::spawn(move || world.end(loose))
    };
    let mut seen = world.drain(&mut seat);
    returning.join().unwrap();
    seen.extend(world.drain(&mut seat));
    assert_eq!((seen, world.partitions.held()), (vec![1, 2], 0), "out of order");
}

/// Bad: as above, by one who had looked before the other key's last job was taken, and then waited for the lock.
fn set_aside_after_a_look<R: Rules + 'static>() {
    let world = World::<R>::new();
    let [mut seat, mut others_seat] = world.seats();
    let loose = world.set_one_aside(&mut seat);
    world.publish(2, "b");
    let other = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            world.partitions.say_for_model(0, 0);
            world.take_one(&mut others_seat)
        })
    };
    let returning = {
        let world = Arc::clone(&world);
        // the loose job has come back, and has run
        thread::spawn(move || world.end(loose))
    };
    let mut seen = world.drain(&mut seat);
    seen.extend(other.join().unwrap());
    returning.join().unwrap();
    seen.extend(world.drain(&mut seat));
    seen.sort_unstable();
    assert_eq!((seen, world.partitions.held()), (vec![1, 2], 0), "lost, or taken twice");
}

/// Bad: a key waits no more and nothing was set aside for it, so that its next job is taken on the short way, which no lock orders: it does not see what the
/// loose one's handler wrote.
fn a_key_waits_no_more_for_nothing<R: Rules + 'static>() {
    let world = World::<R>::new();
    let [mut seat] = world.seats();
    world.publish(0, "a");
    let loose = world.take(&mut seat).expect("it is ready");
    world.partitions.step_aside(&world.links, loose);
    let ending = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            world.run(loose);
            world.end(loose);
        })
    };
    world.publish(1, "a");
    let mut seen = world.drain(&mut seat);
    ending.join().unwrap();
    seen.extend(world.drain(&mut seat));
    assert_eq!((seen, world.partitions.held(), world.partitions.waiting_keys()), (vec![1], 0, 0));
}

/// Bad: a purge takes out the jobs behind the one that ends, and with them the lock that would have ordered the next: it is taken on the short way and does not
/// see what the last handler wrote. With `OTHER_LANE` the end had meant to go on, with a job of another lane. (Whoever ends is stopped before it says that the
/// partition is ready: loom's fences, of which that has one, carry more than the language's.)
fn a_purge_after_the_end<R: Rules + 'static, const OTHER_LANE: bool>() {
    let world = World::<R>::new();
    let [mut seat, mut others_seat] = world.seats();
    world.publish(0, "a");
    let head = world.take(&mut seat).expect("it is ready");
    // more than the word has room for: the lock is taken
    (1..4).for_each(|index| world.publish(index, "a"));
    let ending = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            world.run(head);
            if OTHER_LANE {
                // it was of a lane that is none
                world.partitions.go_on(&world.links, 0, 1, &mut others_seat, 8);
            } else {
                world.end(head);
            }
        })
    };
    let purging = {
        let world = Arc::clone(&world);
        thread::spawn(move || world.partitions.drain(&world.links, 0))
    };
    world.publish(4, "a");
    let mut seen = world.drain(&mut seat);
    ending.join().unwrap();
    seen.extend(purging.join().unwrap());
    loop {
        world.partitions.say_for_model(0, 0);
        let rest = world.drain(&mut seat);
        if rest.is_empty() {
            break;
        }
        seen.extend(rest);
    }
    seen.sort_unstable();
    assert_eq!((seen, world.partitions.held()), (vec![1, 2, 3, 4], 0), "lost, or taken twice");
}

/// Bad: whoever takes the lower one of two jobs by the link of the upper one takes a job that is long gone, because the upper one has been taken meanwhile, and
/// was published again on top of another.
fn a_top_that_comes_back<R: Rules + 'static>() {
    let world = World::<R>::new();
    let [mut seat, mut others_seat] = world.seats();
    world.publish(0, "a");
    world.publish(1, "a");
    let other = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            // said once more than need be: a publisher that was slow
            world.partitions.say_for_model(0, 0);
            world.take_one(&mut others_seat)
        })
    };
    let mut seen = world.drain(&mut seat);
    let mut published = vec![0, 1];
    if seen == [0, 1] {
        world.publish(2, "a");
        world.publish(1, "a");
        published.extend([2, 1]);
    }
    let others = other.join().unwrap();
    seen.extend(world.drain(&mut seat));
    seen.extend(others);
    seen.sort_unstable();
    published.sort_unstable();
    assert_eq!((seen, world.partitions.held()), (published, 0), "lost, or taken twice");
}

/// Bad: an evictor or a purge takes what a worker takes too, or leaves the partition without its jobs.
#[test]
fn what_is_taken_out_is_taken_once() {
    check("partitions: purge / take", Bound::ALL, || {
        let world = World::<Sound>::new();
        let [mut seat] = world.seats();
        world.publish(0, "a");
        world.publish(1, "a");
        let purge = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.partitions.drain(&world.links, 0))
        };
        let mut seen = world.drain(&mut seat);
        seen.extend(purge.join().unwrap());
        seen.extend(world.drain(&mut seat));
        seen.sort_unstable();
        assert_eq!((seen, world.partitions.held()), (vec![0, 1], 0));
    });
}

#[test]
fn a_publish_meets_the_last_end() {
    check("partitions: publish / last end", Bound::ALL, publish_against_the_last_end::<Sound>);
    check("partitions: publish to another lane / last end", Bound::ALL, publish_to_another_lane_against_the_last_end::<Sound>);
    check("partitions: publish / going on", Bound::preemptions(3), publish_against_going_on::<Sound>);
}

#[test]
fn twin_a_blind_release_loses_a_job() {
    must_fail("partitions: blind release", Bound::ALL, publish_against_the_last_end::<ReleasesBlindly>);
}

#[test]
fn twin_a_silent_release_loses_a_job() {
    must_fail("partitions: silent release", Bound::ALL, publish_against_the_last_end::<ReleasesSilently>);
}

#[test]
fn twin_a_job_is_run_without_what_its_publisher_wrote() {
    must_fail("partitions: enter relaxed", Bound::preemptions(3), publish_against_going_on::<EnterRelaxed>);
    must_fail("partitions: take relaxed", Bound::preemptions(3), publish_against_going_on::<TakeRelaxed>);
}

#[test]
fn of_two_who_take_one_has_the_token() {
    check("partitions: two takers", Bound::preemptions(2), two_who_take::<Sound>);
}

#[test]
fn a_top_that_comes_back_is_another() {
    check("partitions: a top that comes back", Bound::preemptions(3), a_top_that_comes_back::<Sound>);
}

#[test]
fn twin_a_top_that_comes_back_is_taken_for_the_same() {
    must_fail("partitions: untagged", Bound::preemptions(3), a_top_that_comes_back::<Untagged>);
}

#[test]
fn a_held_partition_is_left_alone_and_not_forgotten() {
    check("partitions: a look at a held one", Bound::ALL, a_look_at_a_held_partition::<Sound>);
}

#[test]
fn twin_a_token_is_taken_from_whoever_has_it() {
    must_fail("partitions: takes anybody's", Bound::ALL, a_look_at_a_held_partition::<TakesAnybodys>);
}

#[test]
fn twin_a_bit_is_cleared_after_the_look() {
    must_fail("partitions: looks, then clears", Bound::ALL, a_look_at_a_held_partition::<LooksThenClears>);
}

#[test]
fn a_handler_sees_what_the_one_before_it_wrote() {
    check("partitions: one handler after another", Bound::ALL, a_handler_after_another::<Sound>);
}

#[test]
fn twin_a_handler_runs_beside_the_one_before_it() {
    must_fail("partitions: pass relaxed", Bound::ALL, a_handler_after_another::<PassRelaxed>);
}

#[test]
fn a_stopped_publisher_holds_up_nobody() {
    check("partitions: stopped publisher", Bound::preemptions(3), a_stopped_publisher::<Sound>);
}

#[test]
fn twin_who_does_not_fence_believes_an_old_bit() {
    must_fail("partitions: unfenced", Bound::preemptions(3), a_stopped_publisher::<Unfenced>);
}

#[test]
fn what_was_set_aside_comes_back() {
    check("partitions: a key waits no more", Bound::ALL, a_key_waits_no_more::<Sound>);
}

#[test]
fn twin_a_silent_return_loses_what_was_set_aside() {
    must_fail("partitions: silent return", Bound::ALL, a_key_waits_no_more::<ReturnsSilently>);
}

#[test]
fn what_was_set_aside_sees_the_last_end() {
    check("partitions: a key waits no more / last end", Bound::preemptions(3), set_aside_beside_the_last_end::<Sound>);
}

#[test]
fn twin_what_was_set_aside_is_run_beside_the_last_end() {
    must_fail(
        "partitions: a key waits no more / last end, take relaxed",
        Bound::preemptions(3),
        set_aside_beside_the_last_end::<TakeRelaxed>,
    );
}

#[test]
fn what_was_set_aside_comes_before_what_is_in_the_inbox() {
    check("partitions: a key waits no more / inbox", Bound::ALL, set_aside_before_what_is_in_the_inbox::<Sound>);
}

#[test]
fn twin_what_was_set_aside_comes_after_what_is_in_the_inbox() {
    must_fail("partitions: returns late", Bound::ALL, set_aside_before_what_is_in_the_inbox::<ReturnsLate>);
}

#[test]
fn what_was_set_aside_sees_an_end_after_the_look() {
    check("partitions: a key waits no more / look, last end", Bound::preemptions(3), set_aside_after_a_look::<Sound>);
}

#[test]
fn the_next_of_a_key_sees_the_loose_one() {
    check("partitions: a key waits no more, nothing aside", Bound::ALL, a_key_waits_no_more_for_nothing::<Sound>);
}

#[test]
fn twin_the_next_of_a_key_is_run_beside_the_loose_one() {
    must_fail("partitions: a key waits no more, nothing aside, pass relaxed", Bound::ALL, a_key_waits_no_more_for_nothing::<PassRelaxed>);
}

#[test]
fn the_next_after_a_purge_sees_the_last_end() {
    check("partitions: purge after the end", Bound::preemptions(3), a_purge_after_the_end::<ReleasesSilently, false>);
    check("partitions: purge after going on", Bound::preemptions(3), a_purge_after_the_end::<ReleasesSilently, true>);
}

#[test]
fn twin_the_next_after_a_purge_is_run_beside_the_last_end() {
    must_fail("partitions: purge after the end, pass relaxed", Bound::preemptions(3), a_purge_after_the_end::<SilentPassRelaxed, false>);
    must_fail("partitions: purge after going on, pass relaxed", Bound::preemptions(3), a_purge_after_the_end::<SilentPassRelaxed, true>);
}
