//! The key of a job: what makes two jobs the same.

use crate::limits::JOB_KEY_BYTES_MAX;
use crate::sync::OnceLock;
use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use std::fmt;
#[cfg(feature = "test-util")]
use std::hash::DefaultHasher;
#[cfg(not(feature = "test-util"))]
use std::hash::{BuildHasher, RandomState};
use std::hash::{Hash, Hasher};

/// A key as 128 bits: two keyed hashes of its bytes, under a secret that the process makes on first use.
///
/// That is exact for every purpose: among 2^24 keys the chance that any two share their 128 bits is below 2^-80, and who does not know the secret cannot look
/// for two that do. It is a value of the process: nothing that outlives it may keep one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// 0: no hash, see `low`.
    high: u64,
    /// Without a hash: 0 when there is no key, else one more than the length of the bytes that cannot be a key.
    low: u64,
}

/// Drawn once.
#[cfg(not(feature = "test-util"))]
static SECRET: OnceLock<[RandomState; 2]> = OnceLock::new();
/// Drawn from the secret, once.
static ORDER_SECRET: OnceLock<(u64, SharedSeed)> = OnceLock::new();

/// One of the two hashes of `bytes`.
#[cfg(not(feature = "test-util"))]
fn hash(which: usize, bytes: &[u8]) -> u64 {
    // (not `hash_one`, which hashes the length first: the bytes are all there is, and the hash ends with their number)
    let mut hasher = SECRET.get_or_init(|| [RandomState::new(), RandomState::new()])[which].build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// One of the two hashes of `bytes`, without a secret: simulations are to be the same in every process.
#[cfg(feature = "test-util")]
fn hash(which: usize, bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_usize(which);
    hasher.write(bytes);
    hasher.finish()
}

/// A hash of `bytes` for what may collide.
#[inline]
fn order_hash(bytes: &[u8]) -> u64 {
    let (seed, shared) = ORDER_SECRET.get_or_init(|| (hash(0, b"order"), SharedSeed::from_u64(hash(1, b"order"))));
    let mut hasher = FoldHasher::with_seed(*seed, shared);
    hasher.write(bytes);
    hasher.finish()
}

impl Key {
    /// No key.
    pub const NONE: Key = Key { high: 0, low: 0 };

    /// The key with these bytes. What is no key (see [`fault`](Self::fault)) is remembered as such.
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() || bytes.len() > JOB_KEY_BYTES_MAX {
            return Key { high: 0, low: bytes.len() as u64 + 1 };
        }
        Key { high: hash(0, bytes).max(1), low: hash(1, bytes) }
    }

    /// True when there is a key, fit or not.
    #[inline]
    pub fn is_some(self) -> bool {
        self != Key::NONE
    }

    /// The length of bytes that cannot be a key: none, or more than [`JOB_KEY_BYTES_MAX`].
    #[inline]
    pub fn fault(self) -> Option<u64> {
        (self.high == 0 && self.low != 0).then(|| self.low - 1)
    }

    /// Its two halves, to be kept in two words.
    #[inline]
    pub fn halves(self) -> (u64, u64) {
        (self.high, self.low)
    }

    /// The key of two halves.
    #[inline]
    pub fn from_halves((high, low): (u64, u64)) -> Self {
        Key { high, low }
    }
}

impl Hash for Key {
    /// One half is as good a hash as any; the other chooses the shard.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.low);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault() {
            _ if !self.is_some() => f.write_str("none"),
            Some(bytes) => write!(f, "unfit ({bytes} bytes)"),
            None => write!(f, "{:016x}{:016x}", self.high, self.low),
        }
    }
}

/// A partition key as 63 bits of a hash of its bytes, under a secret too.
///
/// Not so strong a hash as that of a [`Key`], and four times as fast: two keys that agree would only keep one order between them. Whoever could find such keys gains
/// what he has by publishing under one key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OrderKey(u64);

impl OrderKey {
    /// No key.
    pub const NONE: OrderKey = OrderKey(0);

    /// The key with these bytes. What is no key (see [`fault`](Self::fault)) is remembered as such, by an even number.
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() || bytes.len() > JOB_KEY_BYTES_MAX {
            return OrderKey((bytes.len() as u64 + 1) << 1);
        }
        OrderKey(order_hash(bytes) | 1)
    }

    /// True when there is a key, fit or not.
    #[inline]
    pub fn is_some(self) -> bool {
        self != OrderKey::NONE
    }

    /// The length of bytes that cannot be a key: none, or more than [`JOB_KEY_BYTES_MAX`].
    #[inline]
    pub fn fault(self) -> Option<u64> {
        (self.is_some() && self.0 & 1 == 0).then(|| (self.0 >> 1) - 1)
    }

    /// The number.
    #[inline]
    pub fn raw(self) -> u64 {
        self.0
    }

    /// A key with the upper bits of another.
    #[inline]
    pub fn from_high_bits(bits: u64) -> Self {
        OrderKey(bits | 1)
    }
}

impl fmt::Debug for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault() {
            _ if !self.is_some() => f.write_str("none"),
            Some(bytes) => write!(f, "unfit ({bytes} bytes)"),
            None => write!(f, "{:016x}", self.0),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_are_the_same_key_and_others_are_another() {
        assert_eq!(Key::of(b"order-42"), Key::of(b"order-42"));
        let keys: std::collections::HashSet<Key> = (0..10_000u32).map(|n| Key::of(&n.to_le_bytes())).collect();
        assert_eq!(keys.len(), 10_000);
        assert_ne!(Key::of(b"a"), Key::of(b"a\0"));
        assert_eq!(Key::from_halves(Key::of(b"a").halves()), Key::of(b"a"));
    }

    #[test]
    fn what_is_no_key_says_how_long_it_was() {
        assert_eq!((Key::NONE.is_some(), Key::NONE.fault()), (false, None));
        assert_eq!((Key::of(b"").is_some(), Key::of(b"").fault()), (true, Some(0)));
        assert_eq!(Key::of(&[7; JOB_KEY_BYTES_MAX]).fault(), None);
        assert_eq!(Key::of(&[7; JOB_KEY_BYTES_MAX + 1]).fault(), Some(JOB_KEY_BYTES_MAX as u64 + 1));
        assert_eq!((OrderKey::NONE.is_some(), OrderKey::NONE.fault()), (false, None));
        assert_eq!((OrderKey::of(b"").is_some(), OrderKey::of(b"").fault()), (true, Some(0)));
        assert_eq!(OrderKey::of(&[7; JOB_KEY_BYTES_MAX]).fault(), None);
        assert_eq!(OrderKey::of(&[7; JOB_KEY_BYTES_MAX + 1]).fault(), Some(JOB_KEY_BYTES_MAX as u64 + 1));
    }
}
