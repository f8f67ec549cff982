//! Prices and rules of the spot market.

use serde_json::{Value, json};

use crate::http::call::Call;
use crate::http::candles::{book, book_ticker, day_ticker, klines};
use crate::http::context::Context;
use crate::http::refused::Answer;
use crate::http::routes::{Route, Weight};
use crate::http::window::DAY;
use crate::http::words::{amount, plain};
use crate::model::{SpotId, SpotMarket};
use rust_decimal::Decimal;

pub const ROUTES: &[Route] = &[
    Route::public("/api/v3/ping", Weight::Fixed(1), |_| Ok(json!({}))),
    Route::public("/api/v3/time", Weight::Fixed(1), |ctx| Ok(json!({ "serverTime": ctx.shown_now }))),
    Route::public("/api/v3/exchangeInfo", Weight::Fixed(20), exchange_info),
    Route::public("/api/v3/ticker/price", Weight::By(|call| several(call, 2, 4, 4)), prices),
    Route::public("/api/v3/ticker/24hr", Weight::By(|call| several(call, 2, 40, 80)), day),
    Route::public("/api/v3/ticker/bookTicker", Weight::By(|call| several(call, 2, 4, 4)), best),
    Route::public("/api/v3/depth", Weight::By(depth_weight), depth),
    Route::public("/api/v3/klines", Weight::Fixed(2), candles),
    Route::public("/api/v3/avgPrice", Weight::Fixed(2), average),
    Route::public("/sapi/v1/system/status", Weight::Fixed(1), |_| Ok(json!({ "status": 0, "msg": "normal" }))),
];

fn several(call: &Call, one: u64, some: u64, all: u64) -> u64 {
    match (call.text("symbol"), call.text("symbols")) {
        (Some(_), _) => one,
        (None, Some(_)) => some,
        (None, None) => all,
    }
}

fn depth_weight(call: &Call) -> u64 {
    match call.int("limit").ok().flatten().unwrap_or(100) {
        ..=100 => 5,
        101..=500 => 25,
        501..=1000 => 50,
        _ => 250,
    }
}

/// One answer for one symbol, a list for several.
fn each(ctx: &Context<'_>, say: impl Fn(SpotId, &SpotMarket) -> Value) -> Answer {
    let (ids, is_one) = ctx.spot_symbols()?;
    let mut said: Vec<Value> = ids.into_iter().map(|id| say(id, ctx.spot_market(id))).collect();
    Ok(if is_one { said.pop().unwrap_or_default() } else { Value::Array(said) })
}

fn prices(ctx: &mut Context<'_>) -> Answer {
    let last = |id| ctx.exchange.market().spot_price(id, ctx.now);
    each(ctx, |id, market| json!({ "symbol": market.symbol, "price": amount(last(id)) }))
}

fn best(ctx: &mut Context<'_>) -> Answer {
    let last = |id| ctx.exchange.market().spot_price(id, ctx.now);
    each(ctx, |id, market| book_ticker(&market.symbol, last(id), market.tick, market.step))
}

fn day(ctx: &mut Context<'_>) -> Answer {
    let market = ctx.exchange.market();
    let open = ((ctx.now - DAY).div_euclid(60_000) * 60_000).max(ctx.exchange.settings().origin);
    each(ctx, |id, of| {
        let last = market.spot_price(id, ctx.now);
        let Some(candle) = market.spot_candle(id, open, DAY, ctx.now) else { return Value::Null };
        let mut ticker = day_ticker(&of.symbol, &candle, last, of.tick, ctx.now);
        let book = book_ticker(&of.symbol, last, of.tick, of.step);
        for name in ["bidPrice", "bidQty", "askPrice", "askQty"] {
            ticker[name] = book[name].clone();
        }
        ticker["prevClosePrice"] = ticker["openPrice"].clone();
        ticker
    })
}

fn depth(ctx: &mut Context<'_>) -> Answer {
    let id = ctx.spot_symbol()?;
    let market = ctx.spot_market(id);
    let last = ctx.exchange.market().spot_price(id, ctx.now);
    let (bids, asks) = book(last, market.tick, market.step, ctx.call.limit(100, 5000)?);
    Ok(json!({ "lastUpdateId": ctx.now, "bids": bids, "asks": asks }))
}

fn candles(ctx: &mut Context<'_>) -> Answer {
    let id = ctx.spot_symbol()?;
    let market = ctx.exchange.market();
    let candle = |open, length| market.spot_candle(id, open, length, ctx.now);
    let origin = ctx.exchange.settings().origin;
    klines(ctx.call, ctx.now, origin, (500, 1000), candle, Decimal::new(1, 8), true)
}

fn average(ctx: &mut Context<'_>) -> Answer {
    let id = ctx.spot_symbol()?;
    let price = ctx.exchange.market().spot_price(id, ctx.now);
    Ok(json!({ "mins": 5, "price": amount(price), "closeTime": ctx.now }))
}

fn exchange_info(ctx: &mut Context<'_>) -> Answer {
    let (ids, _) = ctx.spot_symbols()?;
    let symbols: Vec<Value> = ids.into_iter().map(|id| symbol(ctx.spot_market(id))).collect();
    let limit = |kind: &str, interval: &str, number: u64, limit: u64| json!({ "rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit });
    Ok(json!({
        "timezone": "UTC",
        "serverTime": ctx.shown_now,
        "rateLimits": [
            limit("REQUEST_WEIGHT", "MINUTE", 1, ctx.budgets.spot.into()),
            limit("ORDERS", "SECOND", 10, 100),
            limit("ORDERS", "DAY", 1, 200_000),
            limit("RAW_REQUESTS", "MINUTE", 5, 61_000),
        ],
        "exchangeFilters": [],
        "symbols": symbols,
    }))
}

fn symbol(market: &SpotMarket) -> Value {
    const MOST: &str = "9000000.00000000";
    json!({
        "symbol": market.symbol,
        "status": "TRADING",
        "baseAsset": market.base,
        "baseAssetPrecision": 8,
        "quoteAsset": market.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": false,
        "ocoAllowed": false,
        "otoAllowed": false,
        "quoteOrderQtyMarketAllowed": true,
        "allowTrailingStop": false,
        "cancelReplaceAllowed": false,
        "isSpotTradingAllowed": true,
        "isMarginTradingAllowed": false,
        "filters": [
            { "filterType": "PRICE_FILTER", "minPrice": amount(market.tick), "maxPrice": "1000000.00000000", "tickSize": amount(market.tick) },
            { "filterType": "LOT_SIZE", "minQty": amount(market.step), "maxQty": MOST, "stepSize": amount(market.step) },
            { "filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": MOST, "stepSize": "0.00000000" },
            { "filterType": "NOTIONAL", "minNotional": amount(market.min_notional), "applyMinToMarket": true,
              "maxNotional": MOST, "applyMaxToMarket": false, "avgPriceMins": 5 },
            { "filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200 },
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": ["NONE"],
    })
}

/// The price of an asset in USDT now; `None` when it has no market.
pub fn dollars(ctx: &Context<'_>, asset: &str) -> Option<Decimal> {
    if matches!(asset, "USDT" | "USDC") {
        return Some(Decimal::ONE);
    }
    let id = ctx.exchange.market().spot(&format!("{asset}USDT"))?;
    Some(ctx.exchange.market().spot_price(id, ctx.now))
}

/// Says nothing of use, in the words of a list of coins.
pub fn coins(ctx: &mut Context<'_>) -> Answer {
    let spot = &ctx.exchange.market().universe().spot;
    let mut names: Vec<&str> = spot.iter().flat_map(|market| [market.base.as_str(), market.quote.as_str()]).collect();
    names.sort_unstable();
    names.dedup();
    let balances = ctx.exchange.spot_balances(ctx.account()?);
    let coin = |name: &&str| {
        let held = balances.iter().find(|balance| balance.asset == **name);
        json!({
            "coin": name,
            "name": name,
            "depositAllEnable": true,
            "withdrawAllEnable": true,
            "trading": true,
            "isLegalMoney": false,
            "free": held.map_or("0".into(), |balance| plain(balance.free)),
            "locked": held.map_or("0".into(), |balance| plain(balance.locked)),
            "freeze": "0",
            "withdrawing": "0",
            "ipoable": "0",
            "ipoing": "0",
            "storage": "0",
            "networkList": [{
                "network": "PAPER", "coin": name, "name": "paper", "isDefault": true, "depositEnable": true,
                "withdrawEnable": true, "withdrawFee": "0", "withdrawMin": "0", "withdrawMax": "9000000",
                "withdrawIntegerMultiple": "0.00000001", "minConfirm": 1, "unLockConfirm": 0,
            }],
        })
    };
    Ok(names.iter().map(coin).collect::<Vec<Value>>().into())
}
