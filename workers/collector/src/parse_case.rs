//! "What did we make of this?": a recorded reply through the very parsers that the collector runs.
//!
//! A case is `{venue, endpoint, query, response, context?, pricesUsd?}`, the format of the fixtures.
//! Each canonical row is one JSON line; other replies give one line that says what they tell.

use std::collections::BTreeMap;

use codash_domain::{Exposure, Timestamp, Usd, Venue};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::error::VenueError;
use crate::pricing::PriceBook;
use crate::venues::fault::VenueFault;
use crate::venues::holdings::Holdings;
use crate::venues::wire::Dec;
use crate::venues::{Parsed, Record, Role, Unreadable, definition};

/// A recorded reply and what is needed to read it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    venue: String,
    pub endpoint: String,
    #[serde(default)]
    query: Value,
    response: Box<RawValue>,
    #[serde(default)]
    pub context: Option<Context>,
    #[serde(default)]
    prices_usd: Option<BTreeMap<String, Dec>>,
}

/// What the collector would know from other replies.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Context {
    /// Base and quote by spot market.
    #[serde(default)]
    pub quote: Option<BTreeMap<String, (String, String)>>,
    /// Client order id by order id, of forced orders.
    #[serde(default)]
    pub order_class: Option<BTreeMap<String, String>>,
    /// A contract's value, the asset it is in, and `linear` or `inverse`, by contract.
    #[serde(default)]
    pub ct_val: Option<BTreeMap<String, (Dec, String, String)>>,
    /// What one contract is, by market; each venue has a form of its own.
    #[serde(default)]
    pub mult: Option<BTreeMap<String, Value>>,
    /// `BASE-QUOTE` by spot coin.
    #[serde(default)]
    pub spot: Option<BTreeMap<String, String>>,
    /// The account's own address.
    #[serde(default)]
    pub user: Option<String>,
}

impl Case {
    /// The reply as text.
    pub fn body(&self) -> &str {
        self.response.get()
    }

    pub fn prices(&self) -> PriceBook {
        let prices = self.prices_usd.iter().flatten();
        PriceBook::fixed(prices.map(|(asset, price)| (asset.clone(), price.0)))
    }

    /// Prices hold at any instant: one that is as good as any other.
    pub fn now() -> Timestamp {
        Timestamp::from_utc(chrono::DateTime::UNIX_EPOCH)
    }

    /// Base and quote by spot market, where the case gives them.
    pub fn quotes(&self) -> BTreeMap<String, (String, String)> {
        self.context.as_ref().and_then(|context| context.quote.clone()).unwrap_or_default()
    }

    /// The function that reads a reply, by the name of its endpoint: `None` where replies have no
    /// meaning to us, an error that names the others where we do not know it.
    pub fn reader<R: Copy>(&self, name: &str, readers: &[(&str, R)], no_meaning: &[&str]) -> Result<Option<R>, String> {
        let reader = readers.iter().find(|(known, _)| *known == name).map(|(_, reader)| *reader);
        if reader.is_none() && !no_meaning.contains(&name) {
            let known: Vec<&str> = readers.iter().map(|(known, _)| *known).chain(no_meaning.iter().copied()).collect();
            return Err(format!("no parser for {} {name:?}; known: {}", self.venue, known.join(", ")));
        }
        Ok(reader)
    }

    /// A text among the request's parameters (or the fields of its body).
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name)?.as_str()
    }

    /// The account's address: from the context, else from the request.
    pub fn user(&self) -> Option<&str> {
        self.context.as_ref().and_then(|context| context.user.as_deref()).or_else(|| self.query("user"))
    }
}

/// What one reply says.
#[derive(Debug, Default)]
pub struct Lines(pub Vec<Value>);

impl Lines {
    /// One line of our own naming.
    pub fn one(name: &str, value: Value) -> Self {
        Self(vec![json!({ name: value })])
    }

    /// Rows first, then what could not be read.
    pub fn rows(parsed: &Parsed) -> Self {
        Self::rows_as(parsed, Role::as_str)
    }

    /// As [`Lines::rows`], where the recorded cases of a venue have words of their own for a role.
    pub fn rows_as(parsed: &Parsed, role: impl Fn(&Role) -> &'static str) -> Self {
        let rows = parsed.records.iter().map(|record| row(record, role(&record.role)));
        Self(rows.chain(parsed.unreadable.iter().map(set_aside)).collect())
    }

    /// What a reader made of a reply; nothing where there is none.
    pub fn read(outcome: Option<Result<Self, VenueError>>) -> Self {
        outcome.unwrap_or_else(|| Ok(Self::default())).unwrap_or_else(|error| Self::error(&error))
    }

    /// What a key may do beyond reading, and what it lacks for that.
    pub fn permissions(excess: &[String], missing: &[impl AsRef<str>]) -> Self {
        let mut told = json!({ "readOnly": excess.is_empty() && missing.is_empty(), "rights": excess });
        if !missing.is_empty() {
            told["missing"] = missing.iter().map(AsRef::as_ref).collect();
        }
        Self::one("permissions", told)
    }

    /// Closes by the instant at which their minute opens.
    pub fn closes(closes: Vec<(Timestamp, Decimal)>) -> Self {
        Self::prices(closes.into_iter().map(|(open, close)| (open.to_string(), close)))
    }

    /// Equity; `null` when something is held and nothing of it has a price.
    pub fn equity(holdings: &Holdings) -> Self {
        Self::snapshot(holdings, vec![("navUsd", nav(holdings))])
    }

    /// Exposure and unrealized PnL.
    pub fn exposure(holdings: &Holdings) -> Self {
        Self::snapshot(holdings, exposure(holdings))
    }

    /// Equity, exposure and unrealized PnL.
    pub fn account(holdings: &Holdings) -> Self {
        let mut told = vec![("navUsd", nav(holdings))];
        told.extend(exposure(holdings));
        Self::snapshot(holdings, told)
    }

    fn snapshot(holdings: &Holdings, told: Vec<(&str, Value)>) -> Self {
        let mut snapshot: serde_json::Map<String, Value> =
            told.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        if !holdings.unpriced.is_empty() {
            snapshot.insert("unpricedAssets".into(), exact(&holdings.unpriced));
        }
        let line = json!({ "snapshot": snapshot });
        Self(std::iter::once(line).chain(holdings.unreadable.iter().map(set_aside)).collect())
    }

    /// Equity at past instants.
    pub fn nav(points: impl IntoIterator<Item = (Timestamp, Option<Usd>)>) -> Self {
        let point = |(at, equity): (Timestamp, Option<Usd>)| json!({ "at": exact(&at), "navUsd": exact(&equity) });
        Self::one("nav", points.into_iter().map(point).collect())
    }

    /// Prices as the venue writes them, by its own names.
    pub fn prices(prices: impl IntoIterator<Item = (String, Decimal)>) -> Self {
        let prices: serde_json::Map<String, Value> =
            prices.into_iter().map(|(name, price)| (name, exact(&codash_domain::Price::new(price)))).collect();
        Self::one("prices", Value::Object(prices))
    }

    /// An error that the venue answered with.
    pub fn error(error: &VenueError) -> Self {
        Self::error_class(error.class(), error.is_retryable(), &error.to_string())
    }

    /// The same, before its remedies.
    pub fn fault(fault: &impl VenueFault) -> Self {
        Self::error_class(fault.class(), fault.is_retryable(), &fault.reason())
    }

    fn error_class(class: &str, retryable: bool, reason: &str) -> Self {
        Self::one("error", json!({ "class": class, "retryable": retryable, "reason": reason }))
    }
}

fn nav(holdings: &Holdings) -> Value {
    let nothing_priced = !holdings.unpriced.is_empty() && holdings.balances.iter().all(|b| b.value_usd.is_none());
    if nothing_priced && holdings.nav_usd == Usd::ZERO { Value::Null } else { exact(&holdings.nav_usd) }
}

fn exposure(holdings: &Holdings) -> Vec<(&'static str, Value)> {
    let exposure = Exposure::of(&holdings.positions);
    vec![
        ("longExposureUsd", exact(&exposure.long_usd)),
        ("shortExposureUsd", exact(&exposure.short_usd)),
        ("grossExposureUsd", exact(&exposure.gross_usd())),
        ("netExposureUsd", exact(&exposure.net_usd())),
        ("futuresUpnlUsd", exact(&exposure.futures_upnl_usd)),
    ]
}

fn row(record: &Record, role: &str) -> Value {
    let event = &record.event;
    json!({
        "key": event.native_id,
        "eventType": exact(&event.event_type),
        "symbol": exact(&event.symbol),
        "occurredAt": exact(&event.occurred_at),
        "side": exact(&event.side),
        "qty": exact(&event.qty),
        "price": exact(&event.price),
        "notionalUsd": exact(&event.notional_usd),
        "realizedPnlUsd": exact(&event.realized_pnl_usd),
        "feeUsd": exact(&event.fee_usd),
        "fundingUsd": exact(&event.funding_usd),
        "netPnlImpactUsd": exact(&event.net_pnl_impact_usd()),
        "role": role,
    })
}

fn set_aside(bad: &Unreadable) -> Value {
    json!({ "unreadable": { "reason": bad.reason, "raw": bad.raw } })
}

/// Our values cannot fail to be written; `null` would show it if one did.
fn exact<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// Reads a recorded case with the collector's parsers: JSON lines, or why it cannot be read.
pub fn parse_case(case_json: &str) -> Result<Vec<Value>, String> {
    let case: Case = serde_json::from_str(case_json).map_err(|error| format!("not a recorded case: {error}"))?;
    // ccxt's name of Kraken's futures.
    let named = if case.venue == "krakenfutures" { Venue::KrakenFutures.as_str() } else { &case.venue };
    let venue: Venue = named.parse().map_err(|error| format!("{error}"))?;
    let Some(definition) = definition(venue) else { return Err(format!("{venue} has no parsers")) };
    Ok((definition.read_case)(&case)?.0)
}

#[cfg(test)]
mod tests;
