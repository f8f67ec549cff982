//! The trade of the quarter that should not have been made.
//!
//! A demonstration needs a loss worth looking at. The plan looks ahead in the market, finds the few days with
//! the largest move of each quarter, and takes the wrong side of it.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::super::money::{DAY, HOUR};
use super::super::{Exchange, Settings};
use super::{Bot, hand::opposite};
use crate::market::Market;
use crate::model::*;

const QUARTER: Millis = 90 * DAY;
/// How long it is held on to.
const HOLD: Millis = 3 * DAY;
/// How many quarters are planned.
const PLANNED: Millis = 13;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folly {
    contract: UsdmId,
    side: Side,
    start: Millis,
}

impl Folly {
    /// When it begins, when more is added to it, when it is given up.
    pub(super) fn instants(&self) -> [Millis; 3] {
        [self.start, self.start + HOLD / 2, self.start + HOLD]
    }
}

pub(super) fn plan(settings: &Settings, market: &Market, perps: &[UsdmId]) -> Vec<Folly> {
    let Some(&contract) = perps.get(1) else { return Vec::new() };
    (0..PLANNED).filter_map(|quarter| worst(settings.origin + quarter * QUARTER, market, contract)).collect()
}

/// The largest move of the quarter that a position of the account's size survives.
fn worst(quarter: Millis, market: &Market, contract: UsdmId) -> Option<Folly> {
    let mut worst: Option<(Decimal, Folly)> = None;
    for day in 8..70 {
        let start = quarter + day * DAY + 14 * HOUR;
        let (before, after) = (market.last_price(contract, start), market.last_price(contract, start + HOLD));
        let change = (after - before) / before;
        let side = if change > Decimal::ZERO { Side::Sell } else { Side::Buy };
        if change.abs() < Decimal::new(3, 1) && worst.as_ref().is_none_or(|(most, _)| change.abs() > *most) {
            worst = Some((change.abs(), Folly { contract, side, start }));
        }
    }
    worst.map(|(_, folly)| folly)
}

impl Exchange {
    /// True when this minute belongs to a folly.
    pub(super) fn act_on_folly(&mut self, a: usize, bot: &Bot) -> bool {
        let now = self.now;
        let Some(folly) = bot.follies.iter().find(|folly| folly.instants().contains(&now)) else { return false };
        let market = Arc::clone(&self.market);
        let equity = self.equity(a, &market.universe().usdm[folly.contract.0].quote);
        let [start, more, _] = folly.instants();
        if now == start {
            self.open(a, folly.contract, folly.side, equity);
        } else if now == more {
            self.open(a, folly.contract, folly.side, equity * Decimal::new(3, 1));
        } else {
            let leg = self.leg(a, folly.side);
            let held = self.desks[a].qty(folly.contract, leg);
            let closing = if held > Decimal::ZERO { Side::Sell } else { Side::Buy };
            if !held.is_zero() && closing == opposite(folly.side) {
                self.close(a, folly.contract, leg, Decimal::ONE);
            }
        }
        true
    }
}
