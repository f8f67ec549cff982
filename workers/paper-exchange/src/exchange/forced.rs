//! What the exchange does to positions by itself: liquidation, ADL, delivery, funding.

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;

use super::Exchange;
use super::draw::{Draw, Purpose};
use super::margin::is_broke;
use super::money::{booked, floor_to};
use super::usdm::Liquidity;
use crate::model::*;

/// A liquidation of at least this notional may be passed on to those who earned from the other side.
const BIG: Decimal = Decimal::from_parts(2_000, 0, 0, false, 0);

impl Exchange {
    /// Funding of every position in a perpetual: longs pay what shorts receive when the rate is positive.
    pub(super) fn settle_funding(&mut self) {
        let market = Arc::clone(&self.market);
        let now = self.now;
        let mut terms: BTreeMap<UsdmId, (Decimal, Decimal)> = BTreeMap::new();
        for a in 0..self.desks.len() {
            let held: Vec<(UsdmId, Decimal)> =
                self.desks[a].positions.iter().map(|((id, _), position)| (*id, position.qty)).collect();
            for (id, qty) in held {
                let contract = &market.universe().usdm[id.0];
                if contract.kind != ContractKind::Perpetual {
                    continue;
                }
                let (mark, rate) =
                    *terms.entry(id).or_insert_with(|| (market.mark_price(id, now), market.funding_rate(id, now)));
                let amount = booked(-qty * mark * rate);
                if !amount.is_zero() {
                    self.book(a, &contract.symbol, "FUNDING_FEE", amount, &contract.quote, None);
                    self.touch(a);
                }
            }
        }
    }

    /// Closes what is held of the contracts that are delivered at this minute, at the mark, without a fill.
    pub(super) fn deliver(&mut self) {
        let market = Arc::clone(&self.market);
        let now = self.now;
        for id in self.deliveries.get(&now).cloned().unwrap_or_default() {
            let contract = &market.universe().usdm[id.0];
            let mark = market.mark_price(id, now);
            for a in 0..self.desks.len() {
                self.drop_usdm_orders(a, OrderStatus::Expired, |of| of == id);
                for leg in [Leg::Both, Leg::Long, Leg::Short] {
                    if let Some(position) = self.desks[a].positions.remove(&(id, leg)) {
                        let earned = position.unrealized(mark);
                        self.book(a, &contract.symbol, "DELIVERED_SETTELMENT", earned, &contract.quote, None);
                    }
                }
                self.touch(a);
            }
        }
    }

    /// Closes everything in a margin asset whose balance does not cover its maintenance margin any more.
    pub(super) fn liquidate_if_broke(&mut self, a: usize) {
        let market = Arc::clone(&self.market);
        for asset in self.desks[a].margin_assets(market.universe()) {
            if is_broke(&self.desks[a], market.universe(), asset, |id| market.mark_price(id, self.now)) {
                self.liquidate(a, asset);
            }
        }
    }

    fn liquidate(&mut self, a: usize, asset: &str) {
        let market = Arc::clone(&self.market);
        let universe = market.universe();
        self.drop_usdm_orders(a, OrderStatus::Canceled, |id| universe.usdm[id.0].quote == asset);
        self.desks[a].liquidated_at = Some(self.now);
        self.touch(a);
        let doomed: Vec<(UsdmId, Leg, Decimal)> = self.desks[a]
            .positions
            .iter()
            .filter(|((id, _), _)| universe.usdm[id.0].quote == asset)
            .map(|((id, leg), position)| (*id, *leg, position.qty))
            .collect();
        let mut closed = Vec::new();
        for (id, leg, qty) in doomed {
            let contract = &universe.usdm[id.0];
            let side = if qty > Decimal::ZERO { Side::Sell } else { Side::Buy };
            let mut draw = Draw::new(self.settings.seed, Purpose::Forced, (a as u64) << 32 | id.0 as u64, self.now);
            // The book is thin when everybody runs the same way.
            let slip = draw.share(5, 40);
            let mark = market.mark_price(id, self.now);
            let price = match side {
                Side::Sell => floor_to(mark * (Decimal::ONE - slip), contract.tick).max(contract.tick),
                Side::Buy => floor_to(mark * (Decimal::ONE + slip), contract.tick) + contract.tick,
            };
            self.force(a, id, side, leg, qty.abs(), price, ForcedKind::Liquidation);
            closed.push((id, side, qty.abs(), price, draw));
        }
        // The fee for being liquidated comes out of what is left, and never out of more than that.
        for (id, _, qty, price, draw) in &mut closed {
            let fee = booked(*qty * *price * draw.share(50, 100)).min(self.desks[a].wallet(asset));
            if fee > Decimal::ZERO {
                self.book(a, &universe.usdm[id.0].symbol, "INSURANCE_CLEAR", -fee, asset, None);
            }
        }
        let short = -self.desks[a].wallet(asset);
        if short > Decimal::ZERO {
            let symbol = closed.first().map_or("", |(id, ..)| universe.usdm[id.0].symbol.as_str());
            self.book(a, symbol, "INSURANCE_CLEAR", short, asset, None);
        }
        for (id, side, qty, price, mut draw) in closed {
            if qty * price >= BIG && draw.chance(333) {
                self.deleverage(a, id, side, qty, price);
            }
        }
    }

    /// The insurance fund has had enough: the winner on the other side gives up part of the position at the
    /// price of the liquidation.
    fn deleverage(&mut self, loser: usize, id: UsdmId, side: Side, qty: Decimal, price: Decimal) {
        // A long was sold, so that a short buys back, and the other way round.
        let against = if side == Side::Sell { Side::Buy } else { Side::Sell };
        let mut best: Option<(Decimal, usize, Leg, Decimal)> = None;
        for (a, desk) in self.desks.iter().enumerate().filter(|(a, _)| *a != loser) {
            for leg in [Leg::Both, Leg::Long, Leg::Short] {
                let Some(position) = desk.positions.get(&(id, leg)) else { continue };
                if (position.qty < Decimal::ZERO) != (against == Side::Buy) {
                    continue;
                }
                // No profit, no turn in this queue.
                let gain = position.unrealized(price) / position.notional(price).max(Decimal::ONE);
                if gain > Decimal::ZERO && best.as_ref().is_none_or(|(most, ..)| gain > *most) {
                    best = Some((gain, a, leg, position.qty.abs()));
                }
            }
        }
        if let Some((_, a, leg, held)) = best {
            self.force(a, id, against, leg, qty.min(held), price, ForcedKind::Adl);
        }
    }

    /// An order that the account never placed.
    #[allow(clippy::too_many_arguments)]
    fn force(&mut self, a: usize, id: UsdmId, side: Side, leg: Leg, qty: Decimal, price: Decimal, why: ForcedKind) {
        let (name, liquidity) = match why {
            ForcedKind::Liquidation => (Some(format!("autoclose-{}", self.now)), Liquidity::Liquidation),
            ForcedKind::Adl => (Some("adl_autoclose".to_owned()), Liquidity::Adl),
        };
        let asked = NewOrder {
            side,
            leg,
            kind: OrderKind::Limit,
            qty,
            quote_qty: None,
            price: Some(price),
            stop_price: None,
            time_in_force: TimeInForce::ImmediateOrCancel,
            reduce_only: leg == Leg::Both,
            close_position: false,
            client_order_id: name,
        };
        let place = self.write_usdm(a, id, asked, Some(why));
        self.fill_usdm(a, id, place, qty, price, liquidity);
    }
}
