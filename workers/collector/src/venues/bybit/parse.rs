//! Bybit records into events: pure, by the table of section 3 of the venue notes.
//!
//! The transaction log carries the money of derivatives, the executions that of spot. Executions of
//! derivatives say which orders were forced, and nothing else.

use codash_domain::{Asset, CashFlow, Event, EventType, Fee, FlowKind, Price, Qty, Side, Symbol, Timestamp, Usd};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::log_types::{Kind, kind};
use super::markets::{self, Category, Markets};
use super::wire::{Maybe, id, said};
use crate::pricing::{Exchange, Prices, negated, product, sum};
use crate::venues::wire::{Meaning, Millis, Text, blank, parse_each};
use crate::venues::{Parsed, Record, Role};

pub const LOG: &str = "unified.log";

/// Decimal places of a size that we derive, as of derived dollars.
const SIZE_SCALE: u32 = 10;

pub(super) fn side(text: Option<&str>) -> Option<Side> {
    match text {
        Some("Buy") => Some(Side::Buy),
        Some("Sell") => Some(Side::Sell),
        _ => None,
    }
}

pub(super) fn primary(event: Event) -> Record {
    Record { event, role: Role::Primary }
}

/// The native id of a fill: an execution's id is the log's trade id.
pub(super) fn fill_id(category: Category, exec_id: &str) -> String {
    format!("bybit:{}:exec:{exec_id}", category.as_str())
}

/// The native id of a funding payment, which log and executions share.
pub(super) fn funding_id(category: Category, symbol: &str, at: Timestamp, side: Option<&str>) -> String {
    let side = side.unwrap_or_default();
    format!("bybit:{}:funding:{symbol}:{}:{side}", category.as_str(), at.millis())
}

/// The order that fills and forced executions share.
pub(super) fn order_ref(category: Category, order_id: Option<&Text>) -> Option<String> {
    id(order_id).map(|order| format!("bybit:{}:{order}", category.as_str()))
}

/// Size, price and value of a fill, as written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub qty: Option<Decimal>,
    pub price: Option<Decimal>,
    /// In the quote; of inverse contracts in the coin.
    pub value: Option<Decimal>,
}

impl Sizes {
    /// Puts size, price and notional on the event. Inverse contracts count dollars.
    pub fn put(
        self,
        event: &mut Event,
        exchange: &mut Exchange<'_>,
        quote: Option<&str>,
        is_inverse: bool,
    ) -> Result<(), String> {
        event.price = self.price.map(Price::new);
        let Some(written) = self.qty.map(|qty| qty.abs()) else { return Ok(()) };
        if is_inverse {
            event.notional_usd = exchange.stated(written, "USD")?;
            let at_price = self.price.filter(|price| !price.is_zero()).and_then(|price| written.checked_div(price));
            let derived = at_price.map(|q| q.round_dp_with_strategy(SIZE_SCALE, RoundingStrategy::MidpointNearestEven));
            event.qty = self.value.map(|value| value.abs()).or(derived).map(Qty::new);
            return Ok(());
        }
        event.qty = Some(Qty::new(written));
        let quote = quote.unwrap_or_default();
        event.notional_usd = match (self.value, self.price) {
            (Some(value), _) => exchange.stated(value.abs(), quote)?,
            (None, Some(price)) => exchange.derived(product(written, price)?.abs(), quote)?,
            (None, None) => None,
        };
        Ok(())
    }
}

/// GET /v5/account/transaction-log.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogRow {
    #[serde(default)]
    id: Option<Text>,
    #[serde(default)]
    symbol: Option<String>,
    #[serde(default)]
    category: Option<String>,
    #[serde(default)]
    side: Option<String>,
    transaction_time: Millis,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    qty: Maybe,
    #[serde(default)]
    currency: Option<String>,
    #[serde(default)]
    trade_price: Maybe,
    #[serde(default)]
    funding: Maybe,
    #[serde(default)]
    fee: Maybe,
    #[serde(default)]
    cash_flow: Maybe,
    #[serde(default)]
    change: Maybe,
    #[serde(default)]
    trade_id: Option<Text>,
    #[serde(default)]
    order_id: Option<Text>,
    #[serde(default)]
    extra_fees: Option<Value>,
}

impl LogRow {
    fn symbol(&self) -> &str {
        self.symbol.as_deref().unwrap_or_default()
    }

    fn currency(&self) -> &str {
        self.currency.as_deref().unwrap_or_default()
    }

    fn at(&self) -> Timestamp {
        self.transaction_time.0
    }

    fn category(&self) -> Result<Category, String> {
        Category::of(self.category.as_deref(), self.symbol())
    }

    /// `id` alone repeats: a settlement and a fill may share it.
    fn log_id(&self) -> String {
        let id = id(self.id.as_ref()).or(id(self.trade_id.as_ref())).map_or_else(
            // The oldest records have no id.
            || format!("{}:{}", self.symbol(), self.currency()),
            Into::into,
        );
        format!("bybit:log:{id}:{}:{}", self.kind, self.at().millis())
    }

    fn has_taxes(&self) -> bool {
        match &self.extra_fees {
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Array(taxes)) => !taxes.is_empty(),
            Some(Value::Object(taxes)) => !taxes.is_empty(),
            _ => false,
        }
    }

    /// The parts of `change = cashFlow + funding - fee`, of which one may be left out. Taxes are named
    /// apart from the fee: there the change says how much was charged in all.
    fn money(&self) -> Result<Money, String> {
        let funding = self.funding.or_zero();
        let (cash, fee) = match (self.cash_flow.0, self.fee.0, self.change.0) {
            (Some(cash), Some(fee), _) if !self.has_taxes() => (cash, fee),
            (Some(cash), _, Some(change)) => (cash, sum([cash, funding, negated(change)])?),
            (Some(cash), fee, None) => (cash, fee.unwrap_or_default()),
            (None, fee, Some(change)) => {
                let fee = fee.unwrap_or_default();
                (sum([change, fee, negated(funding)])?, fee)
            }
            (None, fee, None) if self.funding.0.is_some() => (Decimal::ZERO, fee.unwrap_or_default()),
            (None, _, None) => return Err("no amount".into()),
        };
        Ok(Money { cash, funding, fee })
    }

    fn put_fee(&self, event: &mut Event, fee: Decimal, exchange: &mut Exchange<'_>) -> Result<(), String> {
        event.fee_usd = exchange.stated(fee, self.currency())?;
        if let Some(asset) = said(self.currency.as_deref()) {
            event.fee = Some(Fee { amount: fee, asset: Asset::new(asset) });
        }
        Ok(())
    }

    /// The event without its money: market, side, size, price.
    fn outline(
        &self,
        native_id: String,
        kind: EventType,
        exchange: &mut Exchange<'_>,
        raw: &str,
    ) -> Result<Event, String> {
        let category = self.category()?;
        let contract = markets::contract(category, self.symbol());
        let mut event = blank(LOG, native_id, kind, self.at(), raw);
        event.symbol = contract.symbol;
        event.native_symbol = said(self.symbol.as_deref()).map(Into::into);
        event.side = side(self.side.as_deref());
        let sizes = Sizes { qty: self.qty.0, price: self.trade_price.0, value: None };
        sizes.put(&mut event, exchange, said(self.currency.as_deref()), contract.is_inverse)?;
        Ok(event)
    }
}

/// What a row of the log says of money, in its currency.
struct Money {
    cash: Decimal,
    funding: Decimal,
    /// Positive when paid.
    fee: Decimal,
}

/// The transaction log: fills, funding, settlements, interest; and cash flows.
pub fn log(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: LogRow, raw| log_row(&row, raw, prices))
}

fn log_row(row: &LogRow, raw: &str, prices: &dyn Prices) -> Result<Meaning, String> {
    Ok(match kind(&row.kind) {
        Kind::Fill(EventType::Trade) if row.category()? == Category::Spot => Meaning::Nothing,
        // A forced sale of a borrowed or pledged coin: one row for what went, one for what came.
        Kind::Fill(_) if row.category()? == Category::Spot => flow(row, FlowKind::Conversion, raw, prices)?,
        Kind::Fill(event_type) => Meaning::Event(Box::new(fill(row, event_type, raw, prices)?)),
        Kind::Settlement => Meaning::Several(settlement(row, raw, prices)?, vec![]),
        Kind::Flow(kind) => flow(row, kind, raw, prices)?,
        Kind::Other => Meaning::Event(Box::new(other(row, raw, prices)?)),
    })
}

/// A derivative fill: PnL is the cash flow, gross of the fee. Of an option it is the premium, or the payout.
fn fill(row: &LogRow, event_type: EventType, raw: &str, prices: &dyn Prices) -> Result<Record, String> {
    let mut exchange = Exchange::new(prices, row.at());
    let category = row.category()?;
    let native_id = id(row.trade_id.as_ref()).map_or_else(|| row.log_id(), |trade| fill_id(category, trade));
    let mut event = row.outline(native_id, event_type, &mut exchange, raw)?;
    // The log's word for no side; another one that we do not know might be a side.
    if event.side.is_none() && !matches!(said(row.side.as_deref()), None | Some("None")) {
        return Err(format!("unknown side {:?}", row.side));
    }
    if row.fee.0.or(row.change.0).is_none() {
        return Err("a fill without a fee".into());
    }
    let money = row.money()?;
    event.realized_pnl_usd = exchange.stated(money.cash, row.currency())?;
    event.funding_usd = exchange.stated(money.funding, row.currency())?;
    row.put_fee(&mut event, money.fee, &mut exchange)?;
    event.order_ref = order_ref(category, row.order_id.as_ref());
    event.unpriced = exchange.unpriced;
    Ok(primary(event))
}

/// Funding; of USDC perpetuals the PnL of the session too, which is a row of its own.
fn settlement(row: &LogRow, raw: &str, prices: &dyn Prices) -> Result<Vec<Record>, String> {
    let category = row.category()?;
    let money = row.money()?;
    let mut records = Vec::new();
    if row.funding.0.is_some() || money.cash.is_zero() {
        let mut exchange = Exchange::new(prices, row.at());
        let native_id = funding_id(category, row.symbol(), row.at(), row.side.as_deref());
        let mut event = row.outline(native_id, EventType::Funding, &mut exchange, raw)?;
        event.funding_usd = exchange.stated(money.funding, row.currency())?;
        row.put_fee(&mut event, money.fee, &mut exchange)?;
        event.unpriced = exchange.unpriced;
        records.push(primary(event));
    }
    if !money.cash.is_zero() {
        let mut exchange = Exchange::new(prices, row.at());
        let native_id = session_id(category, row.symbol(), row.at(), row.side.as_deref());
        let mut event = row.outline(native_id, EventType::ClosedPnl, &mut exchange, raw)?;
        event.realized_pnl_usd = exchange.stated(money.cash, row.currency())?;
        if records.is_empty() {
            row.put_fee(&mut event, money.fee, &mut exchange)?;
        }
        event.unpriced = exchange.unpriced;
        records.push(primary(event));
    }
    Ok(records)
}

/// The native id of the PnL of an eight-hour session.
pub(super) fn session_id(category: Category, symbol: &str, at: Timestamp, side: Option<&str>) -> String {
    let side = side.unwrap_or_default();
    format!("bybit:{}:session:{symbol}:{}:{side}", category.as_str(), at.millis())
}

/// Interest, bonuses, refunds, and what we have never heard of: its money, and the record.
fn other(row: &LogRow, raw: &str, prices: &dyn Prices) -> Result<Record, String> {
    let mut exchange = Exchange::new(prices, row.at());
    let mut event = blank(LOG, row.log_id(), EventType::Unknown, row.at(), raw);
    if let Some(native) = said(row.symbol.as_deref()) {
        event.symbol = match row.category() {
            Ok(Category::Spot) => Markets::default().spot(native).0,
            Ok(category) => markets::contract(category, native).symbol,
            Err(_) => Symbol::new(native),
        };
        event.native_symbol = Some(native.into());
    }
    let money = row.money()?;
    event.realized_pnl_usd = exchange.stated(money.cash, row.currency())?;
    event.funding_usd = exchange.stated(money.funding, row.currency())?;
    row.put_fee(&mut event, money.fee, &mut exchange)?;
    event.unpriced = exchange.unpriced;
    Ok(primary(event))
}

fn flow(row: &LogRow, kind: FlowKind, raw: &str, prices: &dyn Prices) -> Result<Meaning, String> {
    let amount = row.change.0.or(row.cash_flow.0).ok_or("no amount")?;
    let asset = said(row.currency.as_deref()).ok_or("no currency")?;
    let value_usd = Exchange::new(prices, row.at()).stated(amount, asset)?;
    Ok(Meaning::CashFlows(vec![CashFlow {
        stream: LOG,
        native_id: format!("{}:{asset}", row.log_id()),
        kind,
        occurred_at: row.at(),
        wallet: super::UNIFIED,
        asset: Asset::new(asset),
        amount,
        value_usd,
        raw: raw.into(),
    }]))
}

/// The worth of a fee in an asset, added to what is known of the event's fee.
pub(super) fn add_fee(
    total: Option<Usd>,
    amount: Decimal,
    asset: &str,
    exchange: &mut Exchange<'_>,
) -> Result<Option<Usd>, String> {
    let worth = exchange.stated(amount, asset)?;
    Ok(total.zip(worth).map(|(total, worth)| total + worth))
}

#[cfg(test)]
mod tests;
