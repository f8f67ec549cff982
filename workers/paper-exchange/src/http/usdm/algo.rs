//! Conditional orders, at the endpoints that newer clients send them to.

use serde_json::{Value, json};

use super::orders::{asked, cancel_each};
use crate::http::context::Context;
use crate::http::refused::{Answer, Refused};
use crate::http::routes::{Route, Weight};
use crate::http::words::{is_conditional, is_open, leg, on, plain, side, time_in_force, usdm_kind};
use crate::model::{Order, OrderStatus};

pub const ROUTES: &[Route] = &[
    Route::act("POST", "/fapi/v1/algoOrder", 1, place),
    Route::act("DELETE", "/fapi/v1/algoOrder", 1, cancel),
    Route::act("DELETE", "/fapi/v1/algoOpenOrders", 1, cancel_all),
    Route::read("/fapi/v1/algoOrder", Weight::Fixed(1), one),
    Route::read("/fapi/v1/openAlgoOrders", Weight::Symbol(1, 40), open),
    Route::history("/fapi/v1/allAlgoOrders", Weight::Fixed(5), all),
];

/// An order as an algo order. Its id is the order's id.
fn algo(order: &Order, ctx: &Context<'_>) -> Value {
    let contract = ctx.exchange.market().usdm(&order.symbol).map(|id| ctx.contract(id));
    let price = |value| contract.map_or_else(|| plain(value), |of| on(value, of.tick));
    let (state, done) = match order.status {
        OrderStatus::New => ("NEW", false),
        OrderStatus::Canceled => ("CANCELED", false),
        OrderStatus::Expired => ("EXPIRED", false),
        OrderStatus::PartiallyFilled => ("TRIGGERED", true),
        OrderStatus::Filled => ("FINISHED", true),
    };
    let average = order.executed_quote.checked_div(order.executed_qty).unwrap_or_default().round_dp(8);
    json!({
        "algoId": order.id,
        "clientAlgoId": order.client_order_id,
        "algoType": "CONDITIONAL",
        "orderType": usdm_kind(order.asked.kind),
        "symbol": order.symbol,
        "side": side(order.asked.side),
        "positionSide": leg(order.asked.leg),
        "timeInForce": time_in_force(order.asked.time_in_force),
        "quantity": contract.map_or_else(|| plain(order.asked.qty), |of| on(order.asked.qty, of.step)),
        "algoStatus": state,
        "triggerPrice": price(order.asked.stop_price.unwrap_or_default()),
        "price": price(order.asked.price.unwrap_or_default()),
        "icebergQuantity": null,
        "selfTradePreventionMode": "NONE",
        "workingType": "MARK_PRICE",
        "priceMatch": "NONE",
        "closePosition": order.asked.close_position,
        "priceProtect": false,
        "reduceOnly": order.asked.reduce_only,
        "actualOrderId": if done { order.id.to_string() } else { String::new() },
        "actualPrice": price(average),
        "createTime": order.created_at,
        "updateTime": order.updated_at,
        "triggerTime": if done { order.updated_at } else { 0 },
        "goodTillDate": 0,
    })
}

fn place(ctx: &mut Context<'_>) -> Answer {
    if ctx.call.need("algoType")? != "CONDITIONAL" {
        return Err(Refused::new(-1130, "Data sent for parameter 'algoType' is not valid."));
    }
    let (account, contract) = (ctx.account()?, ctx.usdm_symbol()?);
    let order = asked(ctx.call, "triggerPrice", "clientAlgoId")?;
    if !is_conditional(order.kind) {
        return Err(Refused::new(-1116, "Invalid orderType."));
    }
    let order = ctx.exchange.place_usdm(account, contract, order)?;
    Ok(algo(&order, ctx))
}

/// The conditional order that a request names.
fn named<'o>(ctx: &'o Context<'_>) -> Result<Option<&'o Order>, Refused> {
    let (id, client) = (ctx.call.id("algoId")?, ctx.call.text("clientAlgoId"));
    if id.is_none() && client.is_none() {
        return Err(Refused::missing("algoId"));
    }
    let orders = ctx.exchange.usdm_orders(ctx.account()?).iter().rev();
    let mut conditional = orders.filter(|order| is_conditional(order.asked.kind));
    Ok(conditional.find(|order| id.map_or(client == Some(order.client_order_id.as_str()), |id| order.id == id)))
}

fn one(ctx: &mut Context<'_>) -> Answer {
    Ok(algo(named(ctx)?.ok_or_else(Refused::no_order)?, ctx))
}

fn cancel(ctx: &mut Context<'_>) -> Answer {
    let order = named(ctx)?.filter(|order| is_open(order.status)).ok_or_else(Refused::unknown_order)?;
    let (id, client) = (order.id, order.client_order_id.clone());
    let contract = ctx.exchange.market().usdm(&order.symbol).ok_or_else(Refused::symbol)?;
    let account = ctx.account()?;
    ctx.exchange.cancel_usdm(account, contract, id)?;
    Ok(json!({ "algoId": id, "clientAlgoId": client, "code": "200", "msg": "success" }))
}

fn cancel_all(ctx: &mut Context<'_>) -> Answer {
    cancel_each(ctx, |order| is_conditional(order.asked.kind))?;
    Ok(json!({ "code": 200, "msg": "The operation of cancel all open order is done." }))
}

fn open(ctx: &mut Context<'_>) -> Answer {
    let symbol = ctx.call.text("symbol");
    let orders = ctx.exchange.usdm_orders(ctx.account()?).iter().filter(|order| {
        is_conditional(order.asked.kind) && is_open(order.status) && symbol.is_none_or(|symbol| order.symbol == symbol)
    });
    Ok(orders.map(|order| algo(order, ctx)).collect::<Vec<Value>>().into())
}

fn all(ctx: &mut Context<'_>) -> Answer {
    let symbol = &ctx.contract(ctx.usdm_symbol()?).symbol;
    let limit = ctx.faults.page_cap(ctx.call.limit(500, 1000)?);
    let from = ctx.call.id("algoId")?.unwrap_or(0);
    let id = |order: &Order| order.id.to_string();
    let feed = ctx.feed("usdm.orders", &id, |order: &Order| order.created_at);
    let orders = ctx.exchange.usdm_orders(ctx.account()?).iter().filter(|order| {
        order.id >= from && order.symbol == *symbol && is_conditional(order.asked.kind) && feed.has(order)
    });
    Ok(feed.page(orders.take(limit), |order| algo(order, ctx)))
}
