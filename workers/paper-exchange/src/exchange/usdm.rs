//! Futures orders: what is accepted, and what happens to it at once.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::desk::OpenUsdm;
use super::draw::{Draw, Purpose, mix};
use super::margin::{closable, opening};
use super::money::{MOST, TAKER, booked, is_on};
use super::{Exchange, refuse};
use crate::model::*;

impl NewOrder {
    pub(super) fn waits_for_trigger(&self) -> bool {
        !matches!(self.kind, OrderKind::Market | OrderKind::Limit)
    }

    pub(super) fn has_limit(&self) -> bool {
        matches!(self.kind, OrderKind::Limit | OrderKind::StopLimit | OrderKind::TakeProfitLimit)
    }

    /// Without what has no meaning for its kind, so that nothing downstream has to ask.
    pub(super) fn plain(mut self) -> Self {
        self.price = self.price.filter(|_| self.has_limit());
        self.stop_price = self.stop_price.filter(|_| self.waits_for_trigger());
        self.quote_qty = self.quote_qty.filter(|_| self.kind == OrderKind::Market && self.qty.is_zero());
        self
    }

    /// Whether the order may only make a futures position smaller.
    pub(super) fn reduces(&self) -> bool {
        self.reduce_only
            || self.close_position
            || matches!((self.leg, self.side), (Leg::Long, Side::Sell) | (Leg::Short, Side::Buy))
    }
}

/// Whether a price of now would take effect on a stop or take-profit order.
pub(super) fn trigger_reached(asked: &NewOrder, price: Decimal) -> bool {
    let stop = asked.stop_price.unwrap_or_default();
    let rising = match asked.kind {
        OrderKind::StopMarket | OrderKind::StopLimit => asked.side == Side::Buy,
        _ => asked.side == Side::Sell,
    };
    if rising { price >= stop } else { price <= stop }
}

/// Whether a limit order meets this price.
pub(super) fn limit_reached(asked: &NewOrder, price: Decimal) -> bool {
    let limit = asked.price.unwrap_or_default();
    match asked.side {
        Side::Buy => price <= limit,
        Side::Sell => price >= limit,
    }
}

/// A size in the pieces in which it is filled: mostly one, sometimes two or three.
pub(super) fn pieces(seed: u64, order: u64, qty: Decimal, step: Decimal) -> Vec<Decimal> {
    let mut draw = Draw::new(seed, Purpose::Split, order, 0);
    let count = match draw.below(10) {
        0..7 => 1,
        7..9 => 2,
        _ => 3,
    };
    let piece = super::money::floor_to(qty / Decimal::from(count), step);
    if count == 1 || piece.is_zero() {
        return vec![qty];
    }
    let mut pieces = vec![piece; count - 1];
    pieces.push(qty - piece * Decimal::from(count - 1));
    pieces
}

impl Exchange {
    /// Best bid and ask of a contract, now: one tick to each side of the last price.
    pub fn usdm_quote(&self, contract: UsdmId) -> (Decimal, Decimal) {
        let tick = self.market.universe().usdm[contract.0].tick;
        let last = self.market.last_price(contract, self.now);
        (last - tick, last + tick)
    }

    pub(super) fn order_usdm(&mut self, a: usize, id: UsdmId, asked: NewOrder) -> Result<Order, Refusal> {
        let mut asked = NewOrder { quote_qty: None, ..asked.plain() };
        let market = Arc::clone(&self.market);
        let contract = &market.universe().usdm[id.0];
        self.check_usdm(a, contract, &asked)?;
        let desk = &self.desks[a];
        if asked.reduces() {
            let closable = closable(desk, id, asked.side, asked.leg);
            if closable.is_zero() {
                return refuse(-2022, "ReduceOnly Order is rejected.");
            }
            asked.qty = if asked.close_position { Decimal::ZERO } else { asked.qty.min(closable) };
        }
        if asked.waits_for_trigger() && trigger_reached(&asked, market.mark_price(id, self.now)) {
            return refuse(-2021, "Order would immediately trigger.");
        }
        let (bid, ask) = self.usdm_quote(id);
        let best = if asked.side == Side::Buy { ask } else { bid };
        let price = asked.price.or(asked.stop_price).unwrap_or(best);
        if !asked.reduces() {
            let notional = price * asked.qty;
            if notional < contract.min_notional {
                return refuse(
                    -4164,
                    format!(
                        "Order's notional must be no smaller than {} (unless you choose reduce only).",
                        contract.min_notional.normalize()
                    ),
                );
            }
            if !self.affords(a, id, &asked, price, asked.qty) {
                return refuse(-2019, "Margin is insufficient.");
            }
        }
        let crosses = asked.kind == OrderKind::Limit && limit_reached(&asked, best);
        if crosses && asked.time_in_force == TimeInForce::GoodTillCrossing {
            return refuse(
                -5022,
                "Due to the order could not be executed as maker, the Post Only order will be rejected. \
                 The order will not be recorded in the order history",
            );
        }
        let place = self.write_usdm(a, id, asked, None);
        let asked = &self.desks[a].usdm_orders[place].asked;
        if asked.kind == OrderKind::Market || crosses {
            self.take_usdm(a, id, place, best);
        } else if asked.kind == OrderKind::Limit
            && matches!(asked.time_in_force, TimeInForce::ImmediateOrCancel | TimeInForce::FillOrKill)
        {
            self.desks[a].usdm_orders[place].status = OrderStatus::Expired;
        } else {
            let order = self.desks[a].usdm_orders[place].id;
            let open = OpenUsdm { id: order, place, contract: id, triggered: false };
            self.desks[a].usdm_open.push(open);
            self.touch(a);
        }
        Ok(self.desks[a].usdm_orders[place].clone())
    }

    /// What can be said about an order without a look at prices.
    fn check_usdm(&self, a: usize, contract: &Contract, asked: &NewOrder) -> Result<(), Refusal> {
        let desk = &self.desks[a];
        if let ContractKind::Dated { onboard, delivery } = contract.kind
            && !(onboard..delivery).contains(&self.now)
        {
            return refuse(-4108, "This contract is not open for trading at this time.");
        }
        if desk.hedged == (asked.leg == Leg::Both) {
            return refuse(-4061, "Order's position side does not match user's setting.");
        }
        if asked.reduce_only && asked.leg != Leg::Both {
            return refuse(-1106, "Parameter 'reduceonly' sent when not required.");
        }
        self.check_client_id(asked, desk.usdm_open.iter().map(|open| open.id), &desk.usdm_orders, -4116)?;
        if asked.close_position {
            if !matches!(asked.kind, OrderKind::StopMarket | OrderKind::TakeProfitMarket) {
                return refuse(-4136, "Target strategy invalid for this order type with closePosition.");
            }
        } else if asked.qty <= Decimal::ZERO {
            return refuse(-4003, "Quantity less than or equal to zero.");
        } else if asked.qty > MOST {
            return refuse(-4005, "Quantity greater than max quantity.");
        } else if !is_on(asked.qty, contract.step) {
            return refuse(-1111, "Precision is over the maximum defined for this asset.");
        }
        if asked.has_limit() && asked.price.is_none() {
            return refuse(-1102, "Mandatory parameter 'price' was not sent, was empty/null, or malformed.");
        }
        if asked.waits_for_trigger() && asked.stop_price.is_none() {
            return refuse(-1102, "Mandatory parameter 'stopprice' was not sent, was empty/null, or malformed.");
        }
        for price in [asked.price, asked.stop_price].into_iter().flatten() {
            if price <= Decimal::ZERO {
                return refuse(-4001, "Price less than 0.");
            }
            if price > MOST {
                return refuse(-4002, "Price greater than max price.");
            }
            if !is_on(price, contract.tick) {
                return refuse(-4014, "Price not increased by tick size.");
            }
        }
        Ok(())
    }

    /// Client ids are unique among open orders, and those of forced orders are the exchange's own.
    pub(super) fn check_client_id(
        &self,
        asked: &NewOrder,
        open: impl Iterator<Item = u64>,
        orders: &[Order],
        duplicate: i32,
    ) -> Result<(), Refusal> {
        let Some(wanted) = &asked.client_order_id else { return Ok(()) };
        if ["autoclose-", "adl_autoclose", "settlement_autoclose", "delivery_autoclose"]
            .iter()
            .any(|own| wanted.starts_with(own))
            || wanted.len() > 36
        {
            return refuse(-4015, "Client order id is not valid.");
        }
        for id in open {
            if let Ok(place) = orders.binary_search_by_key(&id, |order| order.id)
                && orders[place].client_order_id == *wanted
            {
                return refuse(duplicate, "Duplicate order sent.");
            }
        }
        Ok(())
    }

    /// Whether the margin and the fee of what an order opens are there.
    fn affords(&self, a: usize, id: UsdmId, asked: &NewOrder, price: Decimal, qty: Decimal) -> bool {
        let contract = &self.market.universe().usdm[id.0];
        let desk = &self.desks[a];
        let opening = opening(desk, id, asked.side, asked.leg, qty);
        if opening.is_zero() {
            return true;
        }
        let notional = opening * price;
        let needed = notional / Decimal::from(desk.leverage(id, contract.max_leverage)) + notional * TAKER;
        needed <= self.standing(AccountId(a), &contract.quote).available()
    }

    /// Writes an order down as new. Returns its place.
    pub(super) fn write_usdm(&mut self, a: usize, id: UsdmId, asked: NewOrder, forced: Option<ForcedKind>) -> usize {
        let order_id = self.ids.usdm_order();
        let client_order_id = asked
            .client_order_id
            .clone()
            .unwrap_or_else(|| format!("paper-{:016x}", mix(order_id ^ self.settings.seed)));
        let symbol = self.market.universe().usdm[id.0].symbol.clone();
        let orders = &mut self.desks[a].usdm_orders;
        orders.push(Order {
            id: order_id,
            client_order_id,
            symbol,
            asked,
            status: OrderStatus::New,
            executed_qty: Decimal::ZERO,
            executed_quote: Decimal::ZERO,
            created_at: self.now,
            updated_at: self.now,
            forced,
        });
        orders.len() - 1
    }

    /// Fills an order at once, from the best price on, tick by tick, never beyond its limit.
    pub(super) fn take_usdm(&mut self, a: usize, id: UsdmId, place: usize, best: Decimal) {
        let (tick, step) = {
            let contract = &self.market.universe().usdm[id.0];
            (contract.tick, contract.step)
        };
        let order = &self.desks[a].usdm_orders[place];
        let (side, limit) = (order.asked.side, order.asked.price);
        let pieces = pieces(self.settings.seed, order.id, order.asked.qty - order.executed_qty, step);
        let mut price = best;
        for piece in pieces {
            self.fill_usdm(a, id, place, piece, price, Liquidity::Taker);
            price = match side {
                Side::Buy => limit.map_or(price + tick, |limit| limit.min(price + tick)),
                Side::Sell => limit.map_or(price - tick, |limit| limit.max(price - tick)).max(tick),
            };
        }
    }

    /// Fills an order that waited for its trigger, now that it is reached.
    pub(super) fn release_usdm(&mut self, a: usize, id: UsdmId, place: usize) {
        let desk = &self.desks[a];
        let asked = &desk.usdm_orders[place].asked;
        let (bid, ask) = self.usdm_quote(id);
        let best = if asked.side == Side::Buy { ask } else { bid };
        let qty = if asked.reduces() {
            let closable = closable(desk, id, asked.side, asked.leg);
            if asked.close_position { closable } else { asked.qty.min(closable) }
        } else {
            asked.qty
        };
        let able = !qty.is_zero() && (asked.reduces() || self.affords(a, id, asked, best, qty));
        let order = &mut self.desks[a].usdm_orders[place];
        order.updated_at = self.now;
        if able {
            order.asked.qty = qty;
            self.take_usdm(a, id, place, best);
        } else {
            order.status = OrderStatus::Expired;
        }
    }

    /// One fill: the position, the wallet and the rows of both.
    pub(super) fn fill_usdm(
        &mut self,
        a: usize,
        id: UsdmId,
        place: usize,
        qty: Decimal,
        price: Decimal,
        liquidity: Liquidity,
    ) {
        let market = Arc::clone(&self.market);
        let contract = &market.universe().usdm[id.0];
        let now = self.now;
        let trade_id = self.ids.usdm_fill(id);
        let desk = &mut self.desks[a];
        let order = &mut desk.usdm_orders[place];
        let (side, leg) = (order.asked.side, order.asked.leg);
        order.executed_qty += qty;
        order.executed_quote += price * qty;
        order.updated_at = now;
        let done = order.executed_qty >= order.asked.qty;
        order.status = if done { OrderStatus::Filled } else { OrderStatus::PartiallyFilled };
        let order_id = order.id;

        let position = desk.positions.entry((id, leg)).or_default();
        let realized = position.trade(if side == Side::Buy { qty } else { -qty }, price, now);
        if position.qty.is_zero() {
            desk.positions.remove(&(id, leg));
        }

        let rate = match liquidity {
            Liquidity::Maker => desk.maker,
            Liquidity::Taker | Liquidity::Liquidation => TAKER,
            Liquidity::Adl => Decimal::ZERO,
        };
        let (mut commission, mut asset) = (booked(price * qty * rate), contract.quote.as_str());
        if desk.fee_burn && rate > Decimal::ZERO && liquidity != Liquidity::Liquidation {
            let bnb = booked(price * qty * rate * super::money::IN_BNB_USDM / self.bnb_price());
            let desk = &self.desks[a];
            if bnb > Decimal::ZERO && desk.wallet("BNB") >= bnb {
                (commission, asset) = (bnb, "BNB");
            }
        }
        let desk = &mut self.desks[a];
        // A rebate is a share of the fee as it would be in the margin asset, whatever it was paid in.
        desk.fees_to_rebate += booked(price * qty * rate).max(Decimal::ZERO);
        desk.usdm_fills.entry(id).or_default().push(UsdmFill {
            id: trade_id,
            order_id,
            symbol: contract.symbol.clone(),
            side,
            leg,
            price,
            qty,
            quote_qty: booked(price * qty),
            realized_pnl: realized,
            margin_asset: contract.quote.clone(),
            commission,
            commission_asset: asset.to_owned(),
            is_maker: liquidity == Liquidity::Maker,
            time: now,
        });
        if !realized.is_zero() {
            self.book(a, &contract.symbol, "REALIZED_PNL", realized, &contract.quote, Some(trade_id));
        }
        if !commission.is_zero() {
            self.book(a, &contract.symbol, "COMMISSION", -commission, asset, Some(trade_id));
        }
        self.touch(a);
    }

    pub(super) fn withdraw_usdm_order(&mut self, a: usize, id: UsdmId, order: u64) -> Result<Order, Refusal> {
        let desk = &mut self.desks[a];
        let Some(open) = desk.usdm_open.iter().position(|open| open.id == order && open.contract == id) else {
            return refuse(-2011, "Unknown order sent.");
        };
        let place = desk.usdm_open.remove(open).place;
        let order = &mut desk.usdm_orders[place];
        order.status = OrderStatus::Canceled;
        order.updated_at = self.now;
        let order = order.clone();
        self.touch(a);
        Ok(order)
    }

    /// Takes every open order of these contracts off the book.
    pub(super) fn drop_usdm_orders(&mut self, a: usize, status: OrderStatus, of: impl Fn(UsdmId) -> bool) {
        let now = self.now;
        let desk = &mut self.desks[a];
        let (gone, kept) = std::mem::take(&mut desk.usdm_open).into_iter().partition(|open| of(open.contract));
        desk.usdm_open = kept;
        let gone: Vec<OpenUsdm> = gone;
        for open in gone {
            desk.usdm_orders[open.place].status = status;
            desk.usdm_orders[open.place].updated_at = now;
        }
    }
}

/// How a futures fill came about, which is what its fee depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Liquidity {
    Maker,
    Taker,
    Liquidation,
    Adl,
}
