//! Once a day an account sees to its money, and the exchange to the account: rebates, gifts, deposits,
//! withdrawals, transfers, conversions.

use rust_decimal::Decimal;

use super::super::Exchange;
use super::super::draw::{Draw, Purpose};
use super::super::money::{DAY, booked};
use super::{Bot, Character};
use crate::model::*;

impl Exchange {
    pub(super) fn do_chores(&mut self, a: usize, bot: &Bot) {
        let mut draw = Draw::new(self.settings.seed, Purpose::Chore, a as u64, self.now);
        self.hand_out_gifts(a, bot, &mut draw);
        if bot.fee_burn {
            self.keep_bnb(a);
        }
        self.move_money(a, bot, &mut draw);
    }

    fn hand_out_gifts(&mut self, a: usize, bot: &Bot, draw: &mut Draw) {
        if bot.rebate {
            let fees = std::mem::take(&mut self.desks[a].fees_to_rebate);
            let rebate = booked(fees * Decimal::new(12, 2));
            if rebate > Decimal::ZERO {
                self.book(a, "", "COMMISSION_REBATE", rebate, "USDT", None);
            }
        }
        // Cents, so that the figures look like somebody decided them.
        let cents = |draw: &mut Draw, low, high| Decimal::new(draw.between(low, high).cast_signed(), 2);
        let third_day = (self.now - self.settings.origin) / DAY == 2;
        for (permille, certain, word, low, high) in [
            (70, false, "REFERRAL_KICKBACK", 50, 800),
            (12, third_day && bot.character == Character::Mixed, "WELCOME_BONUS", 500, 5000),
            (15, false, "API_REBATE", 20, 300),
            (12, false, "FEE_RETURN", 10, 200),
        ] {
            if draw.chance(permille) || certain {
                let amount = cents(draw, low, high);
                self.book(a, "", word, amount, "USDT", None);
            }
        }
        self.touch(a);
    }

    /// Those who pay fees in BNB keep some in both wallets.
    fn keep_bnb(&mut self, a: usize) {
        let price = self.usd_price("BNB");
        let little = Decimal::from(30);
        if self.desks[a].free("BNB") * price < little * Decimal::TWO
            && self.desks[a].free("USDT") > little * Decimal::TEN
        {
            self.swap(a, "USDT", little * Decimal::from(5), "BNB").ok();
        }
        if self.desks[a].wallet("BNB") * price < little {
            self.bot_shift(a, FlowKind::ToUsdm, "BNB", self.desks[a].free("BNB") / Decimal::TWO);
        }
    }

    fn move_money(&mut self, a: usize, bot: &Bot, draw: &mut Draw) {
        let free = self.desks[a].free("USDT");
        let equity = self.equity(a, "USDT");
        if bot.character != Character::Gambler && free + equity < bot.capital / Decimal::from(4) {
            let fresh = bot.capital / Decimal::TWO;
            self.bot_pay_in(a, "USDT", fresh, fresh / Decimal::TWO);
        }
        if draw.chance(if bot.character == Character::Saver { 300 } else { 90 }) {
            let amount = (bot.capital * draw.share(50, 250)).round_dp(0);
            self.bot_pay_in(a, "USDT", amount, Decimal::ZERO);
        }
        if draw.chance(110) {
            let amount = (bot.capital * draw.share(50, 250)).min(self.desks[a].free("USDT") / Decimal::TWO);
            self.pay_out(a, "USDT", amount.round_dp(0)).ok();
        }
        if bot.character != Character::Saver && draw.chance(130) {
            let amount = self.desks[a].free("USDT") * draw.share(1000, 3000);
            self.bot_shift(a, FlowKind::ToUsdm, "USDT", amount);
        }
        if draw.chance(90) {
            let amount = self.available(AccountId(a), "USDT") * draw.share(300, 1000);
            self.bot_shift(a, FlowKind::ToSpot, "USDT", amount);
        }
        if draw.chance(80) {
            let coins = draw.pick(&bot.spots).map(|id| self.market.universe().spot[id.0].base.clone());
            if let Some(coins) = coins {
                if draw.chance(500) {
                    let amount = booked(self.desks[a].free(&coins) * draw.share(200, 1000));
                    self.swap(a, &coins, amount, "USDT").ok();
                } else {
                    let amount = self.desks[a].free("USDT") * draw.share(20, 200);
                    self.swap(a, "USDT", booked(amount), &coins).ok();
                }
            }
        }
        if draw.chance(25) {
            let worth = bot.capital * draw.share(20, 100);
            let amount = worth / self.usd_price("ETH");
            self.bot_pay_in(a, "ETH", amount.round_dp(6), Decimal::ZERO);
        }
    }
}
