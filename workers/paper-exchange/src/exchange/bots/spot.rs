//! Who buys coins for later.

use std::sync::Arc;

use super::super::Exchange;
use super::super::draw::Draw;
use super::super::money::floor_to;
use super::Bot;
use super::hand::{away, order};
use crate::model::*;

impl Exchange {
    pub(super) fn save(&mut self, a: usize, bot: &Bot, draw: &mut Draw) {
        let Some(&id) = draw.pick(&bot.spots) else { return };
        let prices = Arc::clone(&self.market);
        let market = &prices.universe().spot[id.0];
        let price = prices.spot_price(id, self.now);
        let money = self.spendable(a).min(bot.capital * draw.share(20, 200));
        let coins = self.desks[a].free(&market.base);
        match draw.below(100) {
            0..50 => drop(self.buy_coins(a, id, money)),
            50..72 => {
                // Yesterday's bids are forgotten.
                self.forget_spot_orders(a, id);
                let limit = away(price, Side::Buy, draw.share(30, 200), market.tick);
                let asked = NewOrder {
                    kind: OrderKind::Limit,
                    price: Some(limit),
                    ..order(Side::Buy, Leg::Both, floor_to(money / limit, market.step))
                };
                self.order_spot(a, id, asked).ok();
            }
            72..84 => {
                self.forget_spot_orders(a, id);
                let asked = NewOrder {
                    kind: OrderKind::Limit,
                    price: Some(away(price, Side::Sell, draw.share(40, 300), market.tick)),
                    ..order(Side::Sell, Leg::Both, floor_to(coins * draw.share(500, 2000), market.step))
                };
                self.order_spot(a, id, asked).ok();
            }
            84..96 => self.sell_coins(a, id, coins * draw.share(500, 3000)),
            _ => {
                let trigger = away(price, Side::Buy, draw.share(200, 600), market.tick);
                let asked = NewOrder {
                    kind: OrderKind::StopLimit,
                    stop_price: Some(trigger),
                    price: Some(away(trigger, Side::Buy, draw.share(10, 50), market.tick)),
                    ..order(Side::Sell, Leg::Both, floor_to(coins * draw.share(1000, 3000), market.step))
                };
                self.order_spot(a, id, asked).ok();
            }
        }
    }

    fn forget_spot_orders(&mut self, a: usize, id: SpotId) {
        let open = self.desks[a].spot_open.iter().filter(|open| open.market == id);
        for order in open.map(|open| open.id).collect::<Vec<_>>() {
            self.withdraw_spot_order(a, id, order).ok();
        }
    }
}
