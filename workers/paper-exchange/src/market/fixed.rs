//! Logarithms and exponentials in whole numbers.
//!
//! A *log* is a natural logarithm times 2^32: `ONE / 100` is a rise of one hundredth. Money and prices inside
//! the market are *units* of 10^-12 of the quote. Floats would do, but not the same way on every machine.

use rust_decimal::Decimal;

/// A log of one: a factor of e.
pub const ONE: i64 = 1 << 32;

/// The log of a share given in parts per million, for small shares.
pub const fn ppm(parts: i64) -> i64 {
    parts * ONE / 1_000_000
}

/// Units in one of the quote.
pub const UNITS: u64 = 1_000_000_000_000;
/// Units in 10^-8.
const EIGHTH: u64 = 10_000;

/// No price falls below this many ticks.
pub const LEAST_TICKS: u64 = 100;

/// log2(e), times 2^62.
const LOG2_E: i128 = 6_653_256_548_922_161_245;
/// ln(2), times 2^62.
const LN_2: u128 = 3_196_577_161_300_663_914;

/// 2^(k/256), times 2^60.
static POWERS: [u64; 256] = powers();

const fn powers() -> [u64; 256] {
    // roots[i] = 2^(2^i / 256): each is the square root of the next.
    let mut roots = [0_u64; 8];
    let mut root: u128 = 1 << 61;
    let mut i = 8;
    while i > 0 {
        i -= 1;
        root = (root << 60).isqrt();
        roots[i] = root as u64;
    }
    let mut table = [0_u64; 256];
    let mut k = 0;
    while k < 256 {
        let mut power: u128 = 1 << 60;
        let mut bit = 0;
        while bit < 8 {
            if (k >> bit) & 1 == 1 {
                power = (power * roots[bit] as u128) >> 60;
            }
            bit += 1;
        }
        table[k] = power as u64;
        k += 1;
    }
    table
}

/// `start` times e^log, to about eleven digits. `log` is held between -8 and 8.
pub fn grown(start: u64, log: i64) -> u64 {
    let log = log.clamp(-8 * ONE, 8 * ONE);
    // The logarithm to base two, times 2^48.
    let binary = ((log as i128 * LOG2_E) >> 46) as i64;
    let whole = binary >> 48;
    let rest = binary as u64 & ((1 << 48) - 1);
    let power = POWERS[(rest >> 40) as usize] as u128;
    // e^t = 1 + t + t^2/2 + t^3/6, where t < ln(2)/256; times 2^60.
    let t = ((rest & ((1 << 40) - 1)) as u128 * LN_2) >> 50;
    let square = (t * t) >> 61;
    let cube = (square * t) >> 60;
    let fine = (1 << 60) + t + square + cube / 3;
    let mantissa = (power * fine) >> 60;
    ((start as u128 * mantissa) >> (60 - whole)) as u64
}

/// A price of `units` put on the nearest tick of 10^-scale.
pub fn on_tick(units: u64, scale: u32) -> Decimal {
    let tick = UNITS / 10_u64.pow(scale);
    Decimal::new(((units + tick / 2) / tick).max(LEAST_TICKS) as i64, scale)
}

/// A price of `units` to eight decimals, not below the floor of a market with ticks of 10^-scale.
pub fn to_eight(units: u64, scale: u32) -> Decimal {
    let floor = LEAST_TICKS * 10_u64.pow(8 - scale);
    Decimal::new(((units + EIGHTH / 2) / EIGHTH).max(floor) as i64, 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_has_eleven_digits() {
        // e, e^-1, e^0.5, e^2, e^-2 from the tables.
        let known = [
            (ONE, 2_718_281_828_459_u64),
            (-ONE, 367_879_441_171),
            (ONE / 2, 1_648_721_270_700),
            (2 * ONE, 7_389_056_098_930),
            (-2 * ONE, 135_335_283_236),
        ];
        for (log, expected) in known {
            assert!(
                grown(UNITS, log).abs_diff(expected) <= expected / 50_000_000_000 + 1,
                "{log} {}",
                grown(UNITS, log)
            );
        }
        assert_eq!(grown(UNITS, 0), UNITS);
    }

    #[test]
    fn growth_never_falls_when_the_log_rises() {
        let mut before = 0;
        // Steps that are no divisor of the table's, so that every seam is crossed.
        for log in (-3 * ONE..3 * ONE).step_by(1_000_003) {
            let now = grown(92_000 * UNITS, log);
            assert!(now > before);
            before = now;
        }
    }

    #[test]
    fn a_price_lies_on_its_tick_and_over_its_floor() {
        assert_eq!(on_tick(1_234_560_000_000, 2).to_string(), "1.23");
        assert_eq!(on_tick(1_235_000_000_000, 2).to_string(), "1.24");
        assert_eq!(on_tick(1, 2).to_string(), "1.00");
        assert_eq!(to_eight(1, 2).to_string(), "1.00000000");
        assert_eq!(to_eight(1_234_567_894_999, 4).to_string(), "1.23456789");
    }
}
