//! Binance balances and positions into holdings: pure, by the NAV rules of the venue notes.

use codash_domain::{Asset, Position, Price, Qty, Timestamp, Usd};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::markets;
use crate::error::VenueError;
use crate::pricing::{Prices, product, sum, worth};
use crate::venues::Rights;
use crate::venues::holdings::Holdings;
use crate::venues::wire::{Dec, Millis, read, rows};

/// GET /api/v3/account: free plus locked, mirrors of earn positions left out.
pub fn spot_account(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    #[derive(Deserialize)]
    struct Account {
        balances: Vec<Box<RawValue>>,
    }
    let account: Account = read("/api/v3/account", body)?;
    Ok(wallet(&account.balances, "spot", prices, now))
}

/// POST /sapi/v1/asset/get-funding-asset: recorded cases only.
pub fn funding_wallet(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    Ok(wallet(&rows("/sapi/v1/asset/get-funding-asset", body)?, "funding", prices, now))
}

fn wallet(balances: &[Box<RawValue>], name: &'static str, prices: &dyn Prices, now: Timestamp) -> Holdings {
    #[derive(Deserialize)]
    struct Row {
        asset: String,
        free: Dec,
        locked: Dec,
        #[serde(default)]
        freeze: Option<Dec>,
        #[serde(default)]
        withdrawing: Option<Dec>,
    }
    Holdings::of_each(balances, |holdings, row: Row| {
        if markets::is_earn_mirror(&row.asset) {
            return Ok(());
        }
        let parts = [Some(row.free), Some(row.locked), row.freeze, row.withdrawing];
        let total = sum(parts.into_iter().flatten().map(|part| part.0))?;
        holdings.add_balance(name, &row.asset, total, prices.usd(&row.asset, now))
    })
}

/// GET /fapi/v3/account or v2. The rows count, not the totals: in single-asset mode those sum USDT alone.
pub fn usdm_account(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    #[derive(Deserialize)]
    struct Account {
        assets: Vec<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Row {
        asset: String,
        wallet_balance: Dec,
        unrealized_profit: Dec,
    }
    let account: Account = read("/fapi/v3/account", body)?;
    Ok(Holdings::of_each(&account.assets, |holdings, row: Row| {
        let total = sum([row.wallet_balance.0, row.unrealized_profit.0])?;
        holdings.add_balance("usdm", &row.asset, total, prices.usd(&row.asset, now))
    }))
}

/// GET /fapi/v3/balance or v2.
pub fn usdm_balance(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Row {
        asset: String,
        balance: Dec,
        cross_un_pnl: Dec,
    }
    Ok(Holdings::of_each(&rows("/fapi/v3/balance", body)?, |holdings, row: Row| {
        let total = sum([row.balance.0, row.cross_un_pnl.0])?;
        holdings.add_balance("usdm", &row.asset, total, prices.usd(&row.asset, now))
    }))
}

/// GET /sapi/v1/asset/wallet/balance: every wallet's worth, in bitcoin.
pub fn wallet_balance(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    #[derive(Deserialize)]
    struct Row {
        balance: Dec,
    }
    Ok(Holdings::of_each(&rows("/sapi/v1/asset/wallet/balance", body)?, |holdings, row: Row| {
        holdings.add_balance("all", "BTC", row.balance.0, prices.usd("BTC", now))
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PositionRow {
    symbol: String,
    position_amt: Dec,
    #[serde(default)]
    position_side: Option<String>,
    #[serde(default)]
    entry_price: Option<Dec>,
    #[serde(default)]
    mark_price: Option<Dec>,
    #[serde(default)]
    notional: Option<Dec>,
    un_realized_profit: Dec,
    #[serde(default)]
    margin_asset: Option<String>,
}

impl PositionRow {
    fn leg(&self) -> Result<&'static str, String> {
        match self.position_side.as_deref() {
            None | Some("BOTH") => Ok("both"),
            Some("LONG") => Ok("long"),
            Some("SHORT") => Ok("short"),
            Some(other) => Err(format!("unknown positionSide {other:?}")),
        }
    }

    /// Signed size: the short leg of a hedged pair is short however it is written.
    fn signed(&self, leg: &str) -> Decimal {
        if leg == "short" { -self.position_amt.0.abs() } else { self.position_amt.0 }
    }

    fn position(
        &self,
        symbol: Option<codash_domain::Symbol>,
        size: Decimal,
        notional: Usd,
        profit: Usd,
    ) -> Result<Position, String> {
        Ok(Position {
            symbol: symbol.ok_or("the symbol is empty")?,
            native_symbol: self.symbol.clone(),
            leg: self.leg()?,
            qty: Qty::new(size),
            entry_price: self.entry_price.map(|price| Price::new(price.0)),
            mark_price: self.mark_price.map(|price| Price::new(price.0)),
            notional_usd: notional,
            unrealized_pnl_usd: profit,
        })
    }
}

/// GET /fapi/v3/positionRisk or v2. Flat rows are no positions.
pub fn usdm_positions(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    Ok(Holdings::of_each(&rows("/fapi/v3/positionRisk", body)?, |holdings, row: PositionRow| {
        if row.position_amt.0.is_zero() {
            return Ok(());
        }
        let (symbol, quote) = markets::linear(&row.symbol);
        let money = row.margin_asset.as_deref().or(quote).ok_or("the quote of the symbol is not known")?;
        let quote = quote.unwrap_or(money);
        let (Some(per_quote), Some(per_money)) = (prices.usd(quote, now), prices.usd(money, now)) else {
            // Exposure has no room for "unknown": the position is left out, and its money is named.
            holdings.name_unpriced(if prices.usd(quote, now).is_none() { quote } else { money });
            return Ok(());
        };
        let at_mark = match (row.mark_price.filter(|mark| !mark.0.is_zero()), row.notional) {
            (Some(mark), _) => product(row.position_amt.0.abs(), mark.0)?,
            (None, Some(notional)) => notional.0.abs(),
            (None, None) => return Err("neither markPrice nor notional".into()),
        };
        let size = row.signed(row.leg()?);
        let position =
            row.position(symbol, size, worth(at_mark, per_quote)?, worth(row.un_realized_profit.0, per_money)?)?;
        holdings.positions.push(position);
        Ok(())
    }))
}

/// GET /dapi/v1/positionRisk: contracts of 100 dollars of bitcoin or 10 of anything else, PnL in the
/// coin, at the book's price of the coin or else at the contract's mark.
pub fn coinm_positions(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    Ok(Holdings::of_each(&rows("/dapi/v1/positionRisk", body)?, |holdings, row: PositionRow| {
        if row.position_amt.0.is_zero() {
            return Ok(());
        }
        let (symbol, coin) = markets::inverse(&row.symbol).ok_or("not the name of an inverse contract")?;
        let contract = if coin == "BTC" { Decimal::ONE_HUNDRED } else { Decimal::TEN };
        let notional = worth(row.position_amt.0.abs(), contract)?;
        let Some(per_coin) = prices.usd(coin, now).or(row.mark_price.map(|mark| mark.0)) else {
            holdings.name_unpriced(coin);
            return Ok(());
        };
        let size = row.signed(row.leg()?);
        let profit = worth(row.un_realized_profit.0, per_coin)?;
        holdings.positions.push(row.position(Some(symbol), size, notional, profit)?);
        Ok(())
    }))
}

/// GET /sapi/v1/accountSnapshot: equity at the end of past days, of the wallet that was asked for.
/// The equity is unknown when a price of anything held is.
pub fn daily_snapshots(body: &str, prices: &dyn Prices) -> Result<Vec<(Timestamp, Option<Usd>)>, VenueError> {
    const ENDPOINT: &str = "/sapi/v1/accountSnapshot";
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Reply {
        snapshot_vos: Vec<Day>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Day {
        data: Data,
        update_time: Millis,
    }
    #[derive(Deserialize)]
    struct Data {
        #[serde(default)]
        balances: Vec<Box<RawValue>>,
        #[serde(default)]
        assets: Vec<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Margin {
        asset: String,
        margin_balance: Dec,
    }
    let reply: Reply = read(ENDPOINT, body)?;
    let day = |day: Day| {
        let at = day.update_time.0;
        let spot = wallet(&day.data.balances, "spot", prices, at);
        let usdm = Holdings::of_each(&day.data.assets, |holdings, row: Margin| {
            holdings.add_balance("usdm", &row.asset, row.margin_balance.0, prices.usd(&row.asset, at))
        });
        let whole = [&spot, &usdm].iter().all(|part| part.unpriced.is_empty() && part.unreadable.is_empty());
        (at, whole.then(|| spot.nav_usd + usdm.nav_usd))
    };
    Ok(reply.snapshot_vos.into_iter().map(day).collect())
}

/// GET /sapi/v1/account/apiRestrictions, strictly: a flag we have never heard of must be off too.
pub fn restrictions(body: &str) -> Result<Rights, VenueError> {
    /// Facts about the key that give no power.
    const HARMLESS: [&str; 4] = ["ipRestrict", "createTime", "tradingAuthorityExpirationTime", "enableFixReadOnly"];
    const ENDPOINT: &str = "/sapi/v1/account/apiRestrictions";
    let flags: serde_json::Map<String, Value> = read(ENDPOINT, body)?;
    let Some(reading) = flags.get("enableReading") else {
        return Err(VenueError::unreadable(ENDPOINT, "no enableReading"));
    };
    let is_on = |value: &Value| *value == Value::Bool(true) || *value == Value::String("true".into());
    let is_off = |value: &Value| *value == Value::Bool(false) || *value == Value::String("false".into());
    let is_right = |name: &str| name.starts_with("enable") || name.starts_with("permit");
    let excess = flags
        .iter()
        .filter(|(name, _)| name.as_str() != "enableReading" && !HARMLESS.contains(&name.as_str()))
        .filter(|(name, value)| is_on(value) || (is_right(name) && !is_off(value)))
        .map(|(name, _)| codash_domain::text::clean(name, 80))
        .collect();
    let missing = if is_on(reading) { vec![] } else { vec!["enableReading".into()] };
    Ok(Rights { excess, missing })
}

/// Assets of the balances that may have been traded on spot markets.
pub fn held_assets(holdings: &Holdings) -> impl Iterator<Item = &Asset> {
    holdings.balances.iter().filter(|balance| balance.wallet == "spot").map(|balance| &balance.asset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_we_never_heard_of_must_be_off() {
        let rights = |body: &str| restrictions(body).unwrap();
        assert!(
            rights(r#"{"enableReading":true,"ipRestrict":true,"createTime":1,"enableFixReadOnly":true}"#)
                .is_read_only()
        );
        assert_eq!(rights(r#"{"enableReading":true,"mayTeleport":true}"#).excess, ["mayTeleport"]);
        assert_eq!(rights(r#"{"enableReading":true,"enableStaking":"true"}"#).excess, ["enableStaking"]);
        assert_eq!(rights(r#"{"enableReading":true,"permitsX":1,"enableY":null}"#).excess, ["permitsX", "enableY"]);
        assert_eq!(rights(r#"{"enableReading":false}"#).missing, ["enableReading"]);
        assert!(restrictions(r#"{"ipRestrict":true}"#).is_err());
    }

    #[test]
    fn a_bad_balance_forbids_a_snapshot() {
        let now = Timestamp::from_millis(0).unwrap();
        let prices = crate::pricing::PriceBook::default();
        let body = r#"{"balances":[{"asset":"USDT","free":"1","locked":"2"},{"asset":"BTC","free":{},"locked":"0"}]}"#;
        let holdings = spot_account(body, &prices, now).unwrap();
        assert_eq!((holdings.nav_usd.to_string().as_str(), holdings.unreadable.len()), ("3", 1));
        assert!(holdings.into_snapshot("x", now, &prices).is_err());
    }
}
