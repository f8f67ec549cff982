//! Sliding windows in this process's memory.
//!
//! A window keeps the instant of every accepted request and nothing else, so a refused one costs
//! nothing and a retry at the announced moment succeeds. Memory is bounded by [`Windows::new`]'s
//! capacity; instants are nanoseconds since the process started.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Limited, Standing};

const SHARDS: usize = 16;

/// A sliding window for each of many keys.
#[derive(Debug)]
pub struct Windows<K> {
    limit: u32,
    window: u64,
    /// Keys a shard holds at most.
    capacity: usize,
    hasher: RandomState,
    shards: [Mutex<Shard<K>>; SHARDS],
}

#[derive(Debug)]
struct Shard<K> {
    accepted: HashMap<K, Accepted>,
    swept: u64,
}

/// When requests were accepted, and under which limit the last one asked. Small: a million strangers
/// may each get one.
#[derive(Debug, Default)]
struct Accepted {
    limit: u32,
    times: VecDeque<u64>,
}

impl<K: Hash + Eq + Clone> Windows<K> {
    /// `capacity` bounds the keys that are remembered; beyond it the longest idle are forgotten.
    pub fn new(limit: u32, window: Duration, capacity: usize) -> Self {
        Self {
            limit,
            window: nanos(window),
            capacity: capacity.div_ceil(SHARDS),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::new(Shard { accepted: HashMap::new(), swept: 0 })),
        }
    }

    /// Accepts `n` requests at `now`, or none of them.
    pub fn take(&self, key: &K, n: u32, now: Duration) -> Result<Standing, Limited> {
        self.take_of(self.limit, key, n, now)
    }

    /// [`Windows::take`] for a key that has a limit of its own.
    pub fn take_of(&self, limit: u32, key: &K, n: u32, now: Duration) -> Result<Standing, Limited> {
        if n > limit {
            return Err(Limited { retry_after: Duration::from_nanos(self.window) });
        }
        let now = nanos(now);
        let mut shard = self.shard(key);
        shard.make_room(key, self.window, self.capacity, now);
        let accepted = shard.accepted.entry(key.clone()).or_default();
        accepted.limit = limit;
        // Two threads may arrive in the other order than they looked at the clock.
        let now = accepted.times.back().map_or(now, |last| now.max(*last));
        accepted.forget(self.window, now);
        if let Some(retry_after) = accepted.wait(limit, n, self.window, now) {
            return Err(Limited { retry_after });
        }
        accepted.times.extend(std::iter::repeat_n(now, size(n)));
        Ok(accepted.stand(self.window, now))
    }

    /// Remembers `n` requests that were accepted elsewhere.
    pub fn note(&self, limit: u32, key: &K, n: u32, at: Duration) {
        let at = nanos(at);
        let mut shard = self.shard(key);
        shard.make_room(key, self.window, self.capacity, at);
        let accepted = shard.accepted.entry(key.clone()).or_default();
        accepted.limit = limit;
        let place = accepted.times.partition_point(|time| *time <= at);
        for _ in 0..n {
            accepted.times.insert(place, at);
        }
    }

    /// How many requests the window holds.
    pub fn held(&self, key: &K, now: Duration) -> u32 {
        let mut shard = self.shard(key);
        let Some(accepted) = shard.accepted.get_mut(key) else { return 0 };
        accepted.forget(self.window, nanos(now));
        count(accepted.times.len())
    }

    /// How long `n` requests would have to wait, without counting anything.
    pub fn wait(&self, limit: u32, key: &K, n: u32, now: Duration) -> Duration {
        if n > limit {
            return Duration::from_nanos(self.window);
        }
        let mut shard = self.shard(key);
        let Some(accepted) = shard.accepted.get_mut(key) else { return Duration::ZERO };
        accepted.forget(self.window, nanos(now));
        accepted.wait(limit, n, self.window, nanos(now)).unwrap_or_default()
    }

    /// How a key stands under the limit that it last asked with, without counting anything.
    pub fn standing(&self, key: &K, now: Duration) -> Standing {
        let now = nanos(now);
        let mut shard = self.shard(key);
        match shard.accepted.get_mut(key) {
            Some(accepted) => {
                accepted.forget(self.window, now);
                accepted.stand(self.window, now)
            }
            None => Accepted { limit: self.limit, times: VecDeque::new() }.stand(self.window, now),
        }
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, Shard<K>> {
        let hash = self.hasher.hash_one(key);
        let index = usize::try_from(hash % SHARDS as u64).unwrap_or_default();
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accepted {
    /// A request leaves the window exactly one window after it was accepted.
    fn forget(&mut self, window: u64, now: u64) {
        while self.times.front().is_some_and(|oldest| now.saturating_sub(*oldest) >= window) {
            self.times.pop_front();
        }
    }

    /// Until there is room for `n`; `None` when there is.
    fn wait(&self, limit: u32, n: u32, window: u64, now: u64) -> Option<Duration> {
        let over = (self.times.len() + size(n)).saturating_sub(size(limit));
        let blocking = self.times.get(over.checked_sub(1)?)?;
        Some(Duration::from_nanos((blocking + window).saturating_sub(now)))
    }

    fn stand(&self, window: u64, now: u64) -> Standing {
        let reset = self.times.front().map_or(0, |oldest| (oldest + window).saturating_sub(now));
        Standing {
            limit: self.limit,
            remaining: self.limit.saturating_sub(count(self.times.len())),
            reset: Duration::from_nanos(reset),
        }
    }
}

impl<K: Hash + Eq + Clone> Shard<K> {
    /// Forgets who was idle for a whole window, every window or when full; a shard that is full of
    /// live keys forgets the longest idle of a few.
    fn make_room(&mut self, key: &K, window: u64, capacity: usize, now: u64) {
        let is_full = self.accepted.len() >= capacity && !self.accepted.contains_key(key);
        let since = now.saturating_sub(self.swept);
        if since >= window || (is_full && since >= 1_000_000_000) {
            self.accepted
                .retain(|_, accepted| accepted.times.back().is_some_and(|last| now.saturating_sub(*last) < window));
            self.swept = now;
        }
        if is_full && self.accepted.len() >= capacity {
            let idle = self.accepted.iter().take(8).min_by_key(|(_, accepted)| accepted.times.back().copied());
            if let Some(idle) = idle.map(|(key, _)| key.clone()) {
                self.accepted.remove(&idle);
            }
        }
    }
}

/// Enough for five centuries.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn size(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
impl<K: Hash + Eq + Clone> Windows<K> {
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().accepted.len()).sum()
    }

    /// What is allocated at most: a table is never more than half empty but for the rounding to a power of
    /// two, keeps an eighth free, and has a byte of its own for each place; each key's instants are one
    /// block, with the allocator's two words.
    pub(super) fn bytes(&self) -> usize {
        let of = |shard: &Mutex<Shard<K>>| {
            let accepted = &shard.lock().unwrap().accepted;
            let places = (accepted.len() * 2 * 8 / 7).next_power_of_two();
            places * (size_of::<(K, Accepted)>() + 1)
                + accepted.values().map(|a| a.times.capacity() * size_of::<u64>() + 16).sum::<usize>()
        };
        self.shards.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn windows(limit: u32) -> Windows<u8> {
        Windows::new(limit, MINUTE, 1_000)
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_boundary_of_two_windows_lets_nothing_more_through() {
        let windows = windows(100);
        let burst = |now: Duration| (0..100).filter(|_| windows.take(&1, 1, now).is_ok()).count();
        assert_eq!(burst(at(59_900)), 100);
        assert_eq!(burst(at(60_100)), 0);
        assert_eq!(burst(at(119_899)), 0);
        assert_eq!(burst(at(119_900)), 100);
    }

    #[test]
    fn a_batch_is_taken_whole_or_not_at_all() {
        let windows = windows(10);
        assert_eq!(windows.take(&1, 8, at(0)).unwrap().remaining, 2);
        assert!(windows.take(&1, 3, at(1)).is_err());
        assert_eq!(windows.take(&1, 2, at(2)).unwrap().remaining, 0);
        assert_eq!(windows.take(&1, 0, at(3)).unwrap().remaining, 0, "nothing asked is nothing refused");
        assert_eq!(windows.take(&2, 11, at(3)).unwrap_err().retry_after, MINUTE, "more than there ever is");
    }

    #[test]
    fn one_caller_never_uses_up_anothers_share() {
        let windows = windows(1);
        assert!(windows.take(&1, 1, at(0)).is_ok());
        assert!(windows.take(&1, 1, at(0)).is_err());
        assert!(windows.take(&2, 1, at(0)).is_ok());
    }

    #[test]
    fn the_standing_says_when_the_next_place_becomes_free() {
        let windows = windows(3);
        windows.take(&1, 1, at(0)).unwrap();
        let standing = windows.take(&1, 1, at(10_000)).unwrap();
        assert_eq!(standing, Standing { limit: 3, remaining: 1, reset: at(50_000) });
        assert_eq!(windows.standing(&1, at(60_000)), Standing { limit: 3, remaining: 2, reset: at(10_000) });
        assert_eq!(windows.standing(&9, at(60_000)).remaining, 3);
    }

    #[test]
    fn a_key_of_its_own_limit_is_held_to_it_and_told_it() {
        let windows = windows(100);
        for _ in 0..3 {
            windows.take_of(3, &1, 1, at(0)).unwrap();
        }
        assert!(windows.take_of(3, &1, 1, at(59_999)).is_err());
        assert_eq!(windows.standing(&1, at(1)), Standing { limit: 3, remaining: 0, reset: at(59_999) });
        assert_eq!(windows.take_of(500, &2, 500, at(0)).unwrap().remaining, 0);
    }

    #[test]
    fn a_million_addresses_fit_into_a_bounded_map() {
        let windows: Windows<u32> = Windows::new(300, MINUTE, 10_000);
        for key in 0..1_000_000 {
            assert!(windows.take(&key, 1, at(u64::from(key) / 1000)).is_ok());
        }
        assert!(windows.len() <= 10_000 + SHARDS, "{}", windows.len());
    }

    #[test]
    fn who_was_idle_for_a_window_is_forgotten() {
        let windows: Windows<u32> = Windows::new(300, MINUTE, 10_000);
        for key in 0..1_000 {
            windows.take(&key, 1, at(0)).unwrap();
        }
        for key in 1_000..1_100 {
            windows.take(&key, 1, at(61_000)).unwrap();
        }
        assert_eq!(windows.len(), 100);
    }

    #[test]
    fn what_was_accepted_elsewhere_is_held_until_its_own_instant_leaves() {
        let windows = windows(3);
        windows.note(3, &1, 1, at(2_000));
        windows.note(3, &1, 1, at(1_000));
        assert_eq!(windows.held(&1, at(3_000)), 2);
        assert_eq!(windows.wait(3, &1, 2, at(3_000)), at(58_000), "the older one leaves first, whoever told it last");
        assert_eq!(windows.wait(3, &1, 1, at(3_000)), Duration::ZERO);
        assert_eq!(windows.wait(3, &1, 4, at(3_000)), MINUTE);
        assert!(windows.take(&1, 2, at(60_999)).is_err());
        assert!(windows.take(&1, 2, at(61_000)).is_ok());
        assert_eq!((windows.held(&1, at(62_000)), windows.held(&2, at(62_000))), (2, 0));
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_the_limit_and_a_retry_on_time_succeeds(
            limit in 1_u32..8,
            steps in proptest::collection::vec((0_u64..40_000, 1_u32..3), 1..200),
        ) {
            let windows = windows(limit);
            let mut now = Duration::ZERO;
            let mut accepted: Vec<Duration> = Vec::new();
            for (step, n) in steps {
                now += at(step);
                match windows.take(&1, n, now) {
                    Ok(_) => accepted.extend((0..n).map(|_| now)),
                    Err(Limited { retry_after }) if n <= limit => {
                        prop_assert!(retry_after > Duration::ZERO && retry_after <= MINUTE);
                        let early = now + retry_after - Duration::from_nanos(1);
                        prop_assert!(windows.take(&1, n, early).is_err());
                        now += retry_after;
                        prop_assert!(windows.take(&1, n, now).is_ok());
                        accepted.extend((0..n).map(|_| now));
                    }
                    Err(_) => {}
                }
            }
            for (i, first) in accepted.iter().enumerate() {
                let inside = accepted[i..].iter().take_while(|t| **t - *first < MINUTE).count();
                prop_assert!(inside <= limit as usize);
            }
        }
    }
}
