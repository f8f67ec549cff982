//! Bitget market names: `BTCUSDT` says neither where the base ends nor what the quote is.

use std::collections::BTreeMap;

use codash_domain::Symbol;

/// Quotes that end a spot market's name, when the exchange's own list does not know the market.
const QUOTES: [&str; 12] = ["USDT", "USDC", "USDE", "USD1", "EUR", "BRL", "TRY", "GBP", "BTC", "ETH", "BGB", "USD"];

/// Base and quote by spot market, as the exchange lists them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Markets(pub BTreeMap<String, (String, String)>);

impl Markets {
    /// Our name and the quote of a spot market.
    pub fn spot<'a>(&'a self, native: &'a str) -> (Option<Symbol>, Option<&'a str>) {
        if let Some((base, quote)) = self.0.get(native) {
            return (Symbol::spot(base, quote), Some(quote));
        }
        // The older API writes `BTCUSDT_SPBL`.
        let name = native.split('_').next().unwrap_or(native);
        let split = QUOTES.into_iter().find_map(|quote| {
            let base = name.strip_suffix(quote).filter(|base| !base.is_empty())?;
            Some((base, quote))
        });
        match split {
            Some((base, quote)) => (Symbol::spot(base, quote), Some(quote)),
            None => (Symbol::new(native), None),
        }
    }
}

/// A futures contract: our name, what it is quoted in, and what its profit is paid in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract<'a> {
    pub symbol: Option<Symbol>,
    pub quote: Option<&'a str>,
    pub money: Option<&'a str>,
}

/// `BTCUSDT` (linear), `BTCPERP` (in USDC), `BTCUSD` (inverse), `BTCUSDH26` or `BTCUSDTH26` (dated).
pub fn contract(native: &str) -> Contract<'_> {
    let name = native.split('_').next().unwrap_or(native);
    if let Some(base) = name.strip_suffix("PERP").filter(|base| !base.is_empty()) {
        return Contract { symbol: Symbol::linear_perp(base), quote: Some("USDC"), money: Some("USDC") };
    }
    let (pair, expiry) = match expiry_of(name) {
        Some(expiry) => (&name[..name.len() - expiry.len()], Some(expiry)),
        None => (name, None),
    };
    for quote in ["USDT", "USDC", "USD"] {
        let Some(base) = pair.strip_suffix(quote).filter(|base| !base.is_empty()) else { continue };
        let is_inverse = quote == "USD";
        let symbol = match (expiry, is_inverse) {
            (Some(expiry), _) => Symbol::dated(base, expiry),
            (None, true) => Symbol::inverse_perp(base),
            (None, false) => Symbol::linear_perp(base),
        };
        return Contract { symbol, quote: Some(quote), money: Some(if is_inverse { base } else { quote }) };
    }
    Contract { symbol: Symbol::new(native), quote: None, money: None }
}

/// The month's letter and the year that end a dated contract's name.
fn expiry_of(name: &str) -> Option<&str> {
    let at = name.len().checked_sub(3)?;
    let expiry = name.get(at..)?;
    let is_expiry = matches!(expiry.as_bytes(), [b'F'..=b'Z', b'0'..=b'9', b'0'..=b'9']);
    let is_after_quote = name.get(..at)?.ends_with("USD") || name.get(..at)?.ends_with("USDT");
    (is_expiry && is_after_quote).then_some(expiry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contracts_are_linear_inverse_or_dated() {
        let told = |native: &'static str| {
            let contract = contract(native);
            (contract.symbol.map(|symbol| symbol.to_string()).unwrap_or_default(), contract.money.unwrap_or_default())
        };
        assert_eq!(told("BTCUSDT"), ("BTC-PERP".into(), "USDT"));
        assert_eq!(told("ETHUSDT_UMCBL"), ("ETH-PERP".into(), "USDT"));
        assert_eq!(told("BTCPERP"), ("BTC-PERP".into(), "USDC"));
        assert_eq!(told("ETHUSD"), ("ETH-PERP-USD".into(), "ETH"));
        assert_eq!(told("BTCUSDH26"), ("BTC-H26".into(), "BTC"));
        assert_eq!(told("1000PEPEUSDT"), ("1000PEPE-PERP".into(), "USDT"));
        assert_eq!(told("WHAT"), ("WHAT".into(), ""));
        assert_eq!(told(""), (String::new(), ""));
        assert_eq!(told("日本"), ("日本".into(), ""));
    }

    #[test]
    fn a_spot_market_is_named_from_the_list_first() {
        let listed = Markets(BTreeMap::from([("XBTCUSD".to_owned(), ("X".to_owned(), "BTCUSD".to_owned()))]));
        let name = |native: &str| listed.spot(native).0.unwrap().to_string();
        assert_eq!([name("XBTCUSD"), name("BGBUSDT"), name("WHAT")], ["X-BTCUSD", "BGB-USDT", "WHAT"]);
    }
}
