//! Balances and fills of the spot wallet.

use serde_json::{Value, json};

use crate::http::context::Context;
use crate::http::refused::{Answer, Refused};
use crate::http::routes::{Route, Weight};
use crate::http::window::{DAY, Window};
use crate::http::words::amount;
use crate::model::{Side, SpotFill};

pub const ROUTES: &[Route] = &[
    Route::read("/api/v3/account", Weight::Fixed(20), account),
    Route::history("/api/v3/myTrades", Weight::By(|call| if call.text("orderId").is_some() { 5 } else { 20 }), fills),
];

fn account(ctx: &mut Context<'_>) -> Answer {
    let id = ctx.account()?;
    let omit = ctx.call.flag("omitZeroBalances")?;
    let held = ctx.exchange.spot_balances(id).into_iter();
    let held = held.filter(|balance| !omit || !(balance.free + balance.locked).is_zero());
    let balances: Vec<Value> = held
        .map(|held| json!({ "asset": held.asset, "free": amount(held.free), "locked": amount(held.locked) }))
        .collect();
    Ok(json!({
        "makerCommission": 10,
        "takerCommission": 10,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {
            "maker": "0.00100000", "taker": "0.00100000", "buyer": "0.00000000", "seller": "0.00000000"
        },
        "canTrade": true,
        "canWithdraw": true,
        "canDeposit": true,
        "brokered": false,
        "requireSelfTradePrevention": false,
        "preventSor": false,
        "updateTime": ctx.now,
        "accountType": "SPOT",
        "balances": balances,
        "permissions": ["SPOT"],
        "uid": 1_000_001 + id.0,
    }))
}

/// Refuses combinations of parameters that Binance does not take, and more than a day at once.
pub fn day_window(ctx: &Context<'_>, id: &str) -> Result<Option<Window>, Refused> {
    let (from, to) = ctx.call.window()?;
    if from.is_none() && to.is_none() {
        return Ok(None);
    }
    if ctx.call.text(id).is_some() {
        return Err(Refused::combination());
    }
    if let (Some(from), Some(to)) = (from, to)
        && to.saturating_sub(from) > DAY
    {
        return Err(Refused::new(-1127, "More than 24 hours between startTime and endTime."));
    }
    let window = Window { from: from.unwrap_or(0), to: to.unwrap_or(i64::MAX), newest: from.is_none() };
    Ok(Some(window))
}

fn fills(ctx: &mut Context<'_>) -> Answer {
    let market = ctx.spot_symbol()?;
    let limit = ctx.faults.page_cap(ctx.call.limit(500, 1000)?);
    let window = day_window(ctx, "fromId")?;
    let (from_id, order) = (ctx.call.id("fromId")?, ctx.call.id("orderId")?);
    let all = ctx.exchange.spot_fills(ctx.account()?, market);
    let fills = match (window, from_id) {
        (Some(window), _) => window.of(all, |fill| fill.time),
        (None, Some(from)) => &all[all.partition_point(|fill| fill.id < from)..],
        (None, None) => all,
    };
    let id = |fill: &SpotFill| format!("{}/{}", fill.symbol, fill.id);
    let feed = ctx.feed("spot.fills", &id, |fill: &SpotFill| fill.time);
    let asked = |fill: &&SpotFill| order.is_none_or(|order| fill.order_id == order) && feed.has(fill);
    // Without a start, the newest are shown.
    let newest = window.map_or(from_id.is_none() && order.is_none(), |window| window.newest);
    let page: Vec<&SpotFill> = if newest {
        let mut page: Vec<_> = fills.iter().rev().filter(asked).take(limit).collect();
        page.reverse();
        page
    } else {
        fills.iter().filter(asked).take(limit).collect()
    };
    Ok(feed.page(page, fill))
}

fn fill(fill: &SpotFill) -> Value {
    json!({
        "symbol": fill.symbol,
        "id": fill.id,
        "orderId": fill.order_id,
        "orderListId": -1,
        "price": amount(fill.price),
        "qty": amount(fill.qty),
        "quoteQty": amount(fill.quote_qty),
        "commission": amount(fill.commission),
        "commissionAsset": fill.commission_asset,
        "time": fill.time,
        "isBuyer": fill.side == Side::Buy,
        "isMaker": fill.is_maker,
        "isBestMatch": true,
    })
}
