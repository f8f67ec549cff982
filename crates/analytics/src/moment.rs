//! An instant or a day, as the PnL-analysis questions take them.

use chrono::NaiveDate;
use codash_domain::Timestamp;
use codash_domain::cover::DAY;
use serde::{Deserialize, Deserializer};

/// `2026-04-13T08:00:00Z`, or `2026-04-13`: a whole day in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    first: Timestamp,
    last: Timestamp,
}

impl Moment {
    /// As the start of a window: a day begins at midnight.
    pub fn first(self) -> Timestamp {
        self.first
    }

    /// As the inclusive end of a window: a day ends with its last millisecond.
    pub fn last(self) -> Timestamp {
        self.last
    }

    fn parse(text: &str) -> Option<Self> {
        if let Ok(instant) = Timestamp::nearest_to(text) {
            return Some(Self { first: instant, last: instant });
        }
        let is_date = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| is_date)?;
        let first = date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis();
        Some(Self { first: Timestamp::nearest(first), last: Timestamp::nearest(first + DAY - 1) })
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(
                "expected a day such as 2026-04-13, or an ISO 8601 date and time with a zone, such as \
                 2026-04-13T00:00:00.000Z",
            )
        })
    }
}

/// As [`Moment`], and also milliseconds since 1970: what dashboards send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant(Moment);

/// Before this a number of milliseconds is one of seconds in all likelihood: the year 1973.
const SECONDS_UNTIL: i64 = 100_000_000_000;

impl Instant {
    /// As the start of a window.
    pub fn first(self) -> Timestamp {
        self.0.first
    }

    /// As the inclusive end of a window.
    pub fn last(self) -> Timestamp {
        self.0.last
    }

    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Moment::parse(text).map(Self);
        }
        let millis: i64 = text.parse().ok().filter(|millis| *millis == 0 || *millis >= SECONDS_UNTIL)?;
        let instant = Timestamp::from_millis(millis)?;
        Some(Self(Moment { first: instant, last: instant }))
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(
                "expected milliseconds since 1970 (not seconds), a day such as 2026-04-13, or an ISO 8601 date and \
                 time with a zone, such as 2026-04-13T00:00:00.000Z",
            )
        })
    }
}

impl schemars::JsonSchema for Instant {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Instant".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^([0-9]+|[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ].+)?)$" })
    }
}

impl schemars::JsonSchema for Moment {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Moment".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "anyOf": [{ "format": "date" }, { "format": "date-time" }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_all_of_it_and_an_instant_itself() {
        let day = Moment::parse("2026-04-13").unwrap();
        assert_eq!(day.first().to_string(), "2026-04-13T00:00:00.000Z");
        assert_eq!(day.last().to_string(), "2026-04-13T23:59:59.999Z");
        let instant = Moment::parse("2026-04-13T02:00:00+02:00").unwrap();
        assert_eq!((instant.first(), instant.last()), (day.first(), day.first()));
        let before = Moment::parse("1969-12-31").unwrap();
        assert_eq!((before.first(), before.last()), (Timestamp::nearest(0), Timestamp::nearest(0)), "held at the end");
        for bad in ["2026-4-13", "2026-02-30", "13.04.2026", "0000-00-00", "2026-04-13T00:00:00", "", "+2026-04-1"] {
            assert!(Moment::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn milliseconds_are_an_instant_and_seconds_are_refused() {
        let instant = Instant::parse("1778630400123").unwrap();
        assert_eq!(instant.first().to_string(), "2026-05-13T00:00:00.123Z");
        assert_eq!(instant.last(), instant.first());
        assert_eq!(Instant::parse("0").unwrap().first().millis(), 0);
        assert_eq!(Instant::parse("2026-05-13").unwrap().last().to_string(), "2026-05-13T23:59:59.999Z");
        for bad in ["1778630400", "-5", "1.5e12", "99999999999999999999", "now-6h", ""] {
            assert!(Instant::parse(bad).is_none(), "{bad}");
        }
    }
}
