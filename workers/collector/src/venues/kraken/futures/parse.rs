//! Kraken Futures records into events and cash flows: pure, by section 7 of the venue notes.
//!
//! An execution writes two entries to the account log: of the money, and of the position. They are
//! one event, so they are parsed, and kept, together.

use codash_domain::{Asset, CashFlow, Event, EventType, Fee, FlowKind, Price, Qty, Side, Timestamp};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::asset;
use crate::pricing::{Exchange, Prices, product};
use crate::venues::kraken::names::{self, Contract};
use crate::venues::wire::{Dec, Meaning, Text, blank, filled, parse_each};
use crate::venues::{Parsed, Record, Role};

pub const LOG: &str = "futures.log";
pub const FILLS: &str = "futures.fills";

/// What fills and the log name an execution by.
fn execution_ref(execution: &Text) -> String {
    format!("kraken:futures:execution:{execution}")
}

/// GET /derivatives/api/v3/fills.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fill {
    #[serde(rename = "fill_id")]
    fill_id: Text,
    symbol: String,
    side: String,
    size: Dec,
    price: Dec,
    fill_time: Timestamp,
    #[serde(default)]
    fill_type: Option<String>,
}

fn fill_type(word: &str) -> EventType {
    match word {
        "maker" | "taker" | "takerAfterEdit" | "assignee" => EventType::Trade,
        "liquidation" | "assignor" | "unwindBankrupt" => EventType::Liquidation,
        "unwindCounterparty" => EventType::Adl,
        _ => EventType::Unknown,
    }
}

/// Fills. They say who closed a position; the money is in the account log.
pub fn fills(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |fill: Fill, raw| {
        Ok(Some(Record { event: self::fill(fill, raw, prices)?, role: Role::Classifier }))
    })
}

fn fill(fill: Fill, raw: &str, prices: &dyn Prices) -> Result<Event, String> {
    let kind = fill_type(fill.fill_type.as_deref().unwrap_or_default());
    let native_id = format!("kraken:futures:fill:{}", fill.fill_id);
    let mut event = blank(FILLS, native_id, kind, fill.fill_time, raw);
    event.side = Some(Side::parse(&fill.side).ok_or_else(|| format!("unknown side {:?}", fill.side))?);
    event.order_ref = Some(execution_ref(&fill.fill_id));
    let mut exchange = Exchange::new(prices, fill.fill_time);
    size(&mut event, &fill.symbol, fill.size.0.abs(), Some(fill.price.0), &mut exchange)?;
    event.unpriced = exchange.unpriced;
    Ok(event)
}

/// Market, size, price and notional. An inverse contract's size is its notional.
fn size(
    event: &mut Event,
    native: &str,
    size: Decimal,
    price: Option<Decimal>,
    exchange: &mut Exchange<'_>,
) -> Result<(), String> {
    event.symbol = names::contract_symbol(native);
    event.native_symbol = Some(native.to_ascii_uppercase());
    event.price = price.map(Price::new);
    match names::contract(native) {
        Some(Contract { is_inverse: true, .. }) => {
            event.qty = price.and_then(|price| size.checked_div(price)).map(|qty| Qty::new(qty.round_dp(10)));
            event.notional_usd = exchange.stated(size, "USD")?;
        }
        Some(Contract { quote, .. }) => {
            event.qty = Some(Qty::new(size));
            if let Some(price) = price {
                event.notional_usd = exchange.derived(product(price, size)?.abs(), &quote)?;
            }
        }
        None => {
            event.qty = Some(Qty::new(size));
            exchange.unpriced = true;
        }
    }
    Ok(())
}

/// GET /api/history/v3/account-log.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(default)]
    id: Option<Text>,
    asset: String,
    booking_uid: Text,
    #[serde(default)]
    contract: Option<String>,
    date: Timestamp,
    #[serde(default)]
    execution: Option<Text>,
    #[serde(default, deserialize_with = "filled")]
    fee: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    liquidation_fee: Option<Dec>,
    info: String,
    #[serde(default)]
    margin_account: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    new_balance: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    old_balance: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    realized_funding: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    realized_pnl: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    trade_price: Option<Dec>,
}

impl Entry {
    fn contract(&self) -> Option<&str> {
        self.contract.as_deref().filter(|contract| !contract.is_empty())
    }

    /// True for the entry of the position: its balance is a size.
    fn is_position(&self) -> bool {
        self.contract().is_some_and(|contract| contract.eq_ignore_ascii_case(&self.asset))
    }

    fn change(&self) -> Result<Decimal, String> {
        let (Some(new), Some(old)) = (self.new_balance, self.old_balance) else {
            return Err("neither the amount nor both balances".into());
        };
        new.0.checked_sub(old.0).ok_or_else(|| "the balances do not fit".into())
    }

    /// The liquidation fee comes instead of the fee, or on top of it.
    fn fees(&self) -> Result<Decimal, String> {
        let part = |fee: Option<Dec>| fee.map_or(Decimal::ZERO, |fee| fee.0);
        part(self.fee).checked_add(part(self.liquidation_fee)).ok_or_else(|| "the fees do not fit".into())
    }

    fn wallet(&self) -> &'static str {
        match self.margin_account.as_deref().unwrap_or_default() {
            "flex" => "flex",
            name if name.starts_with("cash") => "cash",
            _ => "single",
        }
    }
}

/// What `info` says that an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Info {
    Execution(EventType),
    Funding,
    Flow(FlowKind),
    Unknown,
}

fn info(words: &str) -> Info {
    let words = words.to_ascii_lowercase();
    let says = |part: &str| words.contains(part);
    match words.as_str() {
        "futures trade" | "futures assignee" => Info::Execution(EventType::Trade),
        "futures assignor" | "futures unwind bankrupt" => Info::Execution(EventType::Liquidation),
        "futures unwind counterparty" => Info::Execution(EventType::Adl),
        "funding rate change" => Info::Funding,
        "transfer" | "cross-exchange transfer" | "subaccount transfer" => Info::Flow(FlowKind::Transfer),
        "conversion" => Info::Flow(FlowKind::Conversion),
        _ if says("liquidation") => Info::Execution(EventType::Liquidation),
        _ if ["settlement", "expir", "maturity", "delivery"].into_iter().any(says) => {
            Info::Execution(EventType::SystemClose)
        }
        _ => Info::Unknown,
    }
}

/// Entries of the account log, as [`super::legs::joined`].
pub fn log(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |_: serde::de::IgnoredAny, raw| {
        if raw.trim_start().starts_with('[') {
            let [money, position]: [Entry; 2] = serde_json::from_str(raw).map_err(|error| error.to_string())?;
            return meaning(&money, Some(&position), raw, prices);
        }
        let entry: Entry = serde_json::from_str(raw).map_err(|error| error.to_string())?;
        // A trade that cost and earned nothing writes the position alone.
        let position = entry.is_position().then_some(&entry);
        meaning(&entry, position, raw, prices)
    })
}

fn meaning(entry: &Entry, position: Option<&Entry>, raw: &str, prices: &dyn Prices) -> Result<Meaning, String> {
    let event = match info(&entry.info) {
        Info::Flow(kind) if !entry.is_position() => return flow(entry, kind, raw, prices),
        Info::Execution(kind) => execution(entry, position, kind, raw, prices),
        Info::Funding if !entry.is_position() => funding(entry, raw, prices),
        _ => unknown(entry, position, raw, prices),
    };
    Ok(Meaning::Event(Box::new(Record { event: event?, role: Role::Primary })))
}

fn event(entry: &Entry, kind: EventType, raw: &str) -> Event {
    let mut event = blank(LOG, format!("kraken:futures:log:{}", entry.booking_uid), kind, entry.date, raw);
    event.symbol = entry.contract().and_then(names::contract_symbol);
    event.native_symbol = entry.contract().map(str::to_ascii_uppercase);
    event
}

/// Side and size from the entry of the position, money from the other one.
fn execution(
    entry: &Entry,
    position: Option<&Entry>,
    kind: EventType,
    raw: &str,
    prices: &dyn Prices,
) -> Result<Event, String> {
    let mut exchange = Exchange::new(prices, entry.date);
    let mut event = event(entry, kind, raw);
    event.order_ref = entry.execution.as_ref().map(execution_ref);
    event.price = entry.trade_price.map(|price| Price::new(price.0));
    moved(&mut event, entry, position, &mut exchange)?;
    if !entry.is_position() {
        let asset = asset(&entry.asset);
        let (fee, funding) = (entry.fees()?, entry.realized_funding.map_or(Decimal::ZERO, |funding| funding.0));
        // The balance changes by PnL and funding less fees: what is not stated follows.
        let rest = |change: Decimal| change.checked_add(fee)?.checked_sub(funding);
        let realized = match entry.realized_pnl {
            Some(realized) => realized.0,
            None => rest(entry.change()?).ok_or("the amounts do not fit")?,
        };
        event.realized_pnl_usd = exchange.stated(realized, &asset)?;
        event.fee_usd = exchange.stated(fee, &asset)?;
        event.funding_usd = exchange.stated(funding, &asset)?;
        event.fee = Some(Fee { amount: fee, asset: Asset::new(&asset) });
    }
    event.unpriced = exchange.unpriced;
    Ok(event)
}

/// What the position changed by, when its entry is there.
fn moved(
    event: &mut Event,
    entry: &Entry,
    position: Option<&Entry>,
    exchange: &mut Exchange<'_>,
) -> Result<(), String> {
    let (Some(position), Some(contract)) = (position, entry.contract()) else { return Ok(()) };
    let change = position.change()?;
    if change.is_zero() {
        return Ok(());
    }
    event.side = Some(if change > Decimal::ZERO { Side::Buy } else { Side::Sell });
    let price = entry.trade_price.or(position.trade_price).map(|price| price.0);
    size(event, contract, change.abs(), price, exchange)
}

fn funding(entry: &Entry, raw: &str, prices: &dyn Prices) -> Result<Event, String> {
    let mut exchange = Exchange::new(prices, entry.date);
    let mut event = event(entry, EventType::Funding, raw);
    let asset = asset(&entry.asset);
    let fee = entry.fees()?;
    let funding = match entry.realized_funding {
        Some(funding) => funding.0,
        None => entry.change()?.checked_add(fee).ok_or("the amounts do not fit")?,
    };
    event.funding_usd = exchange.stated(funding, &asset)?;
    event.fee_usd = exchange.stated(fee, &asset)?;
    event.unpriced = exchange.unpriced;
    Ok(event)
}

/// All that is known is what it changed.
fn unknown(entry: &Entry, position: Option<&Entry>, raw: &str, prices: &dyn Prices) -> Result<Event, String> {
    let mut exchange = Exchange::new(prices, entry.date);
    let mut event = event(entry, EventType::Unknown, raw);
    moved(&mut event, entry, position, &mut exchange)?;
    if !entry.is_position() {
        event.realized_pnl_usd = exchange.stated(entry.change()?, &asset(&entry.asset))?;
    }
    event.unpriced = exchange.unpriced;
    Ok(event)
}

fn flow(entry: &Entry, kind: FlowKind, raw: &str, prices: &dyn Prices) -> Result<Meaning, String> {
    let (asset, amount) = (asset(&entry.asset), entry.change()?);
    let id = entry.id.clone().unwrap_or_default();
    Ok(Meaning::CashFlows(vec![CashFlow {
        stream: LOG,
        // The sides of a transfer may share their booking.
        native_id: format!("kraken:futures:log:{}:{id}", entry.booking_uid),
        kind,
        occurred_at: entry.date,
        wallet: entry.wallet(),
        amount,
        value_usd: Exchange::new(prices, entry.date).stated(amount, &asset)?,
        asset: Asset::new(&asset),
        raw: raw.into(),
    }]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;

    fn parsed(rows: &[&str]) -> Parsed {
        let rows: Vec<_> = rows.iter().map(|row| RawValue::from_string((*row).into()).unwrap()).collect();
        log(&super::super::legs::joined(&rows), &PriceBook::fixed([("BTC".into(), Decimal::from(50_000))]))
    }

    const MONEY: &str = r#"{"id":2,"asset":"xbt","booking_uid":"m","contract":"pi_xbtusd","date":"2026-01-01T00:00:00Z",
        "execution":"e","fee":0.0001,"info":"futures trade","new_balance":1.0009,"old_balance":1,"realized_pnl":null,"trade_price":50000}"#;
    const POSITION: &str = r#"{"id":1,"asset":"PI_XBTUSD","booking_uid":"p","contract":"pi_xbtusd","date":"2026-01-01T00:00:00Z",
        "execution":"e","fee":null,"info":"futures trade","new_balance":-5000,"old_balance":0,"trade_price":50000}"#;

    #[test]
    fn two_entries_are_one_event_whichever_comes_first() {
        for rows in [[MONEY, POSITION], [POSITION, MONEY]] {
            let parsed = parsed(&rows);
            let [Record { event, .. }] = parsed.records.as_slice() else { panic!("{parsed:?}") };
            assert_eq!(event.native_id, "kraken:futures:log:m");
            assert_eq!((event.side, event.qty.unwrap().to_string().as_str()), (Some(Side::Sell), "0.1"));
            assert_eq!(event.notional_usd.unwrap().to_string(), "5000");
            // 0.0009 and the fee of 0.0001 at 50000.
            assert_eq!(
                (event.realized_pnl_usd.unwrap().to_string().as_str(), event.fee_usd.unwrap().to_string().as_str()),
                ("50", "5")
            );
            let kept = [RawValue::from_string(event.raw.clone()).unwrap()];
            assert_eq!(log(&kept, &PriceBook::fixed([("BTC".into(), Decimal::from(50_000))])), parsed);
        }
    }

    #[test]
    fn a_trade_without_an_entry_of_money_is_a_trade_all_the_same() {
        let parsed = parsed(&[POSITION]);
        let event = &parsed.records[0].event;
        assert_eq!((event.native_id.as_str(), event.event_type), ("kraken:futures:log:p", EventType::Trade));
        assert_eq!(event.net_pnl_impact_usd().unwrap().to_string(), "0");
    }

    #[test]
    fn the_words_of_the_log_have_their_meaning() {
        assert_eq!(info("futures partial liquidation"), Info::Execution(EventType::Liquidation));
        assert_eq!(info("covered liquidation"), Info::Execution(EventType::Liquidation));
        assert_eq!(info("settlement"), Info::Execution(EventType::SystemClose));
        assert_eq!(info("cross-exchange transfer"), Info::Flow(FlowKind::Transfer));
        for words in ["interest payment", "kfee applied", "admin transfer", "tax withheld", "futures_unwind", ""] {
            assert_eq!(info(words), Info::Unknown, "{words}");
        }
    }

    #[test]
    fn a_transfer_is_what_the_balance_changed_by() {
        let row = MONEY.replace("futures trade", "transfer").replace("pi_xbtusd", "");
        let parsed = parsed(&[&row]);
        let flow = &parsed.cash_flows[0];
        assert_eq!((flow.native_id.as_str(), flow.amount.to_string().as_str()), ("kraken:futures:log:m:2", "0.0009"));
        assert_eq!(flow.value_usd.unwrap().to_string(), "45");
        assert!(parsed.records.is_empty());
    }
}
