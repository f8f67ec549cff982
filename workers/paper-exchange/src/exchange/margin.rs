//! What an account may still open, and when it has lost too much. Cross margin; each margin asset by itself.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::Exchange;
use super::desk::Desk;
use super::money::booked;
use super::position::Position;
use crate::model::*;

/// An account's standing in one margin asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    pub wallet: Decimal,
    /// Of the positions, at their marks.
    pub unrealized: Decimal,
    /// Held for positions: notional at the mark, over the leverage.
    pub positions: Decimal,
    /// Held for orders that would open more.
    pub orders: Decimal,
    /// Below this much `wallet + unrealized`, everything is closed by force.
    pub maintenance: Decimal,
}

impl Standing {
    /// What new positions and transfers may use; not below zero.
    pub fn available(&self) -> Decimal {
        (self.wallet + self.unrealized - self.positions - self.orders).max(Decimal::ZERO)
    }
}

/// The part of an order that would open, not close.
pub(super) fn opening(desk: &Desk, contract: UsdmId, side: Side, leg: Leg, qty: Decimal) -> Decimal {
    let held = desk.qty(contract, leg);
    match (leg, side) {
        (Leg::Long, Side::Sell) | (Leg::Short, Side::Buy) => Decimal::ZERO,
        (Leg::Long | Leg::Short, _) => qty,
        (Leg::Both, Side::Buy) => (qty + held.min(Decimal::ZERO)).max(Decimal::ZERO).min(qty),
        (Leg::Both, Side::Sell) => (qty - held.max(Decimal::ZERO)).max(Decimal::ZERO).min(qty),
    }
}

/// What an order of this side could close of what is held.
pub(super) fn closable(desk: &Desk, contract: UsdmId, side: Side, leg: Leg) -> Decimal {
    let held = desk.qty(contract, leg);
    match side {
        Side::Buy => (-held).max(Decimal::ZERO),
        Side::Sell => held.max(Decimal::ZERO),
    }
}

/// Wallet, unrealized profit and maintenance of one margin asset at the marks given.
fn sums(
    desk: &Desk,
    universe: &Universe,
    asset: &str,
    mut mark: impl FnMut(UsdmId, &Position) -> Decimal,
) -> (Decimal, Decimal, Decimal) {
    let (mut unrealized, mut maintenance) = (Decimal::ZERO, Decimal::ZERO);
    for ((id, _), position) in &desk.positions {
        let contract = &universe.usdm[id.0];
        if contract.quote == asset {
            let mark = mark(*id, position);
            unrealized += position.unrealized(mark);
            maintenance += position.notional(mark) * contract.maintenance_rate;
        }
    }
    (desk.wallet(asset), unrealized, maintenance)
}

/// Whether the positions in this margin asset have to be closed.
pub(super) fn is_broke(desk: &Desk, universe: &Universe, asset: &str, mut mark: impl FnMut(UsdmId) -> Decimal) -> bool {
    let (wallet, unrealized, maintenance) = sums(desk, universe, asset, |id, _| mark(id));
    wallet + unrealized < maintenance
}

/// Whether marks within these ranges could ever close the positions: no range of prices is worse for a
/// position than the worse of its ends.
pub(super) fn could_break(
    desk: &Desk,
    universe: &Universe,
    asset: &str,
    mut range: impl FnMut(UsdmId) -> (Decimal, Decimal),
) -> bool {
    let mut balance = desk.wallet(asset);
    for ((id, _), position) in &desk.positions {
        let contract = &universe.usdm[id.0];
        if contract.quote == asset {
            let (low, high) = range(*id);
            let worth = |mark| position.unrealized(mark) - position.notional(mark) * contract.maintenance_rate;
            balance += worth(low).min(worth(high));
        }
    }
    // Each unrealized profit is rounded by itself; between the ends it may be a hair less than at them.
    balance < Decimal::new(1, 6)
}

impl Exchange {
    /// The futures account's standing in one margin asset, now.
    pub fn standing(&self, account: AccountId, asset: &str) -> Standing {
        let desk = &self.desks[account.0];
        let universe = self.market.universe();
        let mut positions = Decimal::ZERO;
        let mark = |id: UsdmId, position: &Position| {
            let mark = self.market.mark_price(id, self.now);
            let leverage = desk.leverage(id, universe.usdm[id.0].max_leverage);
            positions += position.notional(mark) / Decimal::from(leverage);
            mark
        };
        let (wallet, unrealized, maintenance) = sums(desk, universe, asset, mark);
        let mut orders = Decimal::ZERO;
        for open in &desk.usdm_open {
            let contract = &universe.usdm[open.contract.0];
            let order = &desk.usdm_orders[open.place];
            if contract.quote != asset || order.asked.reduce_only || order.asked.close_position {
                continue;
            }
            let price = order.asked.price.or(order.asked.stop_price).unwrap_or_default();
            let left = order.asked.qty - order.executed_qty;
            let opening = opening(desk, open.contract, order.asked.side, order.asked.leg, left);
            orders += opening * price / Decimal::from(desk.leverage(open.contract, contract.max_leverage));
        }
        Standing { wallet, unrealized, positions, orders, maintenance }
    }

    /// Where the mark of this position would have to go for the account to be liquidated, if all else stood
    /// still; zero where no price does that.
    pub(super) fn liquidation_price(&self, account: usize, id: UsdmId, leg: Leg) -> Decimal {
        let desk = &self.desks[account];
        let market = Arc::clone(&self.market);
        let contract = &market.universe().usdm[id.0];
        let Some(position) = desk.positions.get(&(id, leg)) else { return Decimal::ZERO };
        let (wallet, unrealized, maintenance) =
            sums(desk, market.universe(), &contract.quote, |id, _| market.mark_price(id, self.now));
        let mark = market.mark_price(id, self.now);
        let own = position.unrealized(mark) - position.notional(mark) * contract.maintenance_rate;
        let rest = wallet + unrealized - maintenance - own;
        let qty = position.qty.abs();
        let price = if position.qty > Decimal::ZERO {
            (position.entry * qty - rest) / (qty * (Decimal::ONE - contract.maintenance_rate))
        } else {
            (position.entry * qty + rest) / (qty * (Decimal::ONE + contract.maintenance_rate))
        };
        booked(price.max(Decimal::ZERO))
    }
}
