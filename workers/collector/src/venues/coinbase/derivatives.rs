//! What Coinbase states of US futures (CFM) and perpetuals (INTX): pure, by the NAV rules of the venue
//! notes.

use codash_domain::{Position, Price, Qty, Timestamp};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::markets::{self, Contracts, Market};
use super::state::{Money, add_equity};
use crate::error::VenueError;
use crate::pricing::{Prices, product, sum, worth};
use crate::venues::holdings::Holdings;
use crate::venues::wire::{Dec, Text, filled, read};

/// GET /api/v3/brokerage/cfm/balance_summary: cash of the US futures wallet and what is open on it.
/// The dollars of the spot wallet (`cbi_usd_balance`) are among the accounts already.
pub fn cfm_balance(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    const ENDPOINT: &str = "/api/v3/brokerage/cfm/balance_summary";
    #[derive(Deserialize)]
    struct Reply {
        #[serde(default, deserialize_with = "filled")]
        balance_summary: Option<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    struct Summary {
        cfm_usd_balance: Money,
        #[serde(default, deserialize_with = "filled")]
        unrealized_pnl: Option<Money>,
    }
    let reply: Reply = read(ENDPOINT, body)?;
    let rows: Vec<Box<RawValue>> = reply.balance_summary.into_iter().collect();
    Ok(Holdings::of_each(&rows, |holdings, row: Summary| {
        let open = row.unrealized_pnl.map_or(Decimal::ZERO, |open| open.value);
        let total = sum([row.cfm_usd_balance.value, open])?;
        holdings.add_balance("cfm", "USD", total, prices.usd("USD", now))
    }))
}

/// Signed size, by the side that the venue names.
fn signed(size: Decimal, side: Option<&str>) -> Result<Decimal, String> {
    match side.map(|side| side.rsplit('_').next().unwrap_or(side)) {
        Some("LONG" | "BUY") => Ok(size.abs()),
        Some("SHORT" | "SELL") => Ok(-size.abs()),
        // Nobody writes a long position with a minus.
        _ if size.is_sign_negative() => Ok(size),
        _ => Err(format!("the side {} of a position is not known", side.unwrap_or("(none)"))),
    }
}

/// GET /api/v3/brokerage/cfm/positions: contracts, in dollars.
pub fn cfm_positions(
    body: &str,
    contracts: &Contracts,
    prices: &dyn Prices,
    now: Timestamp,
) -> Result<Holdings, VenueError> {
    const ENDPOINT: &str = "/api/v3/brokerage/cfm/positions";
    #[derive(Deserialize)]
    struct Reply {
        #[serde(default, deserialize_with = "filled")]
        positions: Option<Vec<Box<RawValue>>>,
    }
    #[derive(Deserialize)]
    struct Row {
        product_id: String,
        #[serde(default, deserialize_with = "filled")]
        side: Option<String>,
        number_of_contracts: Dec,
        current_price: Money,
        #[serde(default, deserialize_with = "filled")]
        avg_entry_price: Option<Money>,
        unrealized_pnl: Money,
        #[serde(default, deserialize_with = "filled")]
        contract_size: Option<Dec>,
    }
    let reply: Reply = read(ENDPOINT, body)?;
    Ok(Holdings::of_each(&reply.positions.unwrap_or_default(), |holdings, row: Row| {
        if row.number_of_contracts.0.is_zero() {
            return Ok(());
        }
        let (symbol, market) = markets::market(&row.product_id, contracts);
        let listed = match &market {
            Market::Cfm { contract: Some(contract) } => Some(contract.size),
            _ => None,
        };
        let size = row.contract_size.map(|size| size.0).filter(|size| *size > Decimal::ZERO).or(listed);
        let size = size.ok_or("how large a contract is, is not known")?;
        let qty = product(signed(row.number_of_contracts.0, row.side.as_deref())?, size)?;
        let notional = product(qty.abs(), row.current_price.value)?;
        let facts = Facts {
            symbol,
            native_symbol: row.product_id,
            qty,
            entry: row.avg_entry_price,
            mark: Some(row.current_price.clone()),
            notional: Money { value: notional, currency: row.current_price.currency },
            profit: row.unrealized_pnl,
        };
        facts.add(holdings, prices, now)
    }))
}

/// GET /api/v3/brokerage/intx/positions/{uuid}, or of one symbol.
pub fn intx_positions(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    const ENDPOINT: &str = "/api/v3/brokerage/intx/positions/{uuid}";
    #[derive(Deserialize)]
    struct Reply {
        #[serde(default, deserialize_with = "filled")]
        positions: Option<Vec<Box<RawValue>>>,
        #[serde(default, deserialize_with = "filled")]
        position: Option<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    struct Row {
        #[serde(default, deserialize_with = "filled")]
        product_id: Option<String>,
        #[serde(default, deserialize_with = "filled")]
        symbol: Option<String>,
        #[serde(default, deserialize_with = "filled")]
        entry_vwap: Option<Money>,
        #[serde(default, deserialize_with = "filled")]
        vwap: Option<Money>,
        #[serde(default, deserialize_with = "filled")]
        position_side: Option<String>,
        net_size: Dec,
        mark_price: Money,
        unrealized_pnl: Money,
    }
    let reply: Reply = read(ENDPOINT, body)?;
    let rows: Vec<Box<RawValue>> = reply.positions.unwrap_or_default().into_iter().chain(reply.position).collect();
    Ok(Holdings::of_each(&rows, |holdings, row: Row| {
        if row.net_size.0.is_zero() {
            return Ok(());
        }
        let native_symbol = row.product_id.or(row.symbol).ok_or("a position in no product")?;
        let qty = signed(row.net_size.0, row.position_side.as_deref())?;
        let notional = product(qty.abs(), row.mark_price.value)?;
        let facts = Facts {
            symbol: markets::market(&native_symbol, &Contracts::default()).0,
            native_symbol,
            qty,
            entry: row.entry_vwap.or(row.vwap),
            mark: Some(row.mark_price.clone()),
            notional: Money { value: notional, currency: row.mark_price.currency },
            profit: row.unrealized_pnl,
        };
        facts.add(holdings, prices, now)
    }))
}

/// What every position states alike.
struct Facts {
    symbol: Option<codash_domain::Symbol>,
    native_symbol: String,
    qty: Decimal,
    entry: Option<Money>,
    mark: Option<Money>,
    notional: Money,
    profit: Money,
}

impl Facts {
    fn add(self, holdings: &mut Holdings, prices: &dyn Prices, now: Timestamp) -> Result<(), String> {
        let per_notional = self.notional.usd_per_unit(prices, now);
        let per_profit = self.profit.usd_per_unit(prices, now);
        let (per_notional, per_profit) = match (per_notional, per_profit) {
            (Ok(per_notional), Ok(per_profit)) => (per_notional, per_profit),
            // Exposure has no room for "unknown": the position is left out, and its money is named.
            (Err(currency), _) | (_, Err(currency)) => {
                holdings.name_unpriced(&currency);
                return Ok(());
            }
        };
        let price = |money: Money| Price::new(money.value);
        holdings.positions.push(Position {
            symbol: self.symbol.ok_or("the symbol is empty")?,
            native_symbol: self.native_symbol,
            leg: "both",
            qty: Qty::new(self.qty),
            entry_price: self.entry.map(price),
            mark_price: self.mark.map(price),
            notional_usd: worth(self.notional.value, per_notional)?,
            unrealized_pnl_usd: worth(self.profit.value, per_profit)?,
        });
        Ok(())
    }
}

/// GET /api/v3/brokerage/intx/balances/{uuid}: what is pledged for perpetuals.
pub fn intx_balances(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    const ENDPOINT: &str = "/api/v3/brokerage/intx/balances/{uuid}";
    #[derive(Deserialize)]
    struct Reply {
        #[serde(default, deserialize_with = "filled")]
        portfolio_balances: Option<Vec<Portfolio>>,
    }
    #[derive(Deserialize)]
    struct Portfolio {
        #[serde(default, deserialize_with = "filled")]
        balances: Option<Vec<Box<RawValue>>>,
    }
    #[derive(Deserialize)]
    struct Row {
        asset: Named,
        quantity: Dec,
    }
    #[derive(Deserialize)]
    struct Named {
        #[serde(default, deserialize_with = "filled")]
        asset_name: Option<String>,
        #[serde(default, deserialize_with = "filled")]
        asset_id: Option<Text>,
    }
    let reply: Reply = read(ENDPOINT, body)?;
    let portfolios = reply.portfolio_balances.unwrap_or_default().into_iter();
    let rows: Vec<Box<RawValue>> = portfolios.flat_map(|portfolio| portfolio.balances.unwrap_or_default()).collect();
    Ok(Holdings::of_each(&rows, |holdings, row: Row| {
        let asset = row.asset.asset_name.or(row.asset.asset_id.map(|id| id.0)).ok_or("a balance of no asset")?;
        holdings.add_balance("intx", &asset, row.quantity.0, prices.usd(&asset, now))
    }))
}

/// GET /api/v3/brokerage/intx/portfolio/{uuid}: recorded cases only. The summary's equity, else that of its parts.
pub fn intx_portfolio(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    const ENDPOINT: &str = "/api/v3/brokerage/intx/portfolio/{uuid}";
    #[derive(Deserialize)]
    struct Reply {
        #[serde(default, deserialize_with = "filled")]
        portfolios: Option<Vec<Box<RawValue>>>,
        #[serde(default, deserialize_with = "filled")]
        summary: Option<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    struct Row {
        #[serde(default, deserialize_with = "filled")]
        total_balance: Option<Money>,
    }
    let reply: Reply = read(ENDPOINT, body)?;
    let summed = |raw: &RawValue| serde_json::from_str::<Row>(raw.get()).is_ok_and(|row| row.total_balance.is_some());
    let rows = match reply.summary.filter(|raw| summed(raw)) {
        Some(summary) => vec![summary],
        None => reply.portfolios.unwrap_or_default(),
    };
    if rows.is_empty() {
        return Err(VenueError::unreadable(ENDPOINT, "neither a summary nor a portfolio"));
    }
    Ok(Holdings::of_each(&rows, |holdings, row: Row| {
        let equity = row.total_balance.ok_or("no total_balance")?;
        add_equity(holdings, &equity, prices, now)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;

    fn now() -> Timestamp {
        Timestamp::from_millis(0).unwrap()
    }

    #[test]
    fn positions_are_signed_by_their_side_and_an_unknown_side_is_no_position() {
        let body = r#"{"positions":[{"product_id":"BIP-20DEC30-CDE","side":"SHORT","number_of_contracts":"2",
            "current_price":{"value":"50000","currency":"USD"},"avg_entry_price":{"value":"49000","currency":"USD"},
            "unrealized_pnl":{"value":"-20","currency":"USD"},"contract_size":"0.01"},
            {"product_id":"BIT-26DEC25-CDE","side":"LONG","number_of_contracts":"1","current_price":"60000","unrealized_pnl":"5"},
            {"product_id":"BIT-26DEC25-CDE","side":"SIDEWAYS","number_of_contracts":"1","current_price":"60000","unrealized_pnl":"5"}]}"#;
        let read = cfm_positions(body, &Contracts::default(), &PriceBook::default(), now()).unwrap();
        let told: Vec<_> = read
            .positions
            .iter()
            .map(|p| (p.symbol.to_string(), p.qty.to_string(), p.notional_usd.to_string()))
            .collect();
        let position =
            |symbol: &str, qty: &str, notional: &str| (symbol.to_owned(), qty.to_owned(), notional.to_owned());
        assert_eq!(told, [position("BTC-PERP", "-0.02", "1000"), position("BTC-26DEC25", "0.01", "600")]);
        assert_eq!(read.unreadable.len(), 1);
        let body = r#"{"positions":[{"product_id":"ETH-PERP-INTX","position_side":"POSITION_SIDE_SHORT","net_size":"3",
            "mark_price":{"userNativeCurrency":{"value":"1","currency":"EUR"},"rawCurrency":{"value":"2000","currency":"USDC"}},
            "unrealized_pnl":{"value":"7","currency":"USDC"},"vwap":null}]}"#;
        let read = intx_positions(body, &PriceBook::default(), now()).unwrap();
        assert_eq!(
            (read.positions[0].qty.to_string().as_str(), read.positions[0].notional_usd.to_string().as_str()),
            ("-3", "6000")
        );
    }

    #[test]
    fn the_two_ways_of_stating_the_equity_of_perpetuals_are_read() {
        let read = |body: &str| intx_portfolio(body, &PriceBook::default(), now()).map(|read| read.nav_usd.to_string());
        let part = r#"{"total_balance":{"value":"5","currency":"USDC"}}"#;
        assert_eq!(read(&format!(r#"{{"portfolios":[{part},{part}],"summary":null}}"#)).unwrap(), "10");
        assert_eq!(read(&format!(r#"{{"portfolios":[{part}],"summary":{part}}}"#)).unwrap(), "5");
        assert!(read("{}").is_err());
    }
}
