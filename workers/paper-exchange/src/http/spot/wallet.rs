//! The key, the wallets and their value: `/sapi/v1`.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::market::{coins, dollars};
use crate::faults::Permissions;
use crate::http::context::Context;
use crate::http::refused::{Answer, Refused};
use crate::http::routes::{Route, Weight};
use crate::http::words::amount;
use crate::model::Rights;

pub const ROUTES: &[Route] = &[
    Route::read("/sapi/v1/account/apiRestrictions", Weight::Fixed(1), restrictions),
    Route::read("/sapi/v1/asset/wallet/balance", Weight::Fixed(60), wallets),
    Route::read("/sapi/v1/capital/config/getall", Weight::Fixed(10), coins),
    Route::read("/sapi/v1/asset/assetDividend", Weight::Fixed(10), |_| Ok(json!({ "rows": [], "total": 0 }))),
    Route::read("/sapi/v1/bnbBurn", Weight::Fixed(1), burn),
    Route::act("POST", "/sapi/v1/bnbBurn", 1, set_burn),
];

/// What a key may do. A fault may say more of a read key than is true.
fn restrictions(ctx: &mut Context<'_>) -> Answer {
    let key = ctx.key.ok_or_else(Refused::key)?;
    let fault = ctx.faults.rules.permissions;
    let trades = key.rights == Rights::Trade || fault == Some(Permissions::Trade);
    let withdraws = key.rights == Rights::Trade || fault == Some(Permissions::Withdraw);
    Ok(json!({
        "ipRestrict": false,
        "createTime": ctx.exchange.settings().origin,
        "enableReading": true,
        "enableSpotAndMarginTrading": trades,
        "enableWithdrawals": withdraws,
        "enableInternalTransfer": false,
        "permitsUniversalTransfer": withdraws,
        "enableVanillaOptions": false,
        "enableFutures": trades,
        "enableMargin": false,
        "enablePortfolioMarginTrading": false,
        "enableFixApiTrade": false,
        "enableFixReadOnly": false,
    }))
}

/// What the wallets are worth, in BTC unless another asset is named.
fn wallets(ctx: &mut Context<'_>) -> Answer {
    let account = ctx.account()?;
    let quote = ctx.call.text("quoteAsset").unwrap_or("BTC");
    let unit = dollars(ctx, quote).filter(|unit| !unit.is_zero()).ok_or_else(|| Refused::illegal("quoteAsset"))?;
    let value = |asset: &str, held: Decimal| held * dollars(ctx, asset).unwrap_or_default() / unit;
    let spot = ctx.exchange.spot_balances(account);
    let spot: Decimal = spot.iter().map(|held| value(&held.asset, held.free + held.locked)).sum();
    let usdm = ctx.exchange.usdm_balances(account);
    let usdm: Decimal = usdm.iter().map(|held| value(&held.asset, held.wallet_balance + held.unrealized_profit)).sum();
    let wallet = |name: &str, value: Decimal| json!({ "activate": true, "balance": amount(value), "walletName": name });
    let empty = ["Funding", "Cross Margin", "Isolated Margin", "COIN-M Futures", "Earn"];
    let mut wallets = vec![wallet("Spot", spot), wallet("USD-M Futures", usdm)];
    wallets.extend(empty.map(|name| json!({ "activate": false, "balance": "0", "walletName": name })));
    Ok(Value::Array(wallets))
}

/// Whether fees are paid in BNB: one switch for both markets here.
fn burn(ctx: &mut Context<'_>) -> Answer {
    Ok(json!({ "spotBNBBurn": ctx.exchange.fee_burn(ctx.account()?), "interestBNBBurn": false }))
}

fn set_burn(ctx: &mut Context<'_>) -> Answer {
    ctx.call.need("spotBNBBurn")?;
    let (account, on) = (ctx.account()?, ctx.call.flag("spotBNBBurn")?);
    ctx.exchange.set_fee_burn(account, on);
    burn(ctx)
}
