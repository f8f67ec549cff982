//! How Bybit writes things down: an envelope around everything, and `""` for what is not there.

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::VenueError;
use crate::venues::wire::{Text, maybe_dec, read};

/// An exact decimal that may be absent: missing, `null` and `""` are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Maybe(pub Option<Decimal>);

impl Maybe {
    pub fn or_zero(self) -> Decimal {
        self.0.unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Maybe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        maybe_dec(deserializer).map(Self)
    }
}

/// A text that says something.
pub fn said(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// An id that says something.
pub fn id(text: Option<&Text>) -> Option<&str> {
    said(text.map(|text| text.0.as_str()))
}

/// What a reply is about, without its envelope.
pub fn result<'a, T: Deserialize<'a>>(endpoint: &str, body: &'a str) -> Result<T, VenueError> {
    #[derive(Deserialize)]
    struct Reply<T> {
        result: T,
    }
    Ok(read::<Reply<T>>(endpoint, body)?.result)
}

/// A page of records.
#[derive(Debug, Default)]
pub struct Listing {
    /// The product that the reply says its records are of.
    pub category: Option<String>,
    pub rows: Vec<Box<RawValue>>,
    /// Asks for the next page; goes back as it came.
    pub next: Option<String>,
}

/// Cuts a reply into its records: `list`, `rows` or `balance` of the result, or `data` of a push.
pub fn listing(endpoint: &str, body: &str) -> Result<Listing, VenueError> {
    #[derive(Deserialize)]
    struct Reply {
        #[serde(default)]
        result: Option<Inner>,
        #[serde(default)]
        data: Option<Vec<Box<RawValue>>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Inner {
        #[serde(default)]
        category: Option<String>,
        #[serde(default, deserialize_with = "given")]
        list: Option<Rows>,
        #[serde(default, deserialize_with = "given")]
        rows: Option<Rows>,
        #[serde(default, deserialize_with = "given")]
        balance: Option<Rows>,
        #[serde(default)]
        next_page_cursor: Option<String>,
    }
    let reply: Reply = read(endpoint, body)?;
    let Some(inner) = reply.result else {
        let rows = reply.data.ok_or_else(|| VenueError::unreadable(endpoint, "neither a result nor data"))?;
        return Ok(Listing { rows, ..Listing::default() });
    };
    let rows = inner.list.or(inner.rows).or(inner.balance);
    let rows = rows.ok_or_else(|| VenueError::unreadable(endpoint, "the result holds no list"))?;
    let category = inner.category.filter(|category| !category.is_empty());
    let next = inner.next_page_cursor.filter(|next| !next.is_empty());
    Ok(Listing { category, rows: rows.unwrap_or_default(), next })
}

/// A list, or `null` for an empty one.
type Rows = Option<Vec<Box<RawValue>>>;

/// A field that is there, even when it is `null`.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Rows>, D::Error> {
    Rows::deserialize(deserializer).map(Some)
}

/// The instants of a page's records, by the name of their field; records without one are unreadable elsewhere.
pub fn instants(rows: &[Box<RawValue>], field: &str) -> Vec<i64> {
    let instants = rows.iter().filter_map(|raw| {
        let row: serde_json::Map<String, Value> = serde_json::from_str(raw.get()).ok()?;
        match row.get(field)? {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.as_i64(),
            _ => None,
        }
    });
    instants.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_in_three_ways() {
        #[derive(Deserialize)]
        struct Row {
            #[serde(default)]
            a: Maybe,
        }
        let read = |text: &str| serde_json::from_str::<Row>(text).map(|row| row.a.0);
        for text in ["{}", r#"{"a":""}"#, r#"{"a":null}"#] {
            assert_eq!(read(text).unwrap(), None);
        }
        assert_eq!(read(r#"{"a":"1.50"}"#).unwrap(), read(r#"{"a":1.5}"#).unwrap());
        assert!(read(r#"{"a":"x"}"#).is_err() && read(r#"{"a":[]}"#).is_err());
    }

    #[test]
    fn an_empty_list_is_null_or_empty_but_never_missing() {
        let rows = |body: &str| listing("x", body).map(|listing| listing.rows.len());
        assert_eq!(rows(r#"{"result":{"list":null,"nextPageCursor":""}}"#).unwrap(), 0);
        assert_eq!(rows(r#"{"result":{"rows":[{}]}}"#).unwrap(), 1);
        assert_eq!(rows(r#"{"data":[{},{}]}"#).unwrap(), 2);
        for body in [r#"{"result":{}}"#, r#"{"result":null}"#, "{}", "[]", r#"{"result":{"list":{}}}"#] {
            assert!(rows(body).is_err(), "{body}");
        }
    }
}
