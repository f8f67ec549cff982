//! OKX market names, and what a contract is worth.

use std::collections::BTreeMap;

use chrono::{NaiveDate, NaiveTime};
use codash_domain::{Symbol, Timestamp};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::venues::wire::{Dec, filled};

/// Streams of fills by kind of instrument, as OKX calls it.
pub const KINDS: [(&str, &str); 5] = [
    ("SPOT", SPOT_FILLS),
    ("MARGIN", MARGIN_FILLS),
    ("SWAP", "swap.fills"),
    ("FUTURES", "futures.fills"),
    ("OPTION", "option.fills"),
];
pub const SPOT_FILLS: &str = "spot.fills";
pub const MARGIN_FILLS: &str = "margin.fills";

/// The kind of instrument whose fills a stream holds.
pub fn kind_of_stream(stream: &str) -> Option<&'static str> {
    KINDS.iter().find(|(_, fills)| *fills == stream).map(|(kind, _)| *kind)
}

/// The stream of an instrument's fills: by its kind, or by its name where the kind is not told.
pub fn fills_stream(kind: Option<&str>, id: &str) -> Option<&'static str> {
    let kind = kind.or_else(|| Some(Name::of(id)?.kind()))?;
    KINDS.iter().find(|(name, _)| *name == kind).map(|(_, fills)| *fills)
}

/// The parts of an instrument's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    pub base: &'a str,
    quote: &'a str,
    /// `SWAP` or the day of expiry; none for spot.
    term: Option<&'a str>,
    is_option: bool,
}

impl<'a> Name<'a> {
    pub fn of(id: &'a str) -> Option<Self> {
        let parts: Vec<&str> = id.split('-').collect();
        let (base, quote, term, is_option) = match parts[..] {
            [base, quote] => (base, quote, None, false),
            [base, quote, term] => (base, quote, Some(term), false),
            [base, quote, expiry, _strike, _right] => (base, quote, Some(expiry), true),
            _ => return None,
        };
        parts.iter().all(|part| !part.is_empty()).then_some(Self { base, quote, term, is_option })
    }

    fn kind(&self) -> &'static str {
        match (self.term, self.is_option) {
            (None, _) => "SPOT",
            (_, true) => "OPTION",
            (Some("SWAP"), _) => "SWAP",
            (Some(_), _) => "FUTURES",
        }
    }

    pub fn is_spot(&self) -> bool {
        self.term.is_none()
    }

    /// Contracts on dollars are margined in the coin; all others in what they are quoted in.
    fn is_coin_margined(&self) -> bool {
        self.term.is_some() && self.quote == "USD"
    }

    /// What prices are in: an option on dollars is quoted in the coin.
    pub fn quote(&self) -> &'a str {
        match self.is_option && self.is_coin_margined() {
            true => self.base,
            false => self.quote.split('_').next().unwrap_or(self.quote),
        }
    }

    /// What PnL is in; `None` where the name does not tell (`USD_UM` settles in any dollar).
    pub fn settle(&self) -> Option<&'a str> {
        match (self.is_coin_margined(), self.quote.contains('_')) {
            (true, _) => Some(self.base),
            (_, true) => None,
            _ => Some(self.quote),
        }
    }

    /// `BTC-USD` of `BTC-USD-261225`: contracts of one family are worth the same.
    fn family(&self) -> String {
        format!("{} {}-{}", self.kind(), self.base, self.quote)
    }
}

/// Our name of an instrument. Options keep OKX's.
pub fn symbol(id: &str) -> Option<Symbol> {
    match Name::of(id) {
        Some(Name { base, quote, term: None, .. }) => Symbol::spot(base, quote),
        Some(Name { is_option: true, .. }) | None => Symbol::new(id),
        Some(name @ Name { base, term: Some("SWAP"), .. }) => match name.is_coin_margined() {
            true => Symbol::inverse_perp(base),
            false => Symbol::linear_perp(base),
        },
        Some(Name { base, term: Some(expiry), .. }) => Symbol::dated(base, expiry),
    }
}

/// When the instrument ends, where its name says so: at 08:00 UTC of the day.
pub fn expiry(id: &str) -> Option<Timestamp> {
    let day = Name::of(id)?.term.filter(|term| term.len() == 6)?;
    let number = |range: std::ops::Range<usize>| day.get(range)?.parse::<u32>().ok();
    let date = NaiveDate::from_ymd_opt(2000 + i32::try_from(number(0..2)?).ok()?, number(2..4)?, number(4..6)?)?;
    Some(Timestamp::from_utc(date.and_time(NaiveTime::from_hms_opt(8, 0, 0)?).and_utc()))
}

/// What one contract is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// In units of the base, or in dollars when inverse.
    pub value: Decimal,
    pub is_inverse: bool,
    /// What PnL is in, where the list says so.
    pub settle: Option<String>,
}

/// Contracts by name, and by family for those that have expired and are listed no more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contracts {
    listed: BTreeMap<String, Contract>,
    /// `None` where members of a family differ.
    families: BTreeMap<String, Option<Contract>>,
}

impl Contracts {
    pub fn add(&mut self, id: &str, contract: Contract) {
        if let Some(name) = Name::of(id).filter(|name| name.term.is_some()) {
            self.families
                .entry(name.family())
                .and_modify(|kept| {
                    if kept.as_ref() != Some(&contract) {
                        *kept = None;
                    }
                })
                .or_insert_with(|| Some(contract.clone()));
        }
        self.listed.insert(id.into(), contract);
    }

    pub fn get(&self, id: &str) -> Option<&Contract> {
        self.listed.get(id).or_else(|| self.families.get(&Name::of(id)?.family())?.as_ref())
    }

    pub fn extend(&mut self, other: &Self) {
        self.listed.extend(other.listed.clone());
        self.families.extend(other.families.clone());
    }
}

/// The families of the options among these instruments, as OKX asks for them.
pub fn option_families<'a>(ids: impl Iterator<Item = &'a str>) -> std::collections::BTreeSet<String> {
    let options = ids.filter_map(Name::of).filter(|name| name.is_option);
    options.map(|name| format!("{}-{}", name.base, name.quote)).collect()
}

/// One of the list of instruments.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Instrument {
    inst_id: String,
    #[serde(default, deserialize_with = "filled")]
    ct_val: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    ct_mult: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    ct_type: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    settle_ccy: Option<String>,
}

/// GET /api/v5/public/instruments. A contract that cannot be read is not known: what needs it says so.
pub fn contracts(rows: &[Box<RawValue>]) -> Contracts {
    let mut contracts = Contracts::default();
    for raw in rows {
        let Ok(row) = serde_json::from_str::<Instrument>(raw.get()) else { continue };
        let value = row.ct_val.and_then(|value| match row.ct_mult {
            Some(mult) => value.0.checked_mul(mult.0),
            None => Some(value.0),
        });
        let Some(value) = value.filter(|value| *value > Decimal::ZERO) else { continue };
        let is_inverse = row.ct_type.as_deref() == Some("inverse");
        contracts.add(&row.inst_id, Contract { value, is_inverse, settle: row.settle_ccy });
    }
    contracts
}

/// Our names of listed instruments.
pub fn symbols(rows: &[Box<RawValue>]) -> Vec<String> {
    let named = rows.iter().filter_map(|raw| serde_json::from_str::<Instrument>(raw.get()).ok());
    named.filter_map(|row| symbol(&row.inst_id)).map(|symbol| symbol.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_instrument_has_our_name() {
        let name = |id: &str| symbol(id).unwrap().to_string();
        assert_eq!(name("BTC-USDT"), "BTC-USDT");
        assert_eq!(name("BTC-USDT-SWAP"), "BTC-PERP");
        assert_eq!(name("BTC-USDC-SWAP"), "BTC-PERP");
        assert_eq!(name("BTC-USD_UM-SWAP"), "BTC-PERP");
        assert_eq!(name("BTC-USD-SWAP"), "BTC-PERP-USD");
        assert_eq!(name("ETH-USDT-251226"), "ETH-251226");
        assert_eq!(name("BTC-USD-261225-100000-C"), "BTC-USD-261225-100000-C");
        assert_eq!([name("WHAT"), name("-")], ["WHAT", "-"]);
    }

    #[test]
    fn money_follows_from_the_name() {
        let money = |id| Name::of(id).map(|name| (name.quote(), name.settle()));
        assert_eq!(money("BTC-USDT-SWAP"), Some(("USDT", Some("USDT"))));
        assert_eq!(money("BTC-USD-SWAP"), Some(("USD", Some("BTC"))));
        assert_eq!(money("BTC-USD-261225-100000-C"), Some(("BTC", Some("BTC"))));
        assert_eq!(money("BTC-USD_UM-SWAP"), Some(("USD", None)));
        assert_eq!(money("BTC-EUR"), Some(("EUR", Some("EUR"))));
        assert_eq!(fills_stream(None, "BTC-USD-261225"), Some("futures.fills"));
        assert_eq!(fills_stream(Some("MARGIN"), "BTC-USDT"), Some("margin.fills"));
        assert_eq!(fills_stream(Some("LOTTERY"), "BTC-USDT"), None);
    }

    #[test]
    fn an_expired_contract_is_known_by_its_family_unless_members_differ() {
        let contract = |value| Contract { value: Decimal::new(value, 1), is_inverse: false, settle: None };
        let mut contracts = Contracts::default();
        contracts.add("ETH-USDT-261225", contract(1));
        contracts.add("ETH-USDT-270326", contract(1));
        contracts.add("ETH-USDT-SWAP", contract(5));
        assert_eq!(contracts.get("ETH-USDT-250926"), Some(&contract(1)));
        contracts.add("ETH-USDT-270625", contract(2));
        assert_eq!(contracts.get("ETH-USDT-250926"), None);
        assert_eq!(contracts.get("ETH-USDT-270326"), Some(&contract(1)));
        assert_eq!(contracts.get("SOL-USDT-SWAP"), None);
    }

    #[test]
    fn an_instrument_ends_on_the_day_in_its_name() {
        let ends = |id: &str| expiry(id).map(|at| at.to_string());
        assert_eq!(ends("ETH-USDT-251226").as_deref(), Some("2025-12-26T08:00:00.000Z"));
        assert_eq!(ends("BTC-USD-261225-100000-C").as_deref(), Some("2026-12-25T08:00:00.000Z"));
        assert_eq!(
            [ends("BTC-USDT-SWAP"), ends("BTC-USDT"), ends("BTC-USDT-999999"), ends("A-B-ééé")],
            [const { None }; 4]
        );
    }

    #[test]
    fn an_options_multiplier_counts() {
        let row = r#"{"instId":"BTC-USD-261225-100000-C","ctVal":"1","ctMult":"0.01","ctType":"","settleCcy":"BTC"}"#;
        let rows = vec![RawValue::from_string(row.into()).unwrap(), RawValue::from_string("7".into()).unwrap()];
        let contracts = contracts(&rows);
        assert_eq!(contracts.get("BTC-USD-261225-90000-P").unwrap().value, Decimal::new(1, 2));
    }
}
