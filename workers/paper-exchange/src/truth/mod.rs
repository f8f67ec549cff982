//! What every figure is.
//!
//! The truth about an account is folded from the rows that the exchange wrote down: fills, ledger rows, cash
//! flows, conversions. It never looks at the balances and positions that the exchange keeps as it goes, so
//! that the two can be compared, and it shares no code with those who read the exchange from outside.
//!
//! Signs and rounding:
//! - realized PnL is gross of fees; fees are positive when paid; funding is positive when received;
//!   `netPnlUsd = realizedPnlUsd + fundingUsd - feesUsd`.
//! - USDT and USDC are dollars. An amount in any other asset is converted at the close of the one-minute
//!   candle of `<ASSET>USDT` that contains the record, and rounded once to ten decimals, half to even. While
//!   that minute has not ended the close is the price of now and the truth is `provisional`; ask for windows
//!   that end a minute ago or earlier.
//! - Balances, positions, NAV and exposure are those of the instant `at`, valued at the prices of `at`.
//! - A fill of a forced order is `liquidation` or `adl`; `INSURANCE_CLEAR` is a `liquidation` of its own with
//!   its amount in realized PnL; a delivery is a `system_close`; rebates are `unknown` with a negative fee;
//!   any other ledger row is `unknown` with its amount in realized PnL. `REALIZED_PNL` and `COMMISSION` rows
//!   repeat their fill and count nothing, and a `TRANSFER` is a cash flow.

mod calendar;
mod flows;
mod holdings;
mod prices;
mod sums;

#[cfg(test)]
mod tests;

use rust_decimal::Decimal;
use serde_json::{Value, json};

pub use calendar::rfc3339;

use crate::exchange::Exchange;
use crate::model::{AccountId, Leg, Millis};
use holdings::Holdings;
use prices::Prices;

/// The truth of one account at `at`, its sums over `[from, at]`, both included. An `at` after the exchange's
/// now is taken as now.
pub fn of(exchange: &Exchange, account: AccountId, from: Millis, at: Millis) -> Value {
    let at = at.min(exchange.now());
    let mut prices = Prices::new(exchange.market(), exchange.now());
    let holdings = Holdings::fold(exchange, account, at);
    let sums = sums::fold(exchange, account, from, at, &mut prices);
    let mut nav = Decimal::ZERO;
    let mut balances = Vec::new();
    let mut balance = |wallet: &str, asset: &str, total: Decimal, worth: Decimal| {
        if !total.is_zero() {
            balances.push(json!({
                "wallet": wallet, "asset": asset, "total": number(total), "valueUsd": number(worth),
            }));
        }
    };
    for (asset, total) in &holdings.spot {
        let worth = prices.usd_at(asset, *total, at);
        nav += worth;
        balance("spot", asset, *total, worth);
    }
    let marked = holdings.marked(exchange, at);
    for (asset, wallet) in &holdings.usdm {
        let unrealized: Decimal =
            marked.iter().filter(|position| position.margin_asset == *asset).map(|position| position.unrealized).sum();
        nav += prices.usd_at(asset, *wallet + unrealized, at);
        balance("usdm", asset, *wallet, prices.usd_at(asset, *wallet, at));
    }
    let side = |long: bool| -> Decimal {
        marked.iter().filter(|position| (position.qty > Decimal::ZERO) == long).map(|position| position.notional).sum()
    };
    let (long, short) = (side(true), side(false));
    let unrealized: Decimal = marked.iter().map(|position| position.unrealized).sum();
    let positions: Vec<Value> = marked
        .iter()
        .map(|position| {
            json!({
                "symbol": position.symbol,
                "nativeSymbol": position.native_symbol,
                "leg": match position.leg { Leg::Both => "both", Leg::Long => "long", Leg::Short => "short" },
                "qty": number(position.qty),
                "entryPrice": number(position.entry),
                "markPrice": number(position.mark),
                "notionalUsd": number(position.notional),
                "unrealizedPnlUsd": number(position.unrealized),
            })
        })
        .collect();
    json!({
        "account": exchange.accounts()[account.0].name,
        "from": rfc3339(from),
        "at": rfc3339(at),
        "provisional": prices.is_provisional(),
        "balances": balances,
        "positions": positions,
        "navUsd": number(nav),
        "exposure": {
            "longUsd": number(long),
            "shortUsd": number(short),
            "grossUsd": number(long + short),
            "netUsd": number(long - short),
            "futuresUpnlUsd": number(unrealized),
        },
        "bySymbol": sums.by_symbol(),
        "totals": sums.totals(),
        "cashFlows": flows::list(exchange, account, from, at),
    })
}

/// A decimal as a JSON number, digit for digit.
fn number(value: Decimal) -> Value {
    serde_json::from_str(&value.normalize().to_string()).unwrap_or(Value::Null)
}
