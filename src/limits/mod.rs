//! What protects the service from too much, as exact sliding windows: in no 60 seconds are more than N
//! accepted.
//!
//! [`local`] counts in this process's memory, [`shared`] in a Redis that several processes share, and
//! [`Limits`] asks whichever decides: callers do not know. What the shared window accepts is noted in
//! the local one too, so that a process whose Redis goes away, or comes back empty, still knows what it
//! let through. Only keys that were proven genuine enter the window of keys, and addresses are counted
//! by /64. `docs/limits.md` says the same to operators.

pub mod local;
pub mod shared;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use codash_domain::KeyId;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::auth::Caller;
use crate::rest::error::ApiError;
use local::Windows;
use shared::{Ask, Shared, SharedSettings};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// Keys in use within one minute on one process.
const MOST_KEYS: usize = 100_000;
/// Addresses that sent a credential within one minute: some 21 MiB. The other doors have fewer
/// visitors, so that all of them together stay under 64 MiB whoever comes.
const MOST_ADDRESSES: usize = 100_000;
const MOST_VISITORS: usize = 25_000;

/// Passwords tried for one email, from anywhere, in [`GUESSES`].
const MOST_GUESSES: u32 = 30;
const GUESSES: Duration = Duration::from_secs(15 * 60);
/// Inbound triggers a minute and address, good or bad.
const MOST_TRIGGERS: u32 = 60;

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
    /// How long a minute is: tests have no time for whole ones.
    pub minute: Duration,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            reads_per_minute: 100,
            credentials_per_minute: 300,
            registrations_per_hour: 20,
            reads_per_key_max: 100,
            logins_per_minute: 20,
            minute: MINUTE,
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

impl KeyHash {
    /// Half of it, which is as good as all of it to tell keys apart.
    fn subject(&self) -> u128 {
        let half: [u8; 16] = self.0[..16].try_into().unwrap_or_default();
        u128::from_be_bytes(half)
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// How a request's key stood when it was counted last; the doorway writes it into the answer.
#[derive(Debug, Clone, Default)]
pub struct Usage(Arc<Mutex<Option<(Standing, Instant)>>>);

impl Usage {
    fn set(&self, standing: Standing) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((standing, Instant::now()));
    }

    /// As it was, with the time that has passed since.
    pub fn get(&self) -> Option<Standing> {
        let (standing, at) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(Standing { reset: standing.reset.saturating_sub(at.elapsed()), ..standing })
    }
}

/// One thing that is counted.
#[derive(Debug)]
struct Window {
    /// In the names of Redis.
    name: &'static str,
    /// To who is refused.
    what: &'static str,
    limit: u32,
    span: Duration,
    local: Windows<u128>,
}

impl Window {
    fn new(name: &'static str, what: &'static str, limit: u32, span: Duration, capacity: usize) -> Self {
        Self { name, what, limit, span, local: Windows::new(limit, span, capacity) }
    }
}

/// Who decides, when several processes were told to count together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Redis: the limits hold over all processes.
    Shared,
    /// Redis does not answer: each process counts for itself.
    Alone,
}

/// The limits, as this process enforces them.
#[derive(Debug)]
pub struct Limits {
    started: Instant,
    shared: Option<Shared>,
    reads: Window,
    credentials: Window,
    logins: Window,
    /// By email, whether or not somebody has it.
    guesses: Window,
    registrations: Window,
    triggers: Window,
    /// Not a limit of the contract: the last use of a key is written at most once a minute.
    touches: Windows<KeyId>,
}

impl Limits {
    /// Call it inside the runtime: the connection to Redis is kept by a task. `secret` goes into the
    /// names that Redis sees, and is the same in all processes of a deployment.
    pub fn new(settings: LimitSettings, shared: Option<&SharedSettings>, secret: [u8; 32]) -> Self {
        let minute = settings.minute;
        let address = |name, what, limit, span| Window::new(name, what, limit, span, MOST_VISITORS);
        let (per_credentials, per_hour) = (settings.credentials_per_minute, settings.registrations_per_hour);
        Self {
            started: Instant::now(),
            shared: shared.map(|settings| Shared::start(settings, secret)),
            reads: Window::new("reads", "reads per key", settings.reads_per_minute, minute, MOST_KEYS),
            credentials: Window::new("credentials", "credentials per address", per_credentials, minute, MOST_ADDRESSES),
            logins: address("logins", "logins per address", settings.logins_per_minute, minute),
            guesses: address("guesses", "passwords per email", MOST_GUESSES, GUESSES),
            registrations: address("registrations", "registrations per address", per_hour, HOUR),
            triggers: address("triggers", "triggers per address", MOST_TRIGGERS, minute),
            touches: Windows::new(1, MINUTE, MOST_KEYS),
        }
    }

    /// Waits, a second or so, until it is known whether Redis answers, so that the first requests are
    /// counted where all others are.
    pub async fn settle(&self) {
        if let Some(shared) = &self.shared {
            shared.settle().await;
        }
    }

    /// `None` where no Redis is set.
    pub fn sharing(&self) -> Option<Sharing> {
        let shared = self.shared.as_ref()?;
        Some(if shared.is_up() { Sharing::Shared } else { Sharing::Alone })
    }

    /// Counts an attempt to authenticate, before anything is looked up.
    pub async fn take_credential(&self, address: IpAddr) -> Result<(), ApiError> {
        self.take_one(&self.credentials, network(address)).await
    }

    /// Counts `n` reads of a key: all or none.
    pub async fn take_read(&self, caller: &Caller, n: u32) -> Result<(), ApiError> {
        if n == 0 {
            return Ok(());
        }
        let taken = self.take(&self.reads, caller.reads_per_minute, caller.key_hash.subject(), n).await;
        caller.usage.set(taken.standing);
        let Some(retry_after) = taken.refused else { return Ok(()) };
        Err(ApiError::rate_limited(self.reads.what, retry_after).with_standing(taken.standing))
    }

    /// Counts an attempt to log in, sign up or refresh.
    pub async fn take_login(&self, address: IpAddr) -> Result<(), ApiError> {
        self.take_one(&self.logins, network(address)).await
    }

    /// Counts a password that is tried for an email, so that many addresses are no more than one.
    pub async fn take_guess(&self, email: &str) -> Result<(), ApiError> {
        self.take_one(&self.guesses, KeyHash(Sha256::digest(email.as_bytes()).into()).subject()).await
    }

    /// Counts a new workspace that is asked for.
    pub async fn take_registration(&self, address: IpAddr) -> Result<(), ApiError> {
        self.take_one(&self.registrations, network(address)).await
    }

    /// Counts an inbound trigger.
    pub async fn take_trigger(&self, address: IpAddr) -> Result<(), ApiError> {
        self.take_one(&self.triggers, network(address)).await
    }

    /// True for the first use of a key in a minute, on this process.
    pub fn is_worth_noting(&self, key: KeyId) -> bool {
        self.touches.take(&key, 1, self.now()).is_ok()
    }

    async fn take_one(&self, window: &Window, subject: u128) -> Result<(), ApiError> {
        match self.take(window, window.limit, subject, 1).await.refused {
            None => Ok(()),
            Some(retry_after) => Err(ApiError::rate_limited(window.what, retry_after)),
        }
    }

    /// Redis decides when it answers in time, this process when not.
    async fn take(&self, window: &Window, limit: u32, subject: u128, n: u32) -> Taken {
        let Some(shared) = &self.shared else { return self.take_alone(window, limit, subject, n) };
        let now = self.now();
        let ask = Ask { limit, n, span: window.span, held: window.local.held(&subject, now) };
        let Some(mut taken) = shared.take(window.name, subject, ask).await else {
            return self.take_alone(window, limit, subject, n);
        };
        match &mut taken.refused {
            // At the instant of asking: in the local window it leaves no later than in the shared one.
            None => window.local.note(limit, &subject, n, now),
            Some(wait) => *wait = (*wait).max(window.local.wait(limit, &subject, n, self.now())),
        }
        taken
    }

    fn take_alone(&self, window: &Window, limit: u32, subject: u128, n: u32) -> Taken {
        let now = self.now();
        match window.local.take_of(limit, &subject, n, now) {
            Ok(standing) => Taken { standing, refused: None },
            Err(Limited { retry_after }) => {
                Taken { standing: window.local.standing(&subject, now), refused: Some(retry_after) }
            }
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    pub standing: Standing,
    /// How long to wait; `None` when all were accepted.
    pub refused: Option<Duration>,
}

/// What counts as one address: an IPv4 address, or the /64 that a single IPv6 customer is given.
pub fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits() & !u128::from(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customers_ipv6_network_is_one_address() {
        let network = |text: &str| super::network(text.parse().unwrap());
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }

    #[test]
    fn a_keys_own_limit_stands_under_what_the_operator_allows() {
        let settings = LimitSettings { reads_per_key_max: 200, ..LimitSettings::default() };
        assert_eq!([None, Some(5), Some(150), Some(500)].map(|own| settings.reads_of(own)), [100, 5, 150, 200]);
    }

    /// As they would come within a minute, one with every bad key; and so many at each other door that it
    /// forgets most of them.
    #[test]
    fn a_million_bad_keys_and_addresses_take_no_more_than_64_mib() {
        let limits = Limits::new(LimitSettings::default(), None, [0; 32]);
        let doors = [&limits.credentials, &limits.logins, &limits.guesses, &limits.registrations, &limits.triggers];
        for (door, visitors) in doors.into_iter().zip([1_000_000, 100_000, 100_000, 100_000, 100_000]) {
            for subject in 0..visitors {
                assert!(door.local.take(&(subject << 64), 1, Duration::from_millis(1)).is_ok());
            }
        }
        let (held, bytes) = (doors.map(|door| door.local.len()), doors.map(|door| door.local.bytes()));
        let full = |held: &usize, most: usize| (most..=most + 16).contains(held);
        assert!(full(&held[0], MOST_ADDRESSES) && held[1..].iter().all(|held| full(held, MOST_VISITORS)), "{held:?}");
        assert!(bytes.iter().sum::<usize>() <= 42 << 20, "docs/limits.md says 42 MiB: {bytes:?}");
        assert_eq!(limits.reads.local.len(), 0, "a bad key has no window");
    }
}
