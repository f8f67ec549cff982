//! Spot orders.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::desk::OpenSpot;
use super::draw::mix;
use super::money::{IN_BNB_SPOT, MOST, SPOT, booked, booked_up, floor_to, is_on};
use super::usdm::{limit_reached, pieces, trigger_reached};
use super::{Exchange, refuse};
use crate::model::*;

const POOR: &str = "Account has insufficient balance for requested action.";

impl Exchange {
    /// Best bid and ask of a spot market, now: one tick to each side of the last price.
    pub fn spot_quote(&self, market: SpotId) -> (Decimal, Decimal) {
        let tick = self.market.universe().spot[market.0].tick;
        let last = self.market.spot_price(market, self.now);
        (last - tick, last + tick)
    }

    pub(super) fn order_spot(&mut self, a: usize, id: SpotId, asked: NewOrder) -> Result<Order, Refusal> {
        // Nothing on spot is a position that could be closed or reduced.
        let mut asked = NewOrder { leg: Leg::Both, reduce_only: false, close_position: false, ..asked.plain() };
        let prices = Arc::clone(&self.market);
        let market = &prices.universe().spot[id.0];
        let (bid, ask) = self.spot_quote(id);
        let best = if asked.side == Side::Buy { ask } else { bid };
        if let Some(quote) = asked.quote_qty {
            if quote <= Decimal::ZERO || quote > MOST {
                return refuse(-1013, "Invalid quote quantity.");
            }
            asked.qty = floor_to(quote / best, market.step);
        }
        self.check_spot(a, market, &asked)?;
        let price = asked.price.or(asked.stop_price).unwrap_or(best);
        if price * asked.qty < market.min_notional {
            return refuse(-1013, "Filter failure: NOTIONAL");
        }
        if asked.waits_for_trigger() && trigger_reached(&asked, prices.spot_price(id, self.now)) {
            return refuse(-2010, "Stop price would trigger immediately.");
        }
        let crosses = asked.kind == OrderKind::Limit && limit_reached(&asked, best);
        if crosses && asked.time_in_force == TimeInForce::GoodTillCrossing {
            return refuse(-2010, "Order would immediately match and take.");
        }
        if !self.can_pay(a, market, &asked, asked.kind == OrderKind::Market, best) {
            return refuse(-2010, POOR);
        }
        let place = self.write_spot(a, market, asked);
        let asked = &self.desks[a].spot_orders[place].asked;
        if asked.kind == OrderKind::Market || crosses {
            self.take_spot(a, id, place, best);
        } else if asked.kind == OrderKind::Limit
            && matches!(asked.time_in_force, TimeInForce::ImmediateOrCancel | TimeInForce::FillOrKill)
        {
            self.desks[a].spot_orders[place].status = OrderStatus::Expired;
        } else {
            let (asset, locked) = held_for(market, asked, asked.qty);
            let order = self.desks[a].spot_orders[place].id;
            let desk = &mut self.desks[a];
            desk.lock(asset, locked);
            desk.spot_open.push(OpenSpot { id: order, place, market: id, triggered: false, locked });
            self.touch(a);
        }
        Ok(self.desks[a].spot_orders[place].clone())
    }

    fn check_spot(&self, a: usize, market: &SpotMarket, asked: &NewOrder) -> Result<(), Refusal> {
        let desk = &self.desks[a];
        self.check_client_id(asked, desk.spot_open.iter().map(|open| open.id), &desk.spot_orders, -2010)?;
        if asked.qty <= Decimal::ZERO || asked.qty > MOST || !is_on(asked.qty, market.step) {
            return refuse(-1013, "Filter failure: LOT_SIZE");
        }
        if asked.has_limit() && asked.price.is_none() {
            return refuse(-1102, "Mandatory parameter 'price' was not sent, was empty/null, or malformed.");
        }
        if asked.waits_for_trigger() && asked.stop_price.is_none() {
            return refuse(-1102, "Mandatory parameter 'stopPrice' was not sent, was empty/null, or malformed.");
        }
        for price in [asked.price, asked.stop_price].into_iter().flatten() {
            if price <= Decimal::ZERO || price > MOST || !is_on(price, market.tick) {
                return refuse(-1013, "Filter failure: PRICE_FILTER");
            }
        }
        Ok(())
    }

    /// Whether the free part of the wallet covers the order, in however many pieces it is filled.
    fn can_pay(&self, a: usize, market: &SpotMarket, asked: &NewOrder, at_market: bool, best: Decimal) -> bool {
        let desk = &self.desks[a];
        if asked.side == Side::Sell {
            return desk.free(&market.base) >= asked.qty;
        }
        let needed = if at_market {
            // The last piece of three is filled two ticks away.
            booked_up((best + market.tick * Decimal::TWO) * asked.qty)
        } else {
            held_for(market, asked, asked.qty).1
        };
        desk.free(&market.quote) >= needed
    }

    fn write_spot(&mut self, a: usize, market: &SpotMarket, asked: NewOrder) -> usize {
        let id = self.ids.spot_order();
        let client_order_id =
            asked.client_order_id.clone().unwrap_or_else(|| format!("paper-{:016x}", mix(id ^ self.settings.seed)));
        let orders = &mut self.desks[a].spot_orders;
        orders.push(Order {
            id,
            client_order_id,
            symbol: market.symbol.clone(),
            asked,
            status: OrderStatus::New,
            executed_qty: Decimal::ZERO,
            executed_quote: Decimal::ZERO,
            created_at: self.now,
            updated_at: self.now,
            forced: None,
        });
        orders.len() - 1
    }

    /// Fills an order at once, from the best price on, tick by tick, never beyond its limit.
    pub(super) fn take_spot(&mut self, a: usize, id: SpotId, place: usize, best: Decimal) {
        let (tick, step) = {
            let market = &self.market.universe().spot[id.0];
            (market.tick, market.step)
        };
        let order = &self.desks[a].spot_orders[place];
        let (side, limit) = (order.asked.side, order.asked.price);
        let left = order.asked.qty - order.executed_qty;
        // An order over an amount of the quote must not spend more than that.
        let pieces =
            if order.asked.quote_qty.is_some() { vec![left] } else { pieces(self.settings.seed, order.id, left, step) };
        let mut price = best;
        for piece in pieces {
            self.fill_spot(a, id, place, piece, price, false);
            price = match side {
                Side::Buy => limit.map_or(price + tick, |limit| limit.min(price + tick)),
                Side::Sell => limit.map_or(price - tick, |limit| limit.max(price - tick)).max(tick),
            };
        }
    }

    /// Fills a stop order at the market, now that its trigger is reached. Its hold is given back already.
    pub(super) fn release_spot(&mut self, a: usize, id: SpotId, place: usize) {
        let prices = Arc::clone(&self.market);
        let market = &prices.universe().spot[id.0];
        let (bid, ask) = self.spot_quote(id);
        let asked = &self.desks[a].spot_orders[place].asked;
        let best = if asked.side == Side::Buy { ask } else { bid };
        if self.can_pay(a, market, asked, true, best) {
            self.take_spot(a, id, place, best);
        } else {
            let order = &mut self.desks[a].spot_orders[place];
            order.status = OrderStatus::Expired;
            order.updated_at = self.now;
        }
    }

    /// One fill out of the free part of the wallet.
    pub(super) fn fill_spot(&mut self, a: usize, id: SpotId, place: usize, qty: Decimal, price: Decimal, maker: bool) {
        let prices = Arc::clone(&self.market);
        let market = &prices.universe().spot[id.0];
        let (now, bnb_price) = (self.now, self.bnb_price());
        let fill_id = self.ids.spot_fill(id);
        let desk = &mut self.desks[a];
        let order = &mut desk.spot_orders[place];
        let side = order.asked.side;
        order.executed_qty += qty;
        order.executed_quote += price * qty;
        order.updated_at = now;
        let done = order.executed_qty >= order.asked.qty;
        order.status = if done { OrderStatus::Filled } else { OrderStatus::PartiallyFilled };
        let order_id = order.id;

        let quote_qty = booked(price * qty);
        let (got, got_amount) = match side {
            Side::Buy => {
                desk.move_free(&market.quote, -quote_qty);
                (&market.base, qty)
            }
            Side::Sell => {
                desk.move_free(&market.base, -qty);
                (&market.quote, quote_qty)
            }
        };
        desk.move_free(got, got_amount);
        let (mut commission, mut asset) = (booked(got_amount * SPOT), got.as_str());
        if desk.fee_burn {
            let bnb = booked(price * qty * SPOT * IN_BNB_SPOT / bnb_price);
            if bnb > Decimal::ZERO && desk.free("BNB") >= bnb {
                (commission, asset) = (bnb, "BNB");
            }
        }
        desk.move_free(asset, -commission);
        desk.spot_fills.entry(id).or_default().push(SpotFill {
            id: fill_id,
            order_id,
            symbol: market.symbol.clone(),
            side,
            price,
            qty,
            quote_qty,
            commission,
            commission_asset: asset.to_owned(),
            is_maker: maker,
            time: now,
        });
        self.touch(a);
    }

    pub(super) fn withdraw_spot_order(&mut self, a: usize, id: SpotId, order: u64) -> Result<Order, Refusal> {
        let prices = Arc::clone(&self.market);
        let desk = &mut self.desks[a];
        let Some(open) = desk.spot_open.iter().position(|open| open.id == order && open.market == id) else {
            return refuse(-2011, "Unknown order sent.");
        };
        let open = desk.spot_open.remove(open);
        let place = open.place;
        let asked = &desk.spot_orders[place].asked;
        let asset = held_for(&prices.universe().spot[id.0], asked, Decimal::ZERO).0;
        desk.lock(asset, -open.locked);
        let order = &mut desk.spot_orders[place];
        order.status = OrderStatus::Canceled;
        order.updated_at = self.now;
        let order = order.clone();
        self.touch(a);
        Ok(order)
    }
}

/// What is held for `qty` of a waiting order, and how much of it.
pub(super) fn held_for<'a>(market: &'a SpotMarket, asked: &NewOrder, qty: Decimal) -> (&'a str, Decimal) {
    match asked.side {
        Side::Sell => (&market.base, qty),
        Side::Buy => {
            let exact = asked.price.or(asked.stop_price).unwrap_or_default() * qty;
            let held = booked_up(exact);
            // Filled in parts, each rounded by itself, it may cost a hair more than in one.
            let hair = if held == exact { Decimal::ZERO } else { Decimal::new(2, 8) };
            (&market.quote, held + hair)
        }
    }
}
