//! The weather that all symbols share: a regime for every day, and the market's own move for every hour.

use super::fixed::{ONE, ppm};
use super::noise::{Key, Stream};
use super::series::{PIECE_HOURS, Series};

/// What kind of day it is. Regimes follow each other as a Markov chain, drawn at each midnight UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Regime {
    Calm,
    TrendUp,
    TrendDown,
    Turbulent,
    Crash,
}

use Regime::{Calm, Crash, TrendDown, TrendUp, Turbulent};

impl Regime {
    /// The day after, by a draw out of a thousand.
    fn next(self, draw: u64) -> Self {
        // Chances of calm, up, down, turbulent; the rest of the thousand is a crash.
        let chances = match self {
            Calm => [920, 35, 25, 18],
            TrendUp => [60, 890, 10, 35],
            TrendDown => [50, 20, 860, 60],
            Turbulent => [110, 40, 60, 770],
            Crash => [0, 50, 150, 600],
        };
        let mut left = draw;
        for (chance, regime) in chances.into_iter().zip([Calm, TrendUp, TrendDown, Turbulent]) {
            if left < chance {
                return regime;
            }
            left -= chance;
        }
        Crash
    }

    /// How much wilder than usual prices are: 1 = 2^10.
    fn wildness(self) -> i64 {
        match self {
            Calm => 640,
            TrendUp => 900,
            TrendDown => 1000,
            Turbulent => 1700,
            Crash => 2500,
        }
    }

    /// The market's drift of a day, as a log.
    fn drift(self) -> i64 {
        match self {
            Calm => ppm(600),
            TrendUp => ppm(6_000),
            TrendDown => ppm(-5_000),
            Turbulent => ppm(-1_000),
            Crash => ppm(-40_000),
        }
    }

    /// Where perpetuals lean against their index: who is crowding in pays.
    fn lean(self) -> i64 {
        match self {
            Calm => ppm(250),
            TrendUp => ppm(1_000),
            TrendDown => ppm(-700),
            Turbulent => ppm(-150),
            Crash => ppm(-2_000),
        }
    }

    /// Market-wide jumps, per million hours.
    fn jumps(self) -> u64 {
        match self {
            Calm => 300,
            TrendUp | TrendDown => 800,
            Turbulent => 3_000,
            Crash => 40_000,
        }
    }
}

/// The market's move in one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    pub regime: Regime,
    /// 1 = 2^10.
    pub wildness: i64,
    /// The move without the jump, as a log.
    pub drift: i64,
    pub jump: Jump,
    /// Where premiums lean, as a log.
    pub lean: i64,
}

/// A sudden move inside an hour; mostly of size zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Jump {
    /// The second of the hour at which it happens, 1 to 3599.
    pub second: i64,
    /// As a log.
    pub size: i64,
}

impl Jump {
    /// A jump of at least `least`: doubled with chance a half, up to three times. Falls with chance `down` of 256.
    pub fn drawn(draw: u64, least: i64, down: u64) -> Self {
        let doubled = (draw & 0xff).trailing_ones().min(3);
        let size = least << doubled;
        let second = 1 + ((draw >> 24) % 3599) as i64;
        Self { second, size: if ((draw >> 8) & 0xff) < down { -size } else { size } }
    }
}

/// A year's deviation of the market's move, in hundredths, in a regime of usual wildness.
pub const FACTOR_PERCENT: i64 = 42;

/// The deviation of an hour, as a log, of something that deviates by `percent` in a year: the square root of the
/// 8760 hours is 93.6.
pub const fn hourly(percent: i64) -> i64 {
    percent * ONE / 9_360
}

/// The weather of every hour since the first day.
pub struct Climate {
    regime: Key,
    factor: Key,
    jump: Key,
    hours: Series<Vec<Weather>>,
}

impl Climate {
    pub fn new(seed: u64) -> Self {
        let key = |stream| Key::new(seed, stream, 0);
        Self {
            regime: key(Stream::Regime),
            factor: key(Stream::Factor),
            jump: key(Stream::FactorJump),
            hours: Series::default(),
        }
    }

    /// The hours of a piece of the series; its first is hour `number * PIECE_HOURS`.
    pub fn piece(&self, number: usize) -> &[Weather] {
        self.hours.piece(number, |n, before| self.make(n, before.and_then(|hours| hours.last())))
    }

    fn make(&self, number: usize, before: Option<&Weather>) -> Vec<Weather> {
        let first = (number * PIECE_HOURS) as i64;
        let mut regime = before.map_or(Calm, |w| w.regime);
        let mut hours = Vec::with_capacity(PIECE_HOURS);
        for hour in first..first + PIECE_HOURS as i64 {
            if hour % 24 == 0 {
                regime = regime.next(self.regime.draw(hour / 24) % 1000);
            }
            hours.push(self.hour(regime, hour));
        }
        hours
    }

    fn hour(&self, regime: Regime, hour: i64) -> Weather {
        let wildness = regime.wildness();
        let noise = (((self.factor.bell(hour) * hourly(FACTOR_PERCENT)) >> 16) * wildness) >> 10;
        let mut jump = Jump::default();
        if self.jump.happens(hour, regime.jumps()) {
            let down = if regime == Crash { 220 } else { 160 };
            jump = Jump::drawn(self.jump.below(hour).draw(0), ppm(12_000), down);
        }
        Weather { regime, wildness, drift: regime.drift() / 24 + noise, jump, lean: regime.lean() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_regime_comes_and_most_days_are_calm() {
        let climate = Climate::new(1);
        let mut days = [0; 5];
        for piece in 0..43 {
            for day in climate.piece(piece).chunks(24) {
                assert!(day.iter().all(|h| h.regime == day[0].regime), "a regime lasts a day");
                days[day[0].regime as usize] += 1;
            }
        }
        assert!(days.iter().all(|n| *n > 5), "{days:?}");
        assert!(days[0] == *days.iter().max().unwrap_or(&0), "{days:?}");
    }
}
