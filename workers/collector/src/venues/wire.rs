//! How venues write things down: ids as numbers or strings, pages of records of which one may be bad.

use std::fmt;

use codash_domain::money::decimal_from_json;
use codash_domain::text::clean;
use codash_domain::{CashFlow, Event, EventType, Timestamp, Usd};
use rust_decimal::Decimal;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Parsed, Record, Unreadable};
use crate::error::VenueError;

/// An id or a number as text, digits untouched: one reply writes 42 and the next "42".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            Value::Number(number) => Ok(Self(number.to_string())),
            other => Err(D::Error::custom(format!("expected a text or a number, got {other}"))),
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An exact decimal, written as a string or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dec(pub Decimal);

impl<'de> Deserialize<'de> for Dec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        decimal_from_json(deserializer).map(Self)
    }
}

/// Unix milliseconds, written as a string or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Millis(pub Timestamp);

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        let millis = text.0.parse().ok().and_then(Timestamp::from_millis);
        millis.map(Self).ok_or_else(|| D::Error::custom(format!("expected Unix milliseconds, got {text}")))
    }
}

/// A truth value, which some replies write as text.
pub fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(value) => Ok(value),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        other => Err(D::Error::custom(format!("expected true or false, got {other}"))),
    }
}

/// A decimal that may be missing, which replies write as `null` or an empty text.
pub fn maybe_dec<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Decimal>, D::Error> {
    Ok(filled::<Dec, D>(deserializer)?.map(|number| number.0))
}

/// A text, an id or a number that may be missing, which replies write as `null` or an empty text.
pub fn maybe_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(filled::<Text, D>(deserializer)?.map(|text| text.0))
}

/// A field that some replies leave out, set to null or write as an empty text. With `#[serde(default)]`.
pub fn filled<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) if text.trim().is_empty() => Ok(None),
        value => serde_json::from_value(value).map(Some).map_err(D::Error::custom),
    }
}

/// Parameters as they go over the wire, percent-encoded before anything is signed.
pub fn query(params: &[(&str, String)]) -> String {
    query_keeping("", params)
}

/// As [`query`], for venues that sign some marks as they are.
pub fn query_keeping(marks: &str, params: &[(&str, String)]) -> String {
    let pair = |(name, value): &(&str, String)| format!("{}={}", encoded(name, marks), encoded(value, marks));
    params.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn encoded(text: &str, marks: &str) -> String {
    use fmt::Write;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || marks.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// Reads a whole reply.
pub fn read<'a, T: Deserialize<'a>>(endpoint: &str, body: &'a str) -> Result<T, VenueError> {
    serde_json::from_str(body).map_err(|error| VenueError::unreadable(endpoint, error.to_string()))
}

/// Cuts a reply into its records without reading them, so that one bad record spoils no other.
pub fn rows(endpoint: &str, body: &str) -> Result<Vec<Box<RawValue>>, VenueError> {
    read(endpoint, body)
}

/// Reads one record.
pub fn record<T: DeserializeOwned>(raw: &RawValue) -> Result<T, Unreadable> {
    serde_json::from_str(raw.get()).map_err(|error| unreadable(raw, error.to_string()))
}

pub fn unreadable(raw: &RawValue, reason: impl AsRef<str>) -> Unreadable {
    Unreadable { reason: clean(reason.as_ref(), 300), raw: raw.get().into() }
}

/// What a readable record turned out to be.
#[derive(Debug)]
pub enum Meaning {
    Event(Box<Record>),
    /// Money that moved without being earned or lost; a conversion is two flows.
    CashFlows(Vec<CashFlow>),
    /// A record that means several things at once.
    Several(Vec<Record>, Vec<CashFlow>),
    /// A record that says nothing about money, or what another record says.
    Nothing,
}

impl From<Option<Record>> for Meaning {
    fn from(record: Option<Record>) -> Self {
        record.map_or(Self::Nothing, |record| Self::Event(Box::new(record)))
    }
}

/// Reads each record of a page, or sets it aside as unreadable.
pub fn parse_each<T: DeserializeOwned, M: Into<Meaning>>(
    rows: &[Box<RawValue>],
    parse: impl Fn(T, &str) -> Result<M, String>,
) -> Parsed {
    let mut parsed = Parsed::default();
    for raw in rows {
        let outcome = record::<T>(raw).and_then(|wire| parse(wire, raw.get()).map_err(|why| unreadable(raw, why)));
        match outcome.map(Into::into) {
            Ok(Meaning::Event(record)) => parsed.records.push(*record),
            Ok(Meaning::CashFlows(flows)) => parsed.cash_flows.extend(flows),
            Ok(Meaning::Several(records, flows)) => {
                parsed.records.extend(records);
                parsed.cash_flows.extend(flows);
            }
            Ok(Meaning::Nothing) => {}
            Err(bad) => parsed.unreadable.push(bad),
        }
    }
    parsed
}

/// An event that says nothing yet but what it is, when, and in whose words.
pub fn blank(stream: &'static str, native_id: String, kind: EventType, at: Timestamp, raw: &str) -> Event {
    Event {
        stream,
        native_id,
        event_type: kind,
        symbol: None,
        native_symbol: None,
        occurred_at: at,
        side: None,
        qty: None,
        price: None,
        notional_usd: None,
        realized_pnl_usd: Some(Usd::ZERO),
        fee_usd: Some(Usd::ZERO),
        funding_usd: Some(Usd::ZERO),
        fee: None,
        unpriced: false,
        order_ref: None,
        raw: raw.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_null_or_empty_is_not_there() {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(default, deserialize_with = "filled")]
            fee: Option<Dec>,
        }
        let fee = |body: &str| serde_json::from_str::<Wire>(body).map(|wire| wire.fee.map(|fee| fee.0.to_string()));
        for body in ["{}", r#"{"fee":null}"#, r#"{"fee":""}"#, r#"{"fee":" "}"#] {
            assert_eq!(fee(body).unwrap(), None, "{body}");
        }
        assert_eq!(fee(r#"{"fee":1.10}"#).unwrap().as_deref(), Some("1.1"));
        assert!(fee(r#"{"fee":"much"}"#).is_err());
    }

    #[test]
    fn an_id_is_the_same_text_as_number_and_as_string() {
        let ids: Vec<Text> = serde_json::from_str(r#"["9007199254740993", 9007199254740993]"#).unwrap();
        assert_eq!(ids[0], ids[1]);
        assert!(serde_json::from_str::<Text>("{}").is_err());
    }

    #[test]
    fn one_bad_record_is_set_aside_with_its_text_and_the_others_are_kept() {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(rename = "id")]
            _id: Text,
        }
        let page = rows("x", r#"[{"id":1},{"id":[]},{"no":1},7,{"id":"4","new field":{}}]"#).unwrap();
        let parsed = parse_each(&page, |_: Wire, _| Ok(Meaning::Nothing));
        let raw: Vec<&str> = parsed.unreadable.iter().map(|bad| bad.raw.as_str()).collect();
        assert_eq!(raw, [r#"{"id":[]}"#, r#"{"no":1}"#, "7"]);
        assert!(matches!(rows("x", r#"{"not":"a list"}"#), Err(VenueError::Unreadable { .. })));
    }
}
