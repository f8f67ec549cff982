//! What a venue lets one egress address spend, and who counts it: this process alone, or all of them.

use std::collections::VecDeque;
use std::time::Duration;

use codash_store::Store;
use codash_store::meters::Spend;
use tokio::time::Instant;

use crate::error::VenueError;

/// An address and the budget that the venue grants us there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The address that requests go to, without a trailing slash.
    pub base: &'a str,
    /// Names the meter: hosts of several venues behind one address stay apart.
    pub meter: &'a str,
    /// Weight that the venue grants in each `per`; at most 80 % of it is used.
    pub budget: u32,
    pub per: Duration,
    /// Kept for a key or an endpoint, by this process alone. The others are hosts' meters, which all
    /// processes behind one egress address share.
    pub is_own: bool,
}

impl<'a> Target<'a> {
    /// A meter of a key or an endpoint at this address.
    #[must_use]
    pub fn own(self, meter: &'a str, budget: u32, per: Duration) -> Self {
        Self { meter, budget, per, is_own: true, ..self }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Silence {
    pub until: Instant,
    pub banned: bool,
}

/// What was spent on a host in the last minute, and whether it wants to be left alone.
#[derive(Debug, Default)]
pub(crate) struct Host {
    pub spent: VecDeque<(Instant, u32)>,
    pub silence: Option<Silence>,
}

impl Host {
    pub fn used(&mut self, per: Duration, now: Instant) -> u32 {
        while self.spent.front().is_some_and(|(at, _)| now.duration_since(*at) >= per) {
            self.spent.pop_front();
        }
        self.spent.iter().map(|(_, weight)| weight).sum()
    }

    /// Takes the weight, or says how long until it is free.
    pub fn take(&mut self, weight: u32, allowance: u32, per: Duration, now: Instant) -> Result<(), Duration> {
        let mut over = (self.used(per, now) + weight).saturating_sub(allowance);
        if over == 0 || self.spent.is_empty() {
            self.spent.push_back((now, weight));
            return Ok(());
        }
        let mut wait = per;
        for (at, spent) in &self.spent {
            wait = per.saturating_sub(now.duration_since(*at));
            over = over.saturating_sub(*spent);
            if over == 0 {
                break;
            }
        }
        Err(wait)
    }

    /// The venue counts more than we do: somebody else shares the address.
    pub fn learn(&mut self, used: u32, per: Duration, now: Instant) {
        let missing = used.saturating_sub(self.used(per, now));
        if missing > 0 {
            self.spent.push_back((now, missing));
        }
    }

    pub fn silence_error(&mut self, now: Instant) -> Option<VenueError> {
        let Silence { until, banned } = self.silence?;
        let Some(after) = until.checked_duration_since(now).filter(|left| !left.is_zero()) else {
            self.silence = None;
            return None;
        };
        let reason = "the venue asked this machine to wait".to_owned();
        Some(match banned {
            true => VenueError::Banned { after, reason },
            false => VenueError::Retry { after: Some(after), reason },
        })
    }
}

/// Where processes behind one egress address count together.
#[derive(Debug, Clone)]
pub struct Shared {
    pub store: Store,
    /// Names the egress address.
    pub egress: String,
}

impl Shared {
    pub(crate) fn meter(&self, target: Target<'_>) -> String {
        format!("{} {} {}", self.egress, target.base, target.meter)
    }

    pub(crate) async fn take(&self, target: Target<'_>, weight: u32, allowance: u32) -> Result<Spend, VenueError> {
        let taken = self.store.take_weight(&self.meter(target), weight, allowance, target.per).await;
        // Without the count nothing is sent: a guess could get the address banned.
        taken.map_err(|error| VenueError::retry(format!("the shared meter: {error}")))
    }

    /// A note that could not be made is a warning: this process knows it by itself.
    pub(crate) fn warn(done: Result<(), codash_store::Error>) {
        if let Err(error) = done {
            tracing::warn!(%error, "the shared meter was not told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_budget_slides_and_a_full_one_says_how_long_to_wait() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut host = Host::default();
        assert_eq!(host.take(500, 800, MINUTE, start), Ok(()));
        assert_eq!(host.take(300, 800, MINUTE, after(50)), Ok(()));
        assert_eq!(host.take(400, 800, MINUTE, after(50)), Err(Duration::from_secs(10)));
        assert_eq!(host.take(600, 800, MINUTE, after(55)), Err(Duration::from_secs(55)));
        assert_eq!(host.take(400, 800, MINUTE, after(60)), Ok(()));
        assert_eq!(Host::default().take(9999, 800, MINUTE, start), Ok(()), "what can never fit is sent alone");
    }

    #[test]
    fn what_the_venue_counts_beyond_ours_is_counted() {
        let now = Instant::now();
        let mut host = Host::default();
        host.take(10, 800, MINUTE, now).unwrap();
        host.learn(700, MINUTE, now);
        host.learn(5, MINUTE, now);
        assert_eq!(host.used(MINUTE, now), 700);
        assert!(host.take(200, 800, MINUTE, now).is_err());
    }

    #[test]
    fn meters_of_hosts_are_shared_and_those_of_keys_are_not() {
        let host = Target { base: "http://127.0.0.1:1", meter: "m", budget: 1000, per: MINUTE, is_own: false };
        let own = host.own("key", 10, MINUTE);
        assert_eq!((host.is_own, own.is_own, own.base), (false, true, host.base));
        assert_eq!((own.meter, own.budget, own.per), ("key", 10, MINUTE));
    }
}
