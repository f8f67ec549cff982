//! The two documented limits as exact sliding windows: in no 60 seconds are more than N accepted.
//!
//! A window keeps the instant of every accepted request and nothing else, so a refused one costs
//! nothing and a retry at the announced moment succeeds. Memory is bounded by [`Windows::new`]'s
//! capacity: only keys that were proven genuine enter the window of keys, and addresses are counted
//! by /64. `tower_governor` guards registration, see `src/rest/agents.rs`.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use codash_domain::KeyId;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::auth::Caller;
use crate::rest::error::ApiError;

const MINUTE: Duration = Duration::from_secs(60);
const SHARDS: usize = 16;
/// Keys in use within one minute on one process.
const MOST_KEYS: usize = 100_000;
/// Addresses seen within one minute: some 25 MiB.
const MOST_ADDRESSES: usize = 200_000;

/// Passwords tried for one email, from anywhere, in [`GUESSES`].
const MOST_GUESSES: u32 = 30;
const GUESSES: Duration = Duration::from_secs(15 * 60);

/// How much is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSettings {
    /// Authenticated requests a minute and key.
    pub reads_per_minute: u32,
    /// Requests with a credential, good or bad, a minute and address.
    pub credentials_per_minute: u32,
    /// New workspaces an hour and address.
    pub registrations_per_hour: u32,
    /// The highest limit that a single key may be given; never below `reads_per_minute`.
    pub reads_per_key_max: u32,
    /// Attempts to log in, sign up or refresh, a minute and address.
    pub logins_per_minute: u32,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            reads_per_minute: 100,
            credentials_per_minute: 300,
            registrations_per_hour: 20,
            reads_per_key_max: 100,
            logins_per_minute: 20,
        }
    }
}

/// How a caller stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub limit: u32,
    pub remaining: u32,
    /// Until the next used place becomes free.
    pub reset: Duration,
}

impl Standing {
    /// Usage as the contract shows it; the reset is in seconds from now, not an instant.
    pub fn write(&self, headers: &mut HeaderMap) {
        let reset = self.reset.as_secs() + u64::from(self.reset.subsec_nanos() > 0);
        headers.insert("x-ratelimit-limit", self.limit.into());
        headers.insert("x-ratelimit-remaining", self.remaining.into());
        headers.insert("x-ratelimit-reset", reset.into());
    }
}

/// Over the limit; the same request is accepted after this long, if no other takes the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    pub retry_after: Duration,
}

impl LimitSettings {
    /// The limit of a key: its own, under what the operator allows, else the default.
    pub fn reads_of(&self, own: Option<u32>) -> u32 {
        own.map_or(self.reads_per_minute, |own| own.min(self.most_reads()))
    }

    /// What a key may be given at most.
    pub fn most_reads(&self) -> u32 {
        self.reads_per_key_max.max(self.reads_per_minute)
    }
}

/// SHA-256 of an API key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// The limits of one process.
#[derive(Debug)]
pub struct Limits {
    started: Instant,
    reads: Windows<KeyHash>,
    credentials: Windows<u128>,
    logins: Windows<u128>,
    /// By SHA-256 of the email, whether or not somebody has it.
    guesses: Windows<[u8; 32]>,
    /// Not a limit of the contract: the last use of a key is written at most once a minute.
    touches: Windows<KeyId>,
}

impl Limits {
    pub fn new(settings: LimitSettings) -> Self {
        Self {
            started: Instant::now(),
            reads: Windows::new(settings.reads_per_minute, MINUTE, MOST_KEYS),
            credentials: Windows::new(settings.credentials_per_minute, MINUTE, MOST_ADDRESSES),
            logins: Windows::new(settings.logins_per_minute, MINUTE, MOST_ADDRESSES),
            guesses: Windows::new(MOST_GUESSES, GUESSES, MOST_ADDRESSES),
            touches: Windows::new(1, MINUTE, MOST_KEYS),
        }
    }

    /// Counts an attempt to authenticate, before anything is looked up.
    pub fn take_credential(&self, address: IpAddr) -> Result<Standing, ApiError> {
        let taken = self.credentials.take(&network(address), 1, self.now());
        taken.map_err(|limited| ApiError::rate_limited("credentials per address", limited.retry_after))
    }

    /// Counts `n` reads of a key: all or none.
    pub fn take_read(&self, caller: &Caller, n: u32) -> Result<Standing, ApiError> {
        let now = self.now();
        self.reads.take_of(caller.reads_per_minute, &caller.key_hash, n, now).map_err(|limited| {
            let standing = self.reads.standing(&caller.key_hash, now);
            ApiError::rate_limited("reads per key", limited.retry_after).with_standing(standing)
        })
    }

    /// Counts an attempt to log in, sign up or refresh.
    pub fn take_login(&self, address: IpAddr) -> Result<Standing, ApiError> {
        let taken = self.logins.take(&network(address), 1, self.now());
        taken.map_err(|limited| ApiError::rate_limited("logins per address", limited.retry_after))
    }

    /// Counts a password that is tried for an email, so that many addresses are no more than one.
    pub fn take_guess(&self, email: &str) -> Result<Standing, ApiError> {
        let taken = self.guesses.take(&Sha256::digest(email.as_bytes()).into(), 1, self.now());
        taken.map_err(|limited| ApiError::rate_limited("passwords per email", limited.retry_after))
    }

    /// [`Limits::take_read`] of a key without a limit of its own, at an instant, counted from the start of the process.
    pub fn take(&self, key: &KeyHash, n: u32, now: Duration) -> Result<Standing, Limited> {
        self.reads.take(key, n, now)
    }

    /// How a key stands now.
    pub fn standing(&self, key: &KeyHash) -> Standing {
        self.reads.standing(key, self.now())
    }

    /// True for the first use of a key in a minute.
    pub fn is_worth_noting(&self, key: KeyId) -> bool {
        self.touches.take(&key, 1, self.now()).is_ok()
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// What counts as one address: an IPv4 address, or the /64 that a single IPv6 customer is given.
pub fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits() & !u128::from(u64::MAX),
    }
}

/// A sliding window for each of many keys.
#[derive(Debug)]
pub struct Windows<K> {
    limit: usize,
    window: Duration,
    /// Keys a shard holds at most.
    capacity: usize,
    hasher: RandomState,
    shards: [Mutex<Shard<K>>; SHARDS],
}

#[derive(Debug)]
struct Shard<K> {
    accepted: HashMap<K, Accepted>,
    swept: Duration,
}

/// When requests were accepted, and under which limit the last one asked.
#[derive(Debug, Default)]
struct Accepted {
    limit: usize,
    times: VecDeque<Duration>,
}

impl<K: Hash + Eq + Clone> Windows<K> {
    /// `capacity` bounds the keys that are remembered; beyond it the longest idle are forgotten.
    pub fn new(limit: u32, window: Duration, capacity: usize) -> Self {
        Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            window,
            capacity: capacity.div_ceil(SHARDS),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::new(Shard { accepted: HashMap::new(), swept: Duration::ZERO })),
        }
    }

    /// Accepts `n` requests at `now`, or none of them.
    pub fn take(&self, key: &K, n: u32, now: Duration) -> Result<Standing, Limited> {
        self.take_within(self.limit, key, n, now)
    }

    /// [`Windows::take`] for a key that has a limit of its own.
    pub fn take_of(&self, limit: u32, key: &K, n: u32, now: Duration) -> Result<Standing, Limited> {
        self.take_within(usize::try_from(limit).unwrap_or(usize::MAX), key, n, now)
    }

    fn take_within(&self, limit: usize, key: &K, n: u32, now: Duration) -> Result<Standing, Limited> {
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        if n > limit {
            return Err(Limited { retry_after: self.window });
        }
        let mut shard = self.shard(key);
        shard.make_room(key, self.window, self.capacity, now);
        let accepted = shard.accepted.entry(key.clone()).or_default();
        accepted.limit = limit;
        // Two threads may arrive in the other order than they looked at the clock.
        let now = accepted.times.back().map_or(now, |last| now.max(*last));
        forget(&mut accepted.times, self.window, now);
        let over = (accepted.times.len() + n).saturating_sub(limit);
        if let Some(blocking) = over.checked_sub(1).and_then(|i| accepted.times.get(i)) {
            return Err(Limited { retry_after: (*blocking + self.window).saturating_sub(now) });
        }
        accepted.times.extend(std::iter::repeat_n(now, n));
        Ok(self.stand(accepted, now))
    }

    /// How a key stands under the limit that it last asked with, without counting anything.
    pub fn standing(&self, key: &K, now: Duration) -> Standing {
        let mut shard = self.shard(key);
        match shard.accepted.get_mut(key) {
            Some(accepted) => {
                forget(&mut accepted.times, self.window, now);
                self.stand(accepted, now)
            }
            None => self.stand(&Accepted { limit: self.limit, times: VecDeque::new() }, now),
        }
    }

    fn stand(&self, accepted: &Accepted, now: Duration) -> Standing {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Standing {
            limit: count(accepted.limit),
            remaining: count(accepted.limit.saturating_sub(accepted.times.len())),
            reset: accepted.times.front().map_or(Duration::ZERO, |oldest| (*oldest + self.window).saturating_sub(now)),
        }
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, Shard<K>> {
        let hash = self.hasher.hash_one(key);
        let index = usize::try_from(hash % SHARDS as u64).unwrap_or_default();
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone> Shard<K> {
    /// Forgets who was idle for a whole window, every window or when full; a shard that is full of
    /// live keys forgets the longest idle of a few.
    fn make_room(&mut self, key: &K, window: Duration, capacity: usize, now: Duration) {
        let is_full = self.accepted.len() >= capacity && !self.accepted.contains_key(key);
        let since = now.saturating_sub(self.swept);
        if since >= window || (is_full && since >= Duration::from_secs(1)) {
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

/// A request leaves the window exactly one window after it was accepted.
fn forget(accepted: &mut VecDeque<Duration>, window: Duration, now: Duration) {
    while accepted.front().is_some_and(|oldest| now.saturating_sub(*oldest) >= window) {
        accepted.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        let settings = LimitSettings { reads_per_key_max: 200, ..LimitSettings::default() };
        assert_eq!([None, Some(5), Some(150), Some(500)].map(|own| settings.reads_of(own)), [100, 5, 150, 200]);
    }

    #[test]
    fn a_million_addresses_fit_into_a_bounded_map() {
        let windows: Windows<u32> = Windows::new(300, MINUTE, 10_000);
        for key in 0..1_000_000 {
            assert!(windows.take(&key, 1, at(u64::from(key) / 1000)).is_ok());
        }
        let held: usize = windows.shards.iter().map(|s| s.lock().unwrap().accepted.len()).sum();
        assert!(held <= 10_000 + SHARDS, "{held}");
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
        let held: usize = windows.shards.iter().map(|s| s.lock().unwrap().accepted.len()).sum();
        assert_eq!(held, 100);
    }

    #[test]
    fn a_customers_ipv6_network_is_one_address() {
        let network = |text: &str| super::network(text.parse().unwrap());
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
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
