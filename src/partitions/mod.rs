//! Jobs with a partition key: those of one key run one after the other, in the order in which they were published.
//!
//! # The idea
//!
//! A key belongs to one of P **partitions**, by its hash. Each partition has a FIFO of jobs and one **token**: whoever takes the oldest job takes the token with
//! it, and until that job has ended nobody takes another. So the jobs of a partition, and with them those of each of its keys, run in order and one at a time. Any
//! worker may take the token, for any partition: order needs no fixed worker. A job that has been taken, a **head**, is claimed, stolen, taken back and run as any
//! other job of its lane; the token goes where the head goes.
//!
//! ```text
//!   publish                                       take: token and oldest job
//!      | push                                         |
//!      v                                              v
//!   inbox: a stack  ----- taken whole, reversed ---> line: a FIFO ---> head: claimed, running
//!      \___________________________________________________/             |
//!                      set aside: jobs of keys that wait <---- step aside: to wait for a retry
//! ```
//!
//! Nothing is copied or allocated: inbox, line and what is set aside are chains on the slots' links, for a waiting job is in one place only. A bit per lane and
//! partition says that it is **ready**: it has jobs and nobody has its token. That is a hint. What decides is the partition's word:
//!
//! ```text
//!   63         28  27     26     25       24     23               0
//!  +-------------+------+------+-------+---------+------------------+
//!  |     tag     | held | more | aside | several | top of the inbox |
//!  +-------------+------+------+-------+---------+------------------+
//! ```
//!
//! *held*: somebody has the token. *more*: the line is not empty. *aside*: some keys wait. *several*: the inbox has more than one job. *tag*: counts the pushes.
//!
//! The line, and the right to take the inbox into it, are under a lock. Those who publish never take it, nor do workers while no key waits, the line is empty and
//! the inbox has one job or two: the oldest is the top then, or what the top's link leads to, and it is taken by a CAS on the word. Of two the younger stays where
//! it is, with a link that means nothing any more; whoever pushes onto a job that is alone says in his own link that nothing is below it. So a link is followed by
//! somebody who does not own it; the tag tells him. A top that reads the same with the same tag has never left: to come back it would have to be pushed.
//!
//! # Who does what
//!
//! | step | by | what |
//! |---|---|---|
//! | enter | a publisher, or the timer with a delayed job | pushes into the inbox; if nobody has the token, says that the partition is ready |
//! | take | a worker that looks for work | clears the bit, *then* looks at the word: takes the token, and the oldest job of no waiting key |
//! | release | whoever ended the head | gives the token back, by a CAS that fails when something has come; says *ready* if something waits |
//! | go on | a worker that ended the head | keeps the token and takes the next job, so often in a row |
//! | step aside | whoever settles a head that is to be retried | the key waits; the job is *loose*: it comes back by itself, without the token, which is released |
//! | return | whoever ended a loose job | what was set aside goes to the front of the line, and only then its key waits no more: the next may be in the inbox |
//!
//! # Invariants
//!
//! **Invariant.** At most one job of a partition is a head. A key that waits has exactly one loose job, and no other job of it is taken.
//! **Invariant.** *more* is set exactly while the line is not empty; it changes under the lock.
//! **Invariant.** The jobs of a key are in order from what is set aside, through the line, to the bottom and the top of the inbox.
//! **Invariant.** A partition that is not held and has jobs that can be taken is ready, or somebody is about to say so, or has cleared the bit and is about to look.
//!
//! # Nothing is forgotten
//!
//! Who says *ready* changes the word first (a push, or the token given back), fences, and leaves a bit alone that it finds set. Who takes clears the bit first,
//! fences, and looks at the word. If the sayer's fence is first, the taker's look sees what was changed. If the taker's is first, the sayer sees the bit cleared,
//! or set by somebody later, and the argument begins again.
//!
//! The last job's end and a publish meet in the word: a release expects to find nothing, and a push expects the word as it was. If the push comes first the
//! release fails and looks again; otherwise the push finds nobody with the token, and says *ready*.
//!
//! # Progress
//!
//! `enter` is lock-free: a push fails only because another step on the partition succeeded. **A publisher stopped anywhere holds up nobody**: before its CAS it
//! has changed nothing; after it, its job is whole and can be taken, and every later publish to the partition finds the bit clear and sets it. A worker that is
//! stopped for ever in `take` or `release` keeps its partition, as one that is stopped between pop and claim keeps the jobs that it popped. The lock of a line
//! is held for a few steps (to reverse an inbox: a few for each of its jobs), never while user code runs.
//!
//! # Edges
//!
//! | edge | release | acquire | carries |
//! |---|---|---|---|
//! | `partition.enter` | the push's CAS | whoever follows the link of the top, or takes the inbox | link, place and description of every job in it |
//! | `partition.pass` | the token is given back; a key waits no more | the token is taken | everything that the last job's handler did |
//!
//! # How it is checked
//!
//! `partitions/tests.rs` (one thread, against a list per partition), `loom-tests/partitions.rs` (each model has a failing twin, by [`Rules`]),
//! `proptests/partitions.rs` (a queue on the manual clock against a naive model),
//! `src/face/tests/partitions.rs` (behaviour, and real threads).

mod homes;
mod partition;
#[allow(clippy::module_inception, reason = "one file, one noun")]
mod partitions;
mod place;
mod ready;
mod rules;
#[cfg(all(test, not(loom)))]
mod tests;

pub use homes::{Seat, home};
pub use partitions::{Next, Partitions, Skew};
pub use place::{Place, Role};
#[doc(hidden)]
pub use rules::{Rules, Sound};
