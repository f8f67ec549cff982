//! The venue's clock beside ours: measured at the middle of a round trip, kept for every account.

use std::time::Duration;

use codash_domain::Timestamp;

use super::Venues;
use super::fault::VenueFault;
use crate::error::VenueError;

/// How long a measured offset is trusted.
pub const CLOCK_EVERY: Duration = Duration::from_secs(30 * 60);
const DRIFT_ALARM_MILLIS: i64 = 1000;

/// Server minus local in milliseconds: the one kept under `name`, if it is younger than `oldest`,
/// else a new one from `ask`, which reads the server's time.
pub async fn offset(
    venues: &Venues,
    name: String,
    oldest: Duration,
    ask: impl Future<Output = Result<Timestamp, VenueError>>,
) -> Result<i64, VenueError> {
    if let Some(offset) = venues.http.recall::<i64>(&name, oldest) {
        return Ok(*offset);
    }
    let before = venues.clock.now().millis();
    let server = ask.await?;
    let after = venues.clock.now().millis();
    let offset = server.millis() - i64::midpoint(before, after);
    if offset.abs() > DRIFT_ALARM_MILLIS {
        tracing::warn!(clock.name = name, clock.offset_millis = offset, "our clock and the venue's differ");
    }
    Ok(*venues.http.keep(name, offset))
}

/// Asks, and once more after a `look` at the server's clock when that may heal what the venue answered.
/// A bad signature is final only then.
pub async fn retried<T, F: VenueFault, A: Future<Output = Result<Result<T, F>, VenueError>>>(
    ask: impl Fn() -> A,
    look: impl Future<Output = Result<i64, VenueError>>,
) -> Result<Result<T, F>, VenueError> {
    match ask().await? {
        Err(fault) if fault.may_be_the_clock() => {
            look.await?;
            ask().await
        }
        outcome => Ok(outcome),
    }
}

/// Our clock, corrected.
pub fn corrected(venues: &Venues, offset: i64) -> Timestamp {
    let now = venues.clock.now();
    Timestamp::from_millis(now.millis().saturating_add(offset)).unwrap_or(now)
}
