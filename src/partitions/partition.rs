//! One partition: its word, its line, and the steps on them.

use super::partitions::Next;
use super::place::{Places, Role};
use super::rules::Rules;
use crate::chain::{Links, MARK};
use crate::limits::{INDEX_BITS, INDEX_NONE};
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::{Mutex, look_u64, peek_u64};
use std::collections::BTreeMap;

const SEVERAL: u64 = 1 << INDEX_BITS;
const ASIDE: u64 = SEVERAL << 1;
const MORE: u64 = SEVERAL << 2;
const HELD: u64 = SEVERAL << 3;
/// One push: the tag is above the flags.
const TAG_ONE: u64 = SEVERAL << 4;
const TOP: u64 = INDEX_NONE as u64;

/// In the link of a job in the inbox: nothing is below the next.
const LAST: u32 = MARK;

/// What a partition's word says. Drawn in the [module's](super) essay.
#[derive(Clone, Copy)]
pub(super) struct Word(u64);

impl Word {
    #[inline]
    fn top(self) -> u32 {
        (self.0 & TOP) as u32
    }

    /// The link of a job that is pushed next.
    #[inline]
    fn link(self) -> u32 {
        let is_alone = self.top() != INDEX_NONE && !self.has_several();
        if is_alone { self.top() | LAST } else { self.top() }
    }

    /// After a push.
    #[inline]
    fn pushed<R: Rules>(self, index: u32) -> Self {
        let several = if self.top() == INDEX_NONE { 0 } else { SEVERAL };
        let tag = if R::TAGGED { TAG_ONE } else { 0 };
        Word((self.0 & !TOP | several | u64::from(index)).wrapping_add(tag))
    }

    /// With the inbox taken into the line.
    #[inline]
    fn emptied(self) -> Self {
        Word(self.0 & !SEVERAL | TOP | MORE)
    }

    #[inline]
    pub(super) fn is_held(self) -> bool {
        self.0 & HELD != 0
    }

    #[inline]
    fn has_several(self) -> bool {
        self.0 & SEVERAL != 0
    }

    /// True when jobs are in the inbox or in the line.
    #[inline]
    pub(super) fn waits(self) -> bool {
        self.top() != INDEX_NONE || self.0 & MORE != 0
    }

    /// The oldest job, and the word without it, where one CAS takes it out: when no key waits, the line is empty, and it has no more than one above it in the inbox.
    /// It is what it says if the word is still the same, and some index otherwise.
    #[inline]
    fn oldest(self, links: &impl Links) -> Option<(u32, Self)> {
        if self.0 & (MORE | ASIDE) != 0 || self.top() == INDEX_NONE {
            return None;
        }
        if !self.has_several() {
            return Some((self.top(), Word(self.0 | TOP)));
        }
        let below = links.next(self.top());
        (below & LAST != 0).then_some((below & !LAST, Word(self.0 & !SEVERAL)))
    }
}

/// One partition, on a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Partition {
    /// Changed by RMW only. *more* and *aside* by whoever has the lock, *held* by whoever takes and gives back the token, the top by publishers and takers.
    word: AtomicU64,
    line: Mutex<Line>,
}

/// Jobs that have left the inbox.
#[derive(Debug)]
struct Line {
    /// The oldest; the others hang on it, the last on nothing.
    first: u32,
    /// Keys that wait, and the jobs of each that have been set aside.
    aside: BTreeMap<u64, Side>,
}

/// Jobs of one key, oldest first.
#[derive(Debug, Clone, Copy)]
struct Side {
    first: u32,
    last: u32,
}

const EMPTY: Side = Side { first: INDEX_NONE, last: INDEX_NONE };

/// What a look into the line came to.
enum FromLine {
    Job(u32),
    /// Somebody has the token.
    Held,
    /// There was no job to take, but one has come since.
    Again,
    Nothing,
}

impl Partition {
    pub(super) fn new() -> Self {
        Partition { word: AtomicU64::new(TOP), line: Mutex::new(Line { first: INDEX_NONE, aside: BTreeMap::new() }) }
    }

    /// The word as the starting point of a step that looks again, or of none.
    #[inline]
    pub(super) fn peek(&self) -> Word {
        Word(peek_u64(&self.word))
    }

    /// As [`peek`](Self::peek), for whoever follows the link of what is on top.
    #[inline]
    fn look<R: Rules>(&self) -> Word {
        // edge partition.enter, acquire: link, place and description of every job in the inbox
        // edge partition.pass, acquire: what the last job's handler did
        Word(look_u64(&self.word, R::TAKE))
    }

    /// The job that was pushed last and is in the inbox still. Racy.
    #[inline]
    pub(super) fn last_in(&self) -> Option<u32> {
        let top = self.peek().top();
        (top != INDEX_NONE).then_some(top)
    }

    /// Pushes a job. Says what the word was before.
    #[inline]
    pub(super) fn enter<R: Rules>(&self, links: &impl Links, index: u32) -> Word {
        let mut word = self.peek();
        loop {
            links.set_next(index, word.link());
            // edge partition.enter, release: link, place and description of the job
            // relaxed on failure: CAS re-checks
            match self.word.compare_exchange_weak(word.0, word.pushed::<R>(index).0, R::ENTER, Relaxed) {
                Ok(_) => {
                    crate::crash_point!("partition.entered");
                    return word;
                }
                Err(now) => word = Word(now),
            }
        }
    }

    /// Takes the token and the oldest job of no waiting key, if there is one and nobody has the token.
    #[inline]
    pub(super) fn take<R: Rules>(&self, links: &impl Links, places: &Places) -> Option<u32> {
        let mut word = self.look::<R>();
        loop {
            if word.is_held() && R::TAKES_FREE || !word.waits() {
                return None;
            }
            if let Some((oldest, rest)) = word.oldest(links) {
                // relaxed on success: the same word was acquired by the look
                // edge partition.enter, acquire (on failure): as the look
                // edge partition.pass, acquire (on failure): as the look
                match self.word.compare_exchange_weak(word.0, rest.0 | HELD, Relaxed, R::TAKE) {
                    Ok(_) => return Some(oldest),
                    Err(now) => word = Word(now),
                }
                continue;
            }
            match self.take_from_line::<R>(links, places) {
                FromLine::Job(index) => return Some(index),
                FromLine::Held | FromLine::Nothing => return None,
                FromLine::Again => word = self.look::<R>(),
            }
        }
    }

    fn take_from_line<R: Rules>(&self, links: &impl Links, places: &Places) -> FromLine {
        let mut line = self.line.lock();
        let mut word = self.peek();
        loop {
            if word.is_held() && R::TAKES_FREE {
                return FromLine::Held;
            }
            // the inbox comes along when its jobs are next
            let fills = line.first == INDEX_NONE && word.top() != INDEX_NONE;
            let taken = if fills { word.emptied() } else { word };
            // edge partition.enter, acquire: links, places and descriptions of the jobs
            // edge partition.pass, acquire: what the last job's handler did
            // relaxed on failure: CAS re-checks
            match self.word.compare_exchange_weak(word.0, taken.0 | HELD, R::TAKE, Relaxed) {
                Ok(_) if fills => {
                    line.first = reverse(links, word);
                    break;
                }
                Ok(_) => break,
                Err(now) => word = Word(now),
            }
        }
        if let Some(index) = self.pop_runnable::<R>(&mut line, links, places) {
            return FromLine::Job(index);
        }
        drop(line);
        if self.release::<R>(links, places).is_some() { FromLine::Again } else { FromLine::Nothing }
    }

    /// Gives the token back. The lane of the job that is next, if one waits: the caller says that the partition is ready.
    #[inline]
    pub(super) fn release<R: Rules>(&self, links: &impl Links, places: &Places) -> Option<usize> {
        let mut word = self.look::<R>();
        loop {
            debug_assert!(word.is_held(), "released by nobody");
            let next = word.oldest(links);
            if next.is_none() && word.waits() {
                if let Some(lane) = self.release_with_more::<R>(links, places) {
                    return Some(lane);
                }
                word = self.look::<R>();
                continue;
            }
            if !R::RELEASE_RECHECKS {
                // a model's mutation. relaxed: its fault is another
                self.word.swap(TOP, Relaxed);
                return None;
            }
            let lane = next.map(|(index, _)| places.lane(index));
            // edge partition.pass, release: what the job's handler did
            // edge partition.enter, acquire (on failure): as the look
            match self.word.compare_exchange_weak(word.0, word.0 & !HELD, R::PASS, R::TAKE) {
                Ok(_) => return lane,
                Err(now) => word = Word(now),
            }
        }
    }

    /// As [`release`](Self::release), while jobs wait. `None`, and the token is kept: what waited has been taken out.
    fn release_with_more<R: Rules>(&self, links: &impl Links, places: &Places) -> Option<usize> {
        let mut line = self.line.lock();
        if !self.fill::<R>(&mut line, links) {
            return None;
        }
        let lane = places.lane(line.first);
        // edge partition.pass, release: what the job's handler did
        self.word.fetch_and(!HELD, R::PASS);
        Some(lane)
    }

    /// Keeps the token for the next job, if there is one to take; otherwise gives it back.
    #[inline]
    pub(super) fn go_on<R: Rules>(&self, links: &impl Links, places: &Places) -> Next {
        let mut word = self.look::<R>();
        while let Some((oldest, rest)) = word.oldest(links) {
            // relaxed on success: the same word was acquired by the look
            // edge partition.enter, acquire (on failure): as the look
            match self.word.compare_exchange_weak(word.0, rest.0, Relaxed, R::TAKE) {
                Ok(_) => return Next::Job(oldest),
                Err(now) => word = Word(now),
            }
        }
        if word.waits() {
            let mut line = self.line.lock();
            if let Some(index) = self.pop_runnable::<R>(&mut line, links, places) {
                return Next::Job(index);
            }
        }
        self.release::<R>(links, places).map_or(Next::Nothing, Next::Ready)
    }

    /// The key of `head`, whose job has the token, waits from now on. The token stays where it is.
    pub(super) fn set_aside(&self, places: &Places, head: u32) {
        let mut line = self.line.lock();
        line.aside.insert(places.get(head).key(), EMPTY);
        // relaxed: *aside* changes under the lock, and the release of the token follows
        self.word.fetch_or(ASIDE, Relaxed);
        places.set_role(head, Role::Loose);
    }

    /// `key` waits no more: what was set aside goes to the front of the line. The lane of the first of it, if the caller has to say that the partition is ready.
    pub(super) fn put_back<R: Rules>(&self, links: &impl Links, places: &Places, key: u64) -> Option<usize> {
        let mut line = self.line.lock();
        let side = line.aside.remove(&key).unwrap_or(EMPTY);
        let nothing_aside = line.aside.is_empty();
        if nothing_aside && !R::RETURNS_FIRST {
            // a model's mutation. relaxed: its fault is another
            self.word.fetch_and(!ASIDE, Relaxed);
        }
        let mut ready = None;
        if side.first != INDEX_NONE {
            links.set_next(side.last, line.first);
            line.first = side.first;
            // before *aside* goes: whoever takes while neither is up takes what is in the inbox, which is younger
            // relaxed: whoever takes while *more* or *aside* is up has the lock, and the release below comes before others
            let before = Word(self.word.fetch_or(MORE, Relaxed));
            ready = (!before.is_held() && R::RETURN_SAYS).then(|| places.lane(side.first));
        }
        if nothing_aside {
            // edge partition.pass, release: what the loose job's handler did. While *aside* is up every taker has the lock, which carries it; from here on one may
            // take the key's next job without
            self.word.fetch_and(!ASIDE, R::PASS);
        }
        ready
    }

    // ---- under the lock ----

    /// Takes the inbox into an empty line. False if there is nothing.
    fn fill<R: Rules>(&self, line: &mut Line, links: &impl Links) -> bool {
        if line.first != INDEX_NONE {
            return true;
        }
        let mut word = self.peek();
        while word.top() != INDEX_NONE {
            // edge partition.enter, acquire: links, places and descriptions of the jobs
            // relaxed on failure: CAS re-checks
            match self.word.compare_exchange_weak(word.0, word.emptied().0, R::TAKE, Relaxed) {
                Ok(_) => {
                    line.first = reverse(links, word);
                    return true;
                }
                Err(now) => word = Word(now),
            }
        }
        false
    }

    /// Takes out the first of a line that is not empty.
    fn pop_first(&self, line: &mut Line, links: &impl Links) -> u32 {
        let index = line.first;
        line.first = links.next(index);
        if line.first == INDEX_NONE {
            // relaxed: *more* changes under the lock
            self.word.fetch_and(!MORE, Relaxed);
        }
        index
    }

    /// Takes out the oldest job of no waiting key, which has the token from now on. Older ones of waiting keys are set aside.
    fn pop_runnable<R: Rules>(&self, line: &mut Line, links: &impl Links, places: &Places) -> Option<u32> {
        while self.fill::<R>(line, links) {
            let index = self.pop_first(line, links);
            if line.aside.is_empty() {
                return Some(index);
            }
            let Some(side) = line.aside.get_mut(&places.get(index).key()) else { return Some(index) };
            links.set_next(index, INDEX_NONE);
            if side.first == INDEX_NONE {
                side.first = index;
            } else {
                links.set_next(side.last, index);
            }
            side.last = index;
        }
        None
    }

    /// Puts a head that is not to be run now back to where it was.
    pub(super) fn push_back<R: Rules>(&self, links: &impl Links, places: &Places, head: u32) -> usize {
        let mut line = self.line.lock();
        links.set_next(head, line.first);
        line.first = head;
        // relaxed: *more* changes under the lock, and the release of the token follows
        self.word.fetch_or(MORE, Relaxed);
        // edge partition.pass, release: what the last job's handler did
        self.word.fetch_and(!HELD, R::PASS);
        places.lane(head)
    }

    // ---- for those who come without the token ----

    /// Shows the oldest job of the line, and of each key that waits.
    pub(super) fn heads<R: Rules>(&self, links: &impl Links, mut show: impl FnMut(u32)) {
        if !self.has_any() {
            return;
        }
        let mut line = self.line.lock();
        if self.fill::<R>(&mut line, links) {
            show(line.first);
        }
        line.aside.values().filter(|side| side.first != INDEX_NONE).for_each(|side| show(side.first));
    }

    /// Takes out `index` if it is one of those, and wanted.
    pub(super) fn take_out<R: Rules>(&self, links: &impl Links, index: u32, wanted: impl Fn(u32) -> bool) -> bool {
        let mut line = self.line.lock();
        if self.fill::<R>(&mut line, links) && line.first == index {
            return wanted(index) && self.pop_first(&mut line, links) == index;
        }
        match line.aside.values_mut().find(|side| side.first == index) {
            Some(side) if wanted(index) => {
                side.first = links.next(index);
                true
            }
            _ => false,
        }
    }

    /// Takes out every job that waits. Keys that wait go on waiting.
    pub(super) fn drain<R: Rules>(&self, links: &impl Links) -> Vec<u32> {
        let mut out = Vec::new();
        if !self.has_any() {
            return out;
        }
        let mut line = self.line.lock();
        for side in line.aside.values_mut() {
            let mut at = std::mem::replace(side, EMPTY).first;
            while at != INDEX_NONE {
                out.push(at);
                at = links.next(at);
            }
        }
        // what comes in while this goes on may have no end: at most one inbox
        for _ in 0..2 {
            if !self.fill::<R>(&mut line, links) {
                break;
            }
            while line.first != INDEX_NONE {
                out.push(self.pop_first(&mut line, links));
            }
        }
        out
    }

    #[inline]
    fn has_any(&self) -> bool {
        let word = self.peek();
        word.waits() || word.0 & ASIDE != 0
    }

    /// How many keys wait.
    pub(super) fn waiting_keys(&self) -> usize {
        if self.peek().0 & ASIDE == 0 { 0 } else { self.line.lock().aside.len() }
    }
}

/// Turns an inbox that was taken into a chain, oldest first. Says which is the oldest.
fn reverse(links: &impl Links, word: Word) -> u32 {
    let (mut first, mut at, mut is_last) = (INDEX_NONE, word.top(), !word.has_several());
    loop {
        // of the last the link means nothing: it may be left from when others were below
        let next = links.next(at);
        links.set_next(at, first);
        first = at;
        if is_last {
            return first;
        }
        (at, is_last) = (next & !LAST, next & LAST != 0);
    }
}
