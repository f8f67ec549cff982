//! Randomness without a state: every draw is a hash of what it is for.
//!
//! Nothing is drawn "next", so no answer depends on which questions came before it.

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads every bit of `z` over all sixty-four; one to one.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What a draw is for. Each use of randomness has a number of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Regime = 1,
    Factor,
    FactorJump,
    Sector,
    Own,
    OwnJump,
    Bridge,
    Premium,
    QuoteSpread,
    PremiumSpread,
    LastPrice,
    Volume,
    Start,
    Listing,
}

/// A source of draws, addressed by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    pub fn new(seed: u64, stream: Stream, subject: usize) -> Self {
        let stream = mix(seed ^ mix((stream as u64).wrapping_mul(STEP)));
        Self(mix(stream ^ mix((subject as u64).wrapping_add(1).wrapping_mul(STEP))))
    }

    /// The draw numbered `n`: sixty-four even bits.
    pub fn draw(self, n: i64) -> u64 {
        mix(self.0.wrapping_add((n as u64).wrapping_add(1).wrapping_mul(STEP)))
    }

    /// A source below this one.
    pub fn below(self, n: i64) -> Self {
        Self(self.draw(n))
    }

    /// The draw numbered `n`, as a bell: mean 0, deviation 1 = 2^16, never beyond 3.47.
    pub fn bell(self, n: i64) -> i64 {
        bell(self.draw(n))
    }

    /// The draw numbered `n`, even between `-limit` and `limit` (at most 2^31).
    pub fn spread(self, n: i64, limit: i64) -> i64 {
        let even = (self.draw(n) >> 32) as i64;
        ((even * limit) >> 31) - limit
    }

    /// Whether the draw numbered `n` is among the share `per_million`.
    pub fn happens(self, n: i64, per_million: u64) -> bool {
        (self.draw(n) >> 44) < (per_million << 20) / 1_000_000
    }
}

/// The sum of four even draws of sixteen bits is close to normal, and costs no logarithm.
fn bell(draw: u64) -> i64 {
    let sum = (draw & 0xffff) + ((draw >> 16) & 0xffff) + ((draw >> 32) & 0xffff) + (draw >> 48);
    // The deviation of the sum is 2^16 / sqrt 3; 113 512 is 2^16 x sqrt 3.
    ((sum as i64 - 131_070) * 113_512) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_has_mean_zero_and_deviation_one() {
        let key = Key::new(7, Stream::Own, 3);
        let (mut sum, mut squares) = (0_i64, 0_i64);
        for n in 0..100_000 {
            let z = key.bell(n);
            sum += z;
            squares += z * z;
        }
        assert!((sum / 100_000).abs() < 650, "mean under a hundredth");
        let variance = squares / 100_000;
        assert!((variance - (1 << 32)).abs() < (1 << 32) / 50, "variance within two hundredths: {variance}");
    }

    #[test]
    fn streams_and_subjects_do_not_repeat_each_other() {
        let keys = [
            Key::new(1, Stream::Own, 0),
            Key::new(1, Stream::Own, 1),
            Key::new(1, Stream::Sector, 0),
            Key::new(2, Stream::Own, 0),
        ];
        for (i, a) in keys.iter().enumerate() {
            for b in &keys[..i] {
                assert!((0..1000).all(|n| a.draw(n) != b.draw(n)));
            }
        }
    }

    #[test]
    fn a_spread_stays_inside_its_limit_on_both_sides() {
        let key = Key::new(5, Stream::LastPrice, 0);
        let all: Vec<i64> = (0..10_000).map(|n| key.spread(n, 1000)).collect();
        assert!(all.iter().all(|v| (-1000..=1000).contains(v)));
        assert!(all.iter().any(|v| *v < -950) && all.iter().any(|v| *v > 950));
    }
}
