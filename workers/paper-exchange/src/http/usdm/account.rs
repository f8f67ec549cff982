//! Balances and positions of USD-M.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::http::context::{Context, trades};
use crate::http::refused::{Answer, Refused};
use crate::http::routes::{Route, Weight};
use crate::http::words::{amount, is_open, leg, on, plain};
use crate::model::{AccountId, Contract, Leg, UsdmBalance, UsdmId, UsdmPosition};

pub const ROUTES: &[Route] = &[
    Route::read("/fapi/v3/account", Weight::Fixed(5), account_v3),
    Route::read("/fapi/v2/account", Weight::Fixed(5), account_v2),
    Route::read("/fapi/v3/balance", Weight::Fixed(5), balance),
    Route::read("/fapi/v2/balance", Weight::Fixed(5), balance),
    Route::read("/fapi/v3/positionRisk", Weight::Fixed(5), risk_v3),
    Route::read("/fapi/v2/positionRisk", Weight::Fixed(5), risk_v2),
];

/// A position and what it binds.
struct Held {
    position: UsdmPosition,
    contract: Contract,
    /// Signed.
    notional: Decimal,
    initial: Decimal,
    maintenance: Decimal,
}

fn eight(value: Decimal) -> Decimal {
    value.round_dp(8)
}

fn held(ctx: &Context<'_>, account: AccountId) -> Vec<Held> {
    let market = ctx.exchange.market();
    let with_margin = |position: UsdmPosition| {
        let contract = ctx.contract(market.usdm(&position.symbol)?).clone();
        let notional = eight(position.qty * position.mark_price);
        let initial = eight(notional.abs() / Decimal::from(position.leverage.max(1)));
        let maintenance = eight(notional.abs() * contract.maintenance_rate);
        Some(Held { position, contract, notional, initial, maintenance })
    };
    ctx.exchange.usdm_positions(account).into_iter().filter_map(with_margin).collect()
}

/// What resting orders bind, by margin asset: those that would make a position larger.
fn bound_by_orders(ctx: &Context<'_>, account: AccountId) -> BTreeMap<String, Decimal> {
    let market = ctx.exchange.market();
    let mut bound: BTreeMap<String, Decimal> = BTreeMap::new();
    let open = ctx.exchange.usdm_orders(account).iter().filter(|order| is_open(order.status));
    for order in open.filter(|order| !order.asked.reduce_only && !order.asked.close_position) {
        let Some((price, id)) = order.asked.price.zip(market.usdm(&order.symbol)) else { continue };
        let leverage = Decimal::from(ctx.exchange.leverage(account, id).max(1));
        let margin = eight(price * (order.asked.qty - order.executed_qty) / leverage);
        *bound.entry(ctx.contract(id).quote.clone()).or_default() += margin;
    }
    bound
}

/// Margin of one asset.
struct Margin {
    balance: UsdmBalance,
    positions: Decimal,
    orders: Decimal,
    maintenance: Decimal,
}

impl Margin {
    fn total(&self) -> Decimal {
        self.balance.wallet_balance + self.balance.unrealized_profit
    }

    fn initial(&self) -> Decimal {
        self.positions + self.orders
    }

    fn available(&self) -> Decimal {
        (self.total() - self.initial()).max(Decimal::ZERO)
    }

    fn json(&self, now: i64) -> Value {
        json!({
            "asset": self.balance.asset,
            "walletBalance": amount(self.balance.wallet_balance),
            "unrealizedProfit": amount(self.balance.unrealized_profit),
            "marginBalance": amount(self.total()),
            "maintMargin": amount(self.maintenance),
            "initialMargin": amount(self.initial()),
            "positionInitialMargin": amount(self.positions),
            "openOrderInitialMargin": amount(self.orders),
            "crossWalletBalance": amount(self.balance.wallet_balance),
            "crossUnPnl": amount(self.balance.unrealized_profit),
            "availableBalance": amount(self.available()),
            "maxWithdrawAmount": amount(self.available().min(self.balance.wallet_balance.max(Decimal::ZERO))),
            "updateTime": now,
        })
    }
}

fn margins(ctx: &Context<'_>, account: AccountId, held: &[Held]) -> Vec<Margin> {
    let orders = bound_by_orders(ctx, account);
    let margin = |balance: UsdmBalance| {
        let of_asset = || held.iter().filter(|held| held.position.margin_asset == balance.asset);
        Margin {
            positions: of_asset().map(|held| held.initial).sum(),
            maintenance: of_asset().map(|held| held.maintenance).sum(),
            orders: orders.get(&balance.asset).copied().unwrap_or_default(),
            balance,
        }
    };
    ctx.exchange.usdm_balances(account).into_iter().map(margin).collect()
}

/// The account without its positions. In single-asset mode the totals are those of USDT.
fn account(ctx: &Context<'_>, held: &[Held]) -> Answer {
    let margins = margins(ctx, ctx.account()?, held);
    let assets: Vec<Value> = margins.iter().map(|margin| margin.json(ctx.now)).collect();
    let usdt = assets.iter().find(|asset| asset["asset"] == "USDT");
    let total = |name: &str| usdt.map_or(Value::from("0.00000000"), |asset| asset[name].clone());
    Ok(json!({
        "totalInitialMargin": total("initialMargin"),
        "totalMaintMargin": total("maintMargin"),
        "totalWalletBalance": total("walletBalance"),
        "totalUnrealizedProfit": total("unrealizedProfit"),
        "totalMarginBalance": total("marginBalance"),
        "totalPositionInitialMargin": total("positionInitialMargin"),
        "totalOpenOrderInitialMargin": total("openOrderInitialMargin"),
        "totalCrossWalletBalance": total("crossWalletBalance"),
        "totalCrossUnPnl": total("crossUnPnl"),
        "availableBalance": total("availableBalance"),
        "maxWithdrawAmount": total("maxWithdrawAmount"),
        "assets": assets,
    }))
}

fn account_v3(ctx: &mut Context<'_>) -> Answer {
    let held = held(ctx, ctx.account()?);
    let mut said = account(ctx, &held)?;
    let position = |held: &Held| {
        json!({
            "symbol": held.position.symbol,
            "positionSide": leg(held.position.leg),
            "positionAmt": on(held.position.qty, held.contract.step),
            "unrealizedProfit": amount(held.position.unrealized_profit),
            "isolatedMargin": "0",
            "notional": amount(held.notional),
            "isolatedWallet": "0",
            "initialMargin": amount(held.initial),
            "maintMargin": amount(held.maintenance),
            "updateTime": held.position.updated_at,
        })
    };
    said["positions"] = held.iter().map(position).collect();
    Ok(said)
}

fn account_v2(ctx: &mut Context<'_>) -> Answer {
    let held = held(ctx, ctx.account()?);
    let mut said = json!({
        "feeTier": 0,
        "feeBurn": ctx.exchange.fee_burn(ctx.account()?),
        "canTrade": true,
        "canDeposit": true,
        "canWithdraw": true,
        "updateTime": 0,
        "multiAssetsMargin": false,
        "tradeGroupId": -1,
    });
    if let (Value::Object(said), Value::Object(more)) = (&mut said, account(ctx, &held)?) {
        said.extend(more);
    }
    let position = |held: &Held| {
        json!({
            "symbol": held.position.symbol,
            "initialMargin": amount(held.initial),
            "maintMargin": amount(held.maintenance),
            "unrealizedProfit": amount(held.position.unrealized_profit),
            "positionInitialMargin": amount(held.initial),
            "openOrderInitialMargin": "0",
            "leverage": held.position.leverage.to_string(),
            "isolated": false,
            "entryPrice": on(held.position.entry_price, held.contract.tick),
            "breakEvenPrice": on(held.position.entry_price, held.contract.tick),
            "maxNotional": "100000000",
            "bidNotional": "0",
            "askNotional": "0",
            "positionSide": leg(held.position.leg),
            "positionAmt": on(held.position.qty, held.contract.step),
            "notional": amount(held.notional),
            "isolatedWallet": "0",
            "updateTime": held.position.updated_at,
        })
    };
    said["positions"] = held.iter().map(position).collect();
    Ok(said)
}

fn balance(ctx: &mut Context<'_>) -> Answer {
    let account = ctx.account()?;
    let held = held(ctx, account);
    let row = |margin: &Margin| {
        json!({
            "accountAlias": "paper",
            "asset": margin.balance.asset,
            "balance": amount(margin.balance.wallet_balance),
            "crossWalletBalance": amount(margin.balance.wallet_balance),
            "crossUnPnl": amount(margin.balance.unrealized_profit),
            "availableBalance": amount(margin.available()),
            "maxWithdrawAmount": amount(margin.available().min(margin.balance.wallet_balance.max(Decimal::ZERO))),
            "marginAvailable": true,
            "updateTime": ctx.now,
        })
    };
    Ok(margins(ctx, account, &held).iter().map(row).collect::<Vec<Value>>().into())
}

/// The positions of the parameter `symbol`, or all.
fn asked(ctx: &Context<'_>) -> Result<Vec<Held>, Refused> {
    let symbol = match ctx.call.text("symbol") {
        Some(_) => Some(ctx.contract(ctx.usdm_symbol()?).symbol.clone()),
        None => None,
    };
    let held = held(ctx, ctx.account()?).into_iter();
    Ok(held.filter(|held| symbol.as_ref().is_none_or(|symbol| held.position.symbol == *symbol)).collect())
}

fn liquidation(held: &Held) -> String {
    if held.position.liquidation_price <= Decimal::ZERO {
        return "0".into();
    }
    on(held.position.liquidation_price, held.contract.tick)
}

fn risk_v3(ctx: &mut Context<'_>) -> Answer {
    let row = |held: &Held| {
        json!({
            "symbol": held.position.symbol,
            "positionSide": leg(held.position.leg),
            "positionAmt": on(held.position.qty, held.contract.step),
            "entryPrice": on(held.position.entry_price, held.contract.tick),
            "breakEvenPrice": on(held.position.entry_price, held.contract.tick),
            "markPrice": amount(held.position.mark_price),
            "unRealizedProfit": amount(held.position.unrealized_profit),
            "liquidationPrice": liquidation(held),
            "isolatedMargin": "0",
            "notional": amount(held.notional),
            "marginAsset": held.position.margin_asset,
            "isolatedWallet": "0",
            "initialMargin": amount(held.initial),
            "maintMargin": amount(held.maintenance),
            "positionInitialMargin": amount(held.initial),
            "openOrderInitialMargin": "0",
            "adl": 2,
            "bidNotional": "0",
            "askNotional": "0",
            "updateTime": held.position.updated_at,
        })
    };
    Ok(asked(ctx)?.iter().map(row).collect::<Vec<Value>>().into())
}

/// Every contract that trades, flat ones too.
fn risk_v2(ctx: &mut Context<'_>) -> Answer {
    let account = ctx.account()?;
    let held = asked(ctx)?;
    let (ids, _) = ctx.usdm_symbols()?;
    let hedged = ctx.exchange.is_hedged(account);
    let legs: &[Leg] = if hedged { &[Leg::Long, Leg::Short] } else { &[Leg::Both] };
    let row = |id: UsdmId, of: Leg| {
        let contract = ctx.contract(id);
        let held = held.iter().find(|held| held.position.symbol == contract.symbol && held.position.leg == of);
        let mark = ctx.exchange.market().mark_price(id, ctx.now);
        let zero = Decimal::ZERO;
        json!({
            "symbol": contract.symbol,
            "positionAmt": on(held.map_or(zero, |held| held.position.qty), contract.step),
            "entryPrice": on(held.map_or(zero, |held| held.position.entry_price), contract.tick),
            "breakEvenPrice": on(held.map_or(zero, |held| held.position.entry_price), contract.tick),
            "markPrice": amount(mark),
            "unRealizedProfit": amount(held.map_or(zero, |held| held.position.unrealized_profit)),
            "liquidationPrice": held.map_or("0".into(), liquidation),
            "leverage": ctx.exchange.leverage(account, id).to_string(),
            "maxNotionalValue": "100000000",
            "marginType": "cross",
            "isolatedMargin": "0.00000000",
            "isAutoAddMargin": "false",
            "positionSide": leg(of),
            "notional": held.map_or("0".into(), |held| plain(held.notional)),
            "isolatedWallet": "0",
            "updateTime": held.map_or(0, |held| held.position.updated_at),
        })
    };
    let trading = ids.into_iter().filter(|id| trades(ctx.contract(*id), ctx.now));
    Ok(trading
        .flat_map(|id| legs.iter().map(move |of| (id, *of)))
        .map(|(id, of)| row(id, of))
        .collect::<Vec<_>>()
        .into())
}
