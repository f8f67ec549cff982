//! Which faults are switched on.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Number;

/// A chance or a share, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u32);

impl Share {
    pub const WHOLE: u32 = 1_000_000;
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Number::deserialize(deserializer)?.to_string();
        let number = text.parse::<Decimal>().or_else(|_| Decimal::from_scientific(&text)).ok();
        let millionths = number.and_then(|number| number.checked_mul(Decimal::from(Self::WHOLE))?.round().to_u32());
        let share = millionths.filter(|millionths| *millionths <= Self::WHOLE);
        share.map(Self).ok_or_else(|| de::Error::custom(format!("{text} is no number from 0 to 1")))
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = Decimal::from_i128_with_scale(self.0.into(), 6).normalize().to_string();
        serde_json::from_str::<Number>(&number).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

/// Happens to a request by chance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chance {
    pub chance: Share,
}

/// Takes a while, by chance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delay {
    pub chance: Share,
    /// Real milliseconds.
    pub ms: u32,
}

/// Asks for silence, by chance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Limit {
    pub chance: Share,
    /// Real seconds.
    pub retry_after_seconds: u32,
}

/// Chosen rows are not themselves for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Late {
    pub share: Share,
    /// Milliseconds of the exchange's time, after the row's own.
    pub delay_ms: u32,
}

/// Chosen rows are spoiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    pub share: Share,
}

/// What the exchange says of read keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permissions {
    /// They may trade.
    Trade,
    /// They may withdraw.
    Withdraw,
    /// They are gone.
    None,
}

/// The whole set of switches. What is absent is off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Rules {
    /// Of every choice below.
    pub seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<Delay>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Delay>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status429: Option<Limit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status418: Option<Limit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status5xx: Option<Chance>,
    /// The body breaks off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_page: Option<Chance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compressed_bomb: Option<Chance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate_rows: Option<Chance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shuffle_rows: Option<Chance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_records: Option<Late>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restate_records: Option<Late>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub malformed_rows: Option<Chosen>,
    #[serde(skip_serializing_if = "is_false")]
    pub unknown_types: bool,
    /// Rows a page at most, whatever limit is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_cap: Option<u32>,
    /// The server's clock is wrong by so much; its records are not.
    #[serde(skip_serializing_if = "is_zero")]
    pub clock_skew_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Permissions>,
    /// History older than so many days is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_days: Option<u32>,
    /// Path prefixes to which everything that concerns requests and rows is restricted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

impl Rules {
    /// Whether anything may be done to requests of this path.
    pub fn concern(&self, path: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|prefix| path.starts_with(prefix.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_written_without_losing_a_digit() {
        let text = r#"{"seed":7,"latencyMs":{"chance":0.25,"ms":300},"lateRecords":{"share":1e-3,"delayMs":600000},"unknownTypes":true,"permissions":"withdraw","only":["/fapi"]}"#;
        let rules: Rules = serde_json::from_str(text).unwrap();
        assert_eq!(rules.latency_ms.as_ref().unwrap().chance, Share(250_000));
        let written = serde_json::to_string(&rules).unwrap();
        assert_eq!(written, text.replace("1e-3", "0.001"));
        assert!(rules.concern("/fapi/v1/income") && !rules.concern("/api/v3/time"));
    }

    #[test]
    fn a_misspelt_switch_is_refused() {
        for wrong in [r#"{"latency":{}}"#, r#"{"cutPage":{"chance":2}}"#, r#"{"cutPage":{"chance":"1"}}"#] {
            assert!(serde_json::from_str::<Rules>(wrong).is_err(), "{wrong}");
        }
    }
}
