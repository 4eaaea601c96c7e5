//! The slab: where jobs lie, and the word that decides about each.
//!
//! A job is written into a slot when it is admitted and stays there until it is settled; everything else passes the slot's *index* around. One
//! 64-bit word per slot, [`SlotState`], is the arbiter of everything that may happen to it. A lane, a claim, the wheel and the inbox only say
//! where to look: whoever acts on a slot acts by a CAS on its word, and loses if the word has moved on.
//!
//! # The word
//!
//! ```text
//!   63                            28 27  24 23   21 20  18 17     14    13        12     11       4 3        0
//!  +--------------------------------+------+-------+------+---------+---------+---------+----------+----------+
//!  |           epoch (36)           | fate | phase | lane | holders | watched | cancel  | failures | expiries |
//!  +--------------------------------+------+-------+------+---------+---------+---------+----------+----------+
//! ```
//!
//! The epoch is on top, so that it wraps without a carry into a neighbour. Failures stop counting at 255, expiries at 15. The counter of holders
//! cannot overflow: every holder but the current one was left behind by an expiry, and there are at most 14 of those. A job is watched from its
//! filling to its end or never; the mark keeps its ack from being taken for a plain one.
//!
//! # The life of a slot
//!
//! ```text
//!                    fill, restore (e+1)                start (e+1), h+1
//!          +---------------------------> Ready ---------------------------> Running --+ extend (e+1)
//!          |                             |  ^ ^                            |  |  | ^--+
//!          |           steal, take_back  |  | |    settle: again, h-1      |  |  |
//!          |            (e+1, Ready or   |  | +----------------------------+  |  |
//!          |             Doomed)         |  |      expire, h kept             |  |
//!          |                             |  | fire                            |  |
//!          |             fill_delayed    |  |        settle: later, h-1       |  |
//!          | -------------------------------> Delayed <----------------------+  |
//!          |                             |        |                             |
//!          |                      cancel |        | cancel                      |
//!          |                             v        v                             |
//!          |           end_claimed       Doomed <-+                             |
//!          |          from Ready |         | dispose                            | settle: end, h-1
//!          |                     v         v                                    | expire: buried, h kept
//!          |                  nobody holds it? <--------------------------------+
//!          |                   yes |       | no
//!          |                       v       v
//!        Free <--------------------+     Zombie --leave, h-1--> (the last one reclaims it: as Free)
//!          |  ^
//!     hold |  | unhold
//!          v  |
//!         Held
//! ```
//!
//! | state | who owns the index |
//! |---|---|
//! | Free, or Zombie without holders | the free list, a credit account, or the producer that is filling it; with the fate `HandedBack`: who is putting the job among the undone |
//! | Ready or Doomed (empty already, if the fate is `TakenOut`) | the lane; or the hand that is about to push or has just popped; or the one live claim: (this index, *the same* epoch) |
//! | Running | the lease: whoever knows the current epoch |
//! | Delayed | the hand that is about to raise the handover flag, then the inbox, then the timer |
//! | Zombie with holders | the last holder to leave |
//! | Held (and empty: the payload is in the letter) | the list of dead letters |
//!
//! Only the owner of an index may write its link, push it anywhere or reclaim its slot. Holders may read the payload, and nothing else:
//! a stuck handler cannot be stopped, so it stays a holder when its lease expires and the job runs again, and the payload lives until the last
//! holder has left. Timer and cancellers never drop a payload (`Drop` is user code): they push the doomed index, and a worker disposes of it.
//!
//! # The subtle points
//!
//! Each of these is a counterexample that was found; the models and the explorer break every one on purpose.
//!
//! 1. *Acker and stale holder leave together.* Their two RMWs on the word are in some order, and the later one reclaims. Who looks again after
//!    leaving finds what the other one finds.
//! 2. *Claim before start.* A worker publishes (index, e) before it starts Ready(e), so whoever sees it Running finds the claim. But the claim is
//!    not the beginning of the lease: the timer ages a lease only from the sweep in which it has seen it Running, by a clock read after that look.
//! 3. *A lease is known by the epoch in the word*, not by the claim that led there. That is why [`extend`](SlotState::extend) is one CAS, and
//!    why the claim that goes with the new lease may only *follow* it: before, (index, e) would claim Ready(e), and Ready(e) is what the slot
//!    becomes if the extension loses against the expiry; the timer would take back an index that is in the lane.
//! 4. *Fill, start, steal, take-back and extend each make a new epoch*, a worker that gives back its own batch included: otherwise its old claim
//!    speaks of an index that is in a lane. Settlement and expiry need none: nobody could have claimed that epoch while it was Running.
//! 5. *A start that finds another epoch forgets the index.* The epoch it finds is somebody else's.
//! 6. *Handover and poke are two flags* (see [`inbox`](crate::inbox)): a canceller's poke that overtakes the nacker's handover must not give the
//!    timer an index that is still in the nacker's hand.
//! 7. *The canceller looks at the word, then at the id, then makes its CAS from that word.* The CAS proves that the id belonged to it.
//! 8. *Payload and index can have two owners* only as they have with a stale holder: [`take_over`](SlotState::take_over) makes the hand-back a holder of a job that somebody has
//!    in hand, and the slot is free when both have let go. The last of the two RMWs reclaims it, as in 1.
//!
//! Not recoverable when a thread stops *for ever*: between pop and claim; between the CAS of a settlement and the push or the mail that follows;
//! inside a user's `Drop`. (The job of the first two is, at shutdown.) These windows contain no user code and cannot panic.
//!
//! # Edges
//!
//! | edge | release | acquire | carries |
//! |---|---|---|---|
//! | `slot.fill` | fill, restore, hold, unhold, has_arrived | load, start, steal, take-back, take-over, a failed cancel | payload, job id; that an undone job is in its list |
//! | `slot.start` | start | expire | the link, read by the popper, written by the timer; the claim |
//! | `slot.settle` | settle, dispose, end | start, take-over, leave | what the delivery wrote into the record; its last read of the payload |
//! | `slot.leave` | leave | settle, dispose, end, take-over, leave | a stale holder's last read of the payload |
//!
//! Every step but the owner's stores is an RMW, so each release heads a release sequence that the later steps continue, whatever their own
//! ordering: an acquire sees all releases since the last fill. Steps that take nothing and give nothing (extend, fire, cancel) are Relaxed.
//!
//! **No fence is needed.** A fence orders a store before a load of *another* location. Here nobody concludes anything from having failed to see
//! another's store: safety rests on CASes on one word, which has one modification order; and liveness (the timer sees a claim, sooner or later)
//! needs only that stores become visible in the end.
//!
//! # Progress
//!
//! `fill`, `restore`, `hold`, `unhold`, `load` and `leave` are wait-free. The others are lock-free: a CAS fails only because another step on this
//! very slot succeeded, and what can interfere is a stale holder leaving (at most 14) or a cancel flag: in practice, once.

mod slot;
mod state;
mod word;

pub use slot::{Slab, Slot};
pub use state::{CancelStep, Dispose, Expire, Fire, Leave, Next, Settled, SlotState, Stale, Start};
pub use word::{Claim, Epoch, Fate, Phase, Word};
