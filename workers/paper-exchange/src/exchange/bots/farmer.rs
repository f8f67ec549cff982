//! Who holds coins, sells as many short, and waits for the funding.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::super::Exchange;
use super::super::draw::Draw;
use super::super::money::FUNDING_EVERY;
use crate::model::*;

impl Exchange {
    pub(super) fn farm(&mut self, a: usize, perps: &[UsdmId], draw: &mut Draw) {
        let Some(&id) = draw.pick(perps) else { return };
        let Some(coins) = self.coins_of(id) else { return };
        let market = Arc::clone(&self.market);
        let price = market.last_price(id, self.now);
        let equity = self.equity(a, "USDT");
        let settled = self.now - self.now.rem_euclid(FUNDING_EVERY);
        let pays = settled <= self.settings.origin || market.funding_rate(id, settled) > Decimal::ZERO;
        let leg = self.leg(a, Side::Sell);
        let short = -self.desks[a].qty(id, leg);
        if short <= Decimal::ZERO {
            let money = self.spendable(a).min(equity * draw.share(800, 2500));
            if pays && self.gross(a, "USDT") < equity * Decimal::TWO && self.buy_coins(a, coins, money) {
                self.open(a, id, Side::Sell, money);
            }
        } else if !pays && draw.chance(500) {
            self.close(a, id, leg, Decimal::ONE);
            self.sell_coins(a, coins, short);
        } else if draw.chance(500) {
            // A little more of both, or a little less.
            let piece = short * draw.share(300, 1500);
            if draw.chance(600) && pays && self.gross(a, "USDT") < equity * Decimal::TWO {
                if self.buy_coins(a, coins, piece * price) {
                    self.open(a, id, Side::Sell, piece * price);
                }
            } else {
                self.close(a, id, leg, piece / short);
                self.sell_coins(a, coins, piece);
            }
        }
    }
}
