//! Kraken's names: `XXBT` is bitcoin, `ETH2.S` ether that is staked, `XXBTZUSD` a market and
//! `PF_XBTUSD` a contract.

use std::collections::BTreeMap;

use codash_domain::{Asset, Symbol};

/// Assets of the first years, whose codes carry an X (coins) or a Z (national money) in front.
/// Later codes begin with these letters by themselves: `XTZ`, `ZRX`, `XAUT`.
const PREFIXED: [&str; 23] = [
    "XXBT", "XETH", "XETC", "XLTC", "XXRP", "XXLM", "XXMR", "XXDG", "XXVN", "XXTZ", "XZEC", "XREP", "XMLN", "XICN",
    "XDAO", "XNMC", "ZUSD", "ZEUR", "ZGBP", "ZCAD", "ZJPY", "ZAUD", "ZKRW",
];

/// Our code of an asset, without what says where it is kept.
pub fn asset(native: &str) -> String {
    let (code, kept) = native.split_once('.').map_or((native, None), |(code, kept)| (code, Some(kept)));
    let code = if kept == Some("S") { without_term(code) } else { code };
    let code = if PREFIXED.contains(&code) { code.get(1..).unwrap_or(code) } else { code };
    // Ether from before the merge.
    let code = if code == "ETH2" { "ETH" } else { code };
    Asset::new(code).as_str().to_owned()
}

/// Bonded staking writes its days behind the asset: `DOT28`, `SOL03`.
fn without_term(code: &str) -> &str {
    let asset = code.trim_end_matches(|c: char| c.is_ascii_digit());
    if !asset.is_empty() && code.len() == asset.len() + 2 { asset } else { code }
}

/// Where an asset is kept, by the ending of its code.
pub fn wallet(native: &str) -> &'static str {
    match native.split_once('.').map(|(_, kept)| kept) {
        None => "spot",
        Some("S" | "P") => "staked",
        Some("B" | "F" | "M") => "earn",
        Some("HOLD") => "hold",
        Some("T") => "tokenized",
        Some(_) => "other",
    }
}

/// Quotes that end a market's name, tried when the exchange's own list does not know the market.
/// Longer names first: `XBTUSDT` is not quoted in `USD`.
const QUOTES: [&str; 25] = [
    "PYUSD", "RLUSD", "FDUSD", "USDT", "USDC", "USDQ", "USDR", "USDG", "EURT", "EURR", "EURC", "TBTC", "WBTC", "DAI",
    "USD", "EUR", "GBP", "CAD", "JPY", "AUD", "CHF", "XBT", "BTC", "ETH", "DOT",
];

/// Base and quote by each of a market's names, and markets by what they trade.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pairs {
    by_name: BTreeMap<String, (String, String)>,
    by_assets: BTreeMap<(String, String), String>,
}

impl Pairs {
    /// Learns a market from its id, its other names, and its base and quote, all as the venue writes them.
    pub fn insert(&mut self, id: &str, others: &[&str], base: &str, quote: &str) {
        let assets = (asset(base), asset(quote));
        for name in others.iter().chain([&id]).filter(|name| !name.is_empty()) {
            self.by_name.insert((*name).to_owned(), assets.clone());
        }
        // Dark pools repeat a market under a name with a dot.
        if !id.contains('.') {
            self.by_assets.entry(assets).or_insert_with(|| id.to_owned());
        }
    }

    /// Our codes of a market's base and quote; `None` when neither the list nor the name tells.
    pub fn split(&self, native: &str) -> Option<(String, String)> {
        self.by_name.get(native).cloned().or_else(|| by_spelling(native))
    }

    /// The id of the market of two assets, in our codes.
    pub fn market(&self, base: &str, quote: &str) -> Option<&str> {
        self.by_assets.get(&(base.to_owned(), quote.to_owned())).map(String::as_str)
    }

    /// Our name of a market.
    pub fn symbol(&self, native: &str) -> Option<Symbol> {
        match self.split(native) {
            Some((base, quote)) => Symbol::spot(&base, &quote),
            None => Symbol::new(native),
        }
    }
}

fn by_spelling(native: &str) -> Option<(String, String)> {
    if let Some((base, quote)) = native.split_once('/') {
        return (!base.is_empty() && !quote.is_empty()).then(|| (asset(base), asset(quote)));
    }
    // Either both assets carry their letter, or a stablecoin is traded for old money (`USDTZUSD`):
    // the Z of `XTZUSD` belongs to its base.
    let old = PREFIXED.iter().find_map(|quote| {
        let base = native.strip_suffix(quote)?;
        (PREFIXED.contains(&base) || base == "USDT").then(|| (asset(base), asset(quote)))
    });
    old.or_else(|| {
        let new = |quote| Some((native.strip_suffix(quote).filter(|base| !base.is_empty())?, quote));
        let (base, quote) = QUOTES.into_iter().find_map(new)?;
        Some((asset(base), asset(quote)))
    })
}

/// What the name of a futures contract says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    pub symbol: Option<Symbol>,
    pub base: String,
    pub quote: String,
    /// The size is in dollars and the money in coins.
    pub is_inverse: bool,
}

/// Reads the name of a contract, in either case: `PF_XBTUSD`, `fi_xbtusd_201225`.
pub fn contract(native: &str) -> Option<Contract> {
    let native = native.to_ascii_uppercase();
    let mut parts = native.split('_');
    let (kind, pair, expiry) = (parts.next()?, parts.next()?, parts.next());
    let is_inverse = match kind {
        "PI" | "FI" => true,
        "PF" | "FF" | "PV" | "FV" => false,
        _ => return None,
    };
    let split = |quote: &str| Some((pair.strip_suffix(quote).filter(|base| !base.is_empty())?, quote.to_owned()));
    let (base, quote) = ["USD", "USDT", "USDC", "EUR", "GBP", "XBT"].into_iter().find_map(split)?;
    let symbol = match (expiry, is_inverse) {
        (Some(expiry), _) => Symbol::dated(base, expiry),
        (None, true) => Symbol::inverse_perp(base),
        (None, false) => Symbol::linear_perp(base),
    };
    let code = |code: &str| Asset::new(code).as_str().to_owned();
    Some(Contract { symbol, base: code(base), quote: code(&quote), is_inverse })
}

/// Our name of a contract, or its own.
pub fn contract_symbol(native: &str) -> Option<Symbol> {
    contract(native).map_or_else(|| Symbol::new(&native.to_ascii_uppercase()), |contract| contract.symbol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_lose_what_kraken_puts_around_them() {
        let codes = [
            "XXBT", "XXDG", "ZUSD", "XTZ", "XAUT", "ZRX", "ETH2", "ETH2.S", "DOT28.S", "XBT.M", "USD.M", "XDAO", "KFEE",
        ];
        let ours = ["BTC", "DOGE", "USD", "XTZ", "XAUT", "ZRX", "ETH", "ETH", "DOT", "BTC", "USD", "DAO", "KFEE"];
        assert_eq!(codes.map(asset), ours);
        assert_eq!(
            ["DOT", "DOT.S", "USDT.F", "EUR.HOLD", "A.Q"].map(wallet),
            ["spot", "staked", "earn", "hold", "other"]
        );
    }

    #[test]
    fn markets_are_split_where_their_base_ends() {
        let name = |native: &str| Pairs::default().symbol(native).unwrap().to_string();
        let natives = [
            "XXBTZUSD", "XBTUSDT", "ETH/USD", "XETHXXBT", "XTZUSD", "XTZXBT", "USDTZUSD", "XRPRLUSD", "SOLEUR", "WHAT",
        ];
        let ours = [
            "BTC-USD",
            "BTC-USDT",
            "ETH-USD",
            "ETH-BTC",
            "XTZ-USD",
            "XTZ-BTC",
            "USDT-USD",
            "XRP-RLUSD",
            "SOL-EUR",
            "WHAT",
        ];
        assert_eq!(natives.map(name), ours);
    }

    #[test]
    fn the_exchanges_own_list_comes_first() {
        let mut pairs = Pairs::default();
        pairs.insert("ABCUSD", &["ABC/USD", ""], "ABCU", "SD");
        pairs.insert("ABCUSD.d", &[], "ABCU", "SD");
        assert_eq!(pairs.symbol("ABC/USD").unwrap().to_string(), "ABCU-SD");
        assert_eq!(pairs.market("ABCU", "SD"), Some("ABCUSD"));
    }

    #[test]
    fn contracts_are_linear_inverse_or_dated() {
        let name = |native: &str| contract_symbol(native).unwrap().to_string();
        let natives = ["PF_XBTUSD", "pi_xbtusd", "FI_XBTUSD_201225", "pf_dogeusd", "PF_EURUSD", "odd_thing"];
        assert_eq!(natives.map(name), ["BTC-PERP", "BTC-PERP-USD", "BTC-201225", "DOGE-PERP", "EUR-PERP", "ODD_THING"]);
        let vanilla = contract("pv_xrpxbt").unwrap();
        assert_eq!((vanilla.base.as_str(), vanilla.quote.as_str(), vanilla.is_inverse), ("XRP", "BTC", false));
    }
}
