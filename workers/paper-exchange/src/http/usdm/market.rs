//! Prices and rules of USD-M.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::http::call::Call;
use crate::http::candles::{book, book_ticker, day_ticker, klines};
use crate::http::context::{Context, trades};
use crate::http::refused::Answer;
use crate::http::routes::{Route, Weight};
use crate::http::window::{DAY, HOUR};
use crate::http::words::{amount, fixed, on, plain};
use crate::model::{Candle, Contract, ContractKind, Millis, UsdmId};

pub const ROUTES: &[Route] = &[
    Route::public("/fapi/v1/ping", Weight::Fixed(1), |_| Ok(json!({}))),
    Route::public("/fapi/v1/time", Weight::Fixed(1), |ctx| Ok(json!({ "serverTime": ctx.shown_now }))),
    Route::public("/fapi/v1/exchangeInfo", Weight::Fixed(1), exchange_info),
    Route::public("/fapi/v1/ticker/price", Weight::Symbol(1, 2), prices),
    Route::public("/fapi/v2/ticker/price", Weight::Symbol(1, 2), prices),
    Route::public("/fapi/v1/ticker/24hr", Weight::Symbol(1, 40), day),
    Route::public("/fapi/v1/ticker/bookTicker", Weight::Symbol(2, 5), best),
    Route::public("/fapi/v1/premiumIndex", Weight::Symbol(1, 10), premium),
    Route::public("/fapi/v1/fundingRate", Weight::Fixed(1), funding),
    Route::public("/fapi/v1/fundingInfo", Weight::Fixed(1), funding_info),
    Route::public("/fapi/v1/depth", Weight::By(depth_weight), depth),
    Route::public("/fapi/v1/klines", Weight::By(candles_weight), candles),
    Route::public("/fapi/v1/markPriceKlines", Weight::By(candles_weight), mark_candles),
];

/// Funding is settled every eight hours.
pub const FUNDING: Millis = 8 * HOUR;
/// The delivery date of what is never delivered.
const NEVER: Millis = 4_133_404_800_000;

fn depth_weight(call: &Call) -> u64 {
    match call.int("limit").ok().flatten().unwrap_or(500) {
        ..=50 => 2,
        51..=100 => 5,
        101..=500 => 10,
        _ => 20,
    }
}

fn candles_weight(call: &Call) -> u64 {
    match call.int("limit").ok().flatten().unwrap_or(500) {
        ..=99 => 1,
        100..=499 => 2,
        500..=1000 => 5,
        _ => 10,
    }
}

/// One answer for one symbol, a list for all.
fn each(ctx: &Context<'_>, say: impl Fn(UsdmId, &Contract) -> Value) -> Answer {
    let (ids, is_one) = ctx.usdm_symbols()?;
    let mut said: Vec<Value> = ids.into_iter().map(|id| say(id, ctx.contract(id))).collect();
    Ok(if is_one { said.pop().unwrap_or_default() } else { Value::Array(said) })
}

fn last_price(ctx: &Context<'_>, id: UsdmId) -> Decimal {
    ctx.exchange.market().last_price(id, ctx.now)
}

fn prices(ctx: &mut Context<'_>) -> Answer {
    each(
        ctx,
        |id, contract| json!({ "symbol": contract.symbol, "price": on(last_price(ctx, id), contract.tick), "time": ctx.now }),
    )
}

fn best(ctx: &mut Context<'_>) -> Answer {
    each(ctx, |id, contract| {
        let mut said = book_ticker(&contract.symbol, last_price(ctx, id), contract.tick, contract.step);
        said["time"] = ctx.now.into();
        said
    })
}

fn day(ctx: &mut Context<'_>) -> Answer {
    let open = ((ctx.now - DAY).div_euclid(60_000) * 60_000).max(ctx.exchange.settings().origin);
    each(ctx, |id, contract| match ctx.exchange.market().usdm_candle(id, open, DAY, ctx.now) {
        Some(candle) => day_ticker(&contract.symbol, &candle, last_price(ctx, id), contract.tick, ctx.now),
        None => Value::Null,
    })
}

fn premium(ctx: &mut Context<'_>) -> Answer {
    let market = ctx.exchange.market();
    let settled = ctx.now.div_euclid(FUNDING) * FUNDING;
    each(ctx, |id, contract| {
        let is_perpetual = contract.kind == ContractKind::Perpetual;
        // The first settlement needs eight hours of prices.
        let has_rate = is_perpetual && settled - FUNDING >= ctx.exchange.settings().origin;
        let rate = if has_rate { market.funding_rate(id, settled) } else { Decimal::ZERO };
        let index = market.index_price(id, ctx.now);
        json!({
            "symbol": contract.symbol,
            "markPrice": amount(market.mark_price(id, ctx.now)),
            "indexPrice": amount(index),
            "estimatedSettlePrice": amount(index),
            "lastFundingRate": if is_perpetual { amount(rate) } else { String::new() },
            "interestRate": if is_perpetual { "0.00010000" } else { "" },
            "nextFundingTime": if is_perpetual { settled + FUNDING } else { 0 },
            "time": ctx.now,
        })
    })
}

fn funding(ctx: &mut Context<'_>) -> Answer {
    let ctx = &*ctx;
    let (ids, _) = ctx.usdm_symbols()?;
    let limit = ctx.call.limit(100, 1000)?;
    let (from, to) = ctx.call.window()?;
    let market = ctx.exchange.market();
    let first = (ctx.exchange.settings().origin + FUNDING).max(from.unwrap_or(0));
    let last = to.unwrap_or(ctx.now).min(ctx.now).div_euclid(FUNDING) * FUNDING;
    let count = Millis::try_from(limit).unwrap_or(Millis::MAX);
    let start = if from.is_some() { first } else { first.max(last - (count - 1) * FUNDING) };
    let start = start.div_euclid(FUNDING) * FUNDING + if start % FUNDING == 0 { 0 } else { FUNDING };
    let times = (0..count).map(|n| start + n * FUNDING).take_while(|at| *at <= last);
    let perpetual = |id: &UsdmId| ctx.contract(*id).kind == ContractKind::Perpetual;
    let perpetuals: Vec<UsdmId> = ids.into_iter().filter(perpetual).collect();
    let rows = times.flat_map(|at| {
        perpetuals.iter().map(move |id| {
            json!({
                "symbol": ctx.contract(*id).symbol,
                "fundingTime": at,
                "fundingRate": amount(market.funding_rate(*id, at)),
                "markPrice": amount(market.mark_price(*id, at)),
            })
        })
    });
    Ok(rows.take(limit).collect::<Vec<Value>>().into())
}

fn funding_info(ctx: &mut Context<'_>) -> Answer {
    let contracts = ctx.exchange.market().universe().usdm.iter();
    let rows = contracts.filter(|contract| contract.kind == ContractKind::Perpetual).map(|contract| {
        json!({
            "symbol": contract.symbol,
            "adjustedFundingRateCap": "0.02000000",
            "adjustedFundingRateFloor": "-0.02000000",
            "fundingIntervalHours": 8,
            "disclaimer": false,
        })
    });
    Ok(rows.collect::<Vec<Value>>().into())
}

fn depth(ctx: &mut Context<'_>) -> Answer {
    let id = ctx.usdm_symbol()?;
    let contract = ctx.contract(id);
    let (bids, asks) = book(last_price(ctx, id), contract.tick, contract.step, ctx.call.limit(500, 1000)?);
    Ok(json!({ "lastUpdateId": ctx.now, "E": ctx.now, "T": ctx.now, "bids": bids, "asks": asks }))
}

fn candles(ctx: &mut Context<'_>) -> Answer {
    let id = ctx.usdm_symbol()?;
    let candle = |open, length| ctx.exchange.market().usdm_candle(id, open, length, ctx.now);
    let tick = ctx.contract(id).tick;
    klines(ctx.call, ctx.now, ctx.exchange.settings().origin, (500, 1500), candle, tick, true)
}

/// Candles of the mark, sampled at both ends and at the quarters between.
fn mark_candles(ctx: &mut Context<'_>) -> Answer {
    let id = ctx.usdm_symbol()?;
    let market = ctx.exchange.market();
    let candle = |open_time: Millis, length: Millis| {
        let close_time = (open_time + length - 1).min(ctx.now);
        let marks = [0, 1, 2, 3, 4].map(|n| market.mark_price(id, open_time + (close_time - open_time) * n / 4));
        let [open, .., close] = marks;
        let high = marks.into_iter().max().unwrap_or(open);
        let low = marks.into_iter().min().unwrap_or(open);
        Some(Candle { open_time, open, high, low, close, volume: Decimal::ZERO, trades: 0 })
    };
    let origin = ctx.exchange.settings().origin;
    klines(ctx.call, ctx.now, origin, (500, 1500), candle, Decimal::new(1, 8), false)
}

fn exchange_info(ctx: &mut Context<'_>) -> Answer {
    let market = ctx.exchange.market();
    let listed = market.universe().usdm.iter().filter(|contract| trades(contract, ctx.now));
    let symbols: Vec<Value> =
        listed.map(|contract| symbol(contract, ctx.now, ctx.exchange.settings().origin)).collect();
    let limit = |kind: &str, interval: &str, number: u64, limit: u64| json!({ "rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit });
    let assets = ["USDT", "USDC", "BNB"].map(|name| json!({ "asset": name, "marginAvailable": true }));
    Ok(json!({
        "timezone": "UTC",
        "serverTime": ctx.shown_now,
        "futuresType": "U_MARGINED",
        "rateLimits": [
            limit("REQUEST_WEIGHT", "MINUTE", 1, ctx.budgets.usdm.into()),
            limit("ORDERS", "MINUTE", 1, 1200),
            limit("ORDERS", "SECOND", 10, 300),
        ],
        "exchangeFilters": [],
        "assets": assets,
        "symbols": symbols,
    }))
}

fn symbol(contract: &Contract, now: Millis, origin: Millis) -> Value {
    let (kind, onboard, delivery) = match contract.kind {
        ContractKind::Perpetual => ("PERPETUAL", origin, NEVER),
        ContractKind::Dated { onboard, delivery } if delivery - now <= 92 * DAY => {
            ("CURRENT_QUARTER", onboard, delivery)
        }
        ContractKind::Dated { onboard, delivery } => ("NEXT_QUARTER", onboard, delivery),
    };
    let decimals = |grid: Decimal| grid.normalize().scale();
    let (tick, step) = (plain(contract.tick), plain(contract.step));
    json!({
        "symbol": contract.symbol,
        "pair": format!("{}{}", contract.base, contract.quote),
        "contractType": kind,
        "deliveryDate": delivery,
        "onboardDate": onboard,
        "status": "TRADING",
        "maintMarginPercent": fixed(contract.maintenance_rate * Decimal::ONE_HUNDRED, 4),
        "requiredMarginPercent": "5.0000",
        "baseAsset": contract.base,
        "quoteAsset": contract.quote,
        "marginAsset": contract.quote,
        "pricePrecision": decimals(contract.tick),
        "quantityPrecision": decimals(contract.step),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.010000",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": [
            { "filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000", "tickSize": tick },
            { "filterType": "LOT_SIZE", "minQty": step, "maxQty": "1000000", "stepSize": step },
            { "filterType": "MARKET_LOT_SIZE", "minQty": step, "maxQty": "1000000", "stepSize": step },
            { "filterType": "MAX_NUM_ORDERS", "limit": 200 },
            { "filterType": "MIN_NOTIONAL", "notional": plain(contract.min_notional) },
            { "filterType": "PERCENT_PRICE", "multiplierUp": "1.1500", "multiplierDown": "0.8500", "multiplierDecimal": "4" },
        ],
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    })
}
