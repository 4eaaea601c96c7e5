//! Credits: who may occupy a slot.
//!
//! # Idea
//! A credit *is* a free slot index. There is no counter beside the indices that could disagree with them: to hold a credit is to hold the
//! index of a free slot, and a queue is full when nobody can find one. Indices travel as [chains](crate::chain) of up to 32.
//!
//! ```text
//!              refill: 1 pop a chain                     spill: 1 push a chain
//!   producer  <---------------------   global stack   <---------------------  worker
//!   account   ......................   of chains      ......................  account
//!   (head,len)                                                                (head,len)
//!       |  take: 1 uncontended CAS                 put: 1 uncontended CAS  |
//!       v                                                                  |
//!     slot  ------------------- the job's life ------------------------> settled
//!
//!   nothing found: revoke = swap any other account to EMPTY; still nothing: Full, or wait in the line
//! ```
//!
//! | place | what it is | who fills it | who empties it |
//! |---|---|---|---|
//! | `stack` | tagged Treiber stack of chains, LIFO: hot slots first | anyone | anyone |
//! | `account` | one padded word per producer or worker | its owner only | anyone, by a swap to EMPTY |
//! | hand | a chain on some thread's stack, between two places | | |
//! | grant | an index in a waiter's state word | a depositor | that waiter |
//!
//! Words:
//!
//! ```text
//!   account, u32            len:8 | first:24        len 0: EMPTY
//!   node of an index, u32   len:8 | below:24        the chain that starts here, and the chain under it
//!   top of the stack, u64   tag:40 | first:24       the tag grows by one with every push
//! ```
//!
//! # Invariants
//! 1. An index is in exactly one place: the stack, one account, one hand, one grant, or its slot is occupied.
//! 2. Only its owner makes an account non-empty. So a word that still reads as the owner left it *is* as the owner left it: its CAS needs no
//!    tag, and an empty account stays empty until the owner fills it.
//! 3. **Every deposit looks for waiters**: whoever makes an index findable (a release, the rest of a refill or of a revocation, a closed
//!    account, a grant passed on) then passes a full fence and reads the waiter count; if somebody waits, it takes indices back and hands them over.
//! 4. At rest, nobody waits while an index is free.
//!
//! # Exactness
//! *One active producer can always fill the queue.* Of `n` indices each is in the stack, in an account, or occupied, when no other thread is
//! between two places. [`acquire`](CreditPool::acquire) tries its own account, then the stack, then **every** other account, the workers'
//! too, so it comes back empty-handed only if all `n` are occupied: 63 producers may sit on their caches for ever and the 64th still gets all
//! `n`. While other threads have indices in hand (a few instructions each), `None` may be early by what they hold; at rest it is exact.
//! A cache is kept small all the same: a refill leaves at most `clamp(n / (2 * accounts), 1, 32)` behind.
//!
//! # The lost wake-up, argued once
//! A depositor makes an index findable (D), fences (F1), reads the waiter count (R). A waiter joins the line (J), fences (F2), scans the stack and
//! every account (S), parks. The two fences are totally ordered:
//! - **F1 first:** D comes before F1, F2 before S, so S finds the index, or finds that somebody took it after D. The taker has a duty of its own
//!   for what it does not use.
//! - **F2 first:** J comes before F2, F1 before R, so R sees the waiter (or that it was served, or left, since). The depositor takes its account
//!   back and hands over; what nobody wants goes to the stack, which is a deposit again, with its own fence and its own look.
//!
//! The least obvious depositor is a producer that refills: it moves a chain from the stack, which a waiter has yet to scan, to its account, which
//! the waiter has already scanned. Without a look after the refill the waiter sleeps beside free credits.
//!
//! # Waiting
//! Each pool has a FIFO of turns. Whoever may take from two pools (a lane with a reserve, and the shared pool) stands in both lines, so each credit goes to the
//! first in line who may have it. A wait is one word of its waiter:
//!
//! ```text
//!   waiter, u64   wait:32 | state:32      Out -> Waiting -> Granted(i) | Closed -> Out
//!                                                  `------ the waiter leaves -----^
//! ```
//!
//! One CAS from `Waiting` decides among the granters of both lines, the closer and a departure. A granter that comes second keeps its credit and asks the next
//! in its line. A waiter whose deadline passed uses the grant that beat it; one that was told to close, or a task that was dropped, passes it on. Whoever is
//! served by one line takes its turn out of the other. A waiter is used again and again, so a turn names the wait that it is for: a granter may have taken
//! it from a line long ago, and the waiter may want something else by now, from other pools.
//!
//! A thread parks; a task leaves its waker, *before* it looks at the word: a granter decides first and reads the waker then, so if it reads an old one, its
//! decision is found by the look.
//!
//! Newcomers may barge: they take what they find without looking at the line, for admission stays exact that way; but every *deposit* goes to the head of the
//! line first.
//!
//! # Edges
//! | edge | release | acquire | carries |
//! |---|---|---|---|
//! | `credit.stack` | push's CAS | pop's load | the chain's links and node; the end of the last use of its slots |
//! | `credit.account` | owner's put | anyone's take-all | the same |
//! | `credit.grant` | granter's CAS | waiter's load, or its lost CAS when it leaves | the end of the last use of the slot |
//! | `credit.id` | close | open | the account was left empty |
//!
//! Fences: `credit.deposit` against `credit.wait`, above.
//!
//! # Progress
//! | operation | progress |
//! |---|---|
//! | `acquire`, `acquire_chain` | own account wait-free; stack and revocation lock-free |
//! | `deposit`, `deposit_chain` | own account wait-free; spill lock-free |
//! | `release` and everything that looks for waiters | lock-free while nobody waits; with waiters it takes the line's lock |
//! | `Waiting::wait` | blocks (`poll`: the task does). A granter stopped between the line and the grant delays the one waiter it took from the line |

mod account;
mod packed;
mod pool;
mod registry;
#[doc(hidden)]
pub mod rules;
#[doc(hidden)]
pub mod stack;
#[cfg(all(test, not(loom)))]
mod tests;
mod waiters;
mod waiting;
mod watermark;

pub use pool::{CreditPool, WaitError};
pub use registry::AccountId;
pub use waiting::{Place, Waiting};
pub use watermark::{Signal, Watermark};
