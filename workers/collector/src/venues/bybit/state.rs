//! Bybit balances, positions and rights: pure, by the NAV rules of the venue notes.

use codash_domain::text::clean;
use codash_domain::{Asset, Balance, Position, Price, Qty, Timestamp, Usd};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::markets::{self, Category};
use super::wire::{Maybe, listing, result, said};
use super::{FUNDING, UNIFIED};
use crate::error::VenueError;
use crate::pricing::{Prices, bounded, product, worth};
use crate::venues::holdings::Holdings;
use crate::venues::wire::{Dec, Text};

/// Balances below this many places of a derived size are rounded.
const SIZE_SCALE: u32 = 10;

/// GET /v5/account/wallet-balance. Equity is what the venue says: in dollars, loans taken off.
pub fn wallet(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Account {
        #[serde(default)]
        account_type: Option<String>,
        #[serde(default)]
        total_equity: Maybe,
        coin: Vec<Box<RawValue>>,
    }
    let accounts = listing("/v5/account/wallet-balance", body)?.rows;
    let mut holdings = Holdings::of_each(&accounts, |holdings, account: Account| {
        let name = match account.account_type.as_deref() {
            Some("SPOT") => "spot",
            Some("CONTRACT") => "contract",
            _ => UNIFIED,
        };
        match account.total_equity.0 {
            Some(equity) => {
                holdings.add_equity(equity)?;
                let coins = Holdings::of_each(&account.coin, |part, coin: Coin| part_of_equity(part, name, &coin));
                holdings.balances.extend(coins.balances);
                holdings.unreadable.extend(coins.unreadable);
            }
            // Accounts from before unification state no total.
            None => {
                let coins = Holdings::of_each(&account.coin, |part, coin: Coin| {
                    part.add_balance(name, &coin.coin, coin.total()?, prices.usd(&coin.coin, now))
                });
                holdings.add_equity(coins.nav_usd.0)?;
                coins.unpriced.iter().for_each(|asset| holdings.name_unpriced(asset.as_str()));
                holdings.balances.extend(coins.balances);
                holdings.unreadable.extend(coins.unreadable);
            }
        }
        Ok(())
    });
    if accounts.is_empty() {
        holdings
            .unreadable
            .push(crate::venues::Unreadable { reason: "no account in the reply".into(), raw: clean(body, 300) });
    }
    Ok(holdings)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Coin {
    coin: String,
    #[serde(default)]
    equity: Maybe,
    #[serde(default)]
    wallet_balance: Maybe,
    #[serde(default)]
    spot_borrow: Maybe,
    #[serde(default)]
    usd_value: Maybe,
}

impl Coin {
    /// With unrealized PnL and without loans; may be negative.
    fn total(&self) -> Result<Decimal, String> {
        match (self.equity.0, self.wallet_balance.0) {
            (Some(equity), _) if !equity.is_zero() => Ok(equity),
            (_, Some(held)) => {
                held.checked_sub(self.spot_borrow.or_zero()).ok_or_else(|| "the sum does not fit".into())
            }
            (Some(equity), None) => Ok(equity),
            (None, None) => Err("neither equity nor walletBalance".into()),
        }
    }
}

/// A coin whose worth the account's equity counts already.
fn part_of_equity(holdings: &mut Holdings, wallet: &'static str, coin: &Coin) -> Result<(), String> {
    let total = coin.total()?;
    if total.is_zero() {
        return Ok(());
    }
    let value_usd = coin.usd_value.0.map(|value| bounded(Usd::new(value)).ok_or("usdValue is too large an amount"));
    holdings.balances.push(Balance { wallet, asset: Asset::new(&coin.coin), total, value_usd: value_usd.transpose()? });
    Ok(())
}

/// GET /v5/asset/transfer/query-account-coins-balance of the funding wallet.
pub fn funding(body: &str, prices: &dyn Prices, now: Timestamp) -> Result<Holdings, VenueError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Row {
        coin: String,
        wallet_balance: Dec,
    }
    let rows = listing("/v5/asset/transfer/query-account-coins-balance", body)?.rows;
    Ok(Holdings::of_each(&rows, |holdings, row: Row| {
        holdings.add_balance(FUNDING, &row.coin, row.wallet_balance.0, prices.usd(&row.coin, now))
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PositionRow {
    symbol: String,
    #[serde(default)]
    category: Option<String>,
    #[serde(default)]
    side: Option<String>,
    size: Maybe,
    #[serde(default)]
    position_idx: Option<Text>,
    #[serde(default)]
    avg_price: Maybe,
    #[serde(default)]
    entry_price: Maybe,
    #[serde(default)]
    mark_price: Maybe,
    #[serde(default)]
    position_value: Maybe,
    #[serde(default)]
    unrealised_pnl: Maybe,
}

/// GET /v5/position/list. Flat rows are no positions.
pub fn positions(rows: &[Box<RawValue>], category: Option<&str>, prices: &dyn Prices, now: Timestamp) -> Holdings {
    Holdings::of_each(rows, |holdings, row: PositionRow| {
        let size = row.size.or_zero().abs();
        let is_short = match said(row.side.as_deref()) {
            _ if size.is_zero() => return Ok(()),
            Some("Buy") => false,
            Some("Sell") => true,
            None | Some("None") => return Ok(()),
            Some(other) => return Err(format!("unknown side {other:?}")),
        };
        position(holdings, &row, size, is_short, category, prices, now)
    })
}

fn position(
    holdings: &mut Holdings,
    row: &PositionRow,
    size: Decimal,
    is_short: bool,
    category: Option<&str>,
    prices: &dyn Prices,
    now: Timestamp,
) -> Result<(), String> {
    // There are no positions in spot: what ends in USDT is linear.
    let category = match said(row.category.as_deref()).or(said(category)) {
        None if row.symbol.ends_with("USDT") && !row.symbol.contains('-') => Category::Linear,
        stated => Category::of(stated, &row.symbol)?,
    };
    let contract = markets::contract(category, &row.symbol);
    let money = contract.money.as_deref().ok_or("the money of the contract is not known")?;
    let mark = row.mark_price.0.filter(|mark| !mark.is_zero());
    // The coin of an inverse contract is worth what its mark says, if nothing else tells.
    let per_money = prices.usd(money, now).or(mark.filter(|_| contract.is_inverse));
    let Some(per_money) = per_money else {
        holdings.name_unpriced(money);
        return Ok(());
    };
    let (qty, notional) = if contract.is_inverse {
        let coins = mark.and_then(|mark| size.checked_div(mark)).ok_or("no markPrice")?;
        (coins.round_dp_with_strategy(SIZE_SCALE, RoundingStrategy::MidpointNearestEven), worth(size, Decimal::ONE)?)
    } else {
        let at_mark = match (mark, row.position_value.0) {
            (Some(mark), _) => product(size, mark)?,
            (None, Some(value)) => value.abs(),
            (None, None) => return Err("neither markPrice nor positionValue".into()),
        };
        (size, worth(at_mark, per_money)?)
    };
    let profit = row.unrealised_pnl.0.ok_or("no unrealisedPnl")?;
    let leg = match row.position_idx.as_ref().map(|idx| idx.0.as_str()) {
        None | Some("" | "0") => "both",
        Some("1") => "long",
        Some("2") => "short",
        Some(other) => return Err(format!("unknown positionIdx {other:?}")),
    };
    let entry = row.avg_price.0.or(row.entry_price.0);
    holdings.positions.push(Position {
        symbol: contract.symbol.ok_or("the symbol is empty")?,
        native_symbol: row.symbol.clone(),
        leg,
        qty: Qty::new(if is_short { -qty } else { qty }),
        entry_price: entry.map(Price::new),
        mark_price: row.mark_price.0.map(Price::new),
        notional_usd: notional,
        unrealized_pnl_usd: worth(profit, per_money)?,
    });
    Ok(())
}

/// What a key may do, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Rights beyond reading.
    pub excess: Vec<String>,
    /// Of a unified account. `None` when the reply does not say.
    pub is_unified: Option<bool>,
    /// Of a main account, not a sub-account.
    pub is_main: bool,
    pub expires_at: Option<Timestamp>,
}

/// GET /v5/user/query-api. A key that can only read still lists what it could do otherwise, so
/// `readOnly` decides; the right to withdraw is refused all the same.
pub fn rights(body: &str) -> Result<Rights, VenueError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Key {
        read_only: Text,
        #[serde(default)]
        permissions: Option<serde_json::Map<String, Value>>,
        #[serde(default)]
        uta: Option<Text>,
        #[serde(default)]
        is_master: Option<bool>,
        #[serde(default)]
        expired_at: Option<String>,
    }
    let key: Key = result("/v5/user/query-api", body)?;
    let listed: Vec<String> =
        key.permissions.iter().flatten().flat_map(|(group, rights)| named(group, rights)).collect();
    let excess = match key.read_only.0.as_str() {
        "1" => listed.into_iter().filter(|right| right.to_ascii_lowercase().contains("withdraw")).collect(),
        _ if listed.is_empty() => vec!["read and write".into()],
        _ => listed,
    };
    // Keys bound to an address do not end, which is told as the first instant of all.
    let expires_at = key.expired_at.and_then(|at| at.parse::<Timestamp>().ok()).filter(|at| at.millis() > 0);
    Ok(Rights {
        excess,
        is_unified: key.uta.map(|uta| uta.0 == "1"),
        is_main: key.is_master.unwrap_or(true),
        expires_at,
    })
}

/// `Wallet: AccountTransfer` and so on.
fn named(group: &str, rights: &Value) -> Vec<String> {
    let one = |right: &Value| clean(&format!("{group}: {}", right.as_str().unwrap_or("?")), 80);
    match rights {
        Value::Array(rights) => rights.iter().map(one).collect(),
        Value::Null => vec![],
        other => vec![one(other)],
    }
}

/// GET /v5/account/info: which generation of account this is.
pub fn generation(body: &str) -> Result<i64, VenueError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Info {
        unified_margin_status: Text,
    }
    const ENDPOINT: &str = "/v5/account/info";
    let status = result::<Info>(ENDPOINT, body)?.unified_margin_status;
    status.0.parse().map_err(|_| VenueError::unreadable(ENDPOINT, "unifiedMarginStatus is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;

    fn key(read_only: &str, permissions: &str) -> Rights {
        rights(&format!(
            r#"{{"retCode":0,"result":{{"readOnly":{read_only},"permissions":{permissions},"uta":1,"isMaster":false,
                 "expiredAt":"2027-01-01T00:00:00Z"}}}}"#
        ))
        .unwrap()
    }

    #[test]
    fn the_read_only_mark_decides_and_withdrawal_is_refused_even_so() {
        assert_eq!(key("1", r#"{"Wallet":["AccountTransfer"],"Spot":["SpotTrade"]}"#).excess, [] as [String; 0]);
        assert_eq!(key("1", r#"{"Wallet":["Withdraw"]}"#).excess, ["Wallet: Withdraw"]);
        assert_eq!(key("0", r#"{"Spot":["SpotTrade"],"NFT":[]}"#).excess, ["Spot: SpotTrade"]);
        assert_eq!(key("2", "{}").excess, ["read and write"]);
        assert_eq!(key("\"1\"", "null").expires_at.unwrap().to_string(), "2027-01-01T00:00:00.000Z");
        assert!(rights(r#"{"retCode":0,"result":{"permissions":{}}}"#).is_err());
    }

    #[test]
    fn an_option_counts_at_its_mark_and_an_unknown_side_forbids_a_snapshot() {
        let now = Timestamp::from_millis(0).unwrap();
        let rows = crate::venues::wire::rows(
            "x",
            r#"[{"symbol":"BTC-29DEC22-16000-P","side":"Sell","size":"2","markPrice":"30","unrealisedPnl":"-4","positionIdx":0},
                {"symbol":"BTC-29DEC22-16000-C","side":"","size":"0"},
                {"symbol":"BTC-29DEC22-16000-C","side":"Up","size":"1"}]"#,
        );
        let holdings = positions(&rows.unwrap(), Some("option"), &PriceBook::default(), now);
        let exposure = codash_domain::Exposure::of(&holdings.positions);
        assert_eq!((exposure.short_usd.to_string().as_str(), holdings.unreadable.len()), ("60", 1));
        assert!(holdings.into_snapshot("x", now, &PriceBook::default()).is_err());
    }

    #[test]
    fn a_reply_without_an_account_is_no_empty_account() {
        let now = Timestamp::from_millis(0).unwrap();
        let holdings = wallet(r#"{"result":{"list":[]}}"#, &PriceBook::default(), now).unwrap();
        assert!(holdings.into_snapshot("x", now, &PriceBook::default()).is_err());
    }
}
