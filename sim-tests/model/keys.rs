//! Keys: who is a duplicate, and whose payload takes whose place. And jobs that have a key and no slot.

use super::{At, Job, Queue, Rule, Wrong};
use crate::world::How;
use ringmill::{End, JobId};

impl Queue {
    /// Another job has the key: a publish with it is refused. (A redrive looks at live jobs only.)
    pub fn has_key(&self, key: Option<u8>, now: u64) -> bool {
        let (Some(rule), Some(key)) = (self.rules.dedupe, key) else { return false };
        let mut rivals = self.jobs.values().filter(|job| job.key == Some(key));
        match rule {
            Rule::WhileLive => {
                let early = self.wrong == Some(Wrong::KeyFreeEarly);
                rivals.any(|job| !(matches!(job.at, At::Lingering | At::Letter) || early && job.at == At::Running))
            }
            Rule::Window(_) => self.windows.get(&key).is_some_and(|&until| until > now),
            // until somebody has disposed of it
            Rule::Debounce(_) | Rule::KeepLast(_) => rivals.any(|job| job.in_window && job.at == At::Cancelled),
        }
    }

    pub fn has_live_key(&self, key: Option<u8>, now: u64) -> bool {
        self.rules.dedupe == Some(Rule::WhileLive) && self.has_key(key, now)
    }

    /// The job that waits out the window of the key.
    pub fn in_window(&self, key: Option<u8>) -> Option<JobId> {
        let waits = |job: &Job| key.is_some() && job.key == key && job.in_window && matches!(job.at, At::Delayed(_));
        self.jobs.iter().find(|(_, job)| waits(job)).map(|(id, _)| *id)
    }

    /// A payload takes the place of the one that waits. Not before the time it was published for, if it was.
    pub fn replace(&mut self, id: JobId, load: u32, at: At, expires: u64, now: u64) {
        self.counts.replaced += 1;
        let rule = self.rules.dedupe;
        let job = self.job(id);
        (job.load, job.expires) = (Some(load), expires);
        let (At::Delayed(due), asked) = (job.at, if let At::Delayed(asked) = at { asked } else { 0 }) else { panic!("it waits: {job:?}") };
        let ends = if let Some(Rule::Debounce(length)) = rule { now + length } else { due };
        job.at = At::Delayed(ends.max(asked));
    }

    /// Its publisher has run the job, and it has ended well.
    pub fn ran_in_caller(&mut self, id: JobId, how: How, key: Option<u8>, now: u64) {
        self.counts.accepted += 1;
        self.counts.started += u64::from(self.wrong == Some(Wrong::CallerDelivers));
        self.open_window_without_slot(key, now);
        let (count, end) = match how {
            How::Ack => (&mut self.counts.acked, End::Acked),
            How::Discard => (&mut self.counts.dropped_discarded, End::Discarded),
            other => panic!("accepted, after {other:?}"),
        };
        *count += 1;
        self.ends.insert(id, end);
    }

    /// A job that got no slot was accepted, and opens a window if that is for any key.
    pub fn open_window_without_slot(&mut self, key: Option<u8>, now: u64) {
        if let (Some(key), Some(Rule::Window(length))) = (key, self.rules.dedupe) {
            self.windows.insert(key, now + length);
        }
    }

    /// An accepted job opens the window of its key.
    pub fn open_window(&mut self, id: JobId, key: u8, now: u64) {
        match self.rules.dedupe {
            Some(Rule::Window(_)) => self.open_window_without_slot(Some(key), now),
            Some(Rule::Debounce(length) | Rule::KeepLast(length)) => {
                let job = self.job(id);
                let due = if let At::Delayed(due) = job.at { due } else { 0 };
                (job.at, job.in_window) = (At::Delayed(due.max(now + length)), true);
            }
            Some(Rule::WhileLive) | None => {}
        }
    }
}
