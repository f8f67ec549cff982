//! Candles: what the prices did over a span, second by second, and what was traded meanwhile.

use super::bridge::SECONDS;
use super::coins::Coin;
use super::fixed::UNITS;
use super::noise::Key;
use super::universe::{Kind, Listing};

/// Steps and trades of one hour. They add up: the hour's are those of its minutes, however they are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Turnover {
    /// Of a minute, on average.
    steps: i64,
    trades: i64,
    key: Key,
}

impl Turnover {
    /// What a listing trades in an hour. Sizes are those of the prices at the start: wild hours trade more.
    pub fn new(listing: &Listing, coin: &Coin, key: Key, wildness: i64) -> Self {
        // Spot trades a fifth of the perpetual, dated contracts a fortieth.
        let part = match listing.kind {
            Kind::Spot => 5,
            Kind::Perpetual => 1,
            Kind::Dated { .. } => 40,
        };
        let usd = i128::from(coin.turnover) / part * i128::from(wildness) / 640;
        // Half to one and a half times as much, hour by hour.
        let usd = (usd * i128::from((1 << 20) + key.spread(-1, 1 << 19))) >> 20;
        let steps = usd * i128::from(UNITS) * 10_i128.pow(listing.step_scale) / i128::from(listing.start);
        Self { steps: (steps / 60).max(40) as i64, trades: (usd / 60 / 1_500).max(4) as i64, key }
    }

    /// Steps and trades from the start of the hour to a second of it, 0 to 3600.
    pub fn until(&self, second: i64) -> (i64, i64) {
        let (whole, rest) = ((second / 60).min(60), second % 60);
        let (mut steps, mut trades) = (self.steps * whole, self.trades * whole);
        // A minute's surplus is missing in the minute after it.
        if whole % 2 == 1 {
            let surplus = self.surplus(whole - 1);
            (steps, trades) = (steps + surplus.0, trades + surplus.1);
        }
        if second < SECONDS {
            let surplus = self.surplus(whole);
            steps += (self.steps + surplus.0) * rest / 60;
            trades += (self.trades + surplus.1) * rest / 60;
        }
        (steps, trades)
    }

    /// What a minute has over the average: less than half of it.
    fn surplus(&self, minute: i64) -> (i64, i64) {
        let tilt = self.key.spread(minute / 2, 1 << 9) * if minute % 2 == 0 { 1 } else { -1 };
        // Towards zero, so that both of a pair have the same.
        (self.steps * tilt / 1100, self.trades * tilt / 1100)
    }
}

#[cfg(test)]
mod tests {
    use super::super::noise::Stream;
    use super::*;

    #[test]
    fn an_hour_trades_what_its_minutes_trade_and_never_takes_back() {
        for steps in [40, 77, 12_345] {
            let turnover = Turnover { steps, trades: 7, key: Key::new(1, Stream::Volume, steps as usize) };
            assert_eq!(turnover.until(3600), (steps * 60, 420));
            for second in 0..3600 {
                let (this, next) = (turnover.until(second), turnover.until(second + 1));
                assert!(this.0 <= next.0 && this.1 <= next.1, "second {second}");
            }
        }
    }
}
