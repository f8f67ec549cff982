//! Fills, income and forced orders of USD-M: three months of them.

use serde_json::{Value, json};

use super::orders::full;
use crate::http::context::Context;
use crate::http::refused::{Answer, Refused};
use crate::http::routes::{Route, Weight};
use crate::http::window::{DAY, USDM_KEEPS, Window, week};
use crate::http::words::{amount, leg, on, side};
use crate::model::{Contract, ForcedKind, Income, Millis, Order, Side, UsdmFill};

pub const ROUTES: &[Route] = &[
    Route::history("/fapi/v1/userTrades", Weight::Fixed(5), fills),
    Route::history("/fapi/v1/income", Weight::Fixed(30), income),
    Route::history("/fapi/v1/forceOrders", Weight::Symbol(20, 50), forced),
];

/// The oldest instant of which there still are records.
pub fn oldest(ctx: &Context<'_>) -> Millis {
    ctx.faults.oldest(ctx.now).unwrap_or(ctx.now - USDM_KEEPS)
}

/// Refuses a window that begins before the records do.
pub fn refuse_expired(ctx: &Context<'_>) -> Result<(), Refused> {
    match ctx.call.int("startTime")? {
        Some(from) if from < oldest(ctx) => {
            let days = (ctx.now - oldest(ctx)) / DAY;
            Err(Refused::new(-4166, format!("Search window is restricted to recent {days} days only.")))
        }
        _ => Ok(()),
    }
}

fn fills(ctx: &mut Context<'_>) -> Answer {
    let contract = ctx.usdm_symbol()?;
    let limit = ctx.faults.page_cap(ctx.call.limit(500, 1000)?);
    let (from_id, order) = (ctx.call.id("fromId")?, ctx.call.id("orderId")?);
    let asked = ctx.call.window()?;
    if from_id.is_some() && asked != (None, None) {
        return Err(Refused::combination());
    }
    refuse_expired(ctx)?;
    let all = ctx.exchange.usdm_fills(ctx.account()?, contract);
    // Three months are all that is kept, by id too.
    let kept = &all[all.partition_point(|fill| fill.time < oldest(ctx))..];
    let window = week(asked, ctx.now)?;
    let fills = match from_id {
        Some(from) => &kept[kept.partition_point(|fill| fill.id < from)..],
        None if order.is_some() && asked == (None, None) => kept,
        None => window.of(kept, |fill| fill.time),
    };
    let id = |fill: &UsdmFill| format!("{}/{}", fill.symbol, fill.id);
    let feed = ctx.feed("usdm.fills", &id, |fill: &UsdmFill| fill.time);
    let shown = fills.iter().filter(|fill| order.is_none_or(|order| fill.order_id == order) && feed.has(fill));
    let page: Vec<&UsdmFill> = match from_id {
        Some(_) => shown.take(limit).collect(),
        None => window.cut(shown.collect(), limit),
    };
    let contract = ctx.contract(contract);
    Ok(feed.page(page, |of| fill(of, contract)))
}

fn fill(fill: &UsdmFill, contract: &Contract) -> Value {
    json!({
        "symbol": fill.symbol,
        "id": fill.id,
        "orderId": fill.order_id,
        "side": side(fill.side),
        "price": on(fill.price, contract.tick),
        "qty": on(fill.qty, contract.step),
        "realizedPnl": amount(fill.realized_pnl),
        "marginAsset": fill.margin_asset,
        "quoteQty": amount(fill.quote_qty),
        "commission": amount(fill.commission),
        "commissionAsset": fill.commission_asset,
        "time": fill.time,
        "positionSide": leg(fill.leg),
        "buyer": fill.side == Side::Buy,
        "maker": fill.is_maker,
    })
}

fn income(ctx: &mut Context<'_>) -> Answer {
    let asked_limit = ctx.call.limit(100, 1000)?;
    let limit = ctx.faults.page_cap(asked_limit);
    let page = match ctx.call.int("page")? {
        None => 1,
        Some(page) if page > 0 => usize::try_from(page).map_err(|_| Refused::illegal("page"))?,
        Some(_) => return Err(Refused::illegal("page")),
    };
    let (symbol, kind) = (ctx.call.text("symbol"), ctx.call.text("incomeType"));
    let window = match ctx.call.window()? {
        (Some(from), to) => Window { from, to: to.unwrap_or(Millis::MAX), newest: false },
        other => Window { newest: false, ..week(other, ctx.now)? },
    };
    // What is older is not refused, only gone, unless a switch has made history short.
    if ctx.faults.oldest(ctx.now).is_some() {
        refuse_expired(ctx)?;
    }
    let window = Window { from: window.from.max(oldest(ctx)), ..window };
    let rows = window.of(ctx.exchange.income(ctx.account()?), |row| row.time);
    let id = |row: &Income| format!("{}/{}/{}", row.income_type, row.asset, row.tran_id);
    let feed = ctx.feed("usdm.income", &id, |row: &Income| row.time);
    let asked = rows.iter().filter(|row| {
        symbol.is_none_or(|symbol| row.symbol == symbol)
            && kind.is_none_or(|kind| row.income_type == kind)
            && feed.has(row)
    });
    Ok(feed.page(asked.skip((page - 1).saturating_mul(limit)).take(limit), income_row))
}

fn income_row(row: &Income) -> Value {
    let trade = row.trade_id.map(|id| id.to_string()).unwrap_or_default();
    json!({
        "symbol": row.symbol,
        "incomeType": row.income_type,
        "income": amount(row.amount),
        "asset": row.asset,
        "info": if trade.is_empty() { row.income_type } else { trade.as_str() },
        "time": row.time,
        "tranId": row.tran_id,
        "tradeId": trade,
    })
}

fn forced(ctx: &mut Context<'_>) -> Answer {
    let kind = match ctx.call.text("autoCloseType") {
        None => None,
        Some("LIQUIDATION") => Some(ForcedKind::Liquidation),
        Some("ADL") => Some(ForcedKind::Adl),
        Some(_) => return Err(Refused::new(-1130, "Data sent for parameter 'autoCloseType' is not valid.")),
    };
    let symbol = match ctx.call.text("symbol") {
        Some(_) => Some(ctx.contract(ctx.usdm_symbol()?).symbol.clone()),
        None => None,
    };
    let limit = ctx.faults.page_cap(ctx.call.limit(50, 100)?);
    refuse_expired(ctx)?;
    let window = week(ctx.call.window()?, ctx.now)?;
    let from = window.from.max(oldest(ctx));
    let id = |order: &Order| order.id.to_string();
    let feed = ctx.feed("usdm.forced", &id, |order: &Order| order.created_at);
    let orders = ctx.exchange.usdm_orders(ctx.account()?).iter().filter(|order| {
        order.forced.is_some_and(|forced| kind.is_none_or(|kind| kind == forced))
            && symbol.as_ref().is_none_or(|symbol| order.symbol == *symbol)
            && (from..=window.to).contains(&order.created_at)
            && feed.has(order)
    });
    let page = window.cut(orders.collect(), limit);
    Ok(feed.page(page, |order| forced_row(order, ctx)))
}

/// A forced order, in the words of its endpoint: fewer than those of an order.
fn forced_row(order: &Order, ctx: &Context<'_>) -> Value {
    let mut row = full(order, ctx);
    if let Some(fields) = row.as_object_mut() {
        for name in ["priceProtect", "priceMatch", "selfTradePreventionMode", "goodTillDate", "cumQty"] {
            fields.shift_remove(name);
        }
    }
    row
}
