//! Rounding, and the exchange's prices for its services.

use rust_decimal::{Decimal, RoundingStrategy};

use crate::model::Millis;

pub(super) const MINUTE: Millis = 60_000;
pub(super) const HOUR: Millis = 60 * MINUTE;
pub(super) const DAY: Millis = 24 * HOUR;
/// Funding is settled at 00:00, 08:00 and 16:00 UTC.
pub(super) const FUNDING_EVERY: Millis = 8 * HOUR;

/// Share of the notional that an order pays which takes.
pub(super) const TAKER: Decimal = parts(5, 4);
/// Share of the notional that an order pays which waited in the book.
pub(super) const MAKER: Decimal = parts(2, 4);
/// What the exchange gives to the makers that it courts.
pub(super) const MAKER_REBATE: Decimal = Decimal::from_parts(5, 0, 0, true, 5);
/// Spot, maker and taker alike.
pub(super) const SPOT: Decimal = parts(1, 3);
/// A fee paid in BNB is this share of the fee, on futures and on spot.
pub(super) const IN_BNB_USDM: Decimal = parts(9, 1);
pub(super) const IN_BNB_SPOT: Decimal = parts(75, 2);

/// The most that an order, a deposit or a price may name: far above sense, far below overflow.
pub(super) const MOST: Decimal = Decimal::from_parts(3_567_587_328, 232, 0, false, 0);

const fn parts(digits: u32, scale: u32) -> Decimal {
    Decimal::from_parts(digits, 0, 0, false, scale)
}

/// As the exchange books every amount: eight decimals, half to even.
pub(super) fn booked(amount: Decimal) -> Decimal {
    amount.round_dp_with_strategy(8, RoundingStrategy::MidpointNearestEven)
}

/// Eight decimals, never less than the amount.
pub(super) fn booked_up(amount: Decimal) -> Decimal {
    amount.round_dp_with_strategy(8, RoundingStrategy::ToPositiveInfinity)
}

/// Eight decimals, never more than a positive amount.
pub(super) fn booked_down(amount: Decimal) -> Decimal {
    amount.round_dp_with_strategy(8, RoundingStrategy::ToZero)
}

/// The largest multiple of `step` that is not above a positive `amount`.
pub(super) fn floor_to(amount: Decimal, step: Decimal) -> Decimal {
    if step.is_zero() { amount } else { (amount / step).floor() * step }
}

/// Whether `amount` lies on the grid of `step`.
pub(super) fn is_on(amount: Decimal, step: Decimal) -> bool {
    step.is_zero() || (amount % step).is_zero()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_neighbour() {
        assert_eq!(booked(Decimal::new(5, 9)), Decimal::ZERO);
        assert_eq!(booked(Decimal::new(15, 9)), Decimal::new(2, 8));
        assert_eq!(booked(Decimal::new(-15, 9)), Decimal::new(-2, 8));
    }

    #[test]
    fn the_most_is_a_million_millions() {
        assert_eq!(MOST, Decimal::from(1_000_000_000_000_i64));
    }

    #[test]
    fn a_size_is_cut_to_its_step() {
        assert_eq!(floor_to(Decimal::new(1239, 3), Decimal::new(1, 2)), Decimal::new(123, 2));
        assert!(is_on(Decimal::new(123, 2), Decimal::new(1, 2)));
        assert!(!is_on(Decimal::new(1239, 3), Decimal::new(1, 2)));
    }
}
