//! How Kraken writes things down: maps of records by id, seconds with a fraction, nothing as `""`.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use codash_domain::Timestamp;
use codash_domain::money::parse_decimal;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use secrecy::{ExposeSecret, SecretString};
use serde::de::{DeserializeOwned, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::VenueError;
use crate::venues::hmac::sha512;
use crate::venues::wire::{Text, query_keeping};

/// The records of a map, in the order received, each as a map of its own: the id is only the key,
/// and a record that is kept must hold it.
#[derive(Debug, Default)]
pub struct Entries(pub Vec<Box<RawValue>>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Records;
        impl<'de> Visitor<'de> for Records {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("records by id")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Entries, M::Error> {
                let mut entries = Vec::new();
                while let Some((id, record)) = map.next_entry::<String, Box<RawValue>>()? {
                    let id = serde_json::to_string(&id).map_err(Error::custom)?;
                    let entry = RawValue::from_string(format!("{{{id}:{}}}", record.get()));
                    entries.push(entry.map_err(Error::custom)?);
                }
                Ok(Entries(entries))
            }

            /// An empty map is sometimes written as an empty list.
            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Entries, S::Error> {
                match seq.next_element::<Value>()? {
                    None => Ok(Entries::default()),
                    Some(_) => Err(Error::custom("expected records by id, got a list")),
                }
            }
        }
        deserializer.deserialize_any(Records)
    }
}

/// One record with its id, as [`Entries`] cuts them.
#[derive(Debug)]
pub struct Named<T> {
    pub id: String,
    pub record: T,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for One<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one record by its id")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Named<T>, M::Error> {
                let one = map.next_entry()?.map(|(id, record)| Named { id, record });
                let none_left = map.next_key::<String>()?.is_none();
                one.filter(|_| none_left).ok_or_else(|| Error::custom("expected one record by its id"))
            }
        }
        deserializer.deserialize_map(One(PhantomData))
    }
}

/// Unix seconds, usually with a fraction, as a string or a number; cut to whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub Timestamp);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        let seconds = parse_decimal(&text.0).ok().and_then(seconds);
        seconds.map(Self).ok_or_else(|| D::Error::custom(format!("expected Unix seconds, got {text}")))
    }
}

/// The instant of Unix seconds.
pub fn seconds(seconds: Decimal) -> Option<Timestamp> {
    let millis = seconds.checked_mul(Decimal::ONE_THOUSAND)?.trunc();
    Timestamp::from_millis(millis.to_i64()?)
}

/// The rows that can be read as `T`; the others are set aside where they are parsed.
pub fn readable<T: DeserializeOwned>(rows: &[Box<RawValue>]) -> impl Iterator<Item = T> {
    rows.iter().filter_map(|raw| serde_json::from_str(raw.get()).ok())
}

/// Parameters as they go over the wire. A colon stays: futures hash it as it is, however they decode.
pub fn form(params: &[(&str, String)]) -> String {
    query_keeping(":", params)
}

/// Both APIs: base64 of HMAC-SHA512 with the decoded secret.
pub fn hmac(secret: &SecretString, parts: &[&[u8]]) -> Result<String, VenueError> {
    let no_secret = || VenueError::KeyRefused { reason: "the private key is not base64 text".into() };
    let key =
        STANDARD.decode(secret.expose_secret().trim()).ok().filter(|key| !key.is_empty()).ok_or_else(no_secret)?;
    Ok(STANDARD.encode(sha512(&key, parts)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_keep_their_order_and_their_ids() {
        let Entries(rows) = serde_json::from_str(r#"{"Z":{"a":1},"A":{"a":2}}"#).unwrap();
        assert_eq!(rows.iter().map(|row| row.get()).collect::<Vec<_>>(), [r#"{"Z":{"a":1}}"#, r#"{"A":{"a":2}}"#]);
        let named: Named<Value> = serde_json::from_str(rows[0].get()).unwrap();
        assert_eq!((named.id.as_str(), &named.record["a"]), ("Z", &serde_json::json!(1)));
        assert!(serde_json::from_str::<Entries>("[]").unwrap().0.is_empty());
        assert!(serde_json::from_str::<Entries>("[1]").is_err() && serde_json::from_str::<Entries>("null").is_err());
        assert!(serde_json::from_str::<Named<Value>>("{}").is_err());
        assert!(serde_json::from_str::<Named<Value>>(r#"{"a":1,"b":2}"#).is_err());
    }

    #[test]
    fn seconds_are_cut_not_rounded() {
        let read = |text: &str| serde_json::from_str::<Seconds>(text).map(|at| at.0.millis());
        assert_eq!(read("1688667796.8809999").unwrap(), 1_688_667_796_880);
        assert_eq!(read("\"1458994442.0000\"").unwrap(), 1_458_994_442_000);
        assert!(read("-1").is_err() && read("1e25").is_err() && read("\"\"").is_err());
    }

    #[test]
    fn a_secret_that_is_no_base64_is_refused() {
        assert!(matches!(hmac(&"no base64!".into(), &[]), Err(VenueError::KeyRefused { .. })));
        assert!(matches!(hmac(&"".into(), &[]), Err(VenueError::KeyRefused { .. })));
    }
}
