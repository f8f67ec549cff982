//! Dollars per unit of an asset, at the minute of an event.
//!
//! Parsers are pure: they ask a [`Prices`]. [`needs`] runs a parser once to learn which prices a
//! page asks for; the venue fetches those into a [`PriceBook`]; then the page is parsed for good.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use codash_domain::{Timestamp, Usd};
use rust_decimal::Decimal;

/// Taken as one dollar each, by convention.
pub const PEGGED: [&str; 5] = ["USD", "USDT", "USDC", "FDUSD", "USDH"];

pub const MINUTE_MILLIS: i64 = 60_000;

/// Amounts at or beyond this are a mistake of the venue or of ours; below it, sums cannot overflow.
const LARGEST_USD: Decimal = Decimal::from_parts(2_808_348_672, 232_830_643, 0, false, 0);

/// Where a parser looks prices up.
pub trait Prices {
    /// Dollars per unit of `asset` at the minute of `at`.
    fn usd(&self, asset: &str, at: Timestamp) -> Option<Decimal>;
}

/// Known prices: those of single minutes, and those that hold at any time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PriceBook {
    always: BTreeMap<String, Decimal>,
    minutes: BTreeMap<(String, i64), Decimal>,
}

impl PriceBook {
    /// One price per asset, whatever the moment: recorded cases and snapshots of now.
    pub fn fixed(prices: impl IntoIterator<Item = (String, Decimal)>) -> Self {
        Self { always: prices.into_iter().collect(), minutes: BTreeMap::new() }
    }

    /// Adds the price of one minute, which is given by any instant in it.
    pub fn insert(&mut self, asset: &str, at: Timestamp, usd: Decimal) {
        self.minutes.insert((asset.into(), at.floor_to(MINUTE_MILLIS).millis()), usd);
    }

    /// Dollars per unit. Never the price of another minute.
    pub fn usd(&self, asset: &str, at: Timestamp) -> Option<Decimal> {
        Prices::usd(self, asset, at)
    }
}

impl Prices for PriceBook {
    fn usd(&self, asset: &str, at: Timestamp) -> Option<Decimal> {
        let minute = at.floor_to(MINUTE_MILLIS).millis();
        self.always
            .get(asset)
            .or_else(|| self.minutes.get(&(asset.into(), minute)))
            .copied()
            .or_else(|| PEGGED.contains(&asset).then_some(Decimal::ONE))
    }
}

/// An asset and the first instant of a minute.
pub type Need = (String, Timestamp);

/// Knows nothing but the pegs, and notes what it was asked.
#[derive(Default)]
struct Asked(RefCell<BTreeSet<Need>>);

impl Prices for Asked {
    fn usd(&self, asset: &str, at: Timestamp) -> Option<Decimal> {
        if PEGGED.contains(&asset) {
            return Some(Decimal::ONE);
        }
        self.0.borrow_mut().insert((asset.into(), at.floor_to(MINUTE_MILLIS)));
        None
    }
}

/// The prices that a parser asks for, pegs left out.
pub fn needs<T>(parse: impl Fn(&dyn Prices) -> T) -> BTreeSet<Need> {
    let asked = Asked::default();
    parse(&asked);
    asked.0.into_inner()
}

/// The assets that a snapshot asks prices of, and the two that it states prices of.
pub fn assets_needed<T>(read: impl Fn(&dyn Prices) -> T) -> Vec<String> {
    let mut assets: BTreeSet<String> = needs(read).into_iter().map(|(asset, _)| asset).collect();
    assets.extend(["BTC".into(), "ETH".into()]);
    assets.into_iter().collect()
}

/// Turns the amounts of one record into dollars and remembers whether any could not be.
pub struct Exchange<'a> {
    prices: &'a dyn Prices,
    at: Timestamp,
    pub unpriced: bool,
}

impl<'a> Exchange<'a> {
    pub fn new(prices: &'a dyn Prices, at: Timestamp) -> Self {
        Self { prices, at, unpriced: false }
    }

    /// An amount that the venue states in `asset`. `Ok(None)` when no price is known: nothing of
    /// an unpriced asset is still zero dollars.
    pub fn stated(&mut self, amount: Decimal, asset: &str) -> Result<Option<Usd>, String> {
        self.at_price(amount, asset, Usd::new)
    }

    /// An amount in `asset` that we derived (price × size), rounded once, after the conversion.
    pub fn derived(&mut self, amount: Decimal, asset: &str) -> Result<Option<Usd>, String> {
        self.at_price(amount, asset, Usd::derived)
    }

    fn at_price(&mut self, amount: Decimal, asset: &str, at_par: fn(Decimal) -> Usd) -> Result<Option<Usd>, String> {
        if amount.is_zero() {
            return Ok(Some(Usd::ZERO));
        }
        // A money that the record does not name has no price to ask for.
        let price = if asset.is_empty() { None } else { self.prices.usd(asset, self.at) };
        let Some(price) = price else {
            self.unpriced = true;
            return Ok(None);
        };
        let usd = if price == Decimal::ONE { Some(at_par(amount)) } else { Usd::convert(amount, price) };
        usd.and_then(bounded).map(Some).ok_or_else(|| format!("{amount} {asset} is too large an amount"))
    }
}

/// `a × b`, or why not.
pub fn product(a: Decimal, b: Decimal) -> Result<Decimal, String> {
    a.checked_mul(b).ok_or_else(|| format!("{a} times {b} does not fit"))
}

/// The opposite amount; nothing stays nothing, without a sign.
pub fn negated(amount: Decimal) -> Decimal {
    if amount.is_zero() { Decimal::ZERO } else { -amount }
}

/// The sum, or why there is none.
pub fn sum(parts: impl IntoIterator<Item = Decimal>) -> Result<Decimal, String> {
    let add = |sum: Decimal, part| sum.checked_add(part);
    parts.into_iter().try_fold(Decimal::ZERO, add).ok_or_else(|| "the sum does not fit".into())
}

/// What an amount is worth at a price in dollars, or why not.
pub fn worth(amount: Decimal, price: Decimal) -> Result<Usd, String> {
    Usd::convert(amount, price).and_then(bounded).ok_or_else(|| format!("{amount} is too large an amount"))
}

/// Dollars per unit of an asset by a venue's markets of now: one against these dollars, else one of
/// USDT against the asset, else through bitcoin. `price` gives base and quote their last price.
pub fn by_markets(asset: &str, dollars: &[&str], price: impl Fn(&str, &str) -> Option<Decimal>) -> Option<Decimal> {
    if PEGGED.contains(&asset) {
        return Some(Decimal::ONE);
    }
    let price = |base: &str, quote: &str| price(base, quote).filter(|price| !price.is_zero());
    let direct = dollars.iter().find_map(|dollar| price(asset, dollar));
    direct
        .or_else(|| Decimal::ONE.checked_div(price("USDT", asset)?))
        .or_else(|| product(price(asset, "BTC")?, price("BTC", "USDT")?).ok())
}

/// A dollar amount small enough to be summed.
pub fn bounded(usd: Usd) -> Option<Usd> {
    (usd.0.abs() < LARGEST_USD).then_some(usd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn dec(text: &str) -> Decimal {
        codash_domain::money::parse_decimal(text).unwrap()
    }

    #[test]
    fn a_price_holds_for_its_own_minute_and_no_other() {
        let mut book = PriceBook::default();
        book.insert("BNB", at("2026-01-01T00:00:59.999Z"), dec("600"));
        assert_eq!(book.usd("BNB", at("2026-01-01T00:00:00.000Z")), Some(dec("600")));
        assert_eq!(book.usd("BNB", at("2026-01-01T00:01:00.000Z")), None);
        assert_eq!(book.usd("BNB", at("2026-01-02T00:00:00.000Z")), None);
        assert_eq!(book.usd("USDT", at("2026-01-02T00:00:00.000Z")), Some(Decimal::ONE));
        assert_eq!(book.usd("BUSD", at("2026-01-02T00:00:00.000Z")), None);
    }

    #[test]
    fn a_page_names_the_prices_it_needs_once_each() {
        let needed = needs(|prices| {
            for time in ["2026-01-01T00:00:01.000Z", "2026-01-01T00:00:59.000Z"] {
                prices.usd("BNB", at(time));
                prices.usd("USDC", at(time));
            }
        });
        assert_eq!(needed.into_iter().collect::<Vec<_>>(), [("BNB".to_owned(), at("2026-01-01T00:00:00.000Z"))]);
    }

    #[test]
    fn an_asset_is_priced_by_the_first_market_that_leads_to_dollars() {
        let markets =
            [("SOL-USDC", "200"), ("USDT-BRL", "5"), ("OLD-BTC", "0.5"), ("BTC-USDT", "50000"), ("BAD-USDT", "0")];
        let price = |base: &str, quote: &str| {
            let market = format!("{base}-{quote}");
            markets.iter().find(|(name, _)| *name == market).map(|(_, price)| dec(price))
        };
        let by = |asset: &str| by_markets(asset, &["USDT", "USDC"], price);
        assert_eq!([by("USDC"), by("SOL"), by("BRL")], [Some(Decimal::ONE), Some(dec("200")), Some(dec("0.2"))]);
        assert_eq!([by("OLD"), by("BAD"), by("NEW")], [Some(dec("25000")), None, None]);
    }

    #[test]
    fn unpriced_is_unknown_but_nothing_of_it_is_zero() {
        let book = PriceBook::default();
        let mut exchange = Exchange::new(&book, at("2026-01-01T00:00:00.000Z"));
        assert_eq!(exchange.stated(Decimal::ZERO, "XYZ"), Ok(Some(Usd::ZERO)));
        assert!(!exchange.unpriced);
        assert_eq!(exchange.stated(dec("1"), "XYZ"), Ok(None));
        assert!(exchange.unpriced);
        assert!(exchange.stated(dec("1000000000000000000"), "USDT").is_err());
        assert_eq!(LARGEST_USD, dec("1000000000000000000"));
    }
}
