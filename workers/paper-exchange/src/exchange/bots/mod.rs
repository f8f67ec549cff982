//! Accounts that trade by themselves.
//!
//! A bot is a character. What it does at a minute follows from the seed, the account, the minute, and what
//! everybody can see; it keeps no notes. It trades by the same doors as people do, and what the exchange
//! refuses it simply does not get.

mod basis;
mod chores;
mod farmer;
mod folly;
mod gambler;
mod hand;
mod maker;
mod spot;
mod trend;

use std::sync::Arc;

use rust_decimal::Decimal;

use super::draw::{Draw, Purpose};
use super::money::{DAY, HOUR, MAKER_REBATE, MINUTE};
use super::{Exchange, Settings};
use crate::market::Market;
use crate::model::*;
use folly::Folly;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Character {
    /// Some of everything, and one trade a quarter that it should not have made.
    Mixed,
    /// Too much, too often, until the exchange ends it; then again.
    Gambler,
    /// Long spot, short perpetual: lives on funding.
    Farmer,
    /// Follows yesterday, with stops.
    Trend,
    /// Orders on both sides of the price.
    Maker,
    /// Buys coins, seldom sells.
    Saver,
    /// Long spot, short dated contracts until delivery.
    Basis,
}

#[derive(Debug, Clone)]
pub(super) struct Bot {
    character: Character,
    /// Perpetuals in USDT; each has a spot market of the same base.
    perps: Vec<UsdmId>,
    /// Perpetuals in USDC, for those who have any.
    usdc_perps: Vec<UsdmId>,
    /// Spot markets against USDT.
    spots: Vec<SpotId>,
    /// Dated contracts of all times.
    dated: Vec<UsdmId>,
    /// What it pays in at first, USDT.
    capital: Decimal,
    /// Actions a day, about.
    per_day: u64,
    hedged: bool,
    fee_burn: bool,
    rebate: bool,
    follies: Vec<Folly>,
}

impl Bot {
    pub(super) fn new(settings: &Settings, a: usize, market: &Market) -> Self {
        let mut draw = Draw::new(settings.seed, Purpose::Character, a as u64, 0);
        let character = match a {
            0 => Character::Mixed,
            1 => Character::Gambler,
            // The next five are one of each; after them it is chance.
            2 => Character::Farmer,
            3 => Character::Trend,
            4 => Character::Maker,
            5 => Character::Saver,
            6 => Character::Basis,
            _ => [
                Character::Mixed,
                Character::Farmer,
                Character::Trend,
                Character::Maker,
                Character::Saver,
                Character::Basis,
                Character::Gambler,
            ][usize::try_from(draw.below(7)).unwrap_or(0)],
        };
        let pairs = pairs(market);
        let count = draw.between(5, 12).min(pairs.len() as u64);
        let mut chosen: Vec<usize> = if character == Character::Gambler { vec![] } else { vec![0, 1] };
        while (chosen.len() as u64) < count {
            // Half of the interest is in the dozen that everybody trades.
            let of = if draw.chance(500) { pairs.len().min(12) } else { pairs.len() };
            let wanted = usize::try_from(draw.below(of as u64)).unwrap_or(0);
            let next = (wanted..pairs.len()).chain(0..wanted).find(|place| !chosen.contains(place));
            chosen.extend(next);
        }
        let perps: Vec<UsdmId> = chosen.iter().filter_map(|place| pairs.get(*place)).map(|pair| pair.0).collect();
        let spots = chosen.iter().filter_map(|place| pairs.get(*place)).map(|pair| pair.1).collect();
        let (low, high) = match character {
            Character::Gambler => (3, 8),
            Character::Mixed => (120, 180),
            _ => (20, 400),
        };
        let per_day = match character {
            Character::Maker => draw.between(6, 9),
            Character::Farmer | Character::Basis => draw.between(6, 12),
            Character::Saver => draw.between(5, 16),
            Character::Gambler => draw.between(8, 14),
            Character::Mixed | Character::Trend => draw.between(14, 24),
        };
        Self {
            character,
            usdc_perps: ["BTCUSDC", "ETHUSDC"].iter().filter_map(|symbol| market.usdm(symbol)).collect(),
            dated: dated(market),
            capital: Decimal::from(draw.between(low, high) * 1000),
            per_day,
            hedged: match character {
                Character::Maker => true,
                Character::Trend | Character::Farmer => draw.chance(400),
                _ => false,
            },
            fee_burn: a == 0 || draw.chance(500),
            rebate: a == 0 || draw.chance(400),
            follies: if character == Character::Mixed { folly::plan(settings, market, &perps) } else { Vec::new() },
            perps,
            spots,
        }
    }

    fn trades_usdc(&self) -> bool {
        matches!(self.character, Character::Mixed | Character::Maker) && !self.usdc_perps.is_empty()
    }
}

/// Perpetuals in USDT with the spot market of their base, in the order of the universe.
fn pairs(market: &Market) -> Vec<(UsdmId, SpotId)> {
    let universe = market.universe();
    universe
        .usdm
        .iter()
        .enumerate()
        .filter(|(_, contract)| contract.kind == ContractKind::Perpetual && contract.quote == "USDT")
        .filter_map(|(place, contract)| {
            let spot = market.spot(&format!("{}USDT", contract.base))?;
            Some((UsdmId(place), spot))
        })
        .collect()
}

fn dated(market: &Market) -> Vec<UsdmId> {
    let contracts = market.universe().usdm.iter().enumerate();
    contracts.filter(|(_, contract)| contract.kind != ContractKind::Perpetual).map(|(place, _)| UsdmId(place)).collect()
}

impl Exchange {
    /// Everybody's first day: money comes in and is put where it will be used.
    pub(super) fn open_accounts(&mut self) {
        for a in 0..self.bots.len() {
            let bot = Arc::clone(&self.bots[a]);
            let desk = &mut self.desks[a];
            desk.hedged = bot.hedged;
            desk.fee_burn = bot.fee_burn;
            if bot.character == Character::Maker {
                desk.maker = MAKER_REBATE;
            }
            let to_usdm = match bot.character {
                Character::Mixed => 60,
                Character::Gambler => 80,
                Character::Farmer | Character::Basis => 45,
                Character::Trend | Character::Maker => 80,
                Character::Saver => 5,
            };
            self.bot_pay_in(a, "USDT", bot.capital, bot.capital * Decimal::new(to_usdm, 2));
            if bot.trades_usdc() {
                let amount = bot.capital * Decimal::new(2, 1);
                self.bot_pay_in(a, "USDC", amount, amount);
            }
            if bot.fee_burn {
                self.bot_pay_in(a, "BNB", Decimal::from(4), Decimal::TWO);
            }
        }
        for a in self.bots.len()..self.desks.len() {
            let each = Decimal::from(100_000);
            self.bot_pay_in(a, "USDT", each * Decimal::TWO, each);
            self.bot_pay_in(a, "BNB", Decimal::TEN, Decimal::from(5));
            self.bot_pay_in(a, "BTC", Decimal::ONE, Decimal::ZERO);
        }
    }

    /// Which bots act at which minutes of an hour: `(minute, account)`, ascending.
    pub(super) fn agenda(&self, hour: Millis) -> Vec<(usize, usize)> {
        let mut agenda = Vec::new();
        for (a, bot) in self.bots.iter().enumerate() {
            let mut draw = Draw::new(self.settings.seed, Purpose::Agenda, a as u64, hour);
            // Busy days and quiet ones.
            let mood = Draw::new(self.settings.seed, Purpose::Agenda, a as u64, -(hour / DAY)).between(40, 160);
            for _ in 0..3 {
                if draw.below(24 * 3 * 100) < bot.per_day * mood {
                    agenda.push((usize::try_from(draw.below(60)).unwrap_or(0), a));
                }
            }
            if let Ok(minute) = usize::try_from((self.chore_time(a, hour) - hour) / MINUTE)
                && minute < 60
            {
                agenda.push((minute, a));
            }
            for at in bot.follies.iter().flat_map(Folly::instants) {
                if (hour..hour + HOUR).contains(&at) {
                    agenda.push((usize::try_from((at - hour) / MINUTE).unwrap_or(0), a));
                }
            }
        }
        agenda.sort_unstable();
        agenda.dedup();
        agenda
    }

    /// When, on the day of `at`, an account sees to its money.
    fn chore_time(&self, a: usize, at: Millis) -> Millis {
        let day = at - at.rem_euclid(DAY);
        day + Draw::new(self.settings.seed, Purpose::Chore, a as u64, 0).below(1440).cast_signed() * MINUTE
    }

    pub(super) fn let_bot_act(&mut self, a: usize) {
        let bot = Arc::clone(&self.bots[a]);
        let mut draw = Draw::new(self.settings.seed, Purpose::Action, a as u64, self.now);
        if self.chore_time(a, self.now) == self.now {
            return self.do_chores(a, &bot);
        }
        if self.act_on_folly(a, &bot) {
            return;
        }
        match bot.character {
            Character::Mixed => self.act_mixed(a, &bot, &mut draw),
            Character::Gambler => self.gamble(a, &bot, &mut draw),
            Character::Farmer => self.farm(a, &bot.perps, &mut draw),
            Character::Trend => self.follow_trend(a, &bot.perps, 45, &mut draw),
            Character::Maker if draw.chance(200) => self.make_market(a, &bot.usdc_perps, &mut draw),
            Character::Maker => self.make_market(a, &bot.perps, &mut draw),
            Character::Saver => self.save(a, &bot, &mut draw),
            Character::Basis if draw.chance(150) => self.follow_trend(a, &bot.perps, 15, &mut draw),
            Character::Basis => self.carry(a, &bot, &mut draw),
        }
    }

    /// The first perpetual is for farming, the second for follies, the others for everything else.
    fn act_mixed(&mut self, a: usize, bot: &Bot, draw: &mut Draw) {
        let (farm, others) = bot.perps.split_at(bot.perps.len().min(2));
        match draw.below(100) {
            0..32 => self.follow_trend(a, others, 25, draw),
            32..44 => self.make_market(a, others, draw),
            44..74 => self.save(a, bot, draw),
            74..82 => self.farm(a, farm.get(..1).unwrap_or_default(), draw),
            82..90 => self.carry(a, bot, draw),
            _ => self.follow_trend(a, &bot.usdc_perps, 40, draw),
        }
    }
}
