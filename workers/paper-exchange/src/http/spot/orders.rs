//! Orders of the spot market.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::account::day_window;
use crate::http::call::Call;
use crate::http::context::Context;
use crate::http::refused::{Answer, Refused};
use crate::http::routes::{Route, Weight};
use crate::http::words::{amount, is_conditional, is_open, side, spot_kind, status, time_in_force};
use crate::model::{Leg, NewOrder, Order, OrderKind, Side, SpotId, TimeInForce};

pub const ROUTES: &[Route] = &[
    Route::act("POST", "/api/v3/order", 1, place),
    Route::act("POST", "/api/v3/order/test", 1, test),
    Route::act("DELETE", "/api/v3/order", 1, cancel),
    Route::act("DELETE", "/api/v3/openOrders", 1, cancel_all),
    Route::read("/api/v3/order", Weight::Fixed(4), one),
    Route::read("/api/v3/openOrders", Weight::Symbol(6, 80), open),
    Route::history("/api/v3/allOrders", Weight::Fixed(20), all),
];

/// The side of an order.
pub fn side_of(call: &Call) -> Result<Side, Refused> {
    match call.need("side")? {
        "BUY" => Ok(Side::Buy),
        "SELL" => Ok(Side::Sell),
        _ => Err(Refused::new(-1117, "Invalid side.")),
    }
}

/// How long an order stands.
pub fn tif_of(call: &Call) -> Result<Option<TimeInForce>, Refused> {
    Ok(Some(match call.text("timeInForce") {
        None => return Ok(None),
        Some("GTC") => TimeInForce::GoodTillCancel,
        Some("IOC") => TimeInForce::ImmediateOrCancel,
        Some("FOK") => TimeInForce::FillOrKill,
        Some("GTX") => TimeInForce::GoodTillCrossing,
        Some(_) => return Err(Refused::new(-1115, "Invalid timeInForce.")),
    }))
}

/// A client's own name for an order.
pub fn client_id(call: &Call, name: &str) -> Result<Option<String>, Refused> {
    let fits = |id: &&str| id.len() <= 36 && id.bytes().all(|byte| byte.is_ascii_graphic());
    match call.text(name) {
        None => Ok(None),
        Some(id) => Some(id).filter(fits).map(|id| Some(id.to_owned())).ok_or_else(|| Refused::illegal(name)),
    }
}

fn asked(call: &Call) -> Result<NewOrder, Refused> {
    let side = side_of(call)?;
    let limit = TimeInForce::GoodTillCancel;
    let (kind, tif) = match call.need("type")? {
        "LIMIT" => (OrderKind::Limit, tif_of(call)?.ok_or_else(|| Refused::missing("timeInForce"))?),
        "LIMIT_MAKER" => (OrderKind::Limit, TimeInForce::GoodTillCrossing),
        "MARKET" => (OrderKind::Market, limit),
        "STOP_LOSS" => (OrderKind::StopMarket, limit),
        "STOP_LOSS_LIMIT" => (OrderKind::StopLimit, tif_of(call)?.unwrap_or(limit)),
        "TAKE_PROFIT" => (OrderKind::TakeProfitMarket, limit),
        "TAKE_PROFIT_LIMIT" => (OrderKind::TakeProfitLimit, tif_of(call)?.unwrap_or(limit)),
        _ => return Err(Refused::new(-1116, "Invalid orderType.")),
    };
    let price = match kind {
        OrderKind::Limit | OrderKind::StopLimit | OrderKind::TakeProfitLimit => Some(call.need_decimal("price")?),
        _ => None,
    };
    let quote_qty = call.decimal("quoteOrderQty")?.filter(|_| kind == OrderKind::Market);
    let qty = match quote_qty {
        Some(_) => call.decimal("quantity")?.unwrap_or_default(),
        None => call.need_decimal("quantity")?,
    };
    let stop_price = if is_conditional(kind) { Some(call.need_decimal("stopPrice")?) } else { None };
    let client_order_id = client_id(call, "newClientOrderId")?;
    Ok(NewOrder {
        side,
        leg: Leg::Both,
        kind,
        qty,
        quote_qty,
        price,
        stop_price,
        time_in_force: tif,
        reduce_only: false,
        close_position: false,
        client_order_id,
    })
}

fn place(ctx: &mut Context<'_>) -> Answer {
    let (account, market) = (ctx.account()?, ctx.spot_symbol()?);
    let order = ctx.exchange.place_spot(account, market, asked(ctx.call)?)?;
    let conditional = is_conditional(order.asked.kind);
    let kind = ctx.call.text("newOrderRespType").unwrap_or(if conditional { "ACK" } else { "FULL" });
    let mut said = json!({
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": order.client_order_id,
        "transactTime": order.updated_at,
    });
    if kind == "ACK" {
        return Ok(said);
    }
    merge(&mut said, result(&order));
    if kind != "RESULT" {
        let fills = ctx.exchange.spot_fills(account, market).iter().rev().take(50).filter(|of| of.order_id == order.id);
        let mut fills: Vec<Value> = fills
            .map(|fill| {
                json!({
                    "price": amount(fill.price),
                    "qty": amount(fill.qty),
                    "commission": amount(fill.commission),
                    "commissionAsset": fill.commission_asset,
                    "tradeId": fill.id,
                })
            })
            .collect();
        fills.reverse();
        said["fills"] = fills.into();
    }
    Ok(said)
}

fn test(ctx: &mut Context<'_>) -> Answer {
    ctx.spot_symbol()?;
    asked(ctx.call)?;
    Ok(json!({}))
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

/// What every answer about an order says.
fn result(order: &Order) -> Value {
    let zero = Decimal::ZERO;
    let mut said = json!({
        "price": amount(order.asked.price.unwrap_or(zero)),
        "origQty": amount(order.asked.qty),
        "executedQty": amount(order.executed_qty),
        "origQuoteOrderQty": amount(order.asked.quote_qty.unwrap_or(zero)),
        "cummulativeQuoteQty": amount(order.executed_quote),
        "status": status(order.status),
        "timeInForce": match order.asked.time_in_force {
            TimeInForce::GoodTillCrossing => "GTC",
            other => time_in_force(other),
        },
        "type": spot_kind(order.asked.kind, order.asked.time_in_force),
        "side": side(order.asked.side),
        "workingTime": order.created_at,
        "selfTradePreventionMode": "NONE",
    });
    if let Some(stop) = order.asked.stop_price {
        said["stopPrice"] = amount(stop).into();
    }
    said
}

fn full(order: &Order) -> Value {
    let mut said = json!({
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": order.client_order_id,
    });
    merge(&mut said, result(order));
    merge(
        &mut said,
        json!({
            "stopPrice": amount(order.asked.stop_price.unwrap_or_default()),
            "icebergQty": "0.00000000",
            "time": order.created_at,
            "updateTime": order.updated_at,
            "isWorking": !is_conditional(order.asked.kind) || !is_open(order.status),
        }),
    );
    said
}

/// The order that a request names, of a symbol.
pub fn named<'o>(orders: &'o [Order], call: &Call, symbol: &str) -> Result<Option<&'o Order>, Refused> {
    let (id, client) = (call.id("orderId")?, call.text("origClientOrderId"));
    if id.is_none() && client.is_none() {
        let message = "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!";
        return Err(Refused::new(-1102, message));
    }
    let is_named = |order: &&Order| match (id, client) {
        (Some(id), _) => order.id == id,
        (None, client) => client == Some(order.client_order_id.as_str()),
    };
    Ok(orders.iter().rev().find(|order| order.symbol == symbol && is_named(order)))
}

fn one(ctx: &mut Context<'_>) -> Answer {
    let market = ctx.spot_symbol()?;
    let orders = ctx.exchange.spot_orders(ctx.account()?);
    let order = named(orders, ctx.call, &ctx.spot_market(market).symbol)?;
    order.map(full).ok_or_else(Refused::no_order)
}

fn canceled(ctx: &mut Context<'_>, market: SpotId, id: u64) -> Answer {
    let order = ctx.exchange.cancel_spot(ctx.account()?, market, id)?;
    let mut said = json!({
        "symbol": order.symbol,
        "origClientOrderId": order.client_order_id,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": format!("cancel-{}", order.id),
        "transactTime": order.updated_at,
    });
    merge(&mut said, result(&order));
    Ok(said)
}

fn cancel(ctx: &mut Context<'_>) -> Answer {
    let market = ctx.spot_symbol()?;
    let orders = ctx.exchange.spot_orders(ctx.account()?);
    let order = named(orders, ctx.call, &ctx.spot_market(market).symbol)?.filter(|order| is_open(order.status));
    let id = order.ok_or_else(Refused::unknown_order)?.id;
    canceled(ctx, market, id)
}

fn cancel_all(ctx: &mut Context<'_>) -> Answer {
    let market = ctx.spot_symbol()?;
    let symbol = ctx.spot_market(market).symbol.clone();
    let orders = ctx.exchange.spot_orders(ctx.account()?).iter();
    let open = orders.filter(|order| order.symbol == symbol && is_open(order.status));
    let ids: Vec<u64> = open.map(|order| order.id).collect();
    if ids.is_empty() {
        return Err(Refused::unknown_order());
    }
    ids.into_iter().map(|id| canceled(ctx, market, id)).collect::<Result<Vec<Value>, _>>().map(Value::from)
}

fn open(ctx: &mut Context<'_>) -> Answer {
    let symbol = match ctx.call.text("symbol") {
        Some(_) => Some(ctx.spot_market(ctx.spot_symbol()?).symbol.as_str()),
        None => None,
    };
    let orders = ctx.exchange.spot_orders(ctx.account()?).iter();
    let open = orders.filter(|order| is_open(order.status) && symbol.is_none_or(|symbol| order.symbol == symbol));
    Ok(open.map(full).collect::<Vec<Value>>().into())
}

fn all(ctx: &mut Context<'_>) -> Answer {
    let market = ctx.spot_symbol()?;
    let symbol = &ctx.spot_market(market).symbol;
    let limit = ctx.faults.page_cap(ctx.call.limit(500, 1000)?);
    let window = day_window(ctx, "orderId")?;
    let from_id = ctx.call.id("orderId")?;
    let all = ctx.exchange.spot_orders(ctx.account()?);
    let id = |order: &Order| format!("{}/{}", order.symbol, order.id);
    let feed = ctx.feed("spot.orders", &id, |order: &Order| order.created_at);
    let orders = all.iter().filter(|order| {
        let in_window = window.is_none_or(|window| (window.from..=window.to).contains(&order.created_at));
        order.symbol == *symbol && in_window && from_id.is_none_or(|from| order.id >= from) && feed.has(order)
    });
    let orders: Vec<&Order> = orders.collect();
    let newest = window.map_or(from_id.is_none(), |window| window.newest);
    let start = if newest { orders.len().saturating_sub(limit) } else { 0 };
    Ok(feed.page(orders.into_iter().skip(start).take(limit), full))
}
