//! Orders that wait: when the next one acts, and what it does then.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::Exchange;
use super::desk::Desk;
use super::draw::mix;
use super::margin::{closable, could_break, is_broke};
use super::money::floor_to;
use super::sheet::{Of, Sheet};
use super::spot::held_for;
use super::usdm::{Liquidity, limit_reached, trigger_reached};
use crate::model::*;

/// The first minute of the sheet's hour, not before `from`, at which something happens to this account if
/// nobody touches it.
pub(super) fn next_wake(desk: &Desk, universe: &Universe, sheet: &mut Sheet, from: usize) -> Option<usize> {
    let mut wake = None;
    for open in &desk.usdm_open {
        let asked = &desk.usdm_orders[open.place].asked;
        let waits = asked.waits_for_trigger() && !open.triggered;
        let of = if waits { Of::Mark(open.contract) } else { Of::Last(open.contract) };
        wake = first(wake, sheet, of, from, |price| reached(asked, waits, price));
    }
    for open in &desk.spot_open {
        let asked = &desk.spot_orders[open.place].asked;
        let waits = asked.waits_for_trigger() && !open.triggered;
        wake = first(wake, sheet, Of::Spot(open.market), from, |price| reached(asked, waits, price));
    }
    for asset in desk.margin_assets(universe) {
        if could_break(desk, universe, asset, |id| sheet.bound(Of::Mark(id))) {
            let until = wake.unwrap_or(60);
            let mut minutes = from..until;
            let broke =
                minutes.find(|minute| is_broke(desk, universe, asset, |id| sheet.minutes(Of::Mark(id))[*minute]));
            wake = broke.or(wake);
        }
    }
    wake
}

fn reached(asked: &NewOrder, waits: bool, price: Decimal) -> bool {
    if waits { trigger_reached(asked, price) } else { limit_reached(asked, price) }
}

/// The earlier of `wake` and the first minute whose price does it.
fn first(wake: Option<usize>, sheet: &mut Sheet, of: Of, from: usize, acts: impl Fn(Decimal) -> bool) -> Option<usize> {
    // What neither end of a range does, nothing inside it does.
    let (low, high) = sheet.bound(of);
    if !acts(low) && !acts(high) {
        return wake;
    }
    let minutes = sheet.minutes(of);
    (from..wake.unwrap_or(60)).find(|minute| acts(minutes[*minute])).or(wake)
}

impl Exchange {
    /// Triggers and fills what the prices of this grid minute reach, oldest order first.
    pub(super) fn act_on_orders(&mut self, a: usize) {
        for order in self.desks[a].usdm_open.iter().map(|open| open.id).collect::<Vec<_>>() {
            self.act_on_usdm(a, order);
        }
        for order in self.desks[a].spot_open.iter().map(|open| open.id).collect::<Vec<_>>() {
            self.act_on_spot(a, order);
        }
    }

    fn act_on_usdm(&mut self, a: usize, order: u64) {
        let desk = &mut self.desks[a];
        let Some(spot) = desk.usdm_open.iter().position(|open| open.id == order) else { return };
        let (contract, place) = (desk.usdm_open[spot].contract, desk.usdm_open[spot].place);
        let asked = &desk.usdm_orders[place].asked;
        if asked.waits_for_trigger() && !desk.usdm_open[spot].triggered {
            if !trigger_reached(asked, self.market.mark_price(contract, self.now)) {
                return;
            }
            if asked.has_limit() {
                desk.usdm_open[spot].triggered = true;
                desk.usdm_orders[place].updated_at = self.now;
                self.touch(a);
                self.meet_usdm(a, order, Liquidity::Taker);
            } else {
                desk.usdm_open.remove(spot);
                self.touch(a);
                self.release_usdm(a, contract, place);
            }
        } else {
            self.meet_usdm(a, order, Liquidity::Maker);
        }
    }

    /// Fills a futures limit order if the last price has reached it; one in four in two parts.
    fn meet_usdm(&mut self, a: usize, order: u64, liquidity: Liquidity) {
        let desk = &mut self.desks[a];
        let Some(spot) = desk.usdm_open.iter().position(|open| open.id == order) else { return };
        let (id, place) = (desk.usdm_open[spot].contract, desk.usdm_open[spot].place);
        let asked = &desk.usdm_orders[place].asked;
        if !limit_reached(asked, self.market.last_price(id, self.now)) {
            return;
        }
        let price = asked.price.unwrap_or_default();
        let mut left = asked.qty - desk.usdm_orders[place].executed_qty;
        if asked.reduces() {
            let closable = closable(desk, id, asked.side, asked.leg);
            if closable < left {
                // What is left of the position is all that this order is still for.
                left = closable;
                let order = &mut desk.usdm_orders[place];
                order.asked.qty = order.executed_qty + left;
            }
        }
        if left.is_zero() {
            desk.usdm_open.remove(spot);
            let order = &mut desk.usdm_orders[place];
            order.status = if order.executed_qty.is_zero() { OrderStatus::Expired } else { OrderStatus::Filled };
            order.updated_at = self.now;
            self.touch(a);
            return;
        }
        let half = floor_to(left / Decimal::TWO, self.market.universe().usdm[id.0].step);
        let first = desk.usdm_orders[place].executed_qty.is_zero();
        if liquidity == Liquidity::Maker && first && mix(order).is_multiple_of(4) && !half.is_zero() {
            self.fill_usdm(a, id, place, half, price, liquidity);
        } else {
            desk.usdm_open.remove(spot);
            self.fill_usdm(a, id, place, left, price, liquidity);
        }
    }

    fn act_on_spot(&mut self, a: usize, order: u64) {
        let prices = Arc::clone(&self.market);
        let desk = &mut self.desks[a];
        let Some(spot) = desk.spot_open.iter().position(|open| open.id == order) else { return };
        let (id, place) = (desk.spot_open[spot].market, desk.spot_open[spot].place);
        let market = &prices.universe().spot[id.0];
        let asked = desk.spot_orders[place].asked.clone();
        let price = prices.spot_price(id, self.now);
        let waits = asked.waits_for_trigger() && !desk.spot_open[spot].triggered;
        if waits {
            if !trigger_reached(&asked, price) {
                return;
            }
            desk.spot_orders[place].updated_at = self.now;
            if !asked.has_limit() {
                let open = desk.spot_open.remove(spot);
                desk.lock(held_for(market, &asked, Decimal::ZERO).0, -open.locked);
                self.touch(a);
                return self.release_spot(a, id, place);
            }
            desk.spot_open[spot].triggered = true;
            self.touch(a);
        }
        let desk = &mut self.desks[a];
        if !limit_reached(&asked, price) {
            return;
        }
        let limit = asked.price.unwrap_or_default();
        let left = asked.qty - desk.spot_orders[place].executed_qty;
        let half = floor_to(left / Decimal::TWO, market.step);
        let first = desk.spot_orders[place].executed_qty.is_zero();
        let in_parts = !waits && first && mix(order).is_multiple_of(4) && !half.is_zero();
        let qty = if in_parts { half } else { left };
        let (asset, needed) = match asked.side {
            Side::Buy => (&market.quote, super::money::booked(limit * qty)),
            Side::Sell => (&market.base, qty),
        };
        let given_back = if in_parts { needed } else { desk.spot_open[spot].locked };
        desk.lock(asset, -given_back);
        if in_parts {
            desk.spot_open[spot].locked -= given_back;
        } else {
            desk.spot_open.remove(spot);
        }
        self.fill_spot(a, id, place, qty, limit, !waits);
    }
}
