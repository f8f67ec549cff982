//! Chance, by hashing: what is drawn depends on who draws, what for and when, never on what was drawn before.

use rust_decimal::Decimal;

/// SplitMix64's finisher: every bit of the input moves every bit of the output.
pub(super) fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// What a draw is for. Two purposes never see the same figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Character = 1,
    Agenda = 2,
    Action = 3,
    Chore = 4,
    Split = 5,
    Forced = 6,
}

/// A short sequence of figures that belongs to one purpose, one subject and one instant.
#[derive(Debug, Clone)]
pub(super) struct Draw {
    state: u64,
}

impl Draw {
    pub(super) fn new(seed: u64, purpose: Purpose, subject: u64, at: i64) -> Self {
        let state = mix(mix(mix(seed ^ 0x7061_7065_7200).wrapping_add(purpose as u64)).wrapping_add(subject));
        Self { state: mix(state.wrapping_add(at.cast_unsigned())) }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// From 0 to `n - 1`; 0 when `n` is 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        // The high half of a product is as good as a remainder, and has no division.
        let wide = u128::from(self.next()) * u128::from(n);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// From `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True so many times in a thousand.
    pub(super) fn chance(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }

    /// A share between two shares given in ten-thousandths: `share(50, 100)` is 0.5 % to 1 %.
    pub(super) fn share(&mut self, low: u64, high: u64) -> Decimal {
        Decimal::new(i64::try_from(self.between(low, high)).unwrap_or(0), 4)
    }

    /// One of these; `None` of nothing.
    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(usize::try_from(self.below(from.len() as u64)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_question_draws_the_same_figures() {
        let mut one = Draw::new(7, Purpose::Action, 3, 60_000);
        let mut two = Draw::new(7, Purpose::Action, 3, 60_000);
        assert_eq!((one.next(), one.next()), (two.next(), two.next()));
        assert_ne!(one.next(), Draw::new(7, Purpose::Chore, 3, 60_000).next());
    }

    #[test]
    fn a_draw_stays_within_its_limits() {
        let mut draw = Draw::new(1, Purpose::Action, 0, 0);
        for _ in 0..1000 {
            assert!(draw.below(3) < 3);
            assert!((5..=9).contains(&draw.between(5, 9)));
        }
        assert_eq!(draw.below(0), 0);
        assert_eq!(draw.pick::<u8>(&[]), None);
    }
}
