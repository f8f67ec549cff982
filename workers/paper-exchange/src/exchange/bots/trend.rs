//! Who buys what has risen and sells what has fallen, with a stop under it.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::super::Exchange;
use super::super::draw::Draw;
use super::super::money::DAY;
use crate::model::*;

impl Exchange {
    /// One decision about one of these contracts; a new position is at most `percent` of the equity.
    pub(super) fn follow_trend(&mut self, a: usize, perps: &[UsdmId], percent: u64, draw: &mut Draw) {
        let Some(&id) = draw.pick(perps) else { return };
        let market = Arc::clone(&self.market);
        let asset = &market.universe().usdm[id.0].quote;
        let yesterday = market.last_price(id, (self.now - DAY).max(self.settings.origin));
        let side = if market.last_price(id, self.now) >= yesterday { Side::Buy } else { Side::Sell };
        let held = self.held(a, id);
        let Some(&(leg, qty)) = held.first() else {
            let equity = self.equity(a, asset);
            if draw.chance(200) || self.gross(a, asset) > equity * Decimal::from(3) {
                return;
            }
            self.cancel_all(a, id);
            if self.open(a, id, side, equity * draw.share(percent * 30, percent * 100)) {
                self.protect(a, id, self.leg(a, side), draw.share(250, 600), draw.share(400, 1200));
            }
            return;
        };
        let with_it = (qty > Decimal::ZERO) == (side == Side::Buy);
        if !with_it || draw.chance(120) {
            self.cancel_all(a, id);
            self.close(a, id, leg, Decimal::ONE);
        } else if draw.chance(450) {
            self.close(a, id, leg, draw.share(2000, 5000));
        } else if draw.chance(400) {
            self.open(a, id, side, self.equity(a, asset) * draw.share(percent * 10, percent * 30));
        } else {
            self.cancel_all(a, id);
            self.protect(a, id, leg, draw.share(150, 400), draw.share(300, 900));
        }
    }
}
