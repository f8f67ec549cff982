//! Balances and positions at an instant, from the first row on.

use std::collections::BTreeMap;

use rust_decimal::{Decimal, RoundingStrategy};

use super::sums::spelled;
use crate::exchange::Exchange;
use crate::model::*;

/// A position as its fills add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub qty: Decimal,
    pub entry: Decimal,
}

impl Held {
    /// The entry is the average of what is held, to eight decimals each time that something is added; what is
    /// taken away does not move it, and what goes through zero starts anew.
    fn after(self, fill: &UsdmFill) -> Self {
        let change = match fill.side {
            Side::Buy => fill.qty,
            Side::Sell => -fill.qty,
        };
        let qty = self.qty + change;
        if qty.is_zero() {
            return Self::default();
        }
        let adds = self.qty * change >= Decimal::ZERO;
        let entry = if adds {
            let paid = self.qty.abs() * self.entry + fill.qty * fill.price;
            (paid / qty.abs()).round_dp_with_strategy(8, RoundingStrategy::MidpointNearestEven)
        } else if self.qty * qty > Decimal::ZERO {
            self.entry
        } else {
            fill.price
        };
        Self { qty, entry }
    }
}

/// A position at its mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marked {
    pub symbol: String,
    pub native_symbol: String,
    pub margin_asset: String,
    pub leg: Leg,
    pub qty: Decimal,
    pub entry: Decimal,
    pub mark: Decimal,
    pub notional: Decimal,
    pub unrealized: Decimal,
}

#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// Free and locked together.
    pub spot: BTreeMap<String, Decimal>,
    pub usdm: BTreeMap<String, Decimal>,
    pub positions: BTreeMap<(UsdmId, Leg), Held>,
}

impl Holdings {
    pub(super) fn fold(exchange: &Exchange, account: AccountId, at: Millis) -> Self {
        let mut holdings = Self::default();
        holdings.fold_flows(exchange, account, at);
        holdings.fold_spot(exchange, account, at);
        for row in exchange.income(account).iter().take_while(|row| row.time <= at) {
            add(&mut holdings.usdm, &row.asset, row.amount);
        }
        for (place, contract) in exchange.market().universe().usdm.iter().enumerate() {
            // A delivery leaves nothing, and writes no fill.
            if matches!(contract.kind, ContractKind::Dated { delivery, .. } if delivery <= at) {
                continue;
            }
            let id = UsdmId(place);
            for fill in exchange.usdm_fills(account, id).iter().take_while(|fill| fill.time <= at) {
                let held = holdings.positions.entry((id, fill.leg)).or_default();
                *held = held.after(fill);
            }
        }
        holdings.positions.retain(|_, held| !held.qty.is_zero());
        holdings
    }

    fn fold_flows(&mut self, exchange: &Exchange, account: AccountId, at: Millis) {
        for flow in exchange.flows(account).iter().take_while(|flow| flow.time <= at) {
            let change = match flow.kind {
                FlowKind::Deposit | FlowKind::ToSpot => flow.amount - flow.fee,
                FlowKind::Withdrawal | FlowKind::ToUsdm => -(flow.amount + flow.fee),
            };
            // The futures side of a transfer is a row of that wallet's own ledger.
            add(&mut self.spot, &flow.asset, change);
        }
        for conversion in exchange.conversions(account).iter().take_while(|conversion| conversion.time <= at) {
            add(&mut self.spot, &conversion.from_asset, -conversion.from_amount);
            add(&mut self.spot, &conversion.to_asset, conversion.to_amount);
        }
    }

    fn fold_spot(&mut self, exchange: &Exchange, account: AccountId, at: Millis) {
        for (place, market) in exchange.market().universe().spot.iter().enumerate() {
            for fill in exchange.spot_fills(account, SpotId(place)).iter().take_while(|fill| fill.time <= at) {
                let sign = if fill.side == Side::Buy { Decimal::ONE } else { -Decimal::ONE };
                add(&mut self.spot, &market.base, sign * fill.qty);
                add(&mut self.spot, &market.quote, -sign * fill.quote_qty);
                add(&mut self.spot, &fill.commission_asset, -fill.commission);
            }
        }
    }

    /// The positions at the marks of an instant.
    pub(super) fn marked(&self, exchange: &Exchange, at: Millis) -> Vec<Marked> {
        let market = exchange.market();
        let mark = |((id, leg), held): (&(UsdmId, Leg), &Held)| {
            let contract = &market.universe().usdm[id.0];
            let mark = market.mark_price(*id, at);
            let gain = (mark - held.entry) * held.qty;
            Marked {
                symbol: spelled(contract),
                native_symbol: contract.symbol.clone(),
                margin_asset: contract.quote.clone(),
                leg: *leg,
                qty: held.qty,
                entry: held.entry,
                mark,
                notional: (held.qty.abs() * mark).round_dp_with_strategy(10, RoundingStrategy::MidpointNearestEven),
                unrealized: gain.round_dp_with_strategy(8, RoundingStrategy::MidpointNearestEven),
            }
        };
        self.positions.iter().map(mark).collect()
    }
}

fn add(to: &mut BTreeMap<String, Decimal>, asset: &str, amount: Decimal) {
    *to.entry(asset.to_owned()).or_default() += amount;
}
