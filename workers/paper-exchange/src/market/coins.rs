//! The coins: names, what they cost at the start, how they move.

use super::fixed::UNITS;
use super::noise::{Key, Stream};
use super::regime::{FACTOR_PERCENT, hourly};

/// One coin. Deviations are logs of an hour of usual wildness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coin {
    /// `BTC`, `P031`.
    pub name: String,
    /// Price at log zero, in units.
    pub start: u64,
    /// Ticks of its spot market are 10^-scale.
    pub spot_scale: u32,
    /// Ticks of its contracts are 10^-scale.
    pub usdm_scale: u32,
    /// Coins in one coin of its contracts: 1, or 1000 where a coin costs next to nothing.
    pub multiple: u64,
    /// What it makes of the market's move: 1 = 2^10.
    pub beta: i64,
    /// Which group of coins it moves with, below [`SECTORS`].
    pub sector: usize,
    pub sector_deviation: i64,
    pub own_deviation: i64,
    /// Of all parts together.
    pub deviation: i64,
    /// What it makes of the market's lean: 1 = 2^10.
    pub lean: i64,
    /// The least jump of its own, as a log.
    pub least_jump: i64,
    /// What its perpetual turns over in a calm hour, in USD.
    pub turnover: u64,
}

pub const SECTORS: usize = 5;

/// Name, price in units, scales of the ticks of spot and contracts.
type Real = (&'static str, u64, u32, u32);

/// Prices such as 2026 knew them, in order of size.
const REAL: [Real; 30] = [
    ("BTC", 92_000 * UNITS, 2, 1),
    ("ETH", 3_100 * UNITS, 2, 2),
    ("BNB", 880 * UNITS, 2, 2),
    ("SOL", 138 * UNITS, 2, 2),
    ("XRP", 205 * CENT, 4, 4),
    ("DOGE", 1_450 * CENT / 100, 5, 5),
    ("ADA", 42 * CENT, 4, 5),
    ("PEPE", 112 * CENT / 100_000, 8, 7),
    ("AVAX", 1_380 * CENT, 2, 3),
    ("LINK", 1_320 * CENT, 2, 3),
    ("LTC", 84 * UNITS, 2, 2),
    ("DOT", 220 * CENT, 3, 3),
    ("TRX", 28 * CENT, 4, 5),
    ("BCH", 560 * UNITS, 1, 2),
    ("UNI", 590 * CENT, 3, 3),
    ("AAVE", 170 * UNITS, 2, 2),
    ("ATOM", 240 * CENT, 3, 3),
    ("NEAR", 175 * CENT, 3, 4),
    ("ETC", 13 * UNITS, 2, 3),
    ("FIL", 150 * CENT, 3, 3),
    ("APT", 180 * CENT, 3, 4),
    ("ARB", 21 * CENT, 4, 4),
    ("OP", 31 * CENT, 4, 4),
    ("SUI", 155 * CENT, 4, 4),
    ("INJ", 540 * CENT, 3, 3),
    ("TIA", 62 * CENT, 4, 4),
    ("SEI", 13 * CENT, 4, 5),
    ("HBAR", 14 * CENT, 5, 5),
    ("XLM", 25 * CENT, 4, 5),
    ("ICP", 340 * CENT, 3, 3),
];

const CENT: u64 = UNITS / 100;

/// The first `count` coins, but at least three: BTC, ETH and BNB are always there.
pub fn coins(count: usize) -> Vec<Coin> {
    (0..count.max(3)).map(|i| REAL.get(i).map_or_else(|| made_up(i), |real| known(i, *real))).collect()
}

fn known(i: usize, (name, start, spot_scale, usdm_scale): Real) -> Coin {
    let multiple = if name == "PEPE" { 1000 } else { 1 };
    coin(i, name.into(), start, (spot_scale, usdm_scale), multiple)
}

/// `P031` and on, between a cent and a hundred.
fn made_up(i: usize) -> Coin {
    let draw = listing(i).draw(0);
    let start = (100 + (draw >> 8) % 900) * (CENT / 100) * 10_u64.pow((draw & 3) as u32);
    // At least ten thousand ticks at the start.
    let scale = (0..8).find(|s| start / (UNITS / 10_u64.pow(*s)) >= 10_000).unwrap_or(8);
    coin(i, format!("P{:03}", i + 1), start, (scale, scale), 1)
}

/// What belongs to the coin and not to the seed.
fn listing(i: usize) -> Key {
    Key::new(0, Stream::Listing, i)
}

fn coin(i: usize, name: String, start: u64, (spot_scale, usdm_scale): (u32, u32), multiple: u64) -> Coin {
    // Percent a year. The market's 42 make BTC about 50 in all, and the rest 70 to 120.
    let even = |n, low: i64, high: i64| low + (listing(i).draw(n) >> 32) as i64 % (high - low);
    let (beta, sector, own) = match i {
        0 => (1024, 8, 22),
        1 => (1400, 12, 31),
        2 => (1120, 12, 30),
        3..12 => (even(1, 1400, 1600), 18, even(2, 36, 46)),
        _ => (even(1, 1150, 1550), 28, even(2, 52, 85)),
    };
    let market = beta * FACTOR_PERCENT / 1024;
    let all = (market * market + sector * sector + own * own).isqrt();
    let rank = i as u64 + 1;
    Coin {
        name,
        start,
        spot_scale,
        usdm_scale,
        multiple,
        beta,
        sector: i % SECTORS,
        sector_deviation: hourly(sector),
        own_deviation: hourly(own),
        deviation: hourly(all),
        lean: 1024 + even(3, -100, 400),
        // Three hundredths where the deviation is 90 a year.
        least_jump: hourly(all) * 3,
        turnover: 900_000_000 / (rank * (rank + 5) / 6).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coins_are_named_and_priced_in_thousands_of_ticks() {
        let all = coins(200);
        assert_eq!(all.len(), 200);
        assert_eq!((all[0].name.as_str(), all[30].name.as_str(), all[199].name.as_str()), ("BTC", "P031", "P200"));
        for coin in &all {
            assert!(coin.start * 10_u64.pow(coin.spot_scale) / UNITS >= 1000, "{}", coin.name);
            assert!(coin.start * coin.multiple * 10_u64.pow(coin.usdm_scale) / UNITS >= 1000, "{}", coin.name);
            assert!(coin.turnover > 0);
        }
    }

    #[test]
    fn three_coins_are_always_there() {
        let names: Vec<String> = coins(0).into_iter().map(|c| c.name).collect();
        assert_eq!(names, ["BTC", "ETH", "BNB"]);
    }
}
