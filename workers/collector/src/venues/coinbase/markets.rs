//! Coinbase product names: `BTC-USD`, `BTC-PERP-INTX`, `BIT-26DEC25-CDE`.

use std::collections::BTreeMap;

use codash_domain::Symbol;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::VenueError;
use crate::venues::wire::{Dec, filled, read};

/// What a contract of the US futures exchange is worth one of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    pub base: String,
    /// Units of the base in one contract.
    pub size: Decimal,
    /// A contract that pays funding and is in practice without end.
    pub is_perpetual: bool,
}

/// Contracts by product, as the exchange lists them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contracts(pub BTreeMap<String, Contract>);

/// The contracts that the exchange's rules fix, for products that it lists no longer: code, base,
/// hundredths of the base, perpetual.
const KNOWN: [(&str, &str, i64, bool); 4] =
    [("BIT", "BTC", 1, false), ("BIP", "BTC", 1, true), ("ET", "ETH", 10, false), ("ETP", "ETH", 10, true)];

impl Contracts {
    /// What a product is a contract of, by the list, else by the code that its name begins with.
    pub fn of(&self, product: &str) -> Option<Contract> {
        if let Some(contract) = self.0.get(product) {
            return Some(contract.clone());
        }
        let (code, _) = futures_parts(product)?;
        let (_, base, hundredths, is_perpetual) = KNOWN.into_iter().find(|(known, ..)| *known == code)?;
        Some(Contract { base: base.into(), size: Decimal::new(hundredths, 2), is_perpetual })
    }
}

/// Code and expiry of a product of the US futures exchange.
fn futures_parts(product: &str) -> Option<(&str, &str)> {
    product.strip_suffix("-CDE")?.rsplit_once('-')
}

/// What a product is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Market {
    Spot {
        quote: String,
    },
    /// A perpetual of the international exchange, in USDC.
    Intx,
    /// A future of the US exchange, in dollars. Without a contract its size is not known.
    Cfm {
        contract: Option<Contract>,
    },
    Unknown,
}

impl Market {
    pub fn quote(&self) -> Option<&str> {
        match self {
            Self::Spot { quote } => Some(quote),
            Self::Intx => Some("USDC"),
            Self::Cfm { .. } => Some("USD"),
            Self::Unknown => None,
        }
    }
}

/// Our name of a product, and what it is.
pub fn market(product: &str, contracts: &Contracts) -> (Option<Symbol>, Market) {
    if let Some(base) = product.strip_suffix("-PERP-INTX").or_else(|| product.strip_suffix("-PERP")) {
        return (Symbol::linear_perp(base), Market::Intx);
    }
    if let Some((code, expiry)) = futures_parts(product) {
        let contract = contracts.of(product);
        let symbol = match &contract {
            Some(Contract { base, is_perpetual: true, .. }) => Symbol::linear_perp(base),
            Some(Contract { base, .. }) => Symbol::dated(base, expiry),
            None => Symbol::dated(code, expiry),
        };
        return (symbol, Market::Cfm { contract });
    }
    match product.rsplit_once('-') {
        Some((base, quote)) if !base.is_empty() && !quote.is_empty() => {
            (Symbol::spot(base, quote), Market::Spot { quote: quote.into() })
        }
        _ => (Symbol::new(product), Market::Unknown),
    }
}

/// One product of the list.
#[derive(Debug, Deserialize)]
pub struct Product {
    pub product_id: String,
    #[serde(default, deserialize_with = "filled")]
    pub price: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    pub future_product_details: Option<FutureDetails>,
}

#[derive(Debug, Deserialize)]
pub struct FutureDetails {
    #[serde(default, deserialize_with = "filled")]
    contract_size: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    contract_root_unit: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    contract_expiry_type: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    funding_rate: Option<Dec>,
}

impl Product {
    /// The contract that the product is, if it is one of the US futures exchange.
    pub fn contract(&self) -> Option<Contract> {
        futures_parts(&self.product_id)?;
        let details = self.future_product_details.as_ref()?;
        let size = details.contract_size.filter(|size| size.0 > Decimal::ZERO)?.0;
        let base = details.contract_root_unit.clone()?;
        let is_perpetual =
            details.contract_expiry_type.as_deref() == Some("PERPETUAL") || details.funding_rate.is_some();
        Some(Contract { base, size, is_perpetual })
    }
}

/// GET /api/v3/brokerage/market/products. A product that cannot be read has neither price nor size.
pub fn products(endpoint: &str, body: &str) -> Result<Vec<Product>, VenueError> {
    #[derive(Deserialize)]
    struct Reply {
        products: Vec<Box<RawValue>>,
    }
    let reply: Reply = read(endpoint, body)?;
    Ok(reply.products.iter().filter_map(|raw| serde_json::from_str(raw.get()).ok()).collect())
}

/// GET /api/v3/brokerage/market/products/{id}/candles: minutes and their closes.
pub fn candles(endpoint: &str, body: &str) -> Result<Vec<(codash_domain::Timestamp, Decimal)>, VenueError> {
    #[derive(Deserialize)]
    struct Reply {
        candles: Vec<Candle>,
    }
    #[derive(Deserialize)]
    struct Candle {
        /// Unix seconds.
        start: Dec,
        close: Dec,
    }
    let reply: Reply = read(endpoint, body)?;
    let candle = |candle: Candle| {
        let millis = candle.start.0.checked_mul(Decimal::ONE_THOUSAND).and_then(|millis| i64::try_from(millis).ok());
        let start = millis.and_then(codash_domain::Timestamp::from_millis);
        Ok((start.ok_or_else(|| VenueError::unreadable(endpoint, "a candle without an instant"))?, candle.close.0))
    };
    reply.candles.into_iter().map(candle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_spot_perpetual_or_dated() {
        let name = |product: &str| market(product, &Contracts::default()).0.unwrap().to_string();
        assert_eq!(name("BTC-USD"), "BTC-USD");
        assert_eq!(name("BTC-PERP-INTX"), "BTC-PERP");
        assert_eq!(name("BIT-26DEC25-CDE"), "BTC-26DEC25");
        assert_eq!(name("BIP-20DEC30-CDE"), "BTC-PERP");
        assert_eq!(name("GOL-27MAR26-CDE"), "GOL-27MAR26");
        assert_eq!(name("string"), "string");
        assert_eq!(market("", &Contracts::default()).0, None);
        assert_eq!(market("BTC-EUR", &Contracts::default()).1.quote(), Some("EUR"));
        assert_eq!(market("GOL-27MAR26-CDE", &Contracts::default()).1, Market::Cfm { contract: None });
    }

    #[test]
    fn the_list_says_how_large_a_contract_is_and_whether_it_ends() {
        let body = r#"{"products":[{"product_id":"GOL-27MAR26-CDE","price":"","future_product_details":
            {"contract_size":"1","contract_root_unit":"GOLD","contract_expiry_type":"EXPIRING","funding_rate":""}},
            {"product_id":"SLP-20DEC30-CDE","future_product_details":
            {"contract_size":"5","contract_root_unit":"SOL","contract_expiry_type":"EXPIRING","funding_rate":"0.00001"}},
            {"product_id":"BTC-USD","price":"90000.1"}, {"bad":1}]}"#;
        let listed = products("x", body).unwrap();
        assert_eq!(listed.len(), 3);
        let contracts = listed.iter().filter_map(|product| Some((product.product_id.clone(), product.contract()?)));
        let contracts = Contracts(contracts.collect());
        let name = |product: &str| market(product, &contracts).0.unwrap().to_string();
        assert_eq!([name("GOL-27MAR26-CDE"), name("SLP-20DEC30-CDE")], ["GOLD-27MAR26", "SOL-PERP"]);
        assert_eq!(contracts.of("SLP-20DEC30-CDE").unwrap().size, Decimal::from(5));
        assert_eq!(contracts.0.len(), 2);
    }
}
