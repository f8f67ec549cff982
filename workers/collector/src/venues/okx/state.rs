//! OKX balances, positions and rights: pure, by the NAV rules of the venue notes.

use codash_domain::{Asset, Balance, Position, Price, Qty, Timestamp, Usd};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::envelope::{data, only};
use super::markets::{self, Contracts, Name};
use crate::error::VenueError;
use crate::pricing::{Prices, product, worth};
use crate::venues::holdings::Holdings;
use crate::venues::wire::{Dec, Text, filled};

/// GET /api/v5/account/balance: the trading account. Its equity is stated in dollars as a whole,
/// positions and trading bots included; the currencies say what it is made of.
pub fn trading_account(body: &str) -> Result<Holdings, VenueError> {
    const ENDPOINT: &str = "/api/v5/account/balance";
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Account {
        #[serde(default, deserialize_with = "filled")]
        total_eq: Option<Dec>,
        #[serde(default)]
        details: Vec<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Detail {
        ccy: String,
        eq: Dec,
        #[serde(default, deserialize_with = "filled")]
        eq_usd: Option<Dec>,
    }
    let account: Account = only(ENDPOINT, body)?;
    let mut parts = Decimal::ZERO;
    let mut holdings = Holdings::of_each(&account.details, |holdings, row: Detail| {
        if row.eq.0.is_zero() {
            return Ok(());
        }
        let value_usd = row.eq_usd.map(|stated| worth(stated.0, Decimal::ONE)).transpose()?;
        let (asset, total) = (Asset::new(&row.ccy), row.eq.0);
        holdings.balances.push(Balance { wallet: "trading", asset, total, value_usd });
        if account.total_eq.is_none() && value_usd.is_none() {
            return Err("neither totalEq nor eqUsd".into());
        }
        parts = parts.checked_add(value_usd.map_or(Decimal::ZERO, |worth| worth.0)).ok_or("the sum does not fit")?;
        Ok(())
    });
    let equity = Usd::derived(account.total_eq.map_or(parts, |total| total.0)).0;
    holdings.add_equity(equity).map_err(|why| VenueError::unreadable(ENDPOINT, why))?;
    Ok(holdings)
}

/// GET /api/v5/asset/balances: the funding account by currency.
pub fn funding_account(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    #[derive(Deserialize)]
    struct Row {
        ccy: String,
        bal: Dec,
    }
    Ok(Holdings::of_each(&data("/api/v5/asset/balances", body)?, |holdings, row: Row| {
        holdings.add_balance("funding", &row.ccy, row.bal.0, prices.usd(&row.ccy, now))
    }))
}

/// GET /api/v5/finance/savings/balance: recorded cases only; the valuation holds it.
pub fn savings(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    #[derive(Deserialize)]
    struct Row {
        ccy: String,
        amt: Dec,
    }
    Ok(Holdings::of_each(&data("/api/v5/finance/savings/balance", body)?, |holdings, row: Row| {
        holdings.add_balance("earn", &row.ccy, row.amt.0, prices.usd(&row.ccy, now))
    }))
}

/// GET /api/v5/asset/asset-valuation: what the funding and earn accounts are worth, in the unit that
/// was asked for. The trading account, a part of the reply too, states its own equity.
pub fn valuation(body: &str) -> Result<Decimal, VenueError> {
    const ENDPOINT: &str = "/api/v5/asset/asset-valuation";
    #[derive(Deserialize)]
    struct Valuation {
        details: Details,
    }
    #[derive(Deserialize)]
    struct Details {
        #[serde(default, deserialize_with = "filled")]
        funding: Option<Dec>,
        #[serde(default, deserialize_with = "filled")]
        earn: Option<Dec>,
    }
    let Details { funding, earn } = only::<Valuation>(ENDPOINT, body)?.details;
    let funding = funding.ok_or_else(|| VenueError::unreadable(ENDPOINT, "no funding"))?;
    let sum = funding.0.checked_add(earn.map_or(Decimal::ZERO, |earn| earn.0));
    sum.ok_or_else(|| VenueError::unreadable(ENDPOINT, "the sum does not fit"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PositionRow {
    #[serde(default, deserialize_with = "filled")]
    inst_type: Option<String>,
    inst_id: String,
    pos: Dec,
    #[serde(default, deserialize_with = "filled")]
    pos_side: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    pos_ccy: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    liab: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    liab_ccy: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    avg_px: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    mark_px: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    idx_px: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    notional_usd: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    upl: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    ccy: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    usd_px: Option<Dec>,
}

impl PositionRow {
    fn is_margin(&self) -> bool {
        self.inst_type.as_deref() == Some("MARGIN")
    }

    /// The leg, and whether it is short. In net mode the sign of the size tells; of a margin position,
    /// whose size has no sign, the currency it is held in.
    fn leg(&self) -> Result<(&'static str, bool), String> {
        match self.pos_side.as_deref() {
            Some("long") => Ok(("long", false)),
            Some("short") => Ok(("short", true)),
            None | Some("net") if self.is_margin() => {
                let base = Name::of(&self.inst_id).map(|name| name.base);
                let held = self.pos_ccy.as_deref().ok_or("no posCcy")?;
                Ok(("both", base != Some(held)))
            }
            None | Some("net") => Ok(("both", self.pos.0 < Decimal::ZERO)),
            Some(other) => Err(format!("unknown posSide {other:?}")),
        }
    }

    /// Units of the base; `None` where a contract's value is not known and cannot be told otherwise.
    fn units(&self, contracts: &Contracts, is_short: bool) -> Result<Option<Decimal>, String> {
        let mark = self.mark_px.map(|mark| mark.0).filter(|mark| !mark.is_zero());
        if self.is_margin() {
            let owed = self.liab.filter(|_| self.liab_ccy.as_deref() == Name::of(&self.inst_id).map(|name| name.base));
            return Ok(match (is_short, owed) {
                (false, _) => Some(self.pos.0.abs()),
                (true, Some(owed)) => Some(owed.0.abs()),
                // Held in the quote: the base is what it would buy back.
                (true, None) => mark.and_then(|mark| self.pos.0.abs().checked_div(mark)),
            });
        }
        let Some(contract) = contracts.get(&self.inst_id) else { return Ok(None) };
        let amount = product(self.pos.0.abs(), contract.value)?;
        Ok(match contract.is_inverse {
            true => mark.and_then(|mark| amount.checked_div(mark)).map(|units| Usd::derived(units).0),
            false => Some(amount),
        })
    }

    /// Units of the base from the worth in dollars, for a contract that is not listed.
    fn units_of_worth(&self, worth: Usd) -> Option<Decimal> {
        let is_option = self.inst_type.as_deref() == Some("OPTION");
        let price = if is_option { self.idx_px } else { self.mark_px };
        Some(Usd::derived(worth.0.checked_div(price?.0)?).0)
    }

    /// OKX states the worth in dollars, without a sign; else it follows from the size.
    fn notional(&self, units: Option<Decimal>, prices: &dyn Prices, now: Timestamp) -> Result<Usd, String> {
        if let Some(stated) = self.notional_usd {
            return worth(stated.0.abs(), Decimal::ONE);
        }
        let quote = Name::of(&self.inst_id).map(|name| name.quote()).unwrap_or_default();
        let parts = (units, self.mark_px, prices.usd(quote, now));
        let (Some(units), Some(mark), Some(per_quote)) = parts else { return Err("no notionalUsd".into()) };
        worth(product(units, mark.0)?.abs(), per_quote)
    }
}

/// GET /api/v5/account/positions. Flat rows are no positions.
pub fn positions(
    body: &str,
    contracts: &Contracts,
    prices: &dyn Prices,
    now: Timestamp,
) -> Result<Holdings, VenueError> {
    Ok(Holdings::of_each(&data("/api/v5/account/positions", body)?, |holdings, row: PositionRow| {
        if row.pos.0.is_zero() {
            return Ok(());
        }
        let (leg, is_short) = row.leg()?;
        let units = row.units(contracts, is_short)?;
        let profit = row.upl.map_or(Decimal::ZERO, |upl| upl.0);
        let money = row.ccy.as_deref().unwrap_or_default();
        let per_money = prices.usd(money, now).or(row.usd_px.map(|price| price.0));
        let per_money = if profit.is_zero() { Some(Decimal::ONE) } else { per_money };
        let notional_usd = row.notional(units, prices, now)?;
        let Some(per_money) = per_money else {
            // Exposure has no room for "unknown": the position is left out, and its money is named.
            holdings.name_unpriced(money);
            return Ok(());
        };
        let size = units.or_else(|| row.units_of_worth(notional_usd)).ok_or("the contract's value is not known")?;
        holdings.positions.push(Position {
            symbol: markets::symbol(&row.inst_id).ok_or("the instId is empty")?,
            native_symbol: row.inst_id.clone(),
            leg,
            qty: Qty::new(if is_short { -size } else { size }),
            entry_price: row.avg_px.map(|price| Price::new(price.0)),
            mark_price: row.mark_px.map(|price| Price::new(price.0)),
            notional_usd,
            unrealized_pnl_usd: worth(profit, per_money)?,
        });
        Ok(())
    }))
}

/// The streams of fills of what is held.
pub fn fills_of_positions(body: &str) -> Result<Vec<String>, VenueError> {
    let rows = data("/api/v5/account/positions", body)?;
    let rows = rows.iter().filter_map(|raw| serde_json::from_str::<PositionRow>(raw.get()).ok());
    let streams = rows.filter(|row| !row.pos.0.is_zero()).filter_map(|row| {
        let stream = markets::fills_stream(row.inst_type.as_deref(), &row.inst_id)?;
        Some(format!("{stream}:{}", row.inst_id))
    });
    Ok(streams.collect())
}

/// What the key may do and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Rights beyond reading.
    pub excess: Vec<String>,
    pub may_read: bool,
    pub kind: &'static str,
}

impl Config {
    pub fn is_read_only(&self) -> bool {
        self.may_read && self.excess.is_empty()
    }
}

/// GET /api/v5/account/config, strictly: `perm` must be `read_only` and nothing else, also nothing
/// that we have never heard of.
pub fn config(body: &str) -> Result<Config, VenueError> {
    const ENDPOINT: &str = "/api/v5/account/config";
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Row {
        #[serde(default, deserialize_with = "filled")]
        perm: Option<String>,
        #[serde(default, deserialize_with = "filled")]
        acct_lv: Option<Text>,
        #[serde(default, deserialize_with = "filled")]
        uid: Option<Text>,
        #[serde(default, deserialize_with = "filled")]
        main_uid: Option<Text>,
    }
    let row: Row = only(ENDPOINT, body)?;
    let perm = row.perm.ok_or_else(|| VenueError::unreadable(ENDPOINT, "no perm"))?;
    let rights: Vec<&str> = perm.split(',').map(str::trim).filter(|right| !right.is_empty()).collect();
    let excess = rights.iter().filter(|right| **right != "read_only");
    let kind = match (row.main_uid.is_some() && row.uid != row.main_uid, row.acct_lv.as_ref().map(|lv| lv.0.as_str())) {
        (true, _) => "sub_account",
        (_, Some("1")) => "spot",
        (_, Some("2")) => "futures",
        (_, Some("3")) => "multi_currency_margin",
        (_, Some("4")) => "portfolio_margin",
        _ => "unified",
    };
    Ok(Config {
        excess: excess.map(|right| codash_domain::text::clean(right, 80)).collect(),
        may_read: rights.contains(&"read_only"),
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;

    fn now() -> Timestamp {
        Timestamp::from_millis(0).unwrap()
    }

    #[test]
    fn a_key_that_may_do_anything_we_never_heard_of_is_not_read_only() {
        let config = |fields: &str| config(&format!(r#"{{"code":"0","data":[{{{fields}}}]}}"#));
        assert!(config(r#""perm":"read_only""#).unwrap().is_read_only());
        assert_eq!(config(r#""perm":"read_only,withdraw,trade""#).unwrap().excess, ["withdraw", "trade"]);
        assert_eq!(config(r#""perm":"read_only,teleport""#).unwrap().excess, ["teleport"]);
        assert_eq!(config(r#""perm":"Read_Only""#).unwrap().excess, ["Read_Only"]);
        assert!(config(r#""perm":"""#).is_err() && config("").is_err());
        assert_eq!(config(r#""perm":"read_only","uid":"2","mainUid":1"#).unwrap().kind, "sub_account");
        assert_eq!(
            config(r#""perm":"read_only","uid":"2","mainUid":2,"acctLv":3"#).unwrap().kind,
            "multi_currency_margin"
        );
    }

    #[test]
    fn sizes_and_directions_follow_the_position_mode() {
        let body = r#"{"code":"0","data":[
            {"instType":"SWAP","instId":"BTC-USDT-SWAP","pos":"-50","posSide":"net","markPx":"93100","notionalUsd":"46550","upl":"-1.5","ccy":"USDT"},
            {"instType":"SWAP","instId":"BTC-USDT-SWAP","pos":"10","posSide":"short","markPx":"93100","upl":"","ccy":"USDT"},
            {"instType":"SWAP","instId":"BTC-USD-SWAP","pos":"3","posSide":"net","markPx":"100000","notionalUsd":"300","upl":"0.001","ccy":"BTC","usdPx":"99000"},
            {"instType":"MARGIN","instId":"ETH-USDT","pos":"700","posSide":"net","posCcy":"USDT","liab":"-0.2","liabCcy":"ETH","markPx":"3500","notionalUsd":"700","upl":"1","ccy":"USDT"},
            {"instType":"MARGIN","instId":"ETH-USDT","pos":"0.1","posSide":"net","posCcy":"ETH","markPx":"3500","notionalUsd":"350","upl":"1","ccy":"USDT"},
            {"instType":"SWAP","instId":"BTC-USDT-SWAP","pos":"0","posSide":"net"},
            {"instType":"SWAP","instId":"DOGE-USD-SWAP","pos":"1","posSide":"net","notionalUsd":"10","upl":"1","ccy":"DOGE"}]}"#;
        let mut contracts = Contracts::default();
        let contract = |value, is_inverse| markets::Contract { value, is_inverse, settle: None };
        contracts.add("BTC-USDT-SWAP", contract(Decimal::new(1, 2), false));
        contracts.add("BTC-USD-SWAP", contract(Decimal::ONE_HUNDRED, true));
        let holdings = positions(body, &contracts, &PriceBook::default(), now()).unwrap();
        assert_eq!(holdings.unreadable, []);
        let told: Vec<String> = holdings
            .positions
            .iter()
            .map(|p| format!("{} {} {} {} {}", p.symbol, p.leg, p.qty, p.notional_usd, p.unrealized_pnl_usd))
            .collect();
        let expected = [
            "BTC-PERP both -0.5 46550 -1.5",
            "BTC-PERP short -0.1 9310 0",
            "BTC-PERP-USD both 0.003 300 99",
            "ETH-USDT both -0.2 700 1",
            "ETH-USDT both 0.1 350 1",
        ];
        assert_eq!(told, expected);
        assert_eq!(holdings.unpriced, [Asset::new("DOGE")]);
    }

    #[test]
    fn a_bad_balance_forbids_a_snapshot_and_an_empty_account_is_worth_nothing() {
        let body = r#"{"code":"0","data":[{"totalEq":"3","details":[{"ccy":"USDT","eq":"3","eqUsd":"3"},{"ccy":"BTC","eq":{}}]}]}"#;
        let holdings = trading_account(body).unwrap();
        assert_eq!((holdings.nav_usd.to_string().as_str(), holdings.unreadable.len()), ("3", 1));
        assert!(holdings.into_snapshot("x", now(), &PriceBook::default()).is_err());
        let empty = trading_account(r#"{"code":"0","data":[{"totalEq":"","details":[]}]}"#).unwrap();
        assert_eq!((empty.nav_usd, empty.unreadable.len()), (Usd::ZERO, 0));
        assert!(trading_account(r#"{"code":"0","data":[]}"#).is_err());
        assert!(valuation(r#"{"code":"0","data":[{"details":{"earn":"1"}}]}"#).is_err(), "not guessed");
    }
}
