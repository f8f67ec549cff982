//! All that belongs to one account.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::position::Position;
use crate::model::*;

/// A futures order that waits, for its trigger or for its price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenUsdm {
    pub id: u64,
    /// Its place among the account's futures orders.
    pub place: usize,
    pub contract: UsdmId,
    /// A stop-limit order whose trigger was reached is a limit order from then on.
    pub triggered: bool,
}

/// A spot order that waits, and what of the wallet is held for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenSpot {
    pub id: u64,
    /// Its place among the account's spot orders.
    pub place: usize,
    pub market: SpotId,
    pub triggered: bool,
    pub locked: Decimal,
}

/// One asset of the spot wallet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Purse {
    pub free: Decimal,
    pub locked: Decimal,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Desk {
    // What it has.
    pub spot: BTreeMap<String, Purse>,
    pub usdm: BTreeMap<String, Decimal>,
    /// No position here has size zero.
    pub positions: BTreeMap<(UsdmId, Leg), Position>,
    pub usdm_open: Vec<OpenUsdm>,
    pub spot_open: Vec<OpenSpot>,
    // How it is set up.
    pub hedged: bool,
    pub fee_burn: bool,
    pub maker: Decimal,
    pub leverage: BTreeMap<UsdmId, u32>,
    // What has happened, oldest first.
    pub usdm_orders: Vec<Order>,
    pub spot_orders: Vec<Order>,
    pub usdm_fills: BTreeMap<UsdmId, Vec<UsdmFill>>,
    pub spot_fills: BTreeMap<SpotId, Vec<SpotFill>>,
    pub income: Vec<Income>,
    pub flows: Vec<Flow>,
    pub conversions: Vec<Conversion>,
    /// When the exchange last closed its positions by force.
    pub liquidated_at: Option<Millis>,
    /// Futures fees since the last rebate, in USDT and USDC, positive.
    pub fees_to_rebate: Decimal,
}

/// Leverage of an account that never chose any.
pub(super) const LEVERAGE: u32 = 20;

impl Desk {
    pub(super) fn leverage(&self, contract: UsdmId, most: u32) -> u32 {
        self.leverage.get(&contract).copied().unwrap_or(LEVERAGE).min(most)
    }

    /// Signed; zero without a position.
    pub(super) fn qty(&self, contract: UsdmId, leg: Leg) -> Decimal {
        self.positions.get(&(contract, leg)).map_or(Decimal::ZERO, |position| position.qty)
    }

    pub(super) fn free(&self, asset: &str) -> Decimal {
        self.spot.get(asset).map_or(Decimal::ZERO, |purse| purse.free)
    }

    pub(super) fn wallet(&self, asset: &str) -> Decimal {
        self.usdm.get(asset).copied().unwrap_or(Decimal::ZERO)
    }

    /// Moves the free part of an asset of the spot wallet.
    pub(super) fn move_free(&mut self, asset: &str, change: Decimal) {
        if let Some(purse) = self.spot.get_mut(asset) {
            purse.free += change;
        } else {
            self.spot.insert(asset.to_owned(), Purse { free: change, locked: Decimal::ZERO });
        }
    }

    /// Moves free into locked, or back with a negative amount.
    pub(super) fn lock(&mut self, asset: &str, amount: Decimal) {
        let purse = self.spot.entry(asset.to_owned()).or_default();
        purse.free -= amount;
        purse.locked += amount;
    }

    /// The one place where the futures wallet changes: every change has its row.
    pub(super) fn book(&mut self, row: Income) {
        if let Some(wallet) = self.usdm.get_mut(&row.asset) {
            *wallet += row.amount;
        } else {
            self.usdm.insert(row.asset.clone(), row.amount);
        }
        self.income.push(row);
    }

    pub(super) fn usdm_order(&self, id: u64) -> Option<usize> {
        self.usdm_orders.binary_search_by_key(&id, |order| order.id).ok()
    }

    pub(super) fn spot_order(&self, id: u64) -> Option<usize> {
        self.spot_orders.binary_search_by_key(&id, |order| order.id).ok()
    }

    /// Margin assets that positions or open orders are in, with what is in the wallet.
    pub(super) fn margin_assets<'a>(&self, universe: &'a Universe) -> BTreeSet<&'a str> {
        self.positions.keys().filter_map(|(id, _)| universe.usdm.get(id.0)).map(|c| c.quote.as_str()).collect()
    }
}

/// The rows from `from` to `to`, both included, of rows that ascend by time.
pub(super) fn between<T>(rows: &[T], time: impl Fn(&T) -> Millis, from: Millis, to: Millis) -> &[T] {
    let start = rows.partition_point(|row| time(row) < from);
    let end = rows.partition_point(|row| time(row) <= to);
    rows.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_of_time_has_both_its_ends() {
        let rows = [1, 2, 2, 3, 5];
        assert_eq!(between(&rows, |row| *row, 2, 3), [2, 2, 3]);
        assert_eq!(between(&rows, |row| *row, 6, 9), [0; 0]);
        assert_eq!(between(&rows, |row| *row, 3, 1), [0; 0]);
    }

    #[test]
    fn locked_money_is_not_free() {
        let mut desk = Desk::default();
        desk.move_free("USDT", Decimal::TEN);
        desk.lock("USDT", Decimal::TWO);
        assert_eq!(desk.free("USDT"), Decimal::from(8));
        desk.lock("USDT", -Decimal::TWO);
        assert_eq!(desk.free("USDT"), Decimal::TEN);
    }
}
