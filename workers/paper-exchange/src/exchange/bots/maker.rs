//! Who offers on both sides and lives on the difference.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::super::Exchange;
use super::super::draw::Draw;
use crate::model::*;

impl Exchange {
    pub(super) fn make_market(&mut self, a: usize, perps: &[UsdmId], draw: &mut Draw) {
        let Some(&id) = draw.pick(perps) else { return };
        let market = Arc::clone(&self.market);
        let asset = &market.universe().usdm[id.0].quote;
        let equity = self.equity(a, asset);
        if equity <= Decimal::ZERO {
            return;
        }
        self.cancel_all(a, id);
        let price = market.last_price(id, self.now);
        let unit = equity * draw.share(200, 700) / price;
        for (leg, qty) in self.held(a, id) {
            // What was bought is offered first; too much of it goes at any price.
            if qty.abs() * price > equity {
                self.close(a, id, leg, Decimal::new(5, 1));
            }
            if leg != Leg::Both {
                let side = if qty > Decimal::ZERO { Side::Sell } else { Side::Buy };
                self.rest(a, id, side, leg, qty.abs().min(unit), draw.share(5, 60));
            }
        }
        if self.gross(a, asset) > equity * Decimal::from(3) {
            return;
        }
        for side in [Side::Buy, Side::Sell] {
            let near = draw.share(5, 60);
            self.rest(a, id, side, self.leg(a, side), unit, near);
            self.rest(a, id, side, self.leg(a, side), unit, near + draw.share(20, 150));
        }
    }
}
