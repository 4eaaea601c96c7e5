//! Slots of several queues: all of them, or none.

/// The queues of a fan-out, by number, and how to get at their slots.
pub trait Slots {
    /// Why there is no slot.
    type Refusal;

    /// A slot of queue `at`, without waiting.
    ///
    /// # Errors
    /// Why not.
    fn take(&self, at: usize) -> Result<u32, Self::Refusal>;

    /// Waits for a slot of queue `at`, which [`take`](Self::take) refused for this reason; or refuses to wait.
    ///
    /// # Errors
    /// Why there is still none.
    fn wait(&self, at: usize, refusal: Self::Refusal) -> Result<u32, Self::Refusal>;

    /// Gives a slot of queue `at` back.
    fn give_back(&self, at: usize, slot: u32);
}

/// Slots in hand. What is not used is given back on drop, also when a panic drops it.
#[derive(Debug)]
pub struct Held<'a, S: Slots> {
    source: &'a S,
    /// What is held, and of which queue.
    slots: &'a mut Vec<(usize, u32)>,
}

impl<'a, S: Slots> Held<'a, S> {
    /// Those in `room`, which is memory to be used again: none, or what a task has taken so far.
    pub fn of(source: &'a S, room: &'a mut Vec<(usize, u32)>) -> Self {
        Held { source, slots: room }
    }

    /// Takes what is missing to one slot of each of `count` queues, in their order: of all, or of none. Who waits keeps what it has: the order has to be the
    /// same for everybody, see the [module's](super) essay.
    ///
    /// # Errors
    /// The queue that had none, and why. Nothing is held then.
    #[inline]
    pub fn take_all(mut self, count: usize) -> Result<Self, (usize, S::Refusal)> {
        for at in self.len()..count {
            let slot = self.source.take(at).or_else(|refusal| self.source.wait(at, refusal)).map_err(|refusal| (at, refusal))?;
            self.push(at, slot);
        }
        Ok(self)
    }

    /// Puts a slot of queue `at` with the others.
    pub fn push(&mut self, at: usize, slot: u32) {
        self.slots.push((at, slot));
    }

    /// Uses a slot: which queue's, and which.
    pub fn pop(&mut self) -> Option<(usize, u32)> {
        self.slots.pop()
    }

    /// What is held, and of which queue: in the order in which it was taken.
    pub fn slots(&self) -> &[(usize, u32)] {
        self.slots
    }

    /// Gives those back that `keep` does not want, of which queue and which.
    pub fn retain(&mut self, mut keep: impl FnMut(usize, u32) -> bool) {
        let source = self.source;
        self.slots.retain(|&(at, slot)| {
            let kept = keep(at, slot);
            if !kept {
                source.give_back(at, slot);
            }
            kept
        });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

impl<S: Slots> Drop for Held<'_, S> {
    fn drop(&mut self) {
        while let Some((at, slot)) = self.slots.pop() {
            self.source.give_back(at, slot);
        }
    }
}
