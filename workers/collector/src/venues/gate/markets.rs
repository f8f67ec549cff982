//! Gate's markets: what a contract is, and our names.

use std::collections::BTreeMap;

use codash_domain::Symbol;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::VenueError;
use crate::venues::wire::{Dec, maybe_text, read};

/// A coin that futures accounts are held in, and its streams. Records do not name the coin, so the
/// streams do.
#[derive(Debug, PartialEq, Eq)]
pub struct Settle {
    /// As paths name it.
    pub path: &'static str,
    /// In our spelling.
    pub coin: &'static str,
    pub fills: &'static str,
    pub book: &'static str,
    pub liquidations: &'static str,
    pub adl: &'static str,
}

pub static USDT: Settle = Settle {
    path: "usdt",
    coin: "USDT",
    fills: "futures_usdt.fills",
    book: "futures_usdt.book",
    liquidations: "futures_usdt.liquidations",
    adl: "futures_usdt.adl",
};

pub static BTC: Settle = Settle {
    path: "btc",
    coin: "BTC",
    fills: "futures_btc.fills",
    book: "futures_btc.book",
    liquidations: "futures_btc.liquidations",
    adl: "futures_btc.adl",
};

/// Base and quote of a market.
pub fn split(native: &str) -> Option<(&str, &str)> {
    native.split_once('_').filter(|(base, quote)| !base.is_empty() && !quote.is_empty())
}

pub fn spot(native: &str) -> Option<Symbol> {
    match split(native) {
        Some((base, quote)) => Symbol::spot(base, quote),
        None => Symbol::new(native),
    }
}

/// `BTC_USDT` is linear, `BTC_USD` is settled in a coin.
pub fn perpetual(native: &str) -> Option<Symbol> {
    match split(native) {
        Some((base, "USD")) => Symbol::inverse_perp(base),
        Some((base, _)) => Symbol::linear_perp(base),
        None => Symbol::new(native),
    }
}

/// What one contract is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contract {
    /// So many units of the base.
    Base(Decimal),
    /// One dollar.
    Dollar,
}

impl Contract {
    /// Quantity in the base, and notional in the quote.
    pub fn size(self, contracts: Decimal, price: Decimal) -> Result<(Decimal, Decimal), String> {
        let contracts = contracts.abs();
        match self {
            Self::Base(unit) => {
                let qty = crate::pricing::product(contracts, unit)?;
                Ok((qty, crate::pricing::product(qty, price)?.abs()))
            }
            Self::Dollar => {
                let qty = contracts.checked_div(price).ok_or("the price is zero")?;
                Ok((codash_domain::Usd::derived(qty).0.abs(), contracts))
            }
        }
    }
}

/// The contracts of one settle coin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contracts(pub BTreeMap<String, Contract>);

impl Contracts {
    pub fn of(&self, native: &str) -> Option<Contract> {
        self.0.get(native).copied()
    }

    /// GET /api/v4/futures/{settle}/contracts. A row that cannot be read lists nothing.
    pub fn read(body: &str) -> Result<Self, VenueError> {
        #[derive(Deserialize)]
        struct Row {
            name: String,
            #[serde(rename = "type", default, deserialize_with = "maybe_text")]
            kind: Option<String>,
            quanto_multiplier: Dec,
        }
        let rows: Vec<Box<RawValue>> = read("/api/v4/futures/{settle}/contracts", body)?;
        let contract = |raw: &RawValue| {
            let row: Row = serde_json::from_str(raw.get()).ok()?;
            let unit = row.quanto_multiplier.0;
            // An inverse contract has no multiplier: it is a dollar.
            let contract = match row.kind.as_deref() {
                Some("inverse") => Contract::Dollar,
                _ if unit.is_zero() => return None,
                _ => Contract::Base(unit.abs()),
            };
            Some((row.name, contract))
        };
        Ok(Self(rows.iter().filter_map(|raw| contract(raw)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contracts_are_units_of_the_base_or_dollars() {
        let list = r#"[{"name":"BTC_USDT","type":"direct","quanto_multiplier":"0.0001"},
            {"name":"BTC_USD","type":"inverse","quanto_multiplier":"0"},{"name":"ODD","type":"direct","quanto_multiplier":"0"}]"#;
        let contracts = Contracts::read(list).unwrap();
        let size =
            |native: &str| contracts.of(native).unwrap().size(Decimal::from(-100), Decimal::from(50_000)).unwrap();
        assert_eq!(size("BTC_USDT"), (Decimal::new(1, 2), Decimal::from(500)));
        assert_eq!(size("BTC_USD"), (Decimal::new(2, 3), Decimal::from(100)));
        assert!(contracts.of("ODD").is_none() && Contract::Dollar.size(Decimal::ONE, Decimal::ZERO).is_err());
    }

    #[test]
    fn markets_have_our_names() {
        let name = |symbol: Option<Symbol>| symbol.unwrap().to_string();
        assert_eq!(name(spot("GT_USDT")), "GT-USDT");
        assert_eq!([name(perpetual("BTC_USDT")), name(perpetual("BTC_USD"))], ["BTC-PERP", "BTC-PERP-USD"]);
        assert_eq!(name(spot("WHAT")), "WHAT");
    }
}
