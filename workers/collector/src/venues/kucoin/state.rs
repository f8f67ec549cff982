//! KuCoin balances, positions and the key's rights into holdings: pure, by the NAV rules of the venue notes.

use std::collections::BTreeMap;

use codash_domain::{Position, Price, Qty, Timestamp, Usd};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::markets::{Contracts, asset};
use crate::error::VenueError;
use crate::pricing::{Prices, product, worth};
use crate::venues::holdings::Holdings;
use crate::venues::wire::{Dec, flag, maybe_dec, maybe_text, read, rows};

/// The permission that reads, and nothing else.
const READING: &str = "General";

/// Rights of a key beyond reading, and whether it may read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    pub excess: Vec<String>,
    pub reads: bool,
}

impl Rights {
    pub fn is_read_only(&self) -> bool {
        self.excess.is_empty() && self.reads
    }
}

/// GET /api/v1/user/api-key, strictly: a permission we have never heard of is one too many.
pub fn rights(data: &str) -> Result<Rights, VenueError> {
    #[derive(Deserialize)]
    struct Key {
        permission: String,
    }
    let key: Key = read("/api/v1/user/api-key", data)?;
    let (reading, excess): (Vec<&str>, Vec<&str>) =
        key.permission.split(',').map(str::trim).filter(|word| !word.is_empty()).partition(|word| *word == READING);
    Ok(Rights {
        excess: excess.into_iter().map(|word| codash_domain::text::clean(word, 80)).collect(),
        reads: !reading.is_empty(),
    })
}

/// GET /api/v1/accounts: all kinds of accounts count.
pub fn accounts(data: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    #[derive(Deserialize)]
    struct Row {
        currency: String,
        #[serde(rename = "type", default, deserialize_with = "maybe_text")]
        kind: Option<String>,
        balance: Dec,
    }
    Ok(Holdings::of_each(&rows("/api/v1/accounts", data)?, |holdings, row: Row| {
        let wallet = match row.kind.as_deref() {
            Some("main") => "main",
            Some("margin" | "margin_v2") => "margin",
            Some("isolated" | "isolated_v2") => "isolated",
            _ => "spot",
        };
        let code = asset(&row.currency);
        holdings.add_balance(wallet, code, row.balance.0, prices.usd(code, now))
    }))
}

/// GET /api/v1/account-overview: the equity of one settle coin, unrealized PnL included.
pub fn overview(data: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Overview {
        account_equity: Dec,
        currency: String,
    }
    const ENDPOINT: &str = "/api/v1/account-overview";
    let account: Overview = read(ENDPOINT, data)?;
    let mut holdings = Holdings::default();
    let code = asset(&account.currency);
    holdings
        .add_balance("futures", code, account.account_equity.0, prices.usd(code, now))
        .map_err(|why| VenueError::unreadable(ENDPOINT, why))?;
    Ok(holdings)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PositionRow {
    symbol: String,
    /// In lots, negative when short.
    current_qty: Dec,
    #[serde(default, deserialize_with = "maybe_dec")]
    avg_entry_price: Option<Decimal>,
    #[serde(default, deserialize_with = "maybe_dec")]
    mark_price: Option<Decimal>,
    /// In the settle coin.
    #[serde(default, deserialize_with = "maybe_dec")]
    mark_value: Option<Decimal>,
    unrealised_pnl: Dec,
    #[serde(default, deserialize_with = "maybe_text")]
    settle_currency: Option<String>,
    #[serde(default, deserialize_with = "maybe_text")]
    position_side: Option<String>,
    #[serde(default = "yes", deserialize_with = "flag")]
    is_open: bool,
}

fn yes() -> bool {
    true
}

/// GET /api/v1/positions. Flat rows are no positions.
pub fn positions(
    data: &str,
    contracts: &Contracts,
    prices: &dyn Prices,
    now: Timestamp,
) -> Result<Holdings, VenueError> {
    Ok(Holdings::of_each(&rows("/api/v1/positions", data)?, |holdings, row: PositionRow| {
        if row.current_qty.0.is_zero() || !row.is_open {
            return Ok(());
        }
        position(&row, contracts, prices, now, holdings)
    }))
}

fn position(
    row: &PositionRow,
    contracts: &Contracts,
    prices: &dyn Prices,
    now: Timestamp,
    holdings: &mut Holdings,
) -> Result<(), String> {
    let contract = contracts.of(&row.symbol).ok_or("a contract that we do not know")?;
    let leg = match row.position_side.as_deref() {
        None | Some("BOTH") => "both",
        Some("LONG") => "long",
        Some("SHORT") => "short",
        Some(other) => return Err(format!("unknown positionSide {other:?}")),
    };
    let short = leg == "short" || row.current_qty.0.is_sign_negative();
    let of_lots = contract.lot.map(|lot| product(row.current_qty.0.abs(), lot)).transpose()?;
    let mark = row.mark_price.filter(|mark| !mark.is_zero());
    let value = row.mark_value.map(|value| value.abs());
    let quotient = |a: Decimal, b: Decimal| a.checked_div(b).map(|qty| Usd::derived(qty).0);
    // Size in the base and value in the quote: from the lot where it is known, else as stated.
    let (size, in_quote) = match (contract.inverse, of_lots, mark, value) {
        (true, Some(dollars), Some(mark), _) => (quotient(dollars, mark), dollars),
        (true, Some(dollars), None, Some(coins)) => (Some(coins), dollars),
        (true, None, Some(mark), Some(coins)) => (Some(coins), product(coins, mark)?),
        (false, Some(size), Some(mark), _) => (Some(size), product(size, mark)?),
        (false, Some(size), None, Some(value)) => (Some(size), value),
        (false, None, Some(mark), Some(value)) => (quotient(value, mark), value),
        _ => return Err("the size cannot be told from lot, markPrice and markValue".into()),
    };
    let size = size.ok_or("the size does not fit")?;
    let settle = row.settle_currency.as_deref().map_or(contract.settle.as_str(), asset);
    let (Some(per_quote), Some(per_settle)) = (prices.usd(&contract.quote, now), prices.usd(settle, now)) else {
        // Exposure has no room for "unknown": the position is left out, and its money is named.
        holdings.name_unpriced(if prices.usd(settle, now).is_none() { settle } else { &contract.quote });
        return Ok(());
    };
    holdings.positions.push(Position {
        symbol: contract.symbol().ok_or("the symbol is empty")?,
        native_symbol: row.symbol.clone(),
        leg,
        qty: Qty::new(if short { -size } else { size }),
        entry_price: row.avg_entry_price.map(Price::new),
        mark_price: mark.map(Price::new),
        notional_usd: worth(in_quote, per_quote)?,
        unrealized_pnl_usd: worth(row.unrealised_pnl.0, per_settle)?,
    });
    Ok(())
}

/// GET /api/v1/market/allTickers: last price by market. A market whose price cannot be read has none.
pub fn tickers(data: &str) -> Result<BTreeMap<String, Decimal>, VenueError> {
    #[derive(Deserialize)]
    struct Reply {
        ticker: Vec<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    struct Row {
        symbol: String,
        last: Dec,
    }
    let reply: Reply = read("/api/v1/market/allTickers", data)?;
    let row = |raw: &RawValue| {
        let row: Row = serde_json::from_str(raw.get()).ok()?;
        Some((row.symbol, row.last.0))
    };
    Ok(reply.ticker.iter().filter_map(|raw| row(raw)).collect())
}

/// Dollars per unit of an asset, from the markets that there are.
pub fn dollars_per(code: &str, tickers: &BTreeMap<String, Decimal>) -> Option<Decimal> {
    if crate::pricing::PEGGED.contains(&code) {
        return Some(Decimal::ONE);
    }
    let price = |market: String| tickers.get(&market).copied().filter(|price| !price.is_zero());
    ["USDT", "USDC"]
        .into_iter()
        .find_map(|dollar| price(format!("{code}-{dollar}")))
        .or_else(|| product(price(format!("{code}-BTC"))?, price("BTC-USDT".into())?).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;

    #[test]
    fn only_general_is_read_only() {
        let read = |permission: &str| rights(&format!(r#"{{"permission":"{permission}"}}"#)).unwrap();
        assert!(read("General").is_read_only() && read(" General ").is_read_only());
        assert_eq!(read("General,Futures,InnerTransfer").excess, ["Futures", "InnerTransfer"]);
        assert_eq!(read("General,Telepathy").excess, ["Telepathy"]);
        assert!(!read("").is_read_only() && !read("general").is_read_only());
        assert!(rights("{}").is_err());
    }

    #[test]
    fn a_position_of_a_contract_without_a_lot_counts_by_its_stated_value() {
        let now = Timestamp::from_millis(0).unwrap();
        let row = r#"[{"symbol":"OLDUSDTM","currentQty":-30,"markPrice":"2","markValue":-6,"unrealisedPnl":-1,"positionSide":"BOTH"},
            {"symbol":"OLDUSDTM","currentQty":0,"unrealisedPnl":0},{"symbol":"odd","currentQty":1,"unrealisedPnl":0}]"#;
        let holdings = positions(row, &Contracts::default(), &PriceBook::default(), now).unwrap();
        let position = &holdings.positions[0];
        assert_eq!((position.qty.to_string(), position.notional_usd.to_string()), ("-3".into(), "6".into()));
        assert_eq!((holdings.positions.len(), holdings.unreadable.len()), (1, 1));
    }
}
