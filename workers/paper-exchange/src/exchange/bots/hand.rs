//! What a bot's hand can do: orders in words of a few arguments. What is refused is not done.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::super::Exchange;
use super::super::money::{booked, floor_to};
use crate::model::*;

/// A plain market order of this side, to be changed where it should be something else.
pub(super) fn order(side: Side, leg: Leg, qty: Decimal) -> NewOrder {
    NewOrder {
        side,
        leg,
        kind: OrderKind::Market,
        qty,
        quote_qty: None,
        price: None,
        stop_price: None,
        time_in_force: TimeInForce::GoodTillCancel,
        reduce_only: false,
        close_position: false,
        client_order_id: None,
    }
}

pub(super) fn opposite(side: Side) -> Side {
    match side {
        Side::Buy => Side::Sell,
        Side::Sell => Side::Buy,
    }
}

impl Exchange {
    /// Pays an amount in, and moves a part of it on to the futures wallet.
    pub(super) fn bot_pay_in(&mut self, a: usize, asset: &str, amount: Decimal, to_usdm: Decimal) {
        if self.pay_in(a, asset, booked(amount)).is_ok() && to_usdm > Decimal::ZERO {
            self.bot_shift(a, FlowKind::ToUsdm, asset, to_usdm);
        }
    }

    pub(super) fn bot_shift(&mut self, a: usize, kind: FlowKind, asset: &str, amount: Decimal) {
        self.shift(a, kind, asset, booked(amount)).ok();
    }

    /// Wallet and unrealized profit of a margin asset.
    pub(super) fn equity(&self, a: usize, asset: &str) -> Decimal {
        let standing = self.standing(AccountId(a), asset);
        standing.wallet + standing.unrealized
    }

    /// Free USDT beyond the little that a bot keeps for withdrawals and transfers.
    pub(super) fn spendable(&self, a: usize) -> Decimal {
        let kept = self.bots.get(a).map(|bot| bot.capital * Decimal::new(3, 2)).unwrap_or_default();
        (self.desks[a].free("USDT") - kept).max(Decimal::ZERO)
    }

    /// Notional of all positions in a margin asset.
    pub(super) fn gross(&self, a: usize, asset: &str) -> Decimal {
        let universe = self.market.universe();
        let held = self.desks[a].positions.iter().filter(|((id, _), _)| universe.usdm[id.0].quote == asset);
        held.map(|((id, _), position)| position.notional(self.market.mark_price(*id, self.now))).sum()
    }

    /// The leg in which this account goes long or short.
    pub(super) fn leg(&self, a: usize, side: Side) -> Leg {
        match (self.desks[a].hedged, side) {
            (false, _) => Leg::Both,
            (true, Side::Buy) => Leg::Long,
            (true, Side::Sell) => Leg::Short,
        }
    }

    /// What is held of a contract, leg by leg, signed.
    pub(super) fn held(&self, a: usize, id: UsdmId) -> Vec<(Leg, Decimal)> {
        let legs = [Leg::Both, Leg::Long, Leg::Short].into_iter();
        legs.map(|leg| (leg, self.desks[a].qty(id, leg))).filter(|(_, qty)| !qty.is_zero()).collect()
    }

    /// A market order that opens `notional`. True when it was done.
    pub(super) fn open(&mut self, a: usize, id: UsdmId, side: Side, notional: Decimal) -> bool {
        let market = Arc::clone(&self.market);
        let contract = &market.universe().usdm[id.0];
        let qty = floor_to(notional / market.last_price(id, self.now), contract.step);
        qty > Decimal::ZERO && self.order_usdm(a, id, order(side, self.leg(a, side), qty)).is_ok()
    }

    /// Closes a share of a leg at the market; all of it when the share is one.
    pub(super) fn close(&mut self, a: usize, id: UsdmId, leg: Leg, share: Decimal) {
        let held = self.desks[a].qty(id, leg);
        let step = self.market.universe().usdm[id.0].step;
        let qty = if share >= Decimal::ONE { held.abs() } else { floor_to(held.abs() * share, step).max(step) };
        let side = if held > Decimal::ZERO { Side::Sell } else { Side::Buy };
        let asked = NewOrder { reduce_only: leg == Leg::Both, ..order(side, leg, qty) };
        self.order_usdm(a, id, asked).ok();
    }

    /// A limit order at a distance from the last price, post-only; true sides: below to buy, above to sell.
    pub(super) fn rest(&mut self, a: usize, id: UsdmId, side: Side, leg: Leg, qty: Decimal, distance: Decimal) {
        let market = Arc::clone(&self.market);
        let contract = &market.universe().usdm[id.0];
        let price = away(market.last_price(id, self.now), side, distance, contract.tick);
        let asked = NewOrder {
            kind: OrderKind::Limit,
            price: Some(price),
            time_in_force: TimeInForce::GoodTillCrossing,
            ..order(side, leg, floor_to(qty, contract.step))
        };
        self.order_usdm(a, id, asked).ok();
    }

    /// Stop and take-profit orders that close a leg, at these distances from the mark.
    pub(super) fn protect(&mut self, a: usize, id: UsdmId, leg: Leg, stop: Decimal, profit: Decimal) {
        let market = Arc::clone(&self.market);
        let tick = market.universe().usdm[id.0].tick;
        let closing = if self.desks[a].qty(id, leg) > Decimal::ZERO { Side::Sell } else { Side::Buy };
        let mark = market.mark_price(id, self.now);
        for (kind, side, distance) in
            [(OrderKind::StopMarket, opposite(closing), stop), (OrderKind::TakeProfitMarket, closing, profit)]
        {
            let asked = NewOrder {
                kind,
                stop_price: Some(away(mark, side, distance, tick)),
                close_position: true,
                ..order(closing, leg, Decimal::ZERO)
            };
            self.order_usdm(a, id, asked).ok();
        }
    }

    pub(super) fn cancel_all(&mut self, a: usize, id: UsdmId) {
        self.drop_usdm_orders(a, OrderStatus::Canceled, |of| of == id);
        self.touch(a);
    }

    /// Buys coins for so many of the quote. True when it was done.
    pub(super) fn buy_coins(&mut self, a: usize, id: SpotId, quote: Decimal) -> bool {
        let asked = NewOrder { quote_qty: Some(booked(quote)), ..order(Side::Buy, Leg::Both, Decimal::ZERO) };
        self.order_spot(a, id, asked).is_ok()
    }

    /// Sells coins, but never the last tenth: who holds none of a coin looks as if it never did.
    pub(super) fn sell_coins(&mut self, a: usize, id: SpotId, qty: Decimal) {
        let market = Arc::clone(&self.market);
        let market = &market.universe().spot[id.0];
        let most = self.desks[a].free(&market.base) * Decimal::new(9, 1);
        let qty = floor_to(qty.min(most), market.step);
        self.order_spot(a, id, order(Side::Sell, Leg::Both, qty)).ok();
    }

    /// The spot market of a contract's base against USDT.
    pub(super) fn coins_of(&self, id: UsdmId) -> Option<SpotId> {
        self.market.spot(&format!("{}USDT", self.market.universe().usdm[id.0].base))
    }
}

/// A price on the tick, so far below (to buy) or above (to sell).
pub(super) fn away(price: Decimal, side: Side, distance: Decimal, tick: Decimal) -> Decimal {
    match side {
        Side::Buy => floor_to(price * (Decimal::ONE - distance), tick).max(tick),
        Side::Sell => floor_to(price * (Decimal::ONE + distance), tick) + tick,
    }
}
