//! One position, and what trading does to it.

use rust_decimal::Decimal;

use super::money::booked;
use crate::model::Millis;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Position {
    /// Short below zero.
    pub qty: Decimal,
    /// Average of what was paid, eight decimals; zero without a position.
    pub entry: Decimal,
    pub updated_at: Millis,
}

impl Position {
    /// Adds the signed `change` at `price`. Returns what the closed part earned, gross of fees.
    pub(super) fn trade(&mut self, change: Decimal, price: Decimal, at: Millis) -> Decimal {
        self.updated_at = at;
        let after = self.qty + change;
        if self.qty.is_zero() || self.qty.is_sign_negative() == change.is_sign_negative() {
            let cost = self.entry * self.qty.abs() + price * change.abs();
            self.entry = if after.is_zero() { Decimal::ZERO } else { booked(cost / after.abs()) };
            self.qty = after;
            return Decimal::ZERO;
        }
        let closed = self.qty.abs().min(change.abs());
        let gain = (price - self.entry) * closed;
        let realized = booked(if self.qty.is_sign_negative() { -gain } else { gain });
        if after.is_zero() {
            self.entry = Decimal::ZERO;
        } else if after.is_sign_negative() != self.qty.is_sign_negative() {
            self.entry = price;
        }
        self.qty = after;
        realized
    }

    /// What closing at `mark` would earn.
    pub(super) fn unrealized(&self, mark: Decimal) -> Decimal {
        booked((mark - self.entry) * self.qty)
    }

    pub(super) fn notional(&self, mark: Decimal) -> Decimal {
        self.qty.abs() * mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        text.parse().expect("a decimal")
    }

    #[test]
    fn adding_averages_the_entry() {
        let mut position = Position::default();
        assert_eq!(position.trade(d("1"), d("100"), 0), d("0"));
        assert_eq!(position.trade(d("2"), d("103"), 0), d("0"));
        assert_eq!((position.qty, position.entry), (d("3"), d("102")));
    }

    #[test]
    fn a_full_close_realizes_the_whole_difference() {
        let mut position = Position::default();
        position.trade(d("-2"), d("100"), 0);
        assert_eq!(position.trade(d("2"), d("90.5"), 0), d("19"));
        assert_eq!((position.qty, position.entry), (d("0"), d("0")));
    }

    #[test]
    fn a_flip_realizes_the_closed_part_and_enters_anew() {
        let mut position = Position::default();
        position.trade(d("1"), d("100"), 0);
        assert_eq!(position.trade(d("-3"), d("110"), 0), d("10"));
        assert_eq!((position.qty, position.entry), (d("-2"), d("110")));
        assert_eq!(position.unrealized(d("105")), d("10"));
    }
}
