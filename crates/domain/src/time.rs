//! Instants, windows and the clock, which is always an argument.

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;

use chrono::{DateTime, SecondsFormat, TimeDelta, TimeZone, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant in UTC with millisecond precision; RFC 3339 with three fraction digits on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

/// Text that is no RFC 3339 instant between the years 1970 and 9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an ISO 8601 date and time with a zone, such as 2026-05-15T00:00:00.000Z")]
pub struct NotInstant;

/// 9999-12-31T23:59:59.999Z: the last instant that RFC 3339 can write.
const LAST_MILLIS: i64 = 253_402_300_799_999;

impl Timestamp {
    /// The first instant that there is.
    pub const EPOCH: Self = Self(DateTime::UNIX_EPOCH);

    /// `None` outside 1970-01-01 to 9999-12-31, where neither ids nor RFC 3339 reach.
    pub fn from_millis(millis: i64) -> Option<Self> {
        if !(0..=LAST_MILLIS).contains(&millis) {
            return None;
        }
        Utc.timestamp_millis_opt(millis).single().map(Self)
    }

    /// The instant, cut to whole milliseconds and held inside the range of [`Timestamp::from_millis`].
    pub fn from_utc(instant: DateTime<Utc>) -> Self {
        Self::nearest(instant.timestamp_millis())
    }

    /// Held inside the range of [`Timestamp::from_millis`]: for the ends of spans, which may lie one
    /// millisecond past the last instant.
    pub fn nearest(millis: i64) -> Self {
        Self(Utc.timestamp_millis_opt(millis.clamp(0, LAST_MILLIS)).single().unwrap_or_default())
    }

    /// As [`str::parse`], for any RFC 3339 instant: one outside the range is held at its end.
    pub fn nearest_to(text: &str) -> Result<Self, NotInstant> {
        DateTime::parse_from_rfc3339(text).map(|at| Self::nearest(at.timestamp_millis())).map_err(|_| NotInstant)
    }

    pub fn millis(self) -> i64 {
        self.0.timestamp_millis()
    }

    pub fn utc(self) -> DateTime<Utc> {
        self.0
    }

    /// Moved by `delta`, held inside the range.
    pub fn plus(self, delta: TimeDelta) -> Self {
        self.0.checked_add_signed(delta).map_or(self, Self::from_utc)
    }

    pub fn minus(self, delta: TimeDelta) -> Self {
        self.plus(-delta)
    }

    /// The first instant of the period of `millis` length that holds this one.
    pub fn floor_to(self, period_millis: i64) -> Self {
        Self::from_millis(self.millis() - self.millis().rem_euclid(period_millis)).unwrap_or(self)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}
impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
impl FromStr for Timestamp {
    type Err = NotInstant;
    fn from_str(s: &str) -> Result<Self, NotInstant> {
        let parsed = DateTime::parse_from_rfc3339(s).map_err(|_| NotInstant)?;
        Self::from_millis(parsed.timestamp_millis()).ok_or(NotInstant)
    }
}
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
impl schemars::JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// A span of time, **inclusive at both ends**, as the contract has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Window {
    /// First and one-past-last millisecond: the half-open form that ids and buckets use.
    pub fn millis(self) -> (i64, i64) {
        (self.from.millis(), self.to.millis() + 1)
    }
}

/// Where the time comes from. Tests pass a [`FixedClock`].
pub trait Clock: Send + Sync + fmt::Debug {
    fn now(&self) -> Timestamp;
}

#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        Timestamp::from_utc(Utc::now())
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct FixedClock(Mutex<Timestamp>);

impl FixedClock {
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    pub fn advance(&self, delta: TimeDelta) {
        let mut now = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *now = now.plus(delta);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_prints_three_fraction_digits_and_z() {
        let t: Timestamp = "2026-05-15T02:00:00.1239+02:00".parse().unwrap();
        assert_eq!(t.to_string(), "2026-05-15T00:00:00.123Z");
    }

    #[test]
    fn years_that_the_wire_or_postgres_cannot_hold_are_refused() {
        for bad in ["0000-01-01T00:00:00Z", "+294277-01-01T00:00:00Z", "infinity", "2026-13-01T00:00:00Z", "2026-01-01"]
        {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
        assert!(Timestamp::from_millis(-1).is_none());
    }

    #[test]
    fn a_bound_beyond_the_range_is_held_at_its_end() {
        for (text, held) in [
            ("0000-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
            ("1969-12-31t23:59:59.999z", "1970-01-01T00:00:00.000Z"),
            ("9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999Z"),
            ("2026-05-15T02:00:00+02:00", "2026-05-15T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp::nearest_to(text).unwrap().to_string(), held);
        }
        assert!(Timestamp::nearest_to("2026-02-30T00:00:00Z").is_err());
    }
}
