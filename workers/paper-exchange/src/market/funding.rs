//! The funding rate, by Binance's formula.

use rust_decimal::Decimal;

use super::fixed::ONE;

/// Hours between two settlements.
pub const FUNDING_HOURS: usize = 8;

/// Rates are in 10^-8.
const RATE: i64 = 100_000_000;
/// One hundredth of a percent for eight hours.
const INTEREST: i64 = RATE / 10_000;
/// How far interest may pull the rate towards itself.
const PULL: i64 = RATE * 5 / 10_000;
/// Two percent at most.
const MOST: i64 = RATE * 2 / 100;

/// The rate for a premium at the nine whole hours of the interval, as logs: the average premium, pulled towards the
/// interest. Positive: longs pay. The average is that of the 480 whole minutes before the settlement; premiums run
/// in straight lines from hour to hour, so that of an hour's minutes is 61 parts its start and 59 parts its end.
pub fn rate(premiums: &[i64; FUNDING_HOURS + 1]) -> Decimal {
    let sum: i64 = premiums.windows(2).map(|pair| 61 * share(pair[0]) + 59 * share(pair[1])).sum();
    let whole = i128::from(sum) * i128::from(RATE);
    let parts = 120 * FUNDING_HOURS as i128 * i128::from(ONE);
    let average = (2 * whole + parts).div_euclid(2 * parts) as i64;
    let rate = average + (INTEREST - average).clamp(-PULL, PULL);
    Decimal::new(rate.clamp(-MOST, MOST), 8)
}

/// The share that a small log is: e^x - 1.
fn share(log: i64) -> i64 {
    log + ((i128::from(log) * i128::from(log)) >> 33) as i64
}

#[cfg(test)]
mod tests {
    use super::super::fixed::ppm;
    use super::*;

    fn of(parts: i64) -> String {
        rate(&[ppm(parts); 9]).to_string()
    }

    #[test]
    fn a_small_premium_pays_the_interest() {
        assert_eq!(of(0), "0.00010000");
        assert_eq!(of(550), "0.00010000");
        assert_eq!(of(-350), "0.00010000");
    }

    #[test]
    fn a_large_premium_pays_itself_less_the_pull() {
        // e^0.001 - 1 = 0.0010005, less 0.0005
        assert_eq!(of(1_000), "0.00050050");
        // e^-0.001 - 1 = -0.0009995, plus 0.0005
        assert_eq!(of(-1_000), "-0.00049950");
        assert_eq!(of(60_000), "0.02000000");
    }
}
