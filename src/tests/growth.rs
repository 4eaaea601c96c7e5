//! What work costs, by how much there is of it.

use std::time::{Duration, Instant};

/// How often both are timed, at least and at most.
const TRIES: std::ops::RangeInclusive<u32> = 3..=12;

/// Fails if `work` on something of `size` takes as long as ten times on a tenth of it, four times over; a walk over all pairs takes ten times as long. Both are
/// timed beside each other, several times, and the least of each counts: what else the machine does only adds to it.
#[track_caller]
pub(crate) fn grows_no_faster_than_its_size<I>(size: usize, make: impl Fn(usize) -> I, mut work: impl FnMut(I)) {
    let mut time = |times: usize, size: usize| {
        let made: Vec<I> = (0..times).map(|_| make(size)).collect();
        let begun = Instant::now();
        made.into_iter().for_each(&mut work);
        begun.elapsed()
    };
    let (mut tenths, mut whole) = (Duration::MAX, Duration::MAX);
    for tries in 1..=*TRIES.end() {
        (tenths, whole) = (tenths.min(time(10, size / 10)), whole.min(time(1, size)));
        if tries >= *TRIES.start() && whole < 4 * tenths {
            return;
        }
    }
    panic!("ten times a tenth takes {tenths:?}, the whole {whole:?}");
}

/// Looks at each of a list, or at all pairs.
fn look(pairs: bool) -> impl FnMut(Vec<u32>) {
    move |list| {
        for one in &list {
            let others = if pairs { &list[..] } else { &list[..1] };
            std::hint::black_box(others.iter().filter(|other| *other > one).count());
        }
    }
}

#[test]
fn what_looks_at_each_grows_as_there_are_more() {
    grows_no_faster_than_its_size(100_000, |size| vec![7; size], look(false));
}

#[test]
#[should_panic = "ten times a tenth takes"]
fn what_looks_at_all_pairs_grows_faster() {
    grows_no_faster_than_its_size(2_000, |size| vec![7; size], look(true));
}
