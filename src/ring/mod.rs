//! The index ring: a bounded FIFO of index chains for any number of threads, lock-free in the strict sense.
//!
//! # The idea
//!
//! Every position has a **ticket** that never repeats. A producer looks for the first ticket that is not filled and publishes its chain with it, by one CAS on
//! the ticket's slot. A consumer reads filled slots from `head` on and takes them all with one CAS on `head`; it writes to no slot. The ring has a place for
//! every index there is, and an index is in one place at a time, so a push always finds room: no full and empty stamps, and no slot has to be given back.
//!
//! ```text
//!            head            tail (lags)      end
//!             v               v                v
//!   ... taken | filled filled | filled filled  | not filled yet
//!                               ^
//!                               producers pass over these
//! ```
//!
//! Nobody is ever between two steps: the CAS that finds the place is the CAS that publishes. A producer that stops before it has pushed nothing, one that stops
//! after it has pushed everything, and there is no hole that others would have to wait for, or close. The idea is Tsigas and Zhang's (a simple, fast and scalable
//! non-blocking concurrent FIFO queue, 2001); what theirs needs to tell old places from new ones, two kinds of empty, is the lap in the slot word here.
//!
//! `tail` tells producers where to begin. It is a **hint**: moved by plain stores, it lags behind the end, and goes back when a producer stops just before its
//! store. It never says too much, and from a hint of any age the end is found in few looks, since filled tickets are a run: single steps, then strides that
//! double, then strides that halve.
//!
//! # One slot, one ticket
//!
//! ```text
//!   older lap ----- a producer's CAS -----> filled ----- head moves over it -----> (next lap's "older")
//! ```
//!
//! The slot word holds the lap of its ticket and the chain; the CAS expects the word of an older lap, so each ticket is filled once and there is no ABA:
//!
//! ```text
//!   63                    lg+5 lg+4          lg lg-1            0        2^lg slots
//!  +--------------------------+----------------+----------------+
//!  |  lap = ticket >> lg      |    len - 1     |  first index   |
//!  +--------------------------+----------------+----------------+
//! ```
//!
//! One subtraction tells filled, older and newer apart ([`SlotLayout::decode`]). A word carries a chain of 1..=32 indices; the links
//! hang elsewhere and are the pusher's until the CAS, the popper's after its own.
//!
//! # Invariants
//!
//! With N indices and C >= N slots, where `end` is the first ticket that is not filled:
//! - **I1** Filled tickets are a run: a producer fills a ticket only when it has learnt that all below are filled. It learns so from a filled slot below it, or of
//!   a later lap at its own position, and from tail.
//! - **I2** `tail <= end`: it is moved to what its mover has learnt, or filled.
//! - **I3** `end - head <= N`: each ticket in between carries at least one index, and no index is in two.
//!
//! By I3 the ticket one lap before the end is below head when somebody comes to fill the end, for he owns an index that is in none of the others. So **a
//! producer overwrites nothing that anybody still wants, without ever reading head**.
//!
//! # Why that holds on weak memory
//!
//! *I1* is a chain of acquires. Whoever fills ticket t has filled t - 1 as well, or has read its word, by an acquire, that was written by a release
//! (`ring.publish`), or a tail that was (`ring.tail`); that writer had done the same for all below. So filling a ticket happens after filling every
//! earlier one, and **whoever knows of a push knows of all pushes before it**. Three things follow:
//! 1. A consumer says that the ring is empty when it finds the slot at its head unfilled. Were there a push with a ticket t >= head that returned before the
//!    call, or that was known to whoever moved head to where it is (`ring.advance`), then filling head happened before filling t, and the slot could not be
//!    read as unfilled. A head that is stale does no harm: what it has missed only adds to what is filled.
//! 2. A producer's view of a slot is never more than a lap old: what it has learnt to be filled includes the ticket a lap below its own.
//! 3. tail may carry any old value: all it is believed for, was true when it was stored, and stays true.
//!
//! *I3* speaks of pops by other threads. Suppose ticket t is filled while its slot's last ticket, t - C, is not taken. The C + 1 > N tickets `t-C ..= t`
//! cannot all have had indices of their own: some index was pushed twice, with tickets a < b <= t, and taken in between. It was taken by a CAS that moved head past a,
//! and t - C is not above a. So head has passed t - C: in the order of head, that is all that any consumer's CAS goes by. What `ring.advance` adds is that
//! everybody who could meet the new word also finds head moved: a consumer with an old head that reads a word of a later lap has learnt of the push, of the pop that
//! made way for it, and of every move of head before that one; so it reads a new head, instead of the old one again for as long as the memory likes. (One that finds
//! the old one all the same panics: an index was pushed twice, and some chain is lost.)
//!
//! | edge | release | acquire | carries |
//! |---|---|---|---|
//! | `ring.publish` | the CAS that fills a slot | every read of a slot but that of `peek`, a hint | links of the chain, payloads, that the push is complete and that all below are filled |
//! | `ring.tail` | every store of tail | a producer's read of tail | that all below are filled |
//! | `ring.advance` | every CAS on head | every read of head, CAS on head | that the tickets below are taken, and the pushes that their takers knew of |
//!
//! # Where operations take effect
//!
//! - **push**: at its CAS. **pop**: at its CAS on head, all its chains at once.
//! - **a pop that finds nothing**: at its read of the slot at head. Then that ticket, and by I1 all beyond it, were not filled, and all before it had been taken.
//!
//! # Progress
//!
//! | operation | progress | shared accesses when nothing is in the way |
//! |---|---|---|
//! | `push` | lock-free; a CAS that is lost means that another push succeeded. A tail that has gone back costs 2 lg(slots) looks or so, once | 2 loads of tail, load and CAS of a slot, store of tail |
//! | `push_batch` of k | lock-free, as k pushes | 2 loads of tail, k loads, k CAS, store of tail |
//! | `pop` of k chains | lock-free; a CAS that is lost means that another pop succeeded | load, up to k + 1 loads, CAS |
//! | `pop`, empty | lock-free | 2 loads |
//! | `peek` | wait-free | 2 loads |
//! | `len_hint` | lock-free, as a search for the end | 3 loads |
//!
//! Nobody waits for a thread, and no thread ever has to be helped.
//!
//! # How to call it well
//!
//! After a miss or a short batch hold off for some 20 pauses before looking again: the line that a consumer looks at is the line that the next producer writes.
//! Send what belongs together as one chain: one CAS for up to 32 indices.
//!
//! # How it is checked
//!
//! `loom-tests/ring.rs` (orderings; each has a failing twin), `loom-tests/explore/ring.rs` (every interleaving of small clients; bent rules caught),
//! `src/ring/tests/freeze.rs` (real threads frozen at every step), `src/tests/ring.rs` (histories), `proptests/ring.rs` (against a `VecDeque`).

mod popped;
#[allow(clippy::module_inception, reason = "one file, one noun")]
mod ring;
mod rules;
mod slot;
#[cfg(all(test, not(loom)))]
mod tests;

pub use popped::{POPPED_MAX, Popped};
pub use ring::IndexRing;
#[doc(hidden)]
pub use rules::{Rules, Sound};
#[doc(hidden)]
pub use slot::{Seen, SlotLayout};
