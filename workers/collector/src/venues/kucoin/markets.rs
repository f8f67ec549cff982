//! KuCoin's markets: what a lot of a contract is, and our names.

use std::collections::{BTreeMap, BTreeSet};

use codash_domain::Symbol;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::VenueError;
use crate::venues::wire::{Dec, maybe_text, read};

/// KuCoin calls bitcoin XBT on futures; prices and names are those of BTC.
pub fn asset(code: &str) -> &str {
    if code == "XBT" { "BTC" } else { code }
}

/// Base and quote of a spot market.
pub fn spot(native: &str) -> Option<(&str, &str)> {
    native.split_once('-').filter(|(base, quote)| !base.is_empty() && !quote.is_empty())
}

/// A futures contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    pub base: String,
    /// One lot: in the base when linear, in dollars when inverse. Not known of a contract that is no
    /// longer listed.
    pub lot: Option<Decimal>,
    pub inverse: bool,
    /// What prices are stated in.
    pub quote: String,
    /// What PnL, fees and funding are paid in.
    pub settle: String,
    /// The venue's expiry of a dated future.
    pub expiry: Option<String>,
}

impl Contract {
    pub fn symbol(&self) -> Option<Symbol> {
        match &self.expiry {
            Some(expiry) => Symbol::dated(&self.base, expiry),
            None if self.inverse => Symbol::inverse_perp(&self.base),
            None => Symbol::linear_perp(&self.base),
        }
    }

    /// What the name tells of a contract that is not listed: all but the lot.
    fn by_name(native: &str) -> Option<Self> {
        let linear = |base: &str, quote: &str| Self {
            base: base.into(),
            lot: None,
            inverse: false,
            quote: quote.into(),
            settle: quote.into(),
            expiry: None,
        };
        let inverse = |base: &str, expiry: Option<&str>| Self {
            base: base.into(),
            lot: None,
            inverse: true,
            quote: "USD".into(),
            settle: asset(base).into(),
            expiry: expiry.map(Into::into),
        };
        let before = |end: &str| native.strip_suffix(end).filter(|base| !base.is_empty());
        if let Some(base) = before("USDTM") {
            return Some(linear(base, "USDT"));
        }
        if let Some(base) = before("USDCM") {
            return Some(linear(base, "USDC"));
        }
        if let Some(base) = before("USDM") {
            return Some(inverse(base, None));
        }
        // Dated: XBTMH25 is bitcoin of March 2025.
        let (base, term) = native.split_at_checked(native.len().checked_sub(4)?)?;
        let is_term = matches!(term.as_bytes(), [b'M', b'A'..=b'Z', b'0'..=b'9', b'0'..=b'9']);
        (is_term && !base.is_empty()).then(|| inverse(base, Some(term)))
    }
}

/// The contracts that are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contracts(pub BTreeMap<String, Contract>);

impl Contracts {
    pub fn of(&self, native: &str) -> Option<Contract> {
        self.0.get(native).cloned().or_else(|| Contract::by_name(native))
    }

    /// The coins that futures accounts are held in, in KuCoin's words. USDT and bitcoin are always there.
    pub fn settle_coins(&self) -> BTreeSet<String> {
        let coins = self.0.values().map(|contract| match contract.settle.as_str() {
            "BTC" => "XBT".to_owned(),
            other => other.to_owned(),
        });
        coins.chain(["USDT".into(), "XBT".into()]).collect()
    }

    /// GET /api/v1/contracts/active. A row that cannot be read lists nothing: its records then count
    /// by what they state themselves.
    pub fn read(data: &str) -> Result<Self, VenueError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Row {
            symbol: String,
            base_currency: String,
            quote_currency: String,
            settle_currency: String,
            multiplier: Dec,
            is_inverse: bool,
            #[serde(default, deserialize_with = "maybe_text")]
            expire_date: Option<String>,
        }
        let rows: Vec<Box<RawValue>> = read("/api/v1/contracts/active", data)?;
        let rows = rows.iter().filter_map(|raw| serde_json::from_str::<Row>(raw.get()).ok());
        let contract = |row: Row| {
            let expiry = row.expire_date.is_some().then(|| match row.symbol.strip_prefix(&row.base_currency) {
                Some(term) if !term.is_empty() => term.to_owned(),
                _ => row.symbol.clone(),
            });
            let contract = Contract {
                lot: Some(row.multiplier.0.abs()).filter(|lot| !lot.is_zero()),
                inverse: row.is_inverse,
                quote: asset(&row.quote_currency).into(),
                settle: asset(&row.settle_currency).into(),
                base: row.base_currency,
                expiry,
            };
            (row.symbol, contract)
        };
        Ok(Self(rows.map(contract).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contract_that_is_not_listed_is_known_by_its_name_but_for_the_lot() {
        let of = |native: &str| Contracts::default().of(native);
        let name = |native: &str| of(native).and_then(|contract| contract.symbol()).map(|symbol| symbol.to_string());
        assert_eq!(name("XBTUSDTM").unwrap(), "BTC-PERP");
        assert_eq!(name("1000BONKUSDTM").unwrap(), "1000BONK-PERP");
        assert_eq!(name("ETHUSDCM").unwrap(), "ETH-PERP");
        assert_eq!(name("XBTUSDM").unwrap(), "BTC-PERP-USD");
        assert_eq!(name("XBTMH25").unwrap(), "BTC-MH25");
        assert_eq!([name("USDTM"), name("BTC-USDT"), name(""), name("é25")], [None, None, None, None]);
        assert_eq!(of("XBTUSDM").unwrap().settle, "BTC");
        assert!(of("XBTUSDTM").unwrap().lot.is_none());
    }

    #[test]
    fn the_list_tells_lots_coins_and_expiries() {
        let list = r#"[{"symbol":"XBTUSDM","baseCurrency":"XBT","quoteCurrency":"USD","settleCurrency":"XBT","multiplier":-1.0,
            "isInverse":true,"expireDate":null},{"symbol":"XBTMH27","baseCurrency":"XBT","quoteCurrency":"USD",
            "settleCurrency":"XBT","multiplier":-1,"isInverse":true,"expireDate":1800000000000},{"symbol":"BAD"}]"#;
        let contracts = Contracts::read(list).unwrap();
        assert_eq!(contracts.of("XBTUSDM").unwrap().lot, Some(Decimal::ONE));
        assert_eq!(contracts.of("XBTMH27").unwrap().symbol().unwrap().to_string(), "BTC-MH27");
        assert_eq!(contracts.settle_coins().into_iter().collect::<Vec<_>>(), ["USDT", "XBT"]);
    }
}
