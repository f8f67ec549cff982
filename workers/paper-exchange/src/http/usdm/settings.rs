//! How an account trades USD-M: leverage, hedge mode, fees.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::http::context::{Context, trades};
use crate::http::refused::{Answer, Refused};
use crate::http::routes::{Route, Weight};
use crate::http::words::{fixed, number};
use crate::model::Contract;

pub const ROUTES: &[Route] = &[
    Route::act("POST", "/fapi/v1/leverage", 1, set_leverage),
    Route::act("POST", "/fapi/v1/marginType", 1, set_margin_type),
    Route::act("POST", "/fapi/v1/positionSide/dual", 1, set_dual),
    Route::read("/fapi/v1/positionSide/dual", Weight::Fixed(30), dual),
    Route::read("/fapi/v1/leverageBracket", Weight::Fixed(1), brackets),
    Route::read("/fapi/v1/commissionRate", Weight::Fixed(20), rates),
    Route::read("/fapi/v1/multiAssetsMargin", Weight::Fixed(30), |_| Ok(json!({ "multiAssetsMargin": false }))),
    Route::act("POST", "/fapi/v1/multiAssetsMargin", 1, set_multi),
    Route::read("/fapi/v1/feeBurn", Weight::Fixed(30), burn),
    Route::act("POST", "/fapi/v1/feeBurn", 1, set_burn),
    Route::read("/fapi/v1/apiTradingStatus", Weight::Symbol(1, 10), status),
    Route::read("/fapi/v1/accountConfig", Weight::Fixed(5), config),
    Route::read("/fapi/v1/symbolConfig", Weight::Fixed(5), symbol_config),
];

fn done() -> Answer {
    Ok(json!({ "code": 200, "msg": "success" }))
}

fn set_leverage(ctx: &mut Context<'_>) -> Answer {
    let (account, contract) = (ctx.account()?, ctx.usdm_symbol()?);
    let leverage = ctx.call.int("leverage")?.ok_or_else(|| Refused::missing("leverage"))?;
    let most = ctx.contract(contract).max_leverage;
    let wrong = || Refused::new(-4028, format!("Leverage {leverage} is not valid"));
    let leverage = u32::try_from(leverage).ok().filter(|leverage| (1..=most).contains(leverage)).ok_or_else(wrong)?;
    ctx.exchange.set_leverage(account, contract, leverage)?;
    Ok(json!({ "leverage": leverage, "maxNotionalValue": "100000000", "symbol": ctx.contract(contract).symbol }))
}

fn set_margin_type(ctx: &mut Context<'_>) -> Answer {
    ctx.usdm_symbol()?;
    match ctx.call.need("marginType")? {
        "CROSSED" => done(),
        "ISOLATED" => Err(Refused::new(-4048, "This exchange has cross margin only.")),
        _ => Err(Refused::new(-1130, "Data sent for parameter 'marginType' is not valid.")),
    }
}

fn set_dual(ctx: &mut Context<'_>) -> Answer {
    ctx.call.need("dualSidePosition")?;
    let (account, hedged) = (ctx.account()?, ctx.call.flag("dualSidePosition")?);
    ctx.exchange.set_hedged(account, hedged)?;
    done()
}

fn dual(ctx: &mut Context<'_>) -> Answer {
    Ok(json!({ "dualSidePosition": ctx.exchange.is_hedged(ctx.account()?) }))
}

fn brackets(ctx: &mut Context<'_>) -> Answer {
    let bracket = |contract: &Contract| {
        json!({
            "symbol": contract.symbol,
            "notionalCoef": number(Decimal::ONE),
            "brackets": [{
                "bracket": 1,
                "initialLeverage": contract.max_leverage,
                "notionalCap": 100_000_000,
                "notionalFloor": 0,
                "maintMarginRatio": number(contract.maintenance_rate),
                "cum": 0,
            }],
        })
    };
    let (ids, _) = ctx.usdm_symbols()?;
    Ok(ids.into_iter().map(|id| bracket(ctx.contract(id))).collect::<Vec<Value>>().into())
}

fn rates(ctx: &mut Context<'_>) -> Answer {
    let contract = ctx.contract(ctx.usdm_symbol()?);
    let (maker, taker) = ctx.exchange.usdm_rates(ctx.account()?);
    Ok(json!({
        "symbol": contract.symbol,
        "makerCommissionRate": fixed(maker, 6),
        "takerCommissionRate": fixed(taker, 6),
        "rpiCommissionRate": "0.000000",
    }))
}

fn set_multi(ctx: &mut Context<'_>) -> Answer {
    ctx.call.need("multiAssetsMargin")?;
    if ctx.call.flag("multiAssetsMargin")? {
        return Err(Refused::new(-4167, "This exchange has single-asset mode only."));
    }
    Err(Refused::new(-4171, "No need to change multi-assets mode."))
}

fn burn(ctx: &mut Context<'_>) -> Answer {
    Ok(json!({ "feeBurn": ctx.exchange.fee_burn(ctx.account()?) }))
}

fn set_burn(ctx: &mut Context<'_>) -> Answer {
    ctx.call.need("feeBurn")?;
    let (account, on) = (ctx.account()?, ctx.call.flag("feeBurn")?);
    ctx.exchange.set_fee_burn(account, on);
    done()
}

fn status(ctx: &mut Context<'_>) -> Answer {
    Ok(json!({ "indicators": {}, "updateTime": ctx.now }))
}

fn config(ctx: &mut Context<'_>) -> Answer {
    Ok(json!({
        "feeTier": 0,
        "canTrade": true,
        "canDeposit": true,
        "canWithdraw": true,
        "dualSidePosition": ctx.exchange.is_hedged(ctx.account()?),
        "updateTime": 0,
        "multiAssetsMargin": false,
        "tradeGroupId": -1,
    }))
}

fn symbol_config(ctx: &mut Context<'_>) -> Answer {
    let account = ctx.account()?;
    let (ids, _) = ctx.usdm_symbols()?;
    let trading = ids.into_iter().filter(|id| trades(ctx.contract(*id), ctx.now));
    let row = |id| {
        json!({
            "symbol": ctx.contract(id).symbol,
            "marginType": "CROSSED",
            "isAutoAddMargin": false,
            "leverage": ctx.exchange.leverage(account, id),
            "maxNotionalValue": "100000000",
        })
    };
    Ok(trading.map(row).collect::<Vec<Value>>().into())
}
