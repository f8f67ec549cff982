//! Bybit market names: `BTCUSDT` is a spot market and a linear contract, told apart by category.

use std::collections::BTreeMap;

use codash_domain::Symbol;

/// The product that a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    Spot,
    /// Contracts settled in USDT or USDC.
    Linear,
    /// Contracts of dollars, settled in the coin.
    Inverse,
    Options,
}

impl Category {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spot => "spot",
            Self::Linear => "linear",
            Self::Inverse => "inverse",
            Self::Options => "option",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Spot, Self::Linear, Self::Inverse, Self::Options].into_iter().find(|known| known.as_str() == text)
    }

    /// As stated, else from a name that only one product has. `BTCUSDT` alone does not tell.
    pub fn of(stated: Option<&str>, native: &str) -> Result<Self, String> {
        match stated.filter(|stated| !stated.is_empty()) {
            Some(stated) => Self::parse(stated).ok_or_else(|| format!("unknown category {stated:?}")),
            None => Self::of_name(native).ok_or_else(|| "neither category nor name tells the product".to_owned()),
        }
    }

    fn of_name(native: &str) -> Option<Self> {
        if native.split('-').any(|part| matches!(part, "C" | "P")) {
            return Some(Self::Options);
        }
        if inverse(native).is_some() {
            return Some(Self::Inverse);
        }
        let is_linear = native.contains('-') || native.strip_suffix("PERP").is_some_and(|base| !base.is_empty());
        is_linear.then_some(Self::Linear)
    }
}

/// Quotes that end a spot market's name, tried when the venue's own list does not know the market.
/// Longer names first.
const QUOTES: [&str; 18] = [
    "RLUSD", "USDT", "USDC", "USDE", "USDQ", "USDR", "USD1", "XUSD", "BTC", "ETH", "EUR", "BRL", "PLN", "TRY", "MNT",
    "DAI", "SOL", "BRZ",
];

/// Base and quote by spot market, as the venue lists them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Markets(pub BTreeMap<String, (String, String)>);

impl Markets {
    /// Our name, base and quote of a spot market; no base and quote when neither list nor name tells.
    pub fn spot<'a>(&'a self, native: &'a str) -> (Option<Symbol>, Option<(&'a str, &'a str)>) {
        let listed = self.0.get(native).map(|(base, quote)| (base.as_str(), quote.as_str()));
        let split = listed.or_else(|| QUOTES.into_iter().find_map(|quote| ending(native, quote)));
        match split {
            Some((base, quote)) => (Symbol::spot(base, quote), split),
            None => (Symbol::new(native), None),
        }
    }
}

fn ending<'a>(native: &'a str, quote: &'static str) -> Option<(&'a str, &'static str)> {
    native.strip_suffix(quote).filter(|base| !base.is_empty()).map(|base| (base, quote))
}

/// A contract: our name and what it is settled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    pub symbol: Option<Symbol>,
    /// `None` when the name does not tell.
    pub money: Option<String>,
    /// Sizes are dollars, money is the coin.
    pub is_inverse: bool,
}

/// What a contract's name says.
pub fn contract(category: Category, native: &str) -> Contract {
    let (symbol, money) = match category {
        Category::Inverse => match inverse(native) {
            Some((coin, Some(expiry))) => (Symbol::dated(coin, expiry), Some(coin)),
            Some((coin, None)) => (Symbol::inverse_perp(coin), Some(coin)),
            None => (Symbol::new(native), None),
        },
        Category::Linear => linear(native),
        // `BTC-29DEC22-16000-P` in USDC, `BTC-13FEB25-89000-P-USDT` in USDT: the name is kept whole.
        Category::Options => (Symbol::new(native), Some(if native.ends_with("-USDT") { "USDT" } else { "USDC" })),
        Category::Spot => (Symbol::new(native), None),
    };
    Contract { symbol, money: money.map(Into::into), is_inverse: category == Category::Inverse }
}

/// `BTCUSDT`, `BTCPERP` (USDC), dated `BTCUSDT-26DEC25` and `BTC-26DEC25` (USDC).
fn linear(native: &str) -> (Option<Symbol>, Option<&str>) {
    let (pair, expiry) = native.split_once('-').map_or((native, None), |(pair, expiry)| (pair, Some(expiry)));
    let perp = ending(pair, "PERP").map(|(base, _)| (base, "USDC"));
    let split = ["USDT", "USDC"].into_iter().find_map(|quote| ending(pair, quote)).or(perp);
    match (split, expiry) {
        (Some((base, quote)), None) => (Symbol::linear_perp(base), Some(quote)),
        (Some((base, quote)), Some(expiry)) => (Symbol::dated(base, expiry), Some(quote)),
        (None, Some(expiry)) => (Symbol::dated(pair, expiry), Some("USDC")),
        (None, None) => (Symbol::new(native), None),
    }
}

/// Coin and expiry of an inverse contract: `BTCUSD`, or dated `BTCUSDZ25`.
fn inverse(native: &str) -> Option<(&str, Option<&str>)> {
    let (coin, expiry) = native.split_once("USD").filter(|(coin, _)| !coin.is_empty())?;
    if expiry.is_empty() {
        return Some((coin, None));
    }
    let dated = expiry.strip_prefix(['H', 'M', 'U', 'Z'])?;
    let is_year = dated.len() == 2 && dated.bytes().all(|byte| byte.is_ascii_digit());
    is_year.then_some((coin, Some(expiry)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contracts_are_named_and_their_money_is_known() {
        let named = |category, native| {
            let contract = contract(category, native);
            (contract.symbol.unwrap().to_string(), contract.money.unwrap_or_default())
        };
        let linear = |native| named(Category::Linear, native);
        assert_eq!(linear("BTCUSDT"), ("BTC-PERP".into(), "USDT".into()));
        assert_eq!(linear("1000PEPEUSDT"), ("1000PEPE-PERP".into(), "USDT".into()));
        assert_eq!(linear("ETHPERP"), ("ETH-PERP".into(), "USDC".into()));
        assert_eq!(linear("PERPUSDT"), ("PERP-PERP".into(), "USDT".into()));
        assert_eq!(linear("BTCUSDT-26DEC25"), ("BTC-26DEC25".into(), "USDT".into()));
        assert_eq!(linear("BTC-26DEC25"), ("BTC-26DEC25".into(), "USDC".into()));
        assert_eq!(linear("BTCEUR"), ("BTCEUR".into(), String::new()));
        assert_eq!(named(Category::Inverse, "BTCUSD"), ("BTC-PERP-USD".into(), "BTC".into()));
        assert_eq!(named(Category::Inverse, "ETHUSDZ25"), ("ETH-Z25".into(), "ETH".into()));
        assert_eq!(
            named(Category::Options, "BTC-13FEB25-89000-P-USDT"),
            ("BTC-13FEB25-89000-P-USDT".into(), "USDT".into())
        );
    }

    #[test]
    fn a_spot_market_is_named_from_the_list_first_and_from_its_ending_otherwise() {
        let listed = Markets(BTreeMap::from([("AUSDTUSD".to_owned(), ("AUSDT".to_owned(), "USD".to_owned()))]));
        let name = |native: &str| listed.spot(native).0.unwrap().to_string();
        assert_eq!(
            [name("AUSDTUSD"), name("ETHUSDC"), name("USDCUSDT"), name("ETHBTC"), name("WHAT")],
            ["AUSDT-USD", "ETH-USDC", "USDC-USDT", "ETH-BTC", "WHAT"]
        );
    }

    #[test]
    fn a_product_is_stated_or_told_by_the_name_or_not_guessed() {
        let of = |stated, native| Category::of(stated, native).ok();
        assert_eq!(of(Some("spot"), "BTCUSDT"), Some(Category::Spot));
        assert_eq!(of(Some("teleport"), "BTCPERP"), None);
        assert_eq!(of(Some(""), "BTCPERP"), Some(Category::Linear));
        assert_eq!(of(None, "BTCUSDT-26DEC25"), Some(Category::Linear));
        assert_eq!(of(None, "BTCUSDH23"), Some(Category::Inverse));
        assert_eq!(of(None, "BTC-29DEC22-16000-P"), Some(Category::Options));
        assert_eq!((of(None, "BTCUSDT"), of(None, "")), (None, None));
    }
}
