//! Gate balances, positions and the key's rights into holdings: pure.

use std::collections::BTreeMap;

use codash_domain::{Assurance, Position, Price, Qty, Timestamp, Usd};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::markets::{self, Contract, Contracts, Settle};
use crate::error::VenueError;
use crate::pricing::{Prices, worth};
use crate::venues::holdings::Holdings;
use crate::venues::wire::{Dec, maybe_dec, maybe_text, read, rows};

/// What the list of keys says about ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rights {
    Known {
        excess: Vec<String>,
    },
    /// Our key is not told apart in the list.
    Unknown,
}

/// GET /api/v4/account/main_keys: a list of keys of which the middle is hidden, or one object. A
/// right that is not said to be read-only is one too many; so is one of any key that may be ours.
pub fn rights(body: &str, key: Option<&str>) -> Result<Rights, VenueError> {
    const ENDPOINT: &str = "/api/v4/account/main_keys";
    #[derive(Deserialize)]
    struct Row {
        perms: Vec<Perm>,
        #[serde(default)]
        key: Option<Value>,
    }
    #[derive(Deserialize)]
    struct Perm {
        name: String,
        #[serde(default)]
        read_only: Option<bool>,
    }
    let listed: Vec<Row> = match body.trim_start().starts_with('[') {
        true => read(ENDPOINT, body)?,
        false => vec![read(ENDPOINT, body)?],
    };
    let alone = listed.len() == 1;
    let is_ours = |row: &Row| match (&row.key, key) {
        (Some(Value::String(shown)), Some(key)) => {
            let start = shown.split('*').next().unwrap_or_default();
            // A handful of letters tells no key from another.
            start.len() >= 6 && key.starts_with(start)
        }
        // One key without a name is the one that asked.
        _ => alone,
    };
    let ours: Vec<&Row> = listed.iter().filter(|row| is_ours(row)).collect();
    if ours.is_empty() || ours.iter().any(|row| row.perms.is_empty()) {
        return Ok(Rights::Unknown);
    }
    let perms = ours.iter().flat_map(|row| &row.perms).filter(|perm| perm.read_only != Some(true));
    let excess = perms.map(|perm| format!("{} (read and write)", codash_domain::text::clean(&perm.name, 80)));
    Ok(Rights::Known { excess: excess.collect() })
}

impl Rights {
    pub fn assurance(&self) -> Assurance {
        match self {
            Self::Known { .. } => Assurance::ReadOnly,
            Self::Unknown => Assurance::Unproven,
        }
    }
}

/// GET /api/v4/spot/accounts.
pub fn spot_accounts(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    #[derive(Deserialize)]
    struct Row {
        currency: String,
        available: Dec,
        locked: Dec,
    }
    Ok(Holdings::of_each(&rows("/api/v4/spot/accounts", body)?, |holdings, row: Row| {
        let total = row.available.0.checked_add(row.locked.0).ok_or("the sum does not fit")?;
        holdings.add_balance("spot", &row.currency, total, prices.usd(&row.currency, now))
    }))
}

/// GET /api/v4/futures/{settle}/accounts: `total` is all that ever came and went, without what is
/// not realized.
pub fn futures_account(
    body: &str,
    settle: &Settle,
    prices: &dyn Prices,
    now: Timestamp,
) -> Result<Holdings, VenueError> {
    #[derive(Deserialize)]
    struct Account {
        total: Dec,
        unrealised_pnl: Dec,
        #[serde(default, deserialize_with = "maybe_text")]
        currency: Option<String>,
    }
    const ENDPOINT: &str = "/api/v4/futures/{settle}/accounts";
    let account: Account = read(ENDPOINT, body)?;
    let currency = account.currency.unwrap_or_else(|| settle.coin.into());
    let equity = account.total.0.checked_add(account.unrealised_pnl.0);
    let mut holdings = Holdings::default();
    equity
        .ok_or_else(|| "the sum does not fit".to_owned())
        .and_then(|equity| holdings.add_balance("futures", &currency, equity, prices.usd(&currency, now)))
        .map_err(|why| VenueError::unreadable(ENDPOINT, why))?;
    Ok(holdings)
}

#[derive(Deserialize)]
struct PositionRow {
    contract: String,
    /// In contracts, negative when short.
    size: Dec,
    #[serde(default, deserialize_with = "maybe_dec")]
    entry_price: Option<Decimal>,
    #[serde(default, deserialize_with = "maybe_dec")]
    mark_price: Option<Decimal>,
    /// In the settle coin, at the mark.
    #[serde(default, deserialize_with = "maybe_dec")]
    value: Option<Decimal>,
    unrealised_pnl: Dec,
    #[serde(default, deserialize_with = "maybe_text")]
    mode: Option<String>,
}

/// GET /api/v4/futures/{settle}/positions. Flat rows are no positions.
pub fn positions(
    body: &str,
    settle: &Settle,
    contracts: &Contracts,
    prices: &dyn Prices,
    now: Timestamp,
) -> Result<Holdings, VenueError> {
    let settle = settle.coin;
    Ok(Holdings::of_each(&rows("/api/v4/futures/{settle}/positions", body)?, |holdings, row: PositionRow| {
        if row.size.0.is_zero() {
            return Ok(());
        }
        let leg = match row.mode.as_deref() {
            None | Some("single") => "both",
            Some("dual_long") => "long",
            Some("dual_short") => "short",
            Some(other) => return Err(format!("unknown mode {other:?}")),
        };
        let (qty, notional, money) = sized(&row, settle, contracts)?;
        let (Some(per_unit), Some(per_settle)) = (prices.usd(&money, now), prices.usd(settle, now)) else {
            // Exposure has no room for "unknown": the position is left out, and its money is named.
            holdings.name_unpriced(if prices.usd(settle, now).is_none() { settle } else { &money });
            return Ok(());
        };
        let short = leg == "short" || row.size.0.is_sign_negative();
        holdings.positions.push(Position {
            symbol: markets::perpetual(&row.contract).ok_or("the symbol is empty")?,
            native_symbol: row.contract.clone(),
            leg,
            qty: Qty::new(if short { -qty } else { qty }),
            entry_price: row.entry_price.map(Price::new),
            mark_price: row.mark_price.map(Price::new),
            notional_usd: worth(notional, per_unit)?,
            unrealized_pnl_usd: worth(row.unrealised_pnl.0, per_settle)?,
        });
        Ok(())
    }))
}

/// Size in the base, notional, and the money that it is in: from the contract where it is listed,
/// else from the value that is stated.
fn sized(row: &PositionRow, settle: &str, contracts: &Contracts) -> Result<(Decimal, Decimal, String), String> {
    let (base, quote) = markets::split(&row.contract).ok_or("not the name of a contract")?;
    let mark = row.mark_price.filter(|mark| !mark.is_zero());
    let value = row.value.map(|value| value.abs());
    match (contracts.of(&row.contract), mark, value) {
        (Some(contract @ (Contract::Base(_) | Contract::Dollar)), Some(mark), _) => {
            let (qty, notional) = contract.size(row.size.0, mark)?;
            Ok((qty, notional, quote.into()))
        }
        // Settled in the base, the value is the size; settled in the quote, it is the notional.
        (_, _, Some(value)) if base == settle => Ok((value, value, settle.into())),
        (_, Some(mark), Some(value)) if quote == settle => {
            let qty = value.checked_div(mark).ok_or("the size does not fit")?;
            Ok((Usd::derived(qty).0, value, settle.into()))
        }
        _ => Err("the size cannot be told from contract, mark_price and value".into()),
    }
}

/// GET /api/v4/spot/tickers: last price by market. A market whose price cannot be read has none.
pub fn tickers(body: &str) -> Result<BTreeMap<String, Decimal>, VenueError> {
    #[derive(Deserialize)]
    struct Row {
        currency_pair: String,
        last: Dec,
    }
    let row = |raw: &RawValue| {
        let row: Row = serde_json::from_str(raw.get()).ok()?;
        Some((row.currency_pair, row.last.0))
    };
    Ok(rows("/api/v4/spot/tickers", body)?.iter().filter_map(|raw| row(raw)).collect())
}

/// Dollars per unit of an asset, from the markets that there are.
pub fn dollars_per(code: &str, tickers: &BTreeMap<String, Decimal>) -> Option<Decimal> {
    if crate::pricing::PEGGED.contains(&code) {
        return Some(Decimal::ONE);
    }
    ["USDT", "USDC"].into_iter().find_map(|dollar| {
        let price = tickers.get(&format!("{code}_{dollar}")).copied();
        price.filter(|price| !price.is_zero())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_those_of_the_keys_that_may_be_ours() {
        let list = r#"[{"key":"c5dcfbf1f3a7*****","perms":[{"name":"spot","read_only":true},{"name":"futures","read_only":true}]},
            {"key":"52fd0035f665*****","perms":[{"name":"spot","read_only":false},{"name":"odd"}]}]"#;
        let read = |key: &str| rights(list, Some(key)).unwrap();
        assert_eq!(read("c5dcfbf1f3a7aaaa"), Rights::Known { excess: vec![] });
        let excess = vec!["spot (read and write)".into(), "odd (read and write)".into()];
        assert_eq!(read("52fd0035f665bbbb"), Rights::Known { excess });
        assert_eq!(read("another"), Rights::Unknown);
        let one = r#"{"state":1,"key":{"mode":1},"perms":[{"name":"wallet","read_only":false}]}"#;
        assert!(matches!(rights(one, Some("k")).unwrap(), Rights::Known { excess } if excess.len() == 1));
        assert_eq!(rights(r#"[{"key":"k*","perms":[]}]"#, Some("kkkkkkkk")).unwrap(), Rights::Unknown);
        assert!(rights("{}", None).is_err());
    }
}
