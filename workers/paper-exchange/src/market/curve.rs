//! One market or contract in one hour: the coin's path, and what its quote and its kind put on top.

use super::bridge::{Hour, SECONDS};
use super::calendar::HOUR;
use super::fixed::{ONE, grown, ppm};
use super::noise::{Key, Stream};
use super::path::Paths;
use super::universe::{Kind, Listing, Quote};
use crate::model::Millis;

const YEAR_HOURS: i64 = 8760;
/// How far last prices stray from the mark at most.
const LAST_NOISE: i64 = ppm(20);

/// How a listing's prices differ from the coin's own.
pub struct Offsets {
    quote_spread: [Key; 2],
    premium_spread: [Key; 2],
    last: Vec<Key>,
}

/// What a price is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Price {
    /// Of a spot market; the index of a contract.
    Index,
    Mark,
    /// The mark with a little noise.
    Last,
}

impl Offsets {
    pub fn new(seed: u64, contracts: usize) -> Self {
        let pair = |stream| [Key::new(seed, stream, 0), Key::new(seed, stream, 1)];
        Self {
            quote_spread: pair(Stream::QuoteSpread),
            premium_spread: pair(Stream::PremiumSpread),
            last: (0..contracts).map(|i| Key::new(seed, Stream::LastPrice, i)).collect(),
        }
    }

    /// What a price in USDC differs by from that in USDT at a whole hour, as a log: under a basis point.
    fn quote(&self, listing: &Listing, hour: usize) -> i64 {
        match listing.quote {
            Quote::Usdt => 0,
            Quote::Usdc => self.quote_spread[listing.coin].spread(hour as i64, ppm(80)),
        }
    }

    /// The premium of a contract over its index at `hour`, from that of its coin's perpetual; as a log.
    /// Hour 0 starts at `first`.
    pub fn basis(&self, listing: &Listing, premium: i64, hour: usize, first: Millis) -> i64 {
        match (listing.kind, listing.quote) {
            (Kind::Spot, _) => 0,
            (Kind::Perpetual, Quote::Usdt) => premium,
            (Kind::Perpetual, Quote::Usdc) => premium + self.premium_spread[listing.coin].spread(hour as i64, ppm(60)),
            (Kind::Dated { delivery }, _) => {
                // A yearly carry that leans as the perpetual does, for what is left of the year.
                let carry = (ppm(60_000) + 40 * premium).clamp(-ONE / 10, ONE / 4);
                let left = (delivery - first) / HOUR - hour as i64;
                carry * left.max(0) / YEAR_HOURS
            }
        }
    }

    /// The curve of a listing in an hour. `contract` is the position of a contract, for its own noise.
    pub fn curve(
        &self,
        paths: &Paths,
        listing: &Listing,
        contract: usize,
        price: Price,
        hour: usize,
        first: Millis,
    ) -> Curve {
        let mut ends = (self.quote(listing, hour), self.quote(listing, hour + 1));
        if price != Price::Index {
            let premiums = paths.premiums(listing.coin, hour);
            ends.0 += self.basis(listing, premiums.0, hour, first);
            ends.1 += self.basis(listing, premiums.1, hour + 1, first);
        }
        let noise = (price == Price::Last).then(|| self.last[contract].below(hour as i64));
        Curve { path: paths.hour(listing.coin, hour), start: listing.start, ends, noise }
    }
}

/// One hour of prices. Seconds count from the start of the hour, 0 to 3599; a price holds for its second.
pub struct Curve {
    path: Hour,
    /// Units at log zero.
    start: u64,
    /// What is added to the path at the start and at the end, in between by a straight line.
    ends: (i64, i64),
    /// Of the last price.
    noise: Option<Key>,
}

impl Curve {
    /// The log at a second.
    pub fn log(&self, second: i64) -> i64 {
        self.path.at(second) + self.added(second)
    }

    /// The price of a log, in units.
    pub fn units(&self, log: i64) -> u64 {
        grown(self.start, log)
    }

    /// The logs at the whole minutes.
    pub fn minutes(&self) -> [i64; 60] {
        let smooth = self.path.minutes();
        std::array::from_fn(|minute| {
            let second = minute as i64 * 60;
            smooth[minute] + self.path.jumped(second) + self.added(second)
        })
    }

    /// Lowest and highest log at the seconds `from` to `to`, both included, and of those before: `so_far`.
    pub fn extremes(&self, from: i64, to: i64, so_far: (i64, i64)) -> (i64, i64) {
        let minutes = self.path.minutes();
        let (mut lowest, mut highest) = so_far;
        // The whole minutes first: what they reach spares most of the others.
        for minute in (from + 59) / 60..=to / 60 {
            let second = minute * 60;
            let log = minutes[minute as usize] + self.path.jumped(second) + self.added(second);
            (lowest, highest) = (lowest.min(log), highest.max(log));
        }
        let reach = self.path.reach() + self.noise.map_or(0, |_| LAST_NOISE);
        for minute in from / 60..=to / 60 {
            let (i, start) = (minute as usize, minute * 60);
            let ends = (minutes[i], minutes[i + 1]);
            if !self.path.jumps_between(start, start + 60) {
                let jumped = self.path.jumped(start);
                let (a, b) = (ends.0 + jumped + self.line(start), ends.1 + jumped + self.line(start + 60));
                if a.max(b) + reach <= highest && a.min(b) - reach >= lowest {
                    continue;
                }
            }
            let seconds = self.path.seconds(i, ends);
            for rest in (from - start).max(0)..=(to - start).min(59) {
                let second = start + rest;
                let log = seconds[rest as usize] + self.path.jumped(second) + self.added(second);
                (lowest, highest) = (lowest.min(log), highest.max(log));
            }
        }
        (lowest, highest)
    }

    /// Logs that no second of the hour lies outside of.
    pub fn bound(&self) -> (i64, i64) {
        let (low, high) = self.path.bound();
        let noise = self.noise.map_or(0, |_| LAST_NOISE);
        (low + self.ends.0.min(self.ends.1) - noise, high + self.ends.0.max(self.ends.1) + noise)
    }

    /// What lies on top of the coin's path at a second.
    fn added(&self, second: i64) -> i64 {
        self.line(second) + self.noise.map_or(0, |key| key.spread(second, LAST_NOISE))
    }

    fn line(&self, second: i64) -> i64 {
        self.ends.0 + (self.ends.1 - self.ends.0) * second / SECONDS
    }
}
