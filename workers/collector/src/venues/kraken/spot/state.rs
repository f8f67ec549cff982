//! Kraken spot balances, margin positions and rights: pure, by the NAV rules of the venue notes.

use std::collections::BTreeMap;

use codash_domain::{Position, Price, Qty, Timestamp, Usd};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::fault::result;
use crate::error::VenueError;
use crate::pricing::{Prices, bounded};
use crate::venues::holdings::Holdings;
use crate::venues::kraken::names::{self, Pairs};
use crate::venues::kraken::wire::{Entries, Named, seconds};
use crate::venues::wire::{Dec, Text, filled, read};

/// POST /0/private/Balance or BalanceEx: held amounts are part of the balance.
pub fn balances(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    #[derive(Deserialize)]
    struct Extended {
        balance: Dec,
    }
    const ENDPOINT: &str = "/0/private/Balance";
    let Entries(rows) = read(ENDPOINT, result(ENDPOINT, body)?.get())?;
    let mut holdings = Holdings::default();
    holdings.add_each(&rows, |holdings, row: Named<Box<RawValue>>| {
        let text = row.record.get();
        let total = match text.trim_start().starts_with('{') {
            true => serde_json::from_str::<Extended>(text).map(|extended| extended.balance),
            false => serde_json::from_str::<Dec>(text),
        };
        let total = total.map_err(|error| error.to_string())?.0;
        let asset = names::asset(&row.id);
        holdings.add_balance(names::wallet(&row.id), &asset, total, prices.usd(&asset, now))
    });
    Ok(holdings)
}

/// POST /0/private/TradeBalance: what all assets are worth, and what open margin positions would bring.
pub fn equity(body: &str) -> Result<Decimal, VenueError> {
    #[derive(Deserialize)]
    struct Balance {
        #[serde(default, deserialize_with = "filled")]
        eb: Option<Dec>,
        #[serde(default, deserialize_with = "filled")]
        n: Option<Dec>,
        #[serde(default, deserialize_with = "filled")]
        e: Option<Dec>,
    }
    const ENDPOINT: &str = "/0/private/TradeBalance";
    let balance: Balance = read(ENDPOINT, result(ENDPOINT, body)?.get())?;
    let equity = match (balance.eb, balance.n, balance.e) {
        (Some(all), profit, _) => all.0.checked_add(profit.map_or(Decimal::ZERO, |profit| profit.0)),
        // Of collateral alone.
        (None, _, Some(equity)) => Some(equity.0),
        (None, _, None) => None,
    };
    equity.ok_or_else(|| VenueError::unreadable(ENDPOINT, "neither eb nor e"))
}

/// A part of a margin position; several make one.
#[derive(Debug, Deserialize)]
struct PositionRow {
    pair: String,
    #[serde(rename = "type")]
    side: String,
    cost: Dec,
    vol: Dec,
    #[serde(default, deserialize_with = "filled")]
    vol_closed: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    value: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    net: Option<Dec>,
}

#[derive(Debug, Default)]
struct Sum {
    opened: Decimal,
    cost: Decimal,
    open: Decimal,
    value: Decimal,
    notional: Usd,
    profit: Usd,
}

/// POST /0/private/OpenPositions with docalcs: parts of one market and side are one position.
pub fn positions(body: &str, pairs: &Pairs, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    const ENDPOINT: &str = "/0/private/OpenPositions";
    let Entries(rows) = read(ENDPOINT, result(ENDPOINT, body)?.get())?;
    let (mut holdings, mut sums) = (Holdings::default(), BTreeMap::<(String, &'static str), Sum>::new());
    holdings.add_each(&rows, |holdings, Named { record: row, .. }: Named<PositionRow>| {
        let leg = match row.side.as_str() {
            "buy" => "long",
            "sell" => "short",
            other => return Err(format!("unknown type {other:?}")),
        };
        let quote = pairs.split(&row.pair).map(|(_, quote)| quote).unwrap_or_default();
        let (Some(value), Some(net), Some(price)) = (row.value, row.net, prices.usd(&quote, now)) else {
            // Exposure has no room for "unknown": the position is left out, and its money is named.
            holdings.name_unpriced(if quote.is_empty() { &row.pair } else { &quote });
            return Ok(());
        };
        sums.entry((row.pair.clone(), leg)).or_default().add(&row, value.0, net.0, price)
    });
    for ((pair, leg), sum) in sums {
        holdings.positions.extend(sum.position(pairs, pair, leg));
    }
    Ok(holdings)
}

impl Sum {
    fn add(&mut self, row: &PositionRow, value: Decimal, net: Decimal, price: Decimal) -> Result<(), String> {
        let add = |a: Decimal, b: Decimal| a.checked_add(b).ok_or("the sum does not fit");
        let dollars = |amount| Usd::convert(amount, price).and_then(bounded).ok_or("the amount is too large");
        let open = row.vol.0.checked_sub(row.vol_closed.map_or(Decimal::ZERO, |closed| closed.0));
        *self = Self {
            opened: add(self.opened, row.vol.0.abs())?,
            cost: add(self.cost, row.cost.0.abs())?,
            open: add(self.open, open.ok_or("the size does not fit")?.abs())?,
            value: add(self.value, value.abs())?,
            notional: self.notional + dollars(value.abs())?,
            profit: self.profit + dollars(net)?,
        };
        Ok(())
    }

    fn position(self, pairs: &Pairs, pair: String, leg: &'static str) -> Option<Position> {
        let each = |money: Decimal, size: Decimal| money.checked_div(size).map(|price| Price::new(price.round_dp(10)));
        Some(Position {
            symbol: pairs.symbol(&pair)?,
            leg,
            qty: Qty::new(if leg == "short" { -self.open } else { self.open }),
            entry_price: each(self.cost, self.opened),
            mark_price: each(self.value, self.open),
            notional_usd: self.notional,
            unrealized_pnl_usd: self.profit,
            native_symbol: pair,
        })
    }
}

/// What the venue says about a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Rights beyond reading.
    pub excess: Vec<String>,
    /// Rights that reading needs and the key lacks.
    pub missing: Vec<&'static str>,
    /// True when the key sees margin positions and equity.
    pub sees_positions: bool,
    /// True when the key may see a part of the history alone.
    pub is_limited: bool,
    pub expires_at: Option<Timestamp>,
}

impl Rights {
    pub fn is_read_only(&self) -> bool {
        self.excess.is_empty() && self.missing.is_empty()
    }
}

/// POST /0/private/GetApiKeyInfo, strictly: a right we have never heard of refuses the key.
pub fn rights(body: &str) -> Result<Rights, VenueError> {
    #[derive(Deserialize)]
    struct Info {
        permissions: Vec<String>,
        #[serde(default)]
        valid_until: Option<Value>,
        #[serde(default)]
        query_from: Option<Value>,
        #[serde(default)]
        query_to: Option<Value>,
    }
    const ENDPOINT: &str = "/0/private/GetApiKeyInfo";
    const READING: [&str; 5] =
        ["query-funds", "query-open-trades", "query-closed-trades", "query-ledger", "create-ws-token"];
    const NEEDED: [&str; 3] = ["query-funds", "query-closed-trades", "query-ledger"];
    let info: Info = read(ENDPOINT, result(ENDPOINT, body)?.get())?;
    let has = |name: &str| info.permissions.iter().any(|right| right == name);
    let excess = info.permissions.iter().filter(|right| !READING.contains(&right.as_str()));
    let limit = |value: &Option<Value>| value.as_ref().and_then(instant);
    Ok(Rights {
        excess: excess.map(|right| codash_domain::text::clean(right, 80)).collect(),
        missing: NEEDED.into_iter().filter(|name| !has(name)).collect(),
        sees_positions: has("query-open-trades"),
        is_limited: limit(&info.query_from).is_some() || limit(&info.query_to).is_some(),
        expires_at: limit(&info.valid_until),
    })
}

/// Unix seconds; zero means none.
fn instant(value: &Value) -> Option<Timestamp> {
    let text = serde_json::from_value::<Text>(value.clone()).ok()?;
    let at = codash_domain::money::parse_decimal(&text.0).ok().filter(|at| !at.is_zero())?;
    seconds(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;

    fn key(permissions: &str, rest: &str) -> Rights {
        rights(&format!(r#"{{"error":[],"result":{{"permissions":[{permissions}]{rest}}}}}"#)).unwrap()
    }

    const READING: &str = r#""query-funds","query-closed-trades","query-ledger""#;

    #[test]
    fn a_right_we_never_heard_of_refuses_the_key() {
        assert!(key(READING, "").is_read_only());
        assert_eq!(key(&format!("{READING},\"teleport\""), "").excess, ["teleport"]);
        assert_eq!(key("\"query-funds\"", "").missing, ["query-closed-trades", "query-ledger"]);
        let limited = key(READING, r#","query_from":"1767225600","valid_until":1798761600"#);
        assert!(limited.is_limited && limited.expires_at.is_some());
        assert!(rights(r#"{"error":[],"result":{}}"#).is_err());
    }

    #[test]
    fn a_bad_balance_forbids_a_snapshot_and_endings_name_the_wallet() {
        let now = Timestamp::from_millis(0).unwrap();
        let prices = PriceBook::default();
        let body = r#"{"error":[],"result":{"ZUSD":"1","USD.M":"2","USDT":{"balance":4,"hold_trade":1},"XXBT":[]}}"#;
        let holdings = balances(body, &prices, now).unwrap();
        let wallets: Vec<_> =
            holdings.balances.iter().map(|balance| (balance.wallet, balance.asset.as_str())).collect();
        assert_eq!(wallets, [("spot", "USD"), ("earn", "USD"), ("spot", "USDT")]);
        assert_eq!((holdings.nav_usd.to_string().as_str(), holdings.unreadable.len()), ("7", 1));
        assert!(holdings.into_snapshot("x", now, &prices).is_err());
    }
}
