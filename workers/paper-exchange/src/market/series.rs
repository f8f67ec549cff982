//! Values that follow from the ones before them, made six weeks at a time and kept.

use std::sync::OnceLock;

/// Hours in a piece: six weeks, a whole number of days.
pub const PIECE_HOURS: usize = 1008;
const PIECES: usize = 260;
/// Hours that a series can hold: thirty years.
pub const MOST_HOURS: usize = PIECE_HOURS * PIECES;

/// A series in pieces; each is made from the one before it, on the first question that reaches it.
pub struct Series<T> {
    pieces: Vec<OnceLock<T>>,
}

impl<T> Default for Series<T> {
    fn default() -> Self {
        Self { pieces: (0..PIECES).map(|_| OnceLock::new()).collect() }
    }
}

impl<T> Series<T> {
    /// Piece `number`. `make` is given the number of a piece and the piece before it (none before the first), and
    /// must depend on nothing else: whoever asks first, the pieces are the same.
    pub fn piece(&self, number: usize, make: impl Fn(usize, Option<&T>) -> T) -> &T {
        if let Some(piece) = self.pieces[number].get() {
            return piece;
        }
        let made = (0..number).rev().find(|n| self.pieces[*n].get().is_some());
        let first = made.map_or(0, |n| n + 1);
        for n in first..=number {
            let before = n.checked_sub(1).and_then(|b| self.pieces[b].get());
            self.pieces[n].get_or_init(|| make(n, before));
        }
        self.pieces[number].get_or_init(|| make(number, number.checked_sub(1).and_then(|b| self.pieces[b].get())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_far_piece_is_made_through_the_ones_before_it() {
        let make = |n: usize, before: Option<&u64>| before.copied().unwrap_or(1) * 3 + n as u64;
        let (near_first, far_first) = (Series::default(), Series::default());
        for n in 0..6 {
            near_first.piece(n, make);
        }
        assert_eq!(far_first.piece(5, make), near_first.piece(5, make));
        assert_eq!(far_first.piece(2, make), near_first.piece(2, make));
    }
}
