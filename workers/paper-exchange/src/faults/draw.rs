//! Choices that depend on nothing but what they are about: not on the order of requests, not on time.

use sha2::{Digest, Sha256};

use super::rules::Share;

/// A number drawn from a seed, the name of a rule, and what the choice is about.
pub fn number(seed: u64, rule: &str, about: &str, nth: u64) -> u64 {
    let mut hash = Sha256::new();
    hash.update(seed.to_be_bytes());
    hash.update(rule.as_bytes());
    hash.update([0]);
    hash.update(about.as_bytes());
    hash.update([0]);
    hash.update(nth.to_be_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    u64::from_be_bytes(first)
}

/// Whether a number falls into a share.
pub fn falls(number: u64, share: Share) -> bool {
    number % u64::from(Share::WHOLE) < u64::from(share.0)
}

/// The next of a row of numbers that starts from a drawn one (splitmix64).
pub fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// A number below `below`, for picking from a list.
pub fn below(state: &mut u64, below: usize) -> usize {
    let below = u64::try_from(below).unwrap_or(u64::MAX).max(1);
    usize::try_from(next(state) % below).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_choices_falls_into_it() {
        let fallen = (0..10_000).filter(|nth| falls(number(7, "cutPage", "GET /x", *nth), Share(200_000))).count();
        assert!((1800..2200).contains(&fallen), "{fallen}");
        assert_eq!(number(7, "a", "b", 0), number(7, "a", "b", 0));
        assert_ne!(number(7, "a", "b", 0), number(8, "a", "b", 0));
    }
}
