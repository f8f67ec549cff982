//! Deposits, withdrawals, transfers and conversions: `/sapi/v1`.

use serde_json::{Value, json};

use crate::http::context::Context;
use crate::http::refused::{Answer, Refused};
use crate::http::routes::{Route, Weight};
use crate::http::window::{DAY, Window};
use crate::http::words::{amount, plain, wall};
use crate::model::{Conversion, Flow, FlowKind};

pub const ROUTES: &[Route] = &[
    Route::history("/sapi/v1/capital/deposit/hisrec", Weight::Fixed(1), deposits),
    Route::history("/sapi/v1/capital/withdraw/history", Weight::Fixed(18), withdrawals),
    Route::act("POST", "/sapi/v1/capital/withdraw/apply", 6, withdraw),
    Route::history("/sapi/v1/asset/transfer", Weight::Fixed(1), transfers),
    Route::act("POST", "/sapi/v1/asset/transfer", 9, transfer),
    Route::history("/sapi/v1/convert/tradeFlow", Weight::Fixed(30), conversions),
];

/// The last ninety days, or at most as many of them.
fn quarter(ctx: &Context<'_>) -> Result<Window, Refused> {
    let too_long = || Refused::new(-1127, "The query time period must be less than 90 days.");
    Window::bounded(ctx.call.window()?, ctx.now, 90 * DAY, too_long)
}

/// Flows of a kind, the newest first, as the wallet's endpoints show them.
fn page(ctx: &Context<'_>, kind: FlowKind, name: &str, coin: &str, json: impl Fn(&Flow) -> Value) -> Answer {
    let window = quarter(ctx)?;
    let limit = ctx.faults.page_cap(ctx.call.limit(1000, 1000)?);
    let offset = usize::try_from(ctx.call.int("offset")?.unwrap_or(0)).map_err(|_| Refused::illegal("offset"))?;
    let coin = ctx.call.text(coin);
    let id = |flow: &Flow| flow.id.to_string();
    let feed = ctx.feed(name, &id, |flow: &Flow| flow.time);
    let flows = window.of(ctx.exchange.flows(ctx.account()?), |flow| flow.time).iter().rev();
    let asked = flows.filter(|flow| flow.kind == kind && coin.is_none_or(|coin| flow.asset == coin) && feed.has(flow));
    Ok(feed.page(asked.skip(offset).take(limit), json))
}

fn deposits(ctx: &mut Context<'_>) -> Answer {
    page(ctx, FlowKind::Deposit, "spot.deposits", "coin", |flow| {
        json!({
            "id": flow.id.to_string(),
            "amount": plain(flow.amount),
            "coin": flow.asset,
            "network": "PAPER",
            "status": 1,
            "address": "paper",
            "addressTag": "",
            "txId": format!("paper-{}", flow.id),
            "insertTime": flow.time,
            "completeTime": flow.time,
            "transferType": 0,
            "confirmTimes": "1/1",
            "unlockConfirm": 0,
            "walletType": 0,
        })
    })
}

fn withdrawals(ctx: &mut Context<'_>) -> Answer {
    page(ctx, FlowKind::Withdrawal, "spot.withdrawals", "coin", |flow| {
        json!({
            "id": flow.id.to_string(),
            "amount": plain(flow.amount),
            "transactionFee": plain(flow.fee),
            "coin": flow.asset,
            "status": 6,
            "address": "paper",
            "txId": format!("paper-{}", flow.id),
            "applyTime": wall(flow.time),
            "network": "PAPER",
            "transferType": 0,
            "info": "",
            "confirmNo": 1,
            "walletType": 0,
            "txKey": "",
            "completeTime": wall(flow.time),
        })
    })
}

fn withdraw(ctx: &mut Context<'_>) -> Answer {
    ctx.call.need("address")?;
    let (asset, amount) = (ctx.call.need("coin")?.to_owned(), ctx.call.need_decimal("amount")?);
    let account = ctx.account()?;
    let flow = ctx.exchange.withdraw(account, &asset, amount)?;
    Ok(json!({ "id": flow.id.to_string() }))
}

fn transfer_kind(name: &str) -> Result<FlowKind, Refused> {
    match name {
        "MAIN_UMFUTURE" => Ok(FlowKind::ToUsdm),
        "UMFUTURE_MAIN" => Ok(FlowKind::ToSpot),
        _ => Err(Refused::new(-1130, "Data sent for parameter 'type' is not valid.")),
    }
}

fn transfer(ctx: &mut Context<'_>) -> Answer {
    let kind = transfer_kind(ctx.call.need("type")?)?;
    let (asset, amount) = (ctx.call.need("asset")?.to_owned(), ctx.call.need_decimal("amount")?);
    let account = ctx.account()?;
    let flow = ctx.exchange.transfer(account, kind, &asset, amount)?;
    Ok(json!({ "tranId": flow.id }))
}

fn transfers(ctx: &mut Context<'_>) -> Answer {
    let name = ctx.call.need("type")?;
    let kind = transfer_kind(name)?;
    let positive = |name: &str, default: i64, most: i64| match ctx.call.int(name)? {
        None => Ok(default),
        Some(value) if value > 0 => Ok(value.min(most)),
        Some(_) => Err(Refused::illegal(name)),
    };
    let (current, size) = (positive("current", 1, i64::MAX)?, positive("size", 10, 100)?);
    let window = quarter(ctx)?;
    let id = |flow: &Flow| flow.id.to_string();
    let feed = ctx.feed("transfers", &id, |flow: &Flow| flow.time);
    let flows = window.of(ctx.exchange.flows(ctx.account()?), |flow| flow.time).iter().rev();
    let asked: Vec<&Flow> = flows.filter(|flow| flow.kind == kind && feed.has(flow)).collect();
    let size = ctx.faults.page_cap(usize::try_from(size).unwrap_or(10));
    let skip = usize::try_from(current - 1).unwrap_or(usize::MAX).saturating_mul(size);
    let total = asked.len();
    let rows = feed.page(asked.into_iter().skip(skip).take(size), |flow| {
        json!({
            "asset": flow.asset,
            "amount": plain(flow.amount),
            "type": name,
            "status": "CONFIRMED",
            "tranId": flow.id,
            "timestamp": flow.time,
        })
    });
    Ok(if total == 0 { json!({ "total": 0 }) } else { json!({ "total": total, "rows": rows }) })
}

/// Conversions, the newest first; `moreData` says that older ones of the window were left out.
fn conversions(ctx: &mut Context<'_>) -> Answer {
    let (Some(from), Some(to)) = ctx.call.window()? else {
        return Err(Refused::missing(if ctx.call.text("startTime").is_none() { "startTime" } else { "endTime" }));
    };
    if to.saturating_sub(from) > 30 * DAY {
        return Err(Refused::new(-1127, "The query time period must be less than 30 days."));
    }
    let asked_limit = ctx.call.limit(100, 1000)?;
    let limit = ctx.faults.page_cap(asked_limit);
    let id = |conversion: &Conversion| conversion.id.to_string();
    let feed = ctx.feed("conversions", &id, |conversion: &Conversion| conversion.time);
    let window = Window { from, to, newest: true };
    let all = window.of(ctx.exchange.conversions(ctx.account()?), |conversion| conversion.time);
    let asked: Vec<&Conversion> = all.iter().rev().filter(|conversion| feed.has(conversion)).collect();
    let more = asked.len() > limit;
    let list = feed.page(asked.into_iter().take(limit), |of| {
        let ratio = |a: rust_decimal::Decimal, b: rust_decimal::Decimal| a.checked_div(b).unwrap_or_default();
        json!({
            "quoteId": format!("paper-{}", of.id),
            "orderId": of.id,
            "orderStatus": "SUCCESS",
            "fromAsset": of.from_asset,
            "fromAmount": plain(of.from_amount),
            "toAsset": of.to_asset,
            "toAmount": plain(of.to_amount),
            "ratio": amount(ratio(of.to_amount, of.from_amount)),
            "inverseRatio": amount(ratio(of.from_amount, of.to_amount)),
            "createTime": of.time,
        })
    });
    Ok(json!({ "list": list, "startTime": from, "endTime": to, "limit": asked_limit, "moreData": more }))
}
