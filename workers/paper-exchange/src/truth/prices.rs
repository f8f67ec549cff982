//! Dollars.

use std::sync::Arc;

use rust_decimal::{Decimal, RoundingStrategy};

use crate::market::Market;
use crate::model::Millis;

const MINUTE: Millis = 60_000;

#[derive(Debug)]
pub(super) struct Prices {
    market: Arc<Market>,
    now: Millis,
    provisional: bool,
}

impl Prices {
    pub(super) fn new(market: &Arc<Market>, now: Millis) -> Self {
        Self { market: Arc::clone(market), now, provisional: false }
    }

    /// Whether some record was priced by a minute that has not ended.
    pub(super) fn is_provisional(&self) -> bool {
        self.provisional
    }

    /// An amount at the price of an instant.
    pub(super) fn usd_at(&self, asset: &str, amount: Decimal, at: Millis) -> Decimal {
        if asset == "USDT" || asset == "USDC" {
            return amount;
        }
        let price = self.market.spot(&format!("{asset}USDT")).map(|market| self.market.spot_price(market, at));
        (amount * price.unwrap_or_default()).round_dp_with_strategy(10, RoundingStrategy::MidpointNearestEven)
    }

    /// The amount of a record, at the close of its minute.
    pub(super) fn usd_of(&mut self, asset: &str, amount: Decimal, time: Millis) -> Decimal {
        if asset == "USDT" || asset == "USDC" || amount.is_zero() {
            return amount;
        }
        let last = time - time.rem_euclid(MINUTE) + MINUTE - 1;
        self.provisional |= last > self.now;
        self.usd_at(asset, amount, last.min(self.now))
    }
}
