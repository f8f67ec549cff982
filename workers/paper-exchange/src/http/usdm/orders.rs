//! Orders of USD-M.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::history::{oldest, refuse_expired};
use crate::http::call::Call;
use crate::http::context::Context;
use crate::http::refused::{Answer, Refused};
use crate::http::routes::{Route, Weight};
use crate::http::spot::orders::{client_id, named, side_of, tif_of};
use crate::http::window::week;
use crate::http::words::{amount, is_conditional, is_open, leg, on, side, status, time_in_force, usdm_kind};
use crate::model::{ForcedKind, Leg, NewOrder, Order, OrderKind, TimeInForce, UsdmId};

pub const ROUTES: &[Route] = &[
    Route::act("POST", "/fapi/v1/order", 1, place),
    Route::act("POST", "/fapi/v1/order/test", 1, test),
    Route::act("DELETE", "/fapi/v1/order", 1, cancel),
    Route::act("DELETE", "/fapi/v1/allOpenOrders", 1, cancel_all),
    Route::read("/fapi/v1/order", Weight::Fixed(1), one),
    Route::read("/fapi/v1/openOrder", Weight::Fixed(1), one_open),
    Route::read("/fapi/v1/openOrders", Weight::Symbol(1, 40), open),
    Route::history("/fapi/v1/allOrders", Weight::Fixed(5), all),
];

fn kind_of(call: &Call) -> Result<OrderKind, Refused> {
    Ok(match call.need("type")? {
        "MARKET" => OrderKind::Market,
        "LIMIT" => OrderKind::Limit,
        "STOP" => OrderKind::StopLimit,
        "STOP_MARKET" => OrderKind::StopMarket,
        "TAKE_PROFIT" => OrderKind::TakeProfitLimit,
        "TAKE_PROFIT_MARKET" => OrderKind::TakeProfitMarket,
        _ => return Err(Refused::new(-1116, "Invalid orderType.")),
    })
}

/// An order as it is asked for; the trigger and the client's name have other names at the algo endpoints.
pub fn asked(call: &Call, trigger: &str, client: &str) -> Result<NewOrder, Refused> {
    let kind = kind_of(call)?;
    let leg = match call.text("positionSide") {
        None | Some("BOTH") => Leg::Both,
        Some("LONG") => Leg::Long,
        Some("SHORT") => Leg::Short,
        Some(_) => return Err(Refused::new(-1130, "Data sent for parameter 'positionSide' is not valid.")),
    };
    let close_position = call.flag("closePosition")?;
    if close_position && !matches!(kind, OrderKind::StopMarket | OrderKind::TakeProfitMarket) {
        return Err(Refused::new(-4136, "Target strategy invalid for orderType, closePosition."));
    }
    let is_limit = matches!(kind, OrderKind::Limit | OrderKind::StopLimit | OrderKind::TakeProfitLimit);
    let tif = tif_of(call)?;
    if kind == OrderKind::Limit && tif.is_none() {
        return Err(Refused::missing("timeinforce"));
    }
    Ok(NewOrder {
        side: side_of(call)?,
        leg,
        kind,
        qty: if close_position { Decimal::ZERO } else { call.need_decimal("quantity")? },
        quote_qty: None,
        price: if is_limit { Some(call.need_decimal("price")?) } else { None },
        stop_price: if is_conditional(kind) { Some(call.need_decimal(trigger)?) } else { None },
        time_in_force: tif.unwrap_or(TimeInForce::GoodTillCancel),
        reduce_only: call.flag("reduceOnly")?,
        close_position,
        client_order_id: client_id(call, client)?,
    })
}

/// An order, in the words of every endpoint that shows one.
pub fn full(order: &Order, ctx: &Context<'_>) -> Value {
    let contract = ctx.exchange.market().usdm(&order.symbol).map(|id| ctx.contract(id));
    let (tick, step) = contract.map_or((Decimal::new(1, 8), Decimal::new(1, 8)), |of| (of.tick, of.step));
    let average = order.executed_quote.checked_div(order.executed_qty).unwrap_or_default().round_dp(8);
    // A liquidation is an immediate limit order at Binance, whatever moved it here.
    let (kind, tif, price) = match order.forced {
        Some(forced) => {
            let tif = if forced == ForcedKind::Liquidation { "IOC" } else { "GTC" };
            ("LIMIT", tif, order.asked.price.unwrap_or(average))
        }
        None => (
            usdm_kind(order.asked.kind),
            time_in_force(order.asked.time_in_force),
            order.asked.price.unwrap_or_default(),
        ),
    };
    json!({
        "orderId": order.id,
        "symbol": order.symbol,
        "status": status(order.status),
        "clientOrderId": order.client_order_id,
        "price": on(price, tick),
        "avgPrice": on(average, tick),
        "origQty": on(order.asked.qty, step),
        "executedQty": on(order.executed_qty, step),
        "cumQty": on(order.executed_qty, step),
        "cumQuote": amount(order.executed_quote),
        "timeInForce": tif,
        "type": kind,
        "reduceOnly": order.asked.reduce_only,
        "closePosition": order.asked.close_position,
        "side": side(order.asked.side),
        "positionSide": leg(order.asked.leg),
        "stopPrice": on(order.asked.stop_price.unwrap_or_default(), tick),
        "workingType": if order.forced.is_some() { "CONTRACT_PRICE" } else { "MARK_PRICE" },
        "priceProtect": false,
        "origType": kind,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "NONE",
        "goodTillDate": 0,
        "time": order.created_at,
        "updateTime": order.updated_at,
    })
}

fn place(ctx: &mut Context<'_>) -> Answer {
    let (account, contract) = (ctx.account()?, ctx.usdm_symbol()?);
    let order = ctx.exchange.place_usdm(account, contract, asked(ctx.call, "stopPrice", "newClientOrderId")?)?;
    Ok(full(&order, ctx))
}

fn test(ctx: &mut Context<'_>) -> Answer {
    ctx.usdm_symbol()?;
    asked(ctx.call, "stopPrice", "newClientOrderId")?;
    Ok(json!({}))
}

fn the_named<'o>(ctx: &'o Context<'_>, contract: UsdmId) -> Result<Option<&'o Order>, Refused> {
    named(ctx.exchange.usdm_orders(ctx.account()?), ctx.call, &ctx.contract(contract).symbol)
}

fn one(ctx: &mut Context<'_>) -> Answer {
    let order = the_named(ctx, ctx.usdm_symbol()?)?.ok_or_else(Refused::no_order)?;
    Ok(full(order, ctx))
}

fn one_open(ctx: &mut Context<'_>) -> Answer {
    let order = the_named(ctx, ctx.usdm_symbol()?)?.filter(|order| is_open(order.status));
    Ok(full(order.ok_or_else(Refused::no_order)?, ctx))
}

fn cancel(ctx: &mut Context<'_>) -> Answer {
    let (account, contract) = (ctx.account()?, ctx.usdm_symbol()?);
    let order = the_named(ctx, contract)?.filter(|order| is_open(order.status));
    let id = order.ok_or_else(Refused::unknown_order)?.id;
    let order = ctx.exchange.cancel_usdm(account, contract, id)?;
    Ok(full(&order, ctx))
}

/// Cancels the open orders of a contract that are, or are not, conditional.
pub fn cancel_each(ctx: &mut Context<'_>, which: impl Fn(&Order) -> bool) -> Result<(), Refused> {
    let (account, contract) = (ctx.account()?, ctx.usdm_symbol()?);
    let symbol = &ctx.contract(contract).symbol;
    let orders = ctx.exchange.usdm_orders(account).iter();
    let open = orders.filter(|order| order.symbol == *symbol && is_open(order.status) && which(order));
    let ids: Vec<u64> = open.map(|order| order.id).collect();
    ids.into_iter().try_for_each(|id| ctx.exchange.cancel_usdm(account, contract, id).map(drop))?;
    Ok(())
}

fn cancel_all(ctx: &mut Context<'_>) -> Answer {
    cancel_each(ctx, |_| true)?;
    Ok(json!({ "code": 200, "msg": "The operation of cancel all open order is done." }))
}

fn open(ctx: &mut Context<'_>) -> Answer {
    let symbol = match ctx.call.text("symbol") {
        Some(_) => Some(ctx.contract(ctx.usdm_symbol()?).symbol.as_str()),
        None => None,
    };
    let orders = ctx.exchange.usdm_orders(ctx.account()?).iter();
    let open = orders.filter(|order| is_open(order.status) && symbol.is_none_or(|symbol| order.symbol == symbol));
    Ok(open.map(|order| full(order, ctx)).collect::<Vec<Value>>().into())
}

fn all(ctx: &mut Context<'_>) -> Answer {
    let symbol = &ctx.contract(ctx.usdm_symbol()?).symbol;
    let limit = ctx.faults.page_cap(ctx.call.limit(500, 1000)?);
    refuse_expired(ctx)?;
    let from_id = ctx.call.id("orderId")?;
    let window = week(ctx.call.window()?, ctx.now)?;
    let id = |order: &Order| order.id.to_string();
    let feed = ctx.feed("usdm.orders", &id, |order: &Order| order.created_at);
    let orders = ctx.exchange.usdm_orders(ctx.account()?).iter().filter(|order| {
        let wanted = match from_id {
            Some(from) => order.id >= from && order.created_at >= oldest(ctx),
            None => (window.from..=window.to).contains(&order.created_at),
        };
        wanted && order.symbol == *symbol && feed.has(order)
    });
    let page: Vec<&Order> = match from_id {
        Some(_) => orders.take(limit).collect(),
        None => window.cut(orders.collect(), limit),
    };
    Ok(feed.page(page, |order| full(order, ctx)))
}
