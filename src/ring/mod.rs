//! The index ring: a bounded FIFO of index chains for any number of threads, lock-free in the strict sense.
//!
//! # The idea
//!
//! A producer takes a **ticket** (`tail.fetch_add`) and publishes its chain in the ticket's slot by CAS. A consumer reads ready slots from `head` on and
//! takes them all with one CAS on `head`; it writes to no slot. That much is the classic bounded queue without its full and empty stamps,
//! which are not needed: the ring has a place for every index there is, an index is in one place at a time, so a push always finds room.
//!
//! The classic queue has one flaw: a producer stopped between ticket and slot hides every chain behind it. Here a consumer that finds such a **hole** at
//! head *and a completed push behind it* gives the ticket up: it puts a **tombstone** into the slot, moves head past it, and goes on. The producer, should
//! it ever wake, sees that its ticket is lost and takes another one. Only the ticket at head is ever given up.
//!
//! ```text
//!            head                          tail
//!             v                             v
//!   ... taken | hole  filled  hole  filled  | not claimed yet
//!               ^       ^
//!               |       witness: a completed push behind the hole
//!               tombstone goes here, and nowhere else
//! ```
//!
//! # One slot, one ticket
//!
//! ```text
//!                        producer's CAS
//!   older lap ---------------------------------> filled ---- head moves over it ----> (next lap's "older")
//!       |         consumer's CAS, at head                                                   ^
//!       +--------------------------------------> tombstone - head moves over it ------------+
//! ```
//!
//! The slot word holds the lap of its ticket and the chain; both CASes expect an older lap, so each ticket is decided once and there is no ABA:
//!
//! ```text
//!   63                    lg+6 lg+5      lg+1   lg  lg-1            0        2^lg slots
//!  +--------------------------+--------------+------+----------------+
//!  |  lap = ticket >> lg      |   len - 1    | tomb |  first index   |
//!  +--------------------------+--------------+------+----------------+
//! ```
//!
//! One subtraction tells filled, tombstone, older and newer apart ([`SlotLayout::decode`]). A word carries a chain of 1..=32 indices; the links
//! hang elsewhere and are the pusher's until the CAS, the popper's after its own.
//!
//! # Invariants
//!
//! With N indices and C >= N slots:
//! - **I1** A ticket is decided once: filled by its producer or given up by a consumer.
//! - **I2** At most one tombstone lies in `[head, tail)`, and it lies at head. Had head passed the ticket, the slot would be decided and the CAS would fail.
//! - **I3** `tail - head <= N + 1`. Each ticket in between is filled (at least one index in it), claimed by a push under way (which owns an index that is
//!   nowhere else), or the one tombstone.
//!
//! By I3 the ticket one lap before a newly claimed one is below head, or is the tombstone at head. So **a producer overwrites nothing that
//! anybody still wants, without ever reading head**. The second case arises only with C = N: a producer loses its ticket, claims the very same slot a lap
//! later, and fills it while the consumer still sleeps between tombstone and head CAS. Whoever then finds a *later* lap at head moves head on in
//! the sleeper's place (the **helping rule**); if head had moved by itself, the CAS fails and tells where it is. With a spare slot the rule is not
//! needed; it costs nothing and keeps the ring from being twice as large when N is a power of two.
//!
//! # Why that holds on weak memory
//!
//! I3 speaks of a claim and of pops by other threads; they must be *ordered*, not just have happened. Suppose ticket `t` is claimed and its slot is
//! reused. The C + 1 > N tickets `t-C ..= t` cannot all have had indices of their own: some index was pushed twice, with tickets a < b. Then
//! 1. the pop of a (or its giving up) happens before the claim of b: the index, or the knowledge that the ticket was lost, went from one to the other
//!    (`ring.publish`, `ring.give_up`, and whatever list carried the index in between; each must release and acquire);
//! 2. the pop of `t-C` is at or before that of a in the order of `head`, and every move of head acquires and releases (`ring.advance`), so it happens before it;
//! 3. the claim of b is at or before that of t in the order of `tail`, and every claim acquires and releases (`ring.ticket`).
//!
//! Together: the pop of `t-C` happens before the claim of t. Weaken 2 or 3 and the chain has gaps.
//!
//! | edge | release | acquire | carries |
//! |---|---|---|---|
//! | `ring.publish` | CAS that fills a slot | every read of a slot but that of `peek`, a hint | links of the chain, payloads, and that the push is complete |
//! | `ring.give_up` | CAS that writes a tombstone | a producer's reads of its slot; consumers' | how far head had come |
//! | `ring.advance` | every CAS on head | every read of head, CAS on head | that the tickets below are settled |
//! | `ring.ticket` | every claim | every claim; the read of tail before Empty | what the claimer knew; that a completed push has its ticket below |
//!
//! Two edges are partly covered by others, and easily taken for superfluous:
//! - **`ring.ticket`**: the acquire of a claim and the acquire of the tail read cover for each other. A consumer that learns of a completed push learns
//!   through it, or through tail, of all earlier claims and so of the moves of head behind them; without either it may stand at a head one lap old, read
//!   one-lap-old slots, and say Empty. Each alone can be weakened without any model noticing; both together are caught by model (m), and by no shorter one.
//! - **`ring.give_up`**: no model notices when it goes, not even with all its ends relaxed; at their size other edges seem to carry the same. The
//!   argument above does need it (step 1, when a ticket of the lap was given up), so it stays: argued, not shown.
//!
//! Two more ends are redundant by provenance, and left as they are since they cost nothing: a successful CAS on head acquires what the read of the same value
//! already has, and a lost race for the tombstone reads head and slot again.
//!
//! # Where operations take effect
//!
//! - **push**: at its filling CAS or, if a later ticket was taken before, just before that. **pop**: at its CAS on head, all its chains at once.
//! - **Empty**: at the *read of slot h* in the round that returns it, where h is head. Then the slot at head was not filled; head has not moved until the
//!   second look, so everything in `(h, tail)` that was filled at that instant would still have been there for the scan; the scan saw nothing; and what lies
//!   beyond the tail that was read had not been claimed by any push that returned before the call. (Not at the read of tail: slot h itself may
//!   be filled between the two.) Pushes under way are ordered after it.
//!
//! # Progress
//!
//! | operation | progress | shared accesses when nothing is in the way |
//! |---|---|---|
//! | `push` | lock-free; retried only after a consumer gave its ticket up, which takes a completed push behind it | fetch_add, load, CAS |
//! | `push_batch` of k | lock-free, as k pushes | fetch_add, k loads, k CAS |
//! | `pop` of k chains | lock-free; a lost CAS means another pop succeeded | load, up to k + 1 loads, CAS |
//! | `pop`, empty | lock-free | 4 loads, and one for each push under way |
//! | `peek`, `len_hint` | wait-free | 2 loads |
//!
//! A consumer spends a bounded run of [`Rules::PATIENCE`] looks on a late producer, once per call, before it gives a ticket up: most late
//! producers are about to write. Nobody waits for a thread otherwise.
//!
//! # How to call it well
//!
//! Poll [`Pop::Weak`] while there is anything else to do and [`Pop::Strict`] only before going to sleep: the strict pop reads the line that producers
//! write. After a miss or a short batch hold off for some 20 pauses before looking again. Send what belongs together as one chain: one fetch_add and one
//! CAS for up to 32 indices, and one hole at most if the sender stops.
//!
//! # How it is checked
//!
//! `loom-tests/ring.rs` (orderings; each has a failing twin), `loom-tests/explore/ring.rs` (every interleaving of small clients; six bent rules caught),
//! `src/ring/tests/freeze.rs` (real threads frozen at every step), `proptests/ring.rs` (against a `VecDeque`).

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
