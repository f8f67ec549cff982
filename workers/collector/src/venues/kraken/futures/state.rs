//! Kraken Futures wallets, positions and rights: pure, by the NAV rules of the venue notes.

use std::collections::BTreeMap;

use codash_domain::{Asset, Balance, Position, Price, Qty, Timestamp, Usd};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::client::asset;
use crate::error::VenueError;
use crate::pricing::{Prices, bounded, product};
use crate::venues::holdings::Holdings;
use crate::venues::kraken::names;
use crate::venues::kraken::wire::{Entries, Named};
use crate::venues::wire::{Dec, filled, read};

/// GET /derivatives/api/v3/accounts, by kind of wallet.
#[derive(Debug, Default)]
pub struct Wallets {
    /// Multi-collateral; `None` when there is none.
    pub flex: Option<Holdings>,
    /// Money that is no collateral.
    pub cash: Holdings,
    /// Single-collateral wallets, one for each contract.
    pub single: Holdings,
    /// A wallet of a kind that we do not know.
    pub unknown: Holdings,
}

impl Wallets {
    /// The wallets hold different money: each counts once.
    pub fn all(self) -> Holdings {
        let mut all = self.flex.unwrap_or_default();
        [self.cash, self.single, self.unknown].into_iter().for_each(|part| all.join(part));
        all
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wallet {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    balances: Option<Entries>,
    #[serde(default)]
    currency: Option<String>,
    #[serde(default)]
    auxiliary: Option<Auxiliary>,
    #[serde(default)]
    currencies: Option<Entries>,
    #[serde(default, deserialize_with = "filled")]
    portfolio_value: Option<Dec>,
}

#[derive(Debug, Deserialize)]
struct Auxiliary {
    /// The coin and the profit of the open position.
    pv: Dec,
}

pub fn wallets(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Wallets, VenueError> {
    #[derive(Deserialize)]
    struct Reply {
        accounts: Entries,
    }
    let reply: Reply = read("/derivatives/api/v3/accounts", body)?;
    let (mut wallets, mut holdings) = (Wallets::default(), Holdings::default());
    holdings.add_each(&reply.accounts.0, |_, Named { id, record: wallet }: Named<Wallet>| {
        let kind = wallet.kind.as_deref().unwrap_or(match id.as_str() {
            "cash" => "cashAccount",
            "flex" => "multiCollateralMarginAccount",
            _ => "marginAccount",
        });
        match kind {
            "cashAccount" => cash(&mut wallets.cash, wallet, prices, now),
            "multiCollateralMarginAccount" => {
                wallets.flex = Some(flex(wallet)?);
                Ok(())
            }
            "marginAccount" => single(&mut wallets.single, wallet, prices, now),
            other => Err(format!("unknown type of wallet {other:?}")),
        }
    });
    wallets.unknown = holdings;
    Ok(wallets)
}

fn cash(holdings: &mut Holdings, wallet: Wallet, prices: &dyn Prices, now: Timestamp) -> Result<(), String> {
    let Entries(rows) = wallet.balances.ok_or("no balances")?;
    holdings.add_each(&rows, |holdings, row: Named<Dec>| {
        let asset = asset(&row.id);
        holdings.add_balance("cash", &asset, row.record.0, prices.usd(&asset, now))
    });
    Ok(())
}

/// The venue states what the wallet is worth, open positions included.
fn flex(wallet: Wallet) -> Result<Holdings, String> {
    #[derive(Deserialize)]
    struct Currency {
        quantity: Dec,
        #[serde(default, deserialize_with = "filled")]
        value: Option<Dec>,
    }
    let mut holdings = Holdings::default();
    let equity = wallet.portfolio_value.ok_or("no portfolioValue")?;
    holdings.add_equity(Usd::derived(equity.0).0)?;
    let Entries(rows) = wallet.currencies.unwrap_or_default();
    holdings.add_each(&rows, |holdings, row: Named<Currency>| {
        if !row.record.quantity.0.is_zero() {
            let value_usd =
                row.record.value.map(|value| Usd::derived(value.0)).filter(|value| bounded(*value).is_some());
            let asset = Asset::new(&asset(&row.id));
            holdings.balances.push(Balance { wallet: "flex", asset, total: row.record.quantity.0, value_usd });
        }
        Ok(())
    });
    Ok(holdings)
}

fn single(holdings: &mut Holdings, wallet: Wallet, prices: &dyn Prices, now: Timestamp) -> Result<(), String> {
    let (auxiliary, currency) = (wallet.auxiliary.ok_or("no auxiliary")?, wallet.currency.ok_or("no currency")?);
    let asset = asset(&currency);
    holdings.add_balance("single", &asset, auxiliary.pv.0, prices.usd(&asset, now))
}

/// GET /derivatives/api/v3/openpositions, at the marks of the tickers, or else at the price of the base.
pub fn positions(
    body: &str,
    marks: &BTreeMap<String, Decimal>,
    prices: &dyn Prices,
    now: Timestamp,
) -> Result<Holdings, VenueError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Reply {
        open_positions: Vec<Box<RawValue>>,
    }
    let reply: Reply = read("/derivatives/api/v3/openpositions", body)?;
    let mut holdings = Holdings::default();
    holdings.add_each(&reply.open_positions, |holdings, row: PositionRow| {
        let contract = names::contract(&row.symbol).ok_or("not the name of a contract")?;
        let mark = marks.get(&row.symbol.to_ascii_uppercase()).copied().or_else(|| prices.usd(&contract.base, now));
        let money = if contract.is_inverse { "USD" } else { &contract.quote };
        match (mark.filter(|mark| *mark > Decimal::ZERO), prices.usd(money, now)) {
            (Some(mark), Some(per_money)) => holdings.positions.extend(row.position(&contract, mark, per_money)?),
            // Exposure has no room for "unknown": the position is left out, and its money is named.
            (None, _) => holdings.name_unpriced(&contract.base),
            (_, None) => holdings.name_unpriced(&contract.quote),
        }
        Ok(())
    });
    Ok(holdings)
}

#[derive(Debug, Deserialize)]
struct PositionRow {
    side: String,
    symbol: String,
    price: Dec,
    size: Dec,
}

impl PositionRow {
    fn position(
        &self,
        contract: &names::Contract,
        mark: Decimal,
        per_money: Decimal,
    ) -> Result<Option<Position>, String> {
        let size = self.size.0.abs();
        if size.is_zero() {
            return Ok(None);
        }
        let is_long = match self.side.as_str() {
            "long" => true,
            "short" => false,
            other => return Err(format!("unknown side {other:?}")),
        };
        let entry = self.price.0;
        // Of one long unit. An inverse contract earns coins, which are worth the mark.
        let (qty, notional, profit) = if contract.is_inverse {
            let coins = |price: Decimal| size.checked_div(price).ok_or("an entry price of nothing");
            let (bought, held) = (coins(entry)?, coins(mark)?);
            (held.round_dp(10), size, product(bought - held, mark)?)
        } else {
            let gain = mark.checked_sub(entry).ok_or("the prices do not fit")?;
            (size, product(size, mark)?, product(size, gain)?)
        };
        let dollars = |amount| Usd::convert(amount, per_money).and_then(bounded).ok_or("too large an amount");
        Ok(Some(Position {
            symbol: contract.symbol.clone().ok_or("the symbol is empty")?,
            native_symbol: self.symbol.to_ascii_uppercase(),
            leg: "both",
            qty: Qty::new(if is_long { qty } else { -qty }),
            entry_price: Some(Price::new(entry)),
            mark_price: Some(Price::new(mark)),
            notional_usd: dollars(notional)?,
            unrealized_pnl_usd: dollars(if is_long { profit } else { -profit })?,
        }))
    }
}

/// What the venue says about a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Access beyond reading, as `name: level`.
    pub excess: Vec<String>,
    /// False when the key may not even read.
    pub can_read: bool,
}

impl Rights {
    pub fn is_read_only(&self) -> bool {
        self.excess.is_empty() && self.can_read
    }
}

/// GET /api/auth/v1/api-keys/v3/check, strictly: what is neither reading nor nothing is too much.
pub fn rights(body: &str) -> Result<Rights, VenueError> {
    #[derive(Deserialize)]
    struct Reply {
        permissions: serde_json::Map<String, Value>,
    }
    const ENDPOINT: &str = "/api/auth/v1/api-keys/v3/check";
    let reply: Reply = read(ENDPOINT, body)?;
    let Some(general) = reply.permissions.get("general") else {
        return Err(VenueError::unreadable(ENDPOINT, "no general permission"));
    };
    let is = |value: &Value, level: &str| value.as_str() == Some(level);
    let excess = reply.permissions.iter().filter(|(_, level)| !is(level, "NO_ACCESS") && !is(level, "READ_ONLY"));
    let told = |(name, level): (&String, &Value)| {
        let level = level.as_str().map_or_else(|| level.to_string(), Into::into);
        codash_domain::text::clean(&format!("{name}: {level}"), 80)
    };
    Ok(Rights { excess: excess.map(told).collect(), can_read: is(general, "READ_ONLY") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;

    fn now() -> Timestamp {
        Timestamp::from_millis(0).unwrap()
    }

    #[test]
    fn every_wallet_counts_once() {
        let body = r#"{"accounts":{
            "cash":{"type":"cashAccount","balances":{"xbt":0.5,"usd":100,"xrp":0}},
            "fi_xbtusd":{"type":"marginAccount","currency":"xbt","balances":{"xbt":1},"auxiliary":{"pv":1.5}},
            "flex":{"type":"multiCollateralMarginAccount","portfolioValue":10.5,"currencies":{"XBT":{"quantity":0.1,"value":9}}}}}"#;
        let prices = PriceBook::fixed([("BTC".into(), Decimal::from(10))]);
        let wallets = wallets(body, &prices, now()).unwrap();
        assert_eq!(wallets.flex.as_ref().unwrap().nav_usd.to_string(), "10.5");
        let all = wallets.all();
        assert_eq!((all.nav_usd.to_string().as_str(), all.balances.len(), all.unreadable.len()), ("130.5", 4, 0));
        let strange = r#"{"accounts":{"x":{"type":"new"},"flex":{"portfolioValue":"much"}}}"#;
        assert_eq!(super::wallets(strange, &prices, now()).unwrap().all().unreadable.len(), 2);
    }

    #[test]
    fn profit_is_at_the_mark_in_dollars() {
        let body = r#"{"openPositions":[
            {"side":"short","symbol":"PI_XBTUSD","price":10000,"size":10000},
            {"side":"long","symbol":"PF_ETHUSD","price":2000,"size":2},
            {"side":"long","symbol":"PF_NEWUSD","price":1,"size":1}]}"#;
        let marks =
            BTreeMap::from([("PI_XBTUSD".into(), Decimal::from(12_500)), ("PF_ETHUSD".into(), Decimal::from(2100))]);
        let holdings = positions(body, &marks, &PriceBook::default(), now()).unwrap();
        let told: Vec<_> = holdings
            .positions
            .iter()
            .map(|p| (p.qty.to_string(), p.notional_usd.to_string(), p.unrealized_pnl_usd.to_string()))
            .collect();
        // 1 BTC sold at 10000 is owed; 0.8 BTC buys the contracts back: 0.2 BTC is lost.
        let short = ("-0.8".into(), "10000".into(), "-2500".into());
        assert_eq!(told, [short, ("2".into(), "4200".into(), "200".into())]);
        assert_eq!(holdings.unpriced, [Asset::new("NEW")]);
    }

    #[test]
    fn access_that_is_not_reading_is_too_much() {
        let rights = |levels: &str| rights(&format!(r#"{{"permissions":{{{levels}}}}}"#));
        assert!(rights(r#""general":"READ_ONLY","transfer":"NO_ACCESS""#).unwrap().is_read_only());
        assert_eq!(rights(r#""general":"READ_ONLY","transfer":"FULL_ACCESS""#).unwrap().excess.len(), 1);
        assert_eq!(rights(r#""general":"READ_ONLY","new":true"#).unwrap().excess, ["new: true"]);
        assert!(!rights(r#""general":"NO_ACCESS""#).unwrap().can_read && rights("").is_err());
    }
}
