//! Kraken spot records into events and cash flows: pure, by the table of section 7 of the venue notes.
//!
//! The ledger repeats what trades state. A trade carries its own fee; the ledger carries the rest.

use std::collections::BTreeSet;

use codash_domain::{Asset, CashFlow, Event, EventType, Fee, FlowKind, Price, Qty, Side, Timestamp};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::pricing::{Exchange, Prices, product};
use crate::venues::kraken::names::{self, Pairs};
use crate::venues::kraken::wire::{Named, Seconds, readable};
use crate::venues::wire::{Dec, Meaning, Text, blank, filled, parse_each};
use crate::venues::{Parsed, Record, Role};

pub const FILLS: &str = "spot.fills";
pub const LEDGER: &str = "spot.ledger";

fn primary(event: Event) -> Meaning {
    Meaning::Event(Box::new(Record { event, role: Role::Primary }))
}

/// POST /0/private/TradesHistory.
#[derive(Debug, Deserialize)]
struct Trade {
    #[serde(default)]
    ordertxid: Option<Text>,
    pair: String,
    time: Seconds,
    #[serde(rename = "type")]
    side: String,
    price: Dec,
    #[serde(default, deserialize_with = "filled")]
    cost: Option<Dec>,
    fee: Dec,
    vol: Dec,
    #[serde(default)]
    misc: Option<String>,
}

/// Trades. They carry the fee, in the quote; a sale realizes nothing, as cost basis is no fact of the venue.
pub fn trades(rows: &[Box<RawValue>], pairs: &Pairs, prices: &dyn Prices) -> Parsed {
    parse_each(rows, |trade: Named<Trade>, raw| self::trade(trade, raw, pairs, prices).map(primary))
}

fn trade(named: Named<Trade>, raw: &str, pairs: &Pairs, prices: &dyn Prices) -> Result<Event, String> {
    let Named { id, record: trade } = named;
    let is_forced = trade.misc.as_deref().unwrap_or_default().split(',').any(|word| word.trim() == "liquidated");
    let kind = if is_forced { EventType::Liquidation } else { EventType::Trade };
    let at = trade.time.0;
    let mut exchange = Exchange::new(prices, at);
    let quote = pairs.split(&trade.pair).map(|(_, quote)| quote);
    // A quote that is not known has no price.
    let money = quote.as_deref().unwrap_or_default();
    let mut event = blank(FILLS, format!("kraken:spot:{id}"), kind, at, raw);
    event.symbol = pairs.symbol(&trade.pair);
    event.side = Some(side(&trade.side)?);
    event.qty = Some(Qty::new(trade.vol.0.abs()));
    event.price = Some(Price::new(trade.price.0));
    event.notional_usd = match trade.cost {
        Some(cost) => exchange.stated(cost.0.abs(), money)?,
        None => exchange.derived(product(trade.price.0, trade.vol.0)?.abs(), money)?,
    };
    event.fee_usd = exchange.stated(trade.fee.0, money)?;
    event.fee = quote.as_deref().map(|quote| Fee { amount: trade.fee.0, asset: Asset::new(quote) });
    event.order_ref = trade.ordertxid.map(|order| format!("kraken:spot:{order}"));
    event.native_symbol = Some(trade.pair);
    event.unpriced = exchange.unpriced;
    Ok(event)
}

fn side(text: &str) -> Result<Side, String> {
    match text {
        "buy" | "b" => Ok(Side::Buy),
        "sell" | "s" => Ok(Side::Sell),
        other => Err(format!("unknown side {other:?}")),
    }
}

/// POST /0/private/Ledgers.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(default)]
    refid: Option<Text>,
    time: Seconds,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    aclass: Option<String>,
    asset: String,
    amount: Dec,
    #[serde(default, deserialize_with = "filled")]
    fee: Option<Dec>,
}

/// What a type of entry means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A leg of a trade, which [`trades`] states.
    OfTrade,
    /// A leg of an instant purchase, unless there is a trade of the same reference.
    Instant,
    /// Realized by a margin position. Its fee is the trade's, where there is one.
    Margin,
    /// The cost of a margin position.
    Financing,
    Flow(FlowKind),
    Unknown,
}

fn kind(word: &str) -> Kind {
    match word {
        "trade" => Kind::OfTrade,
        "spend" | "receive" => Kind::Instant,
        "margin" | "settled" => Kind::Margin,
        "rollover" => Kind::Financing,
        "deposit" => Kind::Flow(FlowKind::Deposit),
        "withdrawal" => Kind::Flow(FlowKind::Withdrawal),
        "transfer" => Kind::Flow(FlowKind::Transfer),
        "conversion" => Kind::Flow(FlowKind::Conversion),
        _ => Kind::Unknown,
    }
}

/// Ledger entries. `traded` names the references that are trades; entries of [`in_question`] ask for it.
pub fn ledger(rows: &[Box<RawValue>], traded: &BTreeSet<String>, prices: &dyn Prices) -> Parsed {
    parse_each(rows, |named: Named<Entry>, raw| {
        let is_traded = named.record.refid.as_ref().is_some_and(|refid| traded.contains(&refid.0));
        match kind(&named.record.kind) {
            Kind::OfTrade => Ok(Meaning::Nothing),
            Kind::Instant if is_traded => Ok(Meaning::Nothing),
            Kind::Instant => flow(&named, FlowKind::Conversion, raw, prices),
            Kind::Flow(kind) => flow(&named, kind, raw, prices),
            kind => entry(&named, kind, is_traded, raw, prices).map(primary),
        }
    })
}

/// The instants of entries whose meaning depends on whether there is a trade of the same reference.
pub fn in_question(rows: &[Box<RawValue>]) -> Vec<Timestamp> {
    let time = |Named { record, .. }: Named<Entry>| {
        let is_open = match kind(&record.kind) {
            Kind::Instant => true,
            Kind::Margin => record.fee.is_some_and(|fee| !fee.0.is_zero()),
            _ => false,
        };
        is_open.then_some(record.time.0)
    };
    readable(rows).filter_map(time).collect()
}

impl Entry {
    /// A tokenized asset may be called like a coin of the first years.
    fn code(&self) -> String {
        if self.aclass.as_deref() == Some("tokenized_asset") {
            return Asset::new(&self.asset).as_str().to_owned();
        }
        names::asset(&self.asset)
    }

    fn fee(&self) -> Decimal {
        self.fee.map_or(Decimal::ZERO, |fee| fee.0)
    }

    /// What the balance changed by.
    fn change(&self) -> Result<Decimal, String> {
        self.amount.0.checked_sub(self.fee()).ok_or_else(|| "the amount and its fee do not fit".into())
    }
}

fn flow(named: &Named<Entry>, kind: FlowKind, raw: &str, prices: &dyn Prices) -> Result<Meaning, String> {
    let Named { id, record: row } = named;
    let (at, asset, amount) = (row.time.0, row.code(), row.change()?);
    Ok(Meaning::CashFlows(vec![CashFlow {
        stream: LEDGER,
        native_id: format!("kraken:ledger:{id}"),
        kind,
        occurred_at: at,
        wallet: names::wallet(&row.asset),
        amount,
        value_usd: Exchange::new(prices, at).stated(amount, &asset)?,
        asset: Asset::new(&asset),
        raw: raw.into(),
    }]))
}

fn entry(named: &Named<Entry>, kind: Kind, is_traded: bool, raw: &str, prices: &dyn Prices) -> Result<Event, String> {
    let Named { id, record: row } = named;
    let (at, asset) = (row.time.0, row.code());
    let mut exchange = Exchange::new(prices, at);
    let event_type = match kind {
        Kind::Margin => EventType::ClosedPnl,
        Kind::Financing => EventType::Funding,
        _ => EventType::Unknown,
    };
    let mut event = blank(LEDGER, format!("kraken:ledger:{id}"), event_type, at, raw);
    if kind == Kind::Financing {
        event.funding_usd = exchange.stated(row.change()?, &asset)?;
    } else {
        event.realized_pnl_usd = exchange.stated(row.amount.0, &asset)?;
        // One dollar, one row: the trade of a margin position states this fee too.
        let fee = if kind == Kind::Margin && is_traded { Decimal::ZERO } else { row.fee() };
        event.fee_usd = exchange.stated(fee, &asset)?;
        event.fee = Some(Fee { amount: fee, asset: Asset::new(&asset) });
    }
    event.symbol = codash_domain::Symbol::new(&asset);
    event.native_symbol = Some(row.asset.clone());
    event.unpriced = exchange.unpriced;
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;

    fn rows(entries: &[(&str, &str)]) -> Vec<Box<RawValue>> {
        let row = |(id, rest): &(&str, &str)| {
            let text =
                format!(r#"{{"{id}":{{"refid":"T1","time":1.5,"asset":"ZUSD","amount":"10","fee":"1",{rest}}}}}"#);
            RawValue::from_string(text).unwrap()
        };
        entries.iter().map(row).collect()
    }

    #[test]
    fn a_fee_that_a_trade_states_is_not_counted_again() {
        let rows = rows(&[("L1", r#""type":"margin""#), ("L2", r#""type":"spend""#)]);
        assert_eq!(in_question(&rows).len(), 2);
        let book = PriceBook::default();
        let alone = ledger(&rows, &BTreeSet::new(), &book);
        assert_eq!(alone.records[0].event.net_pnl_impact_usd().unwrap().to_string(), "9");
        assert_eq!((alone.cash_flows[0].amount, alone.cash_flows[0].kind), (Decimal::from(9), FlowKind::Conversion));
        let traded = ledger(&rows, &BTreeSet::from(["T1".to_owned()]), &book);
        assert_eq!(traded.records[0].event.net_pnl_impact_usd().unwrap().to_string(), "10");
        assert!(traded.cash_flows.is_empty());
    }

    #[test]
    fn money_that_comes_and_goes_is_a_cash_flow_with_its_fee() {
        let kinds = ["deposit", "withdrawal", "transfer", "conversion", "trade", "somethingnew"];
        let entries: Vec<String> = kinds.iter().map(|kind| format!(r#""type":"{kind}""#)).collect();
        let rows = rows(&entries.iter().map(|entry| ("L", entry.as_str())).collect::<Vec<_>>());
        let parsed = ledger(&rows, &BTreeSet::new(), &PriceBook::default());
        let told: Vec<_> = parsed.cash_flows.iter().map(|flow| (flow.kind.as_str(), flow.value_usd.unwrap())).collect();
        let nine = codash_domain::Usd::new(Decimal::from(9));
        assert_eq!(told, ["deposit", "withdrawal", "transfer", "conversion"].map(|kind| (kind, nine)));
        assert_eq!(parsed.records.len(), 1);
        assert_eq!(parsed.records[0].event.event_type, EventType::Unknown);
    }
}
