//! Who sells the far end of the curve against coins, and waits for the delivery.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::super::Exchange;
use super::super::draw::Draw;
use super::super::money::DAY;
use super::Bot;
use crate::model::*;

impl Exchange {
    pub(super) fn carry(&mut self, a: usize, bot: &Bot, draw: &mut Draw) {
        let market = Arc::clone(&self.market);
        let universe = market.universe();
        let now = self.now;
        let listed = |id: &&UsdmId| match universe.usdm[id.0].kind {
            ContractKind::Dated { onboard, delivery } => onboard <= now && now < delivery - DAY,
            ContractKind::Perpetual => false,
        };
        let listed: Vec<UsdmId> = bot.dated.iter().filter(listed).copied().collect();
        let Some(&id) = draw.pick(&listed) else { return };
        let Some(coins) = self.coins_of(id) else { return };
        let base = &universe.usdm[id.0].base;
        let equity = self.equity(a, "USDT");
        let leg = self.leg(a, Side::Sell);
        let short: Decimal = bot
            .dated
            .iter()
            .filter(|id| universe.usdm[id.0].base == *base)
            .map(|id| -self.desks[a].qty(*id, leg))
            .sum();
        // What was held against a contract that is delivered now has no other side any more.
        let spare = self.desks[a].free(base) - short * Decimal::new(11, 1);
        if spare > Decimal::ZERO && draw.chance(300) {
            return self.sell_coins(a, coins, spare * draw.share(2000, 6000));
        }
        let here = -self.desks[a].qty(id, leg);
        if here > Decimal::ZERO && draw.chance(250) {
            let share = draw.share(1000, 4000);
            self.close(a, id, leg, share);
            return self.sell_coins(a, coins, here * share);
        }
        let money = self.spendable(a).min(equity * draw.share(200, 700));
        if self.gross(a, "USDT") < equity && self.buy_coins(a, coins, money) {
            self.open(a, id, Side::Sell, money);
        }
    }
}
