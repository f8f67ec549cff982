//! Coinbase balances and positions into holdings: pure, by the NAV rules of the venue notes.

use codash_domain::Timestamp;
use rust_decimal::Decimal;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::VenueError;
use crate::pricing::{Prices, product, sum};
use crate::venues::holdings::Holdings;
use crate::venues::wire::{Dec, Text, filled, read};

/// An amount of money in any of the ways that Coinbase writes one: `{value, currency}`, `{amount,
/// currency}`, both of two currencies, or a bare number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Money {
    pub value: Decimal,
    pub currency: Option<String>,
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        money(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn money(value: &Value) -> Result<Money, String> {
    let Value::Object(fields) = value else {
        let Dec(value) = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
        return Ok(Money { value, currency: None });
    };
    if let Some(raw) = fields.get("rawCurrency").or_else(|| fields.get("userNativeCurrency")) {
        return if raw.get("rawCurrency").is_some() { Err("an amount inside an amount".into()) } else { money(raw) };
    }
    let amount = fields.get("value").or_else(|| fields.get("amount")).ok_or("an amount without a value")?;
    let Dec(value) = serde_json::from_value(amount.clone()).map_err(|error| error.to_string())?;
    let currency = fields.get("currency").and_then(Value::as_str).map(Into::into);
    Ok(Money { value, currency })
}

impl Money {
    /// Dollars per unit. We ask for dollars: what is not written as a currency's code is in them.
    pub(super) fn usd_per_unit(&self, prices: &dyn Prices, now: Timestamp) -> Result<Decimal, String> {
        match &self.currency {
            Some(code) if is_code(code) => prices.usd(code, now).ok_or_else(|| code.clone()),
            _ => Ok(Decimal::ONE),
        }
    }
}

fn is_code(text: &str) -> bool {
    (2..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// Counts equity in dollars; without a price its currency is named instead.
pub(super) fn add_equity(
    holdings: &mut Holdings,
    equity: &Money,
    prices: &dyn Prices,
    now: Timestamp,
) -> Result<(), String> {
    match equity.usd_per_unit(prices, now) {
        Ok(price) if price == Decimal::ONE => holdings.add_equity(equity.value),
        Ok(price) => holdings.add_equity(product(equity.value, price)?),
        Err(currency) => {
            holdings.name_unpriced(&currency);
            Ok(())
        }
    }
}

/// GET /api/v3/brokerage/accounts: available plus held. A page says where the next one starts.
pub fn accounts(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<(Holdings, Option<String>), VenueError> {
    #[derive(Deserialize)]
    struct Reply {
        accounts: Vec<Box<RawValue>>,
        #[serde(default)]
        has_next: Option<bool>,
        #[serde(default, deserialize_with = "filled")]
        cursor: Option<Text>,
    }
    #[derive(Deserialize)]
    struct Row {
        #[serde(default, deserialize_with = "filled")]
        currency: Option<String>,
        #[serde(rename = "type", default, deserialize_with = "filled")]
        kind: Option<String>,
        available_balance: Money,
        #[serde(default, deserialize_with = "filled")]
        hold: Option<Money>,
    }
    let reply: Reply = read("/api/v3/brokerage/accounts", body)?;
    let holdings = Holdings::of_each(&reply.accounts, |holdings, row: Row| {
        let held = row.hold.map_or(Decimal::ZERO, |hold| hold.value);
        let total = sum([row.available_balance.value, held])?;
        let asset = row.available_balance.currency.or(row.currency).ok_or("a balance of no currency")?;
        let wallet = match row.kind.as_deref().map(|kind| kind.trim_start_matches("ACCOUNT_TYPE_")) {
            Some("VAULT") => "vault",
            Some("PERP_FUTURES") => "intx",
            _ => "spot",
        };
        holdings.add_balance(wallet, &asset, total, prices.usd(&asset, now))
    });
    let next = reply.cursor.filter(|_| reply.has_next != Some(false)).map(|cursor| cursor.0);
    Ok((holdings, next))
}

/// What GET /api/v3/brokerage/portfolios/{uuid} says beside the equity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breakdown {
    /// The equity as stated, futures included.
    pub holdings: Holdings,
    /// True when something is held in US futures: then their wallet must be readable.
    pub has_futures: bool,
    /// True when a perpetual is open.
    pub has_perpetuals: bool,
}

pub fn breakdown(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Breakdown, VenueError> {
    const ENDPOINT: &str = "/api/v3/brokerage/portfolios/{uuid}";
    #[derive(Deserialize)]
    struct Reply {
        breakdown: Parts,
    }
    #[derive(Deserialize)]
    struct Parts {
        portfolio_balances: Balances,
        #[serde(default, deserialize_with = "filled")]
        futures_positions: Option<Vec<Value>>,
        #[serde(default, deserialize_with = "filled")]
        perp_positions: Option<Vec<Value>>,
    }
    #[derive(Deserialize)]
    struct Balances {
        total_balance: Money,
        #[serde(default, deserialize_with = "filled")]
        total_futures_balance: Option<Money>,
    }
    let Reply { breakdown: parts } = read(ENDPOINT, body)?;
    let mut holdings = Holdings::default();
    add_equity(&mut holdings, &parts.portfolio_balances.total_balance, prices, now)
        .map_err(|why| VenueError::unreadable(ENDPOINT, why))?;
    let balance = parts.portfolio_balances.total_futures_balance.map_or(Decimal::ZERO, |balance| balance.value);
    let any = |positions: Option<Vec<Value>>| positions.is_some_and(|positions| !positions.is_empty());
    let has_futures = !balance.is_zero() || any(parts.futures_positions);
    Ok(Breakdown { holdings, has_futures, has_perpetuals: any(parts.perp_positions) })
}

/// A wallet of the older API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wallet {
    pub id: String,
    /// False for one that was never used: its id is the currency's code, and it has no history.
    pub is_used: bool,
}

/// GET /v2/accounts: wallets, what they hold, and where the next page starts.
pub fn wallets(
    body: &str,
    prices: &dyn Prices,
    now: Timestamp,
) -> Result<(Vec<Wallet>, Holdings, Option<String>), VenueError> {
    const ENDPOINT: &str = "/v2/accounts";
    #[derive(Deserialize)]
    struct Reply {
        data: Vec<Box<RawValue>>,
        #[serde(default, deserialize_with = "filled")]
        pagination: Option<Pagination>,
    }
    #[derive(Deserialize)]
    struct Named {
        id: Text,
        #[serde(default, deserialize_with = "filled")]
        created_at: Option<String>,
    }
    #[derive(Deserialize)]
    struct Row {
        #[serde(rename = "type", default, deserialize_with = "filled")]
        kind: Option<String>,
        balance: Money,
    }
    let reply: Reply = read(ENDPOINT, body)?;
    let mut wallets = vec![];
    for raw in &reply.data {
        // A wallet without an id would be a history that nobody misses.
        let named: Named = read(ENDPOINT, raw.get())?;
        wallets.push(Wallet { id: named.id.0, is_used: named.created_at.is_some() });
    }
    let holdings = Holdings::of_each(&reply.data, |holdings, row: Row| {
        let asset = row.balance.currency.ok_or("a balance of no currency")?;
        let wallet = if row.kind.as_deref() == Some("vault") { "vault" } else { "spot" };
        holdings.add_balance(wallet, &asset, row.balance.value, prices.usd(&asset, now))
    });
    let next = reply.pagination.filter(|pagination| pagination.next_uri.is_some());
    let next = next.and_then(|_| wallets.last().map(|wallet| wallet.id.clone()));
    Ok((wallets, holdings, next))
}

/// Where a list of the older API goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Pagination {
    #[serde(default, deserialize_with = "filled")]
    pub next_uri: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    pub order: Option<String>,
}

/// Rights of a key, and the one portfolio that it is bound to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    pub excess: Vec<String>,
    pub missing: Vec<String>,
    pub portfolio: Option<String>,
    /// `DEFAULT`, `CONSUMER`, `INTX`, …
    pub portfolio_type: Option<String>,
}

impl Rights {
    pub fn is_read_only(&self) -> bool {
        self.excess.is_empty() && self.missing.is_empty()
    }
}

/// GET /api/v3/brokerage/key_permissions, strictly: a right we have never heard of must be off too,
/// and the two that we know must be stated.
pub fn rights(body: &str) -> Result<Rights, VenueError> {
    const ENDPOINT: &str = "/api/v3/brokerage/key_permissions";
    let flags: serde_json::Map<String, Value> = read(ENDPOINT, body)?;
    if let Some(absent) = ["can_view", "can_trade", "can_transfer"].into_iter().find(|name| !flags.contains_key(*name))
    {
        return Err(VenueError::unreadable(ENDPOINT, format!("no {absent}")));
    }
    let is_on = |value: &Value| *value == Value::Bool(true) || *value == Value::String("true".into());
    let is_off = |value: &Value| *value == Value::Bool(false) || *value == Value::String("false".into());
    let excess = flags
        .iter()
        .filter(|(name, _)| *name != "can_view")
        .filter(|(name, value)| is_on(value) || (name.starts_with("can_") && !is_off(value)))
        .map(|(name, _)| codash_domain::text::clean(name, 80))
        .collect();
    let missing = if flags.get("can_view").is_some_and(is_on) { vec![] } else { vec!["can_view".into()] };
    let text = |name: &str| flags.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(Into::into);
    Ok(Rights { excess, missing, portfolio: text("portfolio_uuid"), portfolio_type: text("portfolio_type") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;

    fn now() -> Timestamp {
        Timestamp::from_millis(0).unwrap()
    }

    #[test]
    fn a_right_we_never_heard_of_must_be_off_and_the_known_ones_stated() {
        let read = |more: &str| rights(&format!(r#"{{"can_view":true,"can_trade":false{more}}}"#));
        assert!(read(r#","can_transfer":false,"portfolio_uuid":"a-1""#).unwrap().is_read_only());
        assert_eq!(read(r#","can_transfer":"true""#).unwrap().excess, ["can_transfer"]);
        assert_eq!(
            read(r#","can_transfer":null,"can_fly":1,"new":true"#).unwrap().excess,
            ["can_transfer", "can_fly", "new"]
        );
        assert!(read("").is_err());
        assert_eq!(
            rights(r#"{"can_view":false,"can_trade":false,"can_transfer":false}"#).unwrap().missing,
            ["can_view"]
        );
    }

    #[test]
    fn equity_in_another_money_is_converted_or_named() {
        let body = |currency: &str| {
            format!(
                r#"{{"breakdown":{{"portfolio_balances":{{"total_balance":{{"value":"10","currency":"{currency}"}}}}}}}}"#
            )
        };
        let book = PriceBook::fixed([("EUR".to_owned(), Decimal::TWO)]);
        let nav = |currency: &str| breakdown(&body(currency), &book, now()).unwrap().holdings;
        assert_eq!([nav("USD"), nav("EUR")].map(|read| read.nav_usd.to_string()), ["10", "20"]);
        assert_eq!(nav("GBP").unpriced.len(), 1);
        assert!(!breakdown(&body("USD"), &book, now()).unwrap().has_futures);
    }
}
