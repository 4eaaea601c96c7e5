//! A job is over: its payload goes where its fate says, and its slot is free again.

use super::bent::{Bend, is_bent};
use super::chores::Chore;
use super::follow::{News, Parting};
use super::{Accounts, House, LetterCallback, Publisher, Queue};
use crate::clock::Timestamp;
use crate::completion::Answer;
use crate::dead_letter::{DeadLetter, DeadLetters, DeathReason, DeathRecord, Held, Past, Stored, add_death};
use crate::id::JobId;
use crate::job::Job;
use crate::key::{Key, OrderKey};
use crate::ledger::{Block, Count};
use crate::slab::{Dispose, Fate, Word};
use crate::sync::contain;
use std::fmt;
use std::sync::Arc;

/// User code that is left to run after an act, outside of every lock.
#[must_use = "the user code that an act leaves over must be run"]
pub enum Aftermath<T> {
    /// None.
    Nothing,
    /// A payload to drop.
    Garbage(T),
    /// A dead letter to drop.
    Evicted(DeadLetter<T>),
    /// A dead letter for the callback.
    Callback(DeadLetter<T>, LetterCallback<T>),
    /// Somebody to tell of a job's end, and the rest.
    Told(Box<(News, Aftermath<T>)>),
    /// Dead letters that move on; it is this late.
    Letters(Timestamp),
}

impl<T> Aftermath<T> {
    /// With somebody to tell first, if there is.
    pub(super) fn and_tell(self, news: Option<News>) -> Self {
        match news {
            Some(news) => Aftermath::Told(Box::new((news, self))),
            None => self,
        }
    }

    /// All but the letters that move on; and whether there are any.
    pub(super) fn without_letters(self) -> (Self, bool) {
        match self {
            Aftermath::Letters(_) => (Aftermath::Nothing, true),
            Aftermath::Told(told) => {
                let (news, rest) = *told;
                let (rest, letters) = rest.without_letters();
                (rest.and_tell(Some(news)), letters)
            }
            rest => (rest, false),
        }
    }

    /// The handler has answered: whoever is told of the job's end has the answer. (Only watched jobs are answered, and of their ends somebody is told.)
    pub fn answered(mut self, answer: Answer) -> Self {
        if let Aftermath::Told(told) = &mut self {
            told.0.answered(answer);
        }
        self
    }

    /// Tells who is to be told, which wakes a waker at most. The rest.
    fn tell_first(self) -> Self {
        match self {
            Aftermath::Told(told) => {
                let (news, rest) = *told;
                // (a waker that panics is its executor's affair)
                drop(contain(|| news.tell()));
                rest.tell_first()
            }
            rest => rest,
        }
    }

    /// Runs it. A panic of user code is caught and counted.
    #[inline]
    pub fn run(self, queue: &Queue<T>) {
        if !matches!(self, Aftermath::Nothing) {
            self.run_user_code(queue);
        }
    }

    #[cold]
    fn run_user_code(self, queue: &Queue<T>) {
        let outcome = match self {
            Aftermath::Nothing => return,
            Aftermath::Letters(now) => return queue.move_letters(now),
            Aftermath::Garbage(payload) => contain(|| drop(payload)),
            Aftermath::Evicted(letter) => contain(|| drop(letter)),
            // (it may be the last to have the callback)
            Aftermath::Callback(letter, callback) => contain(move || callback(letter)),
            Aftermath::Told(told) => {
                let (news, rest) = *told;
                let outcome = contain(|| news.tell());
                rest.run(queue);
                outcome
            }
        };
        if outcome.is_err() {
            queue.count_house(Count::DropPanics);
        }
    }
}

impl<T> Queue<T> {
    /// What a job left that the timer has ended: it tells who is to be told, and leaves user code to whoever does chores.
    pub(super) fn leave_to_others(&self, aftermath: Aftermath<T>) {
        match aftermath.tell_first() {
            Aftermath::Nothing => {}
            // (it is later when somebody does it)
            Aftermath::Letters(now) => self.add_chore(Chore::RetireLetters(now)),
            rest => self.add_chore(Chore::After(rest)),
        }
    }
}

impl<T> fmt::Debug for Aftermath<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Aftermath::Nothing => "Nothing",
            Aftermath::Garbage(_) => "Garbage",
            Aftermath::Evicted(_) => "Evicted",
            Aftermath::Callback(..) => "Callback",
            Aftermath::Told(_) => "Told",
            Aftermath::Letters(_) => "Letters",
        })
    }
}

/// Why a job of this fate is dead; `None` for fates that end a job otherwise.
pub(super) fn death_of(fate: Fate) -> Option<DeathReason> {
    match fate {
        Fate::Rejected => Some(DeathReason::Rejected),
        Fate::Attempts => Some(DeathReason::TooManyAttempts),
        Fate::Expiries => Some(DeathReason::TooManyExpiries),
        Fate::Expired => Some(DeathReason::Expired),
        Fate::OverLength => Some(DeathReason::OverLength),
        Fate::None | Fate::Acked | Fate::Discarded | Fate::Cancelled | Fate::Chained | Fate::HandedBack | Fate::Purged | Fate::TakenOut => {
            None
        }
    }
}

/// True for fates that end a job at once, even if a stale holder still reads it: it lingers then. The others need its payload, so the job ends, and is
/// counted, when the last holder has left.
pub(super) fn ends_at_once(fate: Fate) -> bool {
    death_of(fate).is_none() && !matches!(fate, Fate::HandedBack | Fate::TakenOut)
}

impl<T> Queue<T> {
    /// Counts the end of a job, if its fate is no death: deaths are counted when the letter is written. Its key is free from here on, and its partition goes on. The
    /// caller owns `index`.
    #[inline]
    pub(super) fn count_fate(&self, ledger: &Block, index: u32, fate: Fate) {
        if self.tracks {
            if ends_at_once(fate) {
                self.forget_key(index);
            }
            self.pass_on(index);
        }
        count_end(ledger, fate);
    }

    /// Counts the end of a job whose slot a stale holder still reads. `parting` is what [`parting`](Self::parting) said before.
    #[cold]
    pub(super) fn count_left(&self, ledger: &Block, parting: Parting, word: Word, now: Timestamp) -> Aftermath<T> {
        self.pass_on_from_place(parting.place);
        if !ends_at_once(word.fate()) {
            return Aftermath::Nothing;
        }
        self.forget_name(parting.name);
        count_end(ledger, word.fate());
        ledger.bump(Count::Lingering);
        Aftermath::Nothing.and_tell(self.news_of_left(parting, word, now))
    }

    /// A job that nobody had started was ended, or given up, as `disposed` says. `parting` is what [`parting`](Self::parting) said before. `None`: somebody else had it.
    pub(super) fn dispose(
        &self,
        accounts: &Accounts,
        ledger: &Block,
        index: u32,
        parting: Parting,
        disposed: Dispose,
        now: Timestamp,
    ) -> Option<Aftermath<T>> {
        match disposed {
            // handed back out of somebody's hand: there is nothing but the slot
            Dispose::Owner(word) if word.fate() == Fate::TakenOut => {
                self.credits.release(&self.slab, accounts, index);
                None
            }
            Dispose::Left(word) if word.fate() == Fate::TakenOut => None,
            Dispose::Owner(word) => Some(self.finish(accounts, ledger, index, word, now, false)),
            Dispose::Left(word) => Some(self.count_left(ledger, parting, word, now)),
            Dispose::Moved => None,
        }
    }

    /// As [`dispose`](Self::dispose), for whoever has no handle. Not to be called with the house's lock, or that of the dead.
    pub(super) fn dispose_by_house(&self, index: u32, parting: Parting, disposed: Dispose, now: Timestamp) -> Option<Aftermath<T>> {
        let house = self.house.lock();
        self.dispose(&house.accounts, &house.block, index, parting, disposed, now)
    }

    /// A job has ended as `word` says, and its slot is the caller's: counts that, and does what [`end`](Self::end) does.
    #[inline]
    pub(super) fn finish(
        &self,
        accounts: &Accounts,
        ledger: &Block,
        index: u32,
        word: Word,
        now: Timestamp,
        in_place: bool,
    ) -> Aftermath<T> {
        self.count_fate(ledger, index, word.fate());
        if self.is_followed(word) && ends_at_once(word.fate()) {
            return self.end_with_news(accounts, ledger, index, word, now, in_place);
        }
        self.end(accounts, ledger, index, word, now, in_place)
    }

    #[cold]
    fn end_with_news(&self, accounts: &Accounts, ledger: &Block, index: u32, word: Word, now: Timestamp, in_place: bool) -> Aftermath<T> {
        // while the slot is the caller's
        let news = self.news_of(index, word, None, now);
        self.end(accounts, ledger, index, word, now, in_place).and_tell(news)
    }

    /// The slot of an ended job has no holder any more, and the caller owns its payload and index: the payload goes where its fate says, the slot becomes free.
    ///
    /// With `in_place` a payload that nobody wants is dropped where it lies, otherwise it is moved out and left to the caller.
    #[inline]
    pub(super) fn end(&self, accounts: &Accounts, ledger: &Block, index: u32, word: Word, now: Timestamp, in_place: bool) -> Aftermath<T> {
        let aftermath = if let Some(reason) = death_of(word.fate()) {
            match self.bury(ledger, index, word, reason, now) {
                Some(aftermath) => aftermath,
                // held: the slot stays occupied
                None => return Aftermath::Nothing,
            }
        } else if in_place {
            self.end_in_place(accounts, ledger, index);
            return Aftermath::Nothing;
        } else {
            self.histories.take(index, self.slab.slot(index).job_id());
            if std::mem::needs_drop::<T>() {
                // SAFETY: the caller owns the payload
                Aftermath::Garbage(unsafe { self.slab.take(index) })
            } else {
                Aftermath::Nothing
            }
        };
        if !is_bent(Bend::KeepCredit) {
            self.credits.release(&self.slab, accounts, index);
        }
        aftermath
    }

    /// [`end`](Self::end) for a job whose payload nobody wants: it is dropped where it lies, and nothing is left over.
    #[inline(always)]
    pub(super) fn end_in_place(&self, accounts: &Accounts, ledger: &Block, index: u32) {
        self.histories.take(index, self.slab.slot(index).job_id());
        if std::mem::needs_drop::<T>()
            // SAFETY: the caller owns the payload
            && contain(|| unsafe { self.slab.drop_in_place(index) }).is_err()
        {
            ledger.bump(Count::DropPanics);
        }
        if !is_bent(Bend::KeepCredit) {
            self.credits.release(&self.slab, accounts, index);
        }
    }

    /// Drops something of the user's that went nowhere.
    #[cold]
    pub fn discard<U>(&self, unwanted: U) {
        if contain(|| drop(unwanted)).is_err() {
            self.count_house(Count::DropPanics);
        }
    }

    /// Writes the letter of a dead job, or holds it in its slot (`None`).
    #[cold]
    fn bury(&self, ledger: &Block, index: u32, word: Word, reason: DeathReason, now: Timestamp) -> Option<Aftermath<T>> {
        let mut dead = self.dead.lock();
        // under the lock: who sets one goes through the held afterwards, and finds this one if it is held for want of it
        let callback = self.callback_if_full(&dead);
        let letter = self.write_letter(index, word, reason, now);
        if dead.is_full() && callback.is_none() && self.holds_dead() {
            self.slab.state(index).hold();
            dead.hold(index, letter);
            return None;
        }
        self.forget_key(index);
        count_death(ledger, reason);
        let news = self.news_of(index, word, letter.record.last_error.as_deref(), now);
        if let Some(callback) = callback {
            return Some(Aftermath::Callback(letter, callback).and_tell(news));
        }
        Some(stored(&mut dead, letter, now).and_tell(news))
    }

    /// Sends a job to the dead letters that never had a slot. It comes back when there is no room for it.
    pub(super) fn bury_new(
        &self,
        id: JobId,
        job: Job<T>,
        reason: DeathReason,
        now: Timestamp,
        publisher: &Publisher,
    ) -> Result<Aftermath<T>, Job<T>> {
        let mut dead = self.dead.lock();
        let callback = self.callback_if_full(&dead);
        if dead.is_full() && callback.is_none() && self.holds_dead() {
            return Err(job);
        }
        let mut deaths = Vec::with_capacity(1);
        let came_by =
            self.keeps_routing_keys().then(|| publisher.came_by.borrow()).filter(|key| !key.is_empty()).map(|key| Arc::from(key.as_str()));
        add_death(&mut deaths, &self.settings.name, reason, now, came_by.as_ref());
        let routing_key = came_by.clone();
        let record = DeathRecord { deaths, last_error: None, failures: 0, expiries: 0, snoozes: 0, published: now, routing_key };
        let key = if self.dedupes(&job) && job.key.fault().is_none() { job.key } else { Key::NONE };
        let order = if self.order.is_some() { job.order } else { OrderKey::NONE };
        let Job { payload, lane, visibility, .. } = job;
        let letter = DeadLetter { payload, job: id, lane, visibility, fencing: 0, key, order, came_by, record };
        count_death(&publisher.ledger, reason);
        if let Some(callback) = callback {
            return Ok(Aftermath::Callback(letter, callback));
        }
        Ok(stored(&mut dead, letter, now))
    }

    /// The callback, if a letter would have to go to it. Whoever asks gives it one: by then it may have been replaced, and is to be dropped outside of every lock.
    fn callback_if_full(&self, dead: &DeadLetters<T>) -> Option<LetterCallback<T>> {
        if dead.is_full() { self.letter_callback.lock().clone() } else { None }
    }

    /// Moves the payload and history of a dead job out of its slot.
    fn write_letter(&self, index: u32, word: Word, reason: DeathReason, now: Timestamp) -> DeadLetter<T> {
        let slot = self.slab.slot(index);
        let job = slot.job_id();
        let history = self.histories.take(index, job).unwrap_or_default();
        let Past { mut deaths, routing_key, came_by } = history.past.map(|past| *past).unwrap_or_default();
        let came_by = came_by.or_else(|| self.routing_key_of(index, job));
        let first = routing_key.or_else(|| came_by.clone().filter(|_| deaths.is_empty()));
        add_death(&mut deaths, &self.settings.name, reason, now, came_by.as_ref());
        let record = DeathRecord {
            deaths,
            last_error: history.last_error,
            failures: word.failures(),
            expiries: word.expiries(),
            snoozes: slot.snoozes(),
            // it may have died before it was due
            published: slot.published().min(now),
            routing_key: first,
        };
        // SAFETY: the caller owns the payload: the job's last holder has left
        let payload = unsafe { self.slab.take(index) };
        let key = self.name_of(index).map_or(Key::NONE, |name| name.key);
        let (lane, visibility, order) = (usize::from(word.lane()), self.slab.visibility(index), self.place_of(index).order_key());
        DeadLetter { payload, job, lane, visibility, fencing: word.epoch().raw(), key, order, came_by, record }
    }

    /// There may be room among the dead letters, or a callback for those that find none: held jobs go there, oldest first, and their slots become free.
    pub(super) fn settle_held(&self, now: Timestamp) {
        loop {
            // the house before the dead, as everywhere
            let house = self.house.lock();
            let buried = {
                let mut dead = self.dead.lock();
                self.bury_held(&house, &mut dead, now).or_else(|| self.give_held(&house, &mut dead, now))
            };
            let Some((index, told)) = buried else { return };
            self.credits.release(&self.slab, &house.accounts, index);
            drop(house);
            told.run(self);
        }
    }

    /// Moves the oldest held job in among the dead letters, if there is room. Its slot is free, and the caller's; somebody may be to tell.
    pub(super) fn bury_held(&self, house: &House, dead: &mut DeadLetters<T>, now: Timestamp) -> Option<(u32, Aftermath<T>)> {
        let held = dead.next_held()?;
        self.forget_key(held.slot);
        let (slot, news) = (held.slot, self.end_held(house, &held, now));
        dead.move_in(held, now);
        Some((slot, Aftermath::Nothing.and_tell(news)))
    }

    /// There is no room among the dead letters: gives the oldest held job to the callback, if there is one, as [`bury_held`](Self::bury_held).
    fn give_held(&self, house: &House, dead: &mut DeadLetters<T>, now: Timestamp) -> Option<(u32, Aftermath<T>)> {
        dead.first_held()?;
        let callback = self.letter_callback.lock().clone()?;
        let held = dead.pop_held().expect("there is one");
        self.forget_key(held.slot);
        let news = self.end_held(house, &held, now);
        Some((held.slot, Aftermath::Callback(held.letter, callback).and_tell(news)))
    }

    /// Takes out what is held in this place, if anything is: it is held no more, and its slot is free and the caller's.
    pub(super) fn take_held(
        &self,
        house: &House,
        dead: &mut DeadLetters<T>,
        place: u64,
        now: Timestamp,
    ) -> Option<(Held<T>, Aftermath<T>)> {
        let held = dead.take_held(place)?;
        let news = self.end_held(house, &held, now);
        Some((held, Aftermath::Nothing.and_tell(news)))
    }

    /// A job was held and is not any more: it has ended, and its slot is free and the caller's. What becomes of its key is the caller's affair, too.
    fn end_held(&self, house: &House, held: &Held<T>, now: Timestamp) -> Option<News> {
        let state = self.slab.state(held.slot);
        let word = state.load();
        state.unhold();
        count_death(&house.block, held.letter.reason());
        self.news_of(held.slot, word, held.letter.record.last_error.as_deref(), now)
    }

    /// True when a job that died now would keep its slot.
    pub(super) fn would_hold(&self) -> bool {
        self.holds_dead() && self.letter_callback.lock().is_none() && self.dead.lock().is_full()
    }

    fn holds_dead(&self) -> bool {
        self.dead_overflow == crate::config::DeadLetterOverflow::Hold
    }
}

/// Puts a letter with the others. There is room, or the policy says what goes.
fn stored<T>(dead: &mut DeadLetters<T>, letter: DeadLetter<T>, now: Timestamp) -> Aftermath<T> {
    match dead.store(letter, now) {
        Stored::Kept { evicted: None } if dead.moves_on_at_once() => Aftermath::Letters(now),
        Stored::Kept { evicted: None } => Aftermath::Nothing,
        Stored::Kept { evicted: Some(letter) } | Stored::NoRoom(letter) => Aftermath::Evicted(letter),
    }
}

fn count_end(ledger: &Block, fate: Fate) {
    match fate {
        Fate::Acked | Fate::Chained => ledger.bump(Count::Acked),
        Fate::Discarded => ledger.bump(Count::Discarded),
        Fate::Cancelled => ledger.bump(Count::Cancelled),
        Fate::Purged => ledger.bump(Count::Purged),
        _ => {}
    }
}

fn count_death(ledger: &Block, reason: DeathReason) {
    ledger.bump(Count::DeadLettered);
    ledger.bump(match reason {
        DeathReason::Rejected => Count::DeadRejected,
        DeathReason::TooManyAttempts => Count::DeadAttempts,
        DeathReason::TooManyExpiries => Count::DeadExpiries,
        DeathReason::Expired => Count::DeadExpired,
        DeathReason::OverLength => Count::DeadOverLength,
        DeathReason::Aged => unreachable!("a letter ages, a job does not"),
    });
}
