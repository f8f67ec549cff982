//! Binance market names: `ETHBTC` says neither where the base ends nor what the quote is.

use std::collections::BTreeMap;

use codash_domain::Symbol;

/// Quotes that end a market's name, tried when the exchange's own list does not know the market.
/// Longer names first: `BTCFDUSD` is not quoted in `USD`.
const QUOTES: [&str; 38] = [
    "FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USDP", "USDS", "USD1", "AEUR", "EURI", "IDRT", "BIDR", "BKRW", "BVND",
    "DOGE", "BTC", "ETH", "BNB", "TRX", "XRP", "SOL", "DOT", "TRY", "EUR", "GBP", "AUD", "BRL", "RUB", "UAH", "NGN",
    "ZAR", "PLN", "RON", "ARS", "JPY", "MXN", "DAI", "VAI",
];

/// Quotes in which an asset that is held is looked for among the spot markets.
pub const REVEALING_QUOTES: [&str; 9] = ["USDT", "USDC", "FDUSD", "BTC", "ETH", "BNB", "TRY", "EUR", "TUSD"];

/// Base and quote by market name, as the exchange lists them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Markets(pub BTreeMap<String, (String, String)>);

impl Markets {
    /// Base and quote of a market; `None` when neither the list nor the name tells.
    pub fn split<'a>(&'a self, native: &'a str) -> Option<(&'a str, &'a str)> {
        if let Some((base, quote)) = self.0.get(native) {
            return Some((base, quote));
        }
        QUOTES.into_iter().find_map(|quote| {
            let base = native.strip_suffix(quote).filter(|base| !base.is_empty())?;
            Some((base, &native[base.len()..]))
        })
    }

    /// Our name and the quote of a spot market.
    pub fn spot<'a>(&'a self, native: &'a str) -> (Option<Symbol>, Option<&'a str>) {
        match self.split(native) {
            Some((base, quote)) => (Symbol::spot(base, quote), Some(quote)),
            None => (Symbol::new(native), None),
        }
    }

    /// Spot markets in which an asset may have been traded.
    pub fn of_base<'a>(&'a self, asset: &'a str) -> impl Iterator<Item = &'a str> {
        REVEALING_QUOTES.into_iter().filter_map(move |quote| {
            let (name, _) = self.0.get_key_value(&format!("{asset}{quote}"))?;
            Some(name.as_str())
        })
    }
}

/// Our name and the money of a linear contract: `BTCUSDT`, or dated `BTCUSDT_260327`.
pub fn linear(native: &str) -> (Option<Symbol>, Option<&str>) {
    static NONE_LISTED: Markets = Markets(BTreeMap::new());
    let (pair, expiry) = native.split_once('_').map_or((native, None), |(pair, expiry)| (pair, Some(expiry)));
    match (NONE_LISTED.split(pair), expiry) {
        (Some((base, quote)), None) => (Symbol::linear_perp(base), Some(quote)),
        (Some((base, quote)), Some(expiry)) => (Symbol::dated(base, expiry), Some(quote)),
        (None, _) => (Symbol::new(native), None),
    }
}

/// Our name and the coin of an inverse contract: `BTCUSD_PERP`, or dated `BTCUSD_260327`.
pub fn inverse(native: &str) -> Option<(Symbol, &str)> {
    let (pair, term) = native.split_once('_')?;
    let coin = pair.strip_suffix("USD").filter(|coin| !coin.is_empty())?;
    let symbol = if term == "PERP" { Symbol::inverse_perp(coin) } else { Symbol::dated(coin, term) };
    Some((symbol?, coin))
}

/// Earn positions are mirrored among spot balances as `LD` and the asset. Lido's `LDO` is no mirror.
pub fn is_earn_mirror(asset: &str) -> bool {
    asset.len() > 2 && asset.starts_with("LD") && asset != "LDO"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_market_is_named_from_the_list_first_and_from_its_ending_otherwise() {
        let listed = Markets(BTreeMap::from([("ABTCUSD".to_owned(), ("ABTC".to_owned(), "USD".to_owned()))]));
        let name = |native: &str| listed.spot(native).0.unwrap().to_string();
        assert_eq!(name("ABTCUSD"), "ABTC-USD");
        assert_eq!(name("BTCFDUSD"), "BTC-FDUSD");
        assert_eq!(name("ETHBTC"), "ETH-BTC");
        assert_eq!(name("USDTTRY"), "USDT-TRY");
        assert_eq!(name("WHAT"), "WHAT");
    }

    #[test]
    fn contracts_are_linear_dated_or_inverse() {
        let name = |native: &str| linear(native).0.unwrap().to_string();
        assert_eq!(
            [name("BTCUSDC"), name("1000PEPEUSDT"), name("BTCUSDT_260327")],
            ["BTC-PERP", "1000PEPE-PERP", "BTC-260327"]
        );
        assert_eq!(linear("ETHBTC").1, Some("BTC"));
        let coin = |native: &str| inverse(native).map(|(symbol, coin)| (symbol.to_string(), coin.to_owned()));
        assert_eq!(coin("BTCUSD_PERP"), Some(("BTC-PERP-USD".into(), "BTC".into())));
        assert_eq!(coin("ETHUSD_260327"), Some(("ETH-260327".into(), "ETH".into())));
        assert_eq!(coin("BTCUSDT"), None);
    }

    #[test]
    fn lido_is_held_and_flexible_earn_is_a_mirror() {
        assert!(is_earn_mirror("LDBTC") && is_earn_mirror("LDLDO") && !is_earn_mirror("LDO") && !is_earn_mirror("LTC"));
    }
}
