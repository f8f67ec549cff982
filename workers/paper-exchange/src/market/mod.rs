//! Prices from a seed.
//!
//! The same seed, number of symbols and origin give the same prices, byte for byte, on any machine and whatever was
//! asked before: there are no floats here, every draw is a hash of what it is for ([`noise`]), and what must be made
//! in order ([`series`]) is made in pieces that depend on nothing but the piece before.
//!
//! A day has a regime, which all coins share ([`regime`]); an hour moves every coin by the market, by its sector
//! and by itself ([`path`]); inside the hour the path is refined down to the second ([`bridge`]); and a market or
//! contract puts its premium on top ([`curve`]). A price holds for its whole second.

mod bridge;
mod calendar;
mod candles;
mod coins;
mod curve;
mod fixed;
mod funding;
mod noise;
mod path;
mod regime;
mod series;
#[cfg(test)]
mod tests;
mod universe;

use std::fmt;

use rust_decimal::Decimal;

use self::calendar::{DAY, HOUR, MINUTE};
use self::candles::Turnover;
use self::curve::{Curve, Offsets, Price};
use self::fixed::{grown, on_tick, to_eight};
use self::funding::FUNDING_HOURS;
use self::noise::{Key, Stream};
use self::path::Paths;
use self::series::MOST_HOURS;
use self::universe::{Kind, Listing, Listings};
use crate::model::{Candle, ContractKind, Millis, SpotId, Universe, UsdmId};

/// The market: every price of every symbol at every instant. Cheap to ask, and safe to share between threads.
pub struct Market {
    origin: Millis,
    /// The midnight before the origin: hour 0.
    first: Millis,
    listings: Listings,
    paths: Paths,
    offsets: Offsets,
    volume: Key,
}

impl fmt::Debug for Market {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Market").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// A market or a contract, by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Spot(usize),
    Usdm(usize),
}

impl Market {
    /// `symbols` bases (three at least), each with a spot market and a perpetual; the same for the same arguments,
    /// everywhere. `origin` is the first instant that has prices: what is asked before it is answered as of it.
    /// Prices go on for thirty years.
    pub fn new(seed: u64, symbols: usize, origin: Millis) -> Self {
        let coins = coins::coins(symbols);
        let listings = Listings::new(&coins, origin);
        Self {
            origin,
            first: origin.div_euclid(DAY) * DAY,
            offsets: Offsets::new(seed, listings.usdm.len()),
            volume: Key::new(seed, Stream::Volume, 0),
            paths: Paths::new(seed, coins),
            listings,
        }
    }

    /// Everything that is or will be traded, dated contracts included.
    pub fn universe(&self) -> &Universe {
        &self.listings.universe
    }

    /// The spot market of a native symbol.
    pub fn spot(&self, symbol: &str) -> Option<SpotId> {
        self.listings.spot_ids.get(symbol).copied()
    }

    /// The contract of a native symbol.
    pub fn usdm(&self, symbol: &str) -> Option<UsdmId> {
        self.listings.usdm_ids.get(symbol).copied()
    }

    /// Last price of a spot market, on its tick. Any instant from `origin` on.
    pub fn spot_price(&self, market: SpotId, at: Millis) -> Decimal {
        self.tick_price(Of::Spot(market.0), at)
    }

    /// Last price of a contract, on its tick. After delivery, that of the delivery.
    pub fn last_price(&self, contract: UsdmId, at: Millis) -> Decimal {
        self.tick_price(Of::Usdm(contract.0), at)
    }

    /// Eight decimals. A dated contract's is its index at delivery, and stays so.
    pub fn mark_price(&self, contract: UsdmId, at: Millis) -> Decimal {
        self.fine_price(contract, Price::Mark, at)
    }

    /// The index: the spot price before it is put on its tick, eight decimals. That of `1000PEPEUSDT` is a thousand
    /// times the price of `PEPEUSDT`.
    pub fn index_price(&self, contract: UsdmId, at: Millis) -> Decimal {
        self.fine_price(contract, Price::Index, at)
    }

    /// The rate settled at `funding_time` (a whole hour), from the premium of the eight hours before it. Positive:
    /// longs pay shorts. Zero for dated contracts, which pay none.
    pub fn funding_rate(&self, contract: UsdmId, funding_time: Millis) -> Decimal {
        let listing = &self.listings.usdm[contract.0];
        if listing.kind != Kind::Perpetual {
            return Decimal::new(0, 8);
        }
        let (last, _) = self.place(funding_time);
        funding::rate(&std::array::from_fn(|i| {
            let hour = (last + i).saturating_sub(FUNDING_HOURS);
            self.offsets.basis(listing, self.paths.premiums(listing.coin, hour).0, hour, self.first)
        }))
    }

    /// The candle of `[open_time, open_time + length)` as far as it has gone at `now`; `None` before it opens, and
    /// where it has no prices. High and low are over all seconds; volume and trades of candles add up.
    pub fn spot_candle(&self, market: SpotId, open_time: Millis, length: Millis, now: Millis) -> Option<Candle> {
        self.candle(Of::Spot(market.0), open_time, length, now)
    }

    /// The candle of a contract's last price, as [`Market::spot_candle`]. A dated contract has none before it is
    /// listed, nor from its delivery on.
    pub fn usdm_candle(&self, contract: UsdmId, open_time: Millis, length: Millis, now: Millis) -> Option<Candle> {
        self.candle(Of::Usdm(contract.0), open_time, length, now)
    }

    /// Lowest and highest mark at the whole minutes of the hour that starts at `hour`.
    pub fn mark_range(&self, contract: UsdmId, hour: Millis) -> (Decimal, Decimal) {
        self.range(Of::Usdm(contract.0), Price::Mark, hour)
    }

    /// Lowest and highest last price at the whole minutes of the hour that starts at `hour`.
    pub fn last_range(&self, contract: UsdmId, hour: Millis) -> (Decimal, Decimal) {
        self.range(Of::Usdm(contract.0), Price::Last, hour)
    }

    /// Lowest and highest price of a spot market at the whole minutes of the hour that starts at `hour`.
    pub fn spot_range(&self, market: SpotId, hour: Millis) -> (Decimal, Decimal) {
        self.range(Of::Spot(market.0), Price::Index, hour)
    }

    /// Marks that the hour which starts at `hour` does not leave, at no second: a cheap answer to whether a look at
    /// its minutes can be spared. Mostly some five deviations wide on either side.
    pub fn mark_bound(&self, contract: UsdmId, hour: Millis) -> (Decimal, Decimal) {
        self.bound(Of::Usdm(contract.0), Price::Mark, hour)
    }

    /// Last prices that the hour which starts at `hour` does not leave, as [`Market::mark_bound`].
    pub fn last_bound(&self, contract: UsdmId, hour: Millis) -> (Decimal, Decimal) {
        self.bound(Of::Usdm(contract.0), Price::Last, hour)
    }

    /// Prices of a spot market that the hour which starts at `hour` does not leave, as [`Market::mark_bound`].
    pub fn spot_bound(&self, market: SpotId, hour: Millis) -> (Decimal, Decimal) {
        self.bound(Of::Spot(market.0), Price::Index, hour)
    }

    /// The marks at the whole minutes of the hour that starts at `hour`.
    pub fn mark_minutes(&self, contract: UsdmId, hour: Millis) -> [Decimal; 60] {
        self.minutes(Of::Usdm(contract.0), Price::Mark, hour)
    }

    /// The last prices at the whole minutes of the hour that starts at `hour`.
    pub fn last_minutes(&self, contract: UsdmId, hour: Millis) -> [Decimal; 60] {
        self.minutes(Of::Usdm(contract.0), Price::Last, hour)
    }

    /// The prices of a spot market at the whole minutes of the hour that starts at `hour`.
    pub fn spot_minutes(&self, market: SpotId, hour: Millis) -> [Decimal; 60] {
        self.minutes(Of::Spot(market.0), Price::Index, hour)
    }

    fn listing(&self, of: Of) -> &Listing {
        match of {
            Of::Spot(i) => &self.listings.spot[i],
            Of::Usdm(i) => &self.listings.usdm[i],
        }
    }

    /// The last instant that has prices of its own.
    fn end(&self, listing: &Listing) -> Millis {
        match listing.kind {
            Kind::Dated { delivery } => delivery,
            Kind::Spot | Kind::Perpetual => self.first + (MOST_HOURS - 2) as i64 * HOUR,
        }
    }

    /// The hour of an instant, and the second in it.
    fn place(&self, at: Millis) -> (usize, i64) {
        let since = at.max(self.origin) - self.first;
        ((since / HOUR) as usize, since % HOUR / 1000)
    }

    fn curve(&self, of: Of, price: Price, hour: usize) -> Curve {
        let contract = if let Of::Usdm(i) = of { i } else { 0 };
        self.offsets.curve(&self.paths, self.listing(of), contract, price, hour, self.first)
    }

    fn units(&self, of: Of, price: Price, at: Millis) -> u64 {
        let (hour, second) = self.place(at.min(self.end(self.listing(of))));
        let curve = self.curve(of, price, hour);
        curve.units(curve.log(second))
    }

    fn tick_price(&self, of: Of, at: Millis) -> Decimal {
        let price = if matches!(of, Of::Spot(_)) { Price::Index } else { Price::Last };
        on_tick(self.units(of, price, at), self.listing(of).scale)
    }

    fn fine_price(&self, contract: UsdmId, price: Price, at: Millis) -> Decimal {
        let of = Of::Usdm(contract.0);
        to_eight(self.units(of, price, at), self.listing(of).scale)
    }

    /// A price as it is shown: marks with eight decimals, the others on their tick.
    fn shown(&self, of: Of, price: Price, units: u64) -> Decimal {
        let scale = self.listing(of).scale;
        if price == Price::Mark { to_eight(units, scale) } else { on_tick(units, scale) }
    }

    /// Whether an hour has all its minutes: it starts at the origin or after, and ends before the end.
    fn is_whole(&self, of: Of, hour: Millis) -> bool {
        hour >= self.origin && hour.rem_euclid(HOUR) == 0 && hour + HOUR <= self.end(self.listing(of))
    }

    fn range(&self, of: Of, price: Price, hour: Millis) -> (Decimal, Decimal) {
        if !self.is_whole(of, hour) {
            let all = self.minutes(of, price, hour);
            return all.iter().fold((all[0], all[0]), |(low, high), p| (low.min(*p), high.max(*p)));
        }
        // The log rises with the price, so two prices are enough.
        let curve = self.curve(of, price, self.place(hour).0);
        let logs = curve.minutes();
        let (low, high) = logs.iter().fold((logs[0], logs[0]), |(low, high), log| (low.min(*log), high.max(*log)));
        (self.shown(of, price, curve.units(low)), self.shown(of, price, curve.units(high)))
    }

    fn bound(&self, of: Of, price: Price, hour: Millis) -> (Decimal, Decimal) {
        // An hour that is not whole is cut off from one that is, or stands still at one of its prices.
        let hour = hour.max(self.origin).min(self.end(self.listing(of)));
        let curve = self.curve(of, price, self.place(hour).0);
        let (low, high) = curve.bound();
        (self.shown(of, price, curve.units(low)), self.shown(of, price, curve.units(high)))
    }

    fn minutes(&self, of: Of, price: Price, hour: Millis) -> [Decimal; 60] {
        if !self.is_whole(of, hour) {
            return std::array::from_fn(|minute| {
                self.shown(of, price, self.units(of, price, hour + minute as i64 * MINUTE))
            });
        }
        let curve = self.curve(of, price, self.place(hour).0);
        curve.minutes().map(|log| self.shown(of, price, curve.units(log)))
    }

    fn candle(&self, of: Of, open_time: Millis, length: Millis, now: Millis) -> Option<Candle> {
        let listing = self.listing(of);
        let mut from = open_time.max(self.origin);
        if let Of::Usdm(i) = of
            && let ContractKind::Dated { onboard, .. } = self.listings.universe.usdm[i].kind
        {
            from = from.max(onboard);
        }
        let to = (open_time + length - 1).min(now).min(self.end(listing) - 1);
        if now < open_time || to < from {
            return None;
        }
        let price = if matches!(of, Of::Spot(_)) { Price::Index } else { Price::Last };
        let ((first, start), (last, stop)) = (self.place(from), self.place(to));
        let mut extremes = (i64::MAX, i64::MIN);
        let (mut steps, mut trades) = (0, 0);
        for hour in first..=last {
            let a = if hour == first { start } else { 0 };
            let b = if hour == last { stop } else { 3599 };
            extremes = self.curve(of, price, hour).extremes(a, b, extremes);
            let turnover = self.turnover(of, hour);
            let (before, after) = (turnover.until(a), turnover.until(b + 1));
            steps += after.0 - before.0;
            trades += after.1 - before.1;
        }
        Some(Candle {
            open_time,
            open: self.tick_price(of, from),
            high: on_tick(grown(listing.start, extremes.1), listing.scale),
            low: on_tick(grown(listing.start, extremes.0), listing.scale),
            close: self.tick_price(of, to),
            volume: Decimal::new(steps, listing.step_scale),
            trades: trades as u64,
        })
    }

    fn turnover(&self, of: Of, hour: usize) -> Turnover {
        let listing = self.listing(of);
        let number = match of {
            Of::Spot(i) => 2 * i as i64,
            Of::Usdm(i) => 2 * i as i64 + 1,
        };
        let key = self.volume.below(number).below(hour as i64);
        Turnover::new(listing, self.paths.coin(listing.coin), key, self.paths.wildness(hour))
    }
}
