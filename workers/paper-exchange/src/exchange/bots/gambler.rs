//! Who cannot stop.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::super::Exchange;
use super::super::draw::Draw;
use super::super::money::DAY;
use super::Bot;
use crate::model::*;

/// After so long without being liquidated, nothing is enough any more.
const PATIENCE: Millis = 12 * DAY;

impl Exchange {
    pub(super) fn gamble(&mut self, a: usize, bot: &Bot, draw: &mut Draw) {
        let equity = self.equity(a, "USDT");
        if equity < bot.capital / Decimal::from(20) && self.desks[a].positions.is_empty() {
            // It sleeps over it. Some nights are shorter than others.
            if draw.chance(60) {
                let stake = bot.capital * draw.share(4000, 9000);
                self.bot_pay_in(a, "USDT", stake, stake);
            }
            return;
        }
        let since = self.desks[a].liquidated_at.unwrap_or(self.settings.origin);
        let reckless = self.now - since > PATIENCE;
        let held = self.desks[a].positions.first_key_value().map(|((id, leg), position)| (*id, *leg, position.qty));
        let Some((id, leg, qty)) = held else { return self.bet(a, bot, equity, reckless, draw) };
        let market = Arc::clone(&self.market);
        let gain = self.standing(AccountId(a), "USDT").unrealized / equity.max(Decimal::ONE);
        let side = if qty > Decimal::ZERO { Side::Buy } else { Side::Sell };
        if reckless {
            let most = market.universe().usdm[id.0].max_leverage;
            if draw.chance(500) {
                self.close(a, id, leg, Decimal::ONE);
            } else if self.choose_leverage(a, id, most).is_ok() {
                self.open(a, id, side, self.available(AccountId(a), "USDT") * Decimal::from(most) * Decimal::new(9, 1));
            }
        } else if gain > Decimal::new(4, 1) || draw.chance(80) {
            self.close(a, id, leg, Decimal::ONE);
        } else if gain < Decimal::new(-2, 1) && draw.chance(400) {
            // Now it is cheap.
            self.open(a, id, side, equity * Decimal::from(draw.between(2, 5)));
        } else if draw.chance(250) {
            self.close(a, id, leg, draw.share(2000, 5000));
        }
    }

    fn bet(&mut self, a: usize, bot: &Bot, equity: Decimal, reckless: bool, draw: &mut Draw) {
        let Some(&id) = draw.pick(&bot.perps) else { return };
        let most = self.market.universe().usdm[id.0].max_leverage;
        let (leverage, share) = if reckless {
            (most, Decimal::new(9, 1))
        } else {
            (draw.pick(&[10, 20, 20, 25, 50]).copied().unwrap_or(20), draw.share(2000, 7000))
        };
        let leverage = leverage.min(most);
        if self.choose_leverage(a, id, leverage).is_err() {
            return;
        }
        let side = if draw.chance(550) { Side::Buy } else { Side::Sell };
        self.open(a, id, side, equity * Decimal::from(leverage) * share);
    }
}
