//! Gate records into events: pure.
//!
//! One dollar, one row. Fills carry their fee; the futures account book carries PnL (`pnl`), funding
//! (`fund`) and rebates (`refr`), and its `fee` rows count only where the fill is lost. Closed
//! positions state the same money again and are not read. Liquidations and ADL say what kind the
//! fills of their order are.

use codash_domain::{Asset, CashFlow, Event, EventType, Fee, FlowKind, Price, Qty, Side, Timestamp, Usd};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::markets::{self, Contracts, Settle};
use crate::pricing::{Exchange, Prices, negated, product};
use crate::venues::wire::{Dec, Meaning, Text, blank, maybe_dec, maybe_text, parse_each};
use crate::venues::{Parsed, Record, Role};

pub const SPOT_FILLS: &str = "spot.fills";
pub const DEPOSITS: &str = "flows.deposits";
pub const WITHDRAWALS: &str = "flows.withdrawals";

/// Prepaid fees are counted in points, which have no market.
const POINTS: &str = "POINT";

/// Unix seconds with or without a fraction, cut to milliseconds.
fn seconds(at: Decimal) -> Result<Timestamp, String> {
    millis(at.checked_mul(Decimal::ONE_THOUSAND).ok_or("the time does not fit")?)
}

fn millis(at: Decimal) -> Result<Timestamp, String> {
    use rust_decimal::prelude::ToPrimitive;
    at.floor().to_i64().and_then(Timestamp::from_millis).ok_or_else(|| format!("{at} is no time of ours"))
}

/// The side of a signed size.
fn side_of(size: Decimal) -> Option<Side> {
    match size {
        size if size.is_zero() => None,
        size if size.is_sign_negative() => Some(Side::Sell),
        _ => Some(Side::Buy),
    }
}

/// All that a fill cost, in whatever it was charged.
fn charge(event: &mut Event, exchange: &mut Exchange<'_>, parts: [(Option<Decimal>, &str); 3]) -> Result<(), String> {
    let mut total = Some(Usd::ZERO);
    for (amount, asset) in parts {
        let Some(amount) = amount.filter(|amount| !amount.is_zero()) else { continue };
        let dollars = exchange.derived(amount, asset)?;
        total = total.zip(dollars).map(|(total, dollars)| total + dollars);
        event.fee.get_or_insert_with(|| Fee { amount, asset: Asset::new(asset) });
    }
    event.fee_usd = total;
    Ok(())
}

/// GET /api/v4/spot/my_trades.
#[derive(Debug, Deserialize)]
struct SpotFill {
    id: Text,
    #[serde(default, deserialize_with = "maybe_dec")]
    create_time: Option<Decimal>,
    #[serde(default, deserialize_with = "maybe_dec")]
    create_time_ms: Option<Decimal>,
    #[serde(default, deserialize_with = "maybe_text")]
    currency_pair: Option<String>,
    #[serde(default, deserialize_with = "maybe_text")]
    order_id: Option<String>,
    side: String,
    amount: Dec,
    price: Dec,
    fee: Dec,
    #[serde(default, deserialize_with = "maybe_text")]
    fee_currency: Option<String>,
    #[serde(default, deserialize_with = "maybe_dec")]
    point_fee: Option<Decimal>,
    #[serde(default, deserialize_with = "maybe_dec")]
    gt_fee: Option<Decimal>,
}

/// Spot fills. They carry the fee; a sale realizes nothing, as cost basis is no fact of the venue.
pub fn spot_fills(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |fill: SpotFill, raw| {
        let event = spot_fill(fill, raw, prices)?;
        Ok(Some(Record { event, role: Role::Primary }))
    })
}

fn spot_fill(fill: SpotFill, raw: &str, prices: &dyn Prices) -> Result<Event, String> {
    let at = match (fill.create_time_ms, fill.create_time) {
        (Some(at), _) => millis(at)?,
        (None, Some(at)) => seconds(at)?,
        (None, None) => return Err("neither create_time_ms nor create_time".into()),
    };
    let mut exchange = Exchange::new(prices, at);
    let pair = fill.currency_pair.unwrap_or_default();
    let mut event = blank(SPOT_FILLS, format!("gate:spot:{pair}:{}", fill.id), EventType::Trade, at, raw);
    event.side = Some(Side::parse(&fill.side).ok_or_else(|| format!("unknown side {:?}", fill.side))?);
    event.qty = Some(Qty::new(fill.amount.0.abs()));
    event.price = Some(Price::new(fill.price.0));
    let quote = markets::split(&pair).map(|(_, quote)| quote).unwrap_or_default();
    event.notional_usd = exchange.derived(product(fill.price.0, fill.amount.0)?.abs(), quote)?;
    let currency = fill.fee_currency.unwrap_or_default();
    charge(&mut event, &mut exchange, [(Some(fill.fee.0), &currency), (fill.gt_fee, "GT"), (fill.point_fee, POINTS)])?;
    event.order_ref = fill.order_id.map(|order| format!("gate:spot:{pair}:{order}"));
    event.symbol = markets::spot(&pair);
    event.native_symbol = Some(pair).filter(|pair| !pair.is_empty());
    event.unpriced = exchange.unpriced;
    Ok(event)
}

/// One settle coin of the futures account, and what its contracts are.
#[derive(Debug, Clone, Copy)]
pub struct Book<'a> {
    pub settle: &'static Settle,
    pub contracts: &'a Contracts,
}

impl Book<'_> {
    fn fill_id(&self, contract: &str, id: &str) -> String {
        format!("gate:futures:{}:{contract}:{id}", self.settle.path)
    }

    fn order_ref(&self, contract: &str, order: &str) -> String {
        format!("gate:futures:{}:{contract}:order:{order}", self.settle.path)
    }

    /// Quantity and notional, where the contract is listed; both are unknown otherwise.
    fn size(
        &self,
        event: &mut Event,
        exchange: &mut Exchange<'_>,
        contract: &str,
        size: Decimal,
        price: Decimal,
    ) -> Result<(), String> {
        match self.contracts.of(contract) {
            Some(known) => {
                let (qty, notional) = known.size(size, price)?;
                let quote = markets::split(contract).map(|(_, quote)| quote).unwrap_or_default();
                event.qty = Some(Qty::new(qty));
                event.notional_usd = exchange.derived(notional, quote)?;
            }
            None => exchange.unpriced = true,
        }
        event.price = Some(Price::new(price));
        Ok(())
    }
}

fn named(event: &mut Event, contract: String) {
    if !contract.is_empty() {
        event.symbol = markets::perpetual(&contract);
        event.native_symbol = Some(contract);
    }
}

/// GET /api/v4/futures/{settle}/my_trades and my_trades_timerange.
#[derive(Debug, Deserialize)]
struct FuturesFill {
    #[serde(alias = "trade_id")]
    id: Text,
    create_time: Dec,
    contract: String,
    #[serde(default, deserialize_with = "maybe_text")]
    order_id: Option<String>,
    /// In contracts, negative when sold.
    size: Dec,
    price: Dec,
    fee: Dec,
    #[serde(default, deserialize_with = "maybe_dec")]
    point_fee: Option<Decimal>,
}

/// Futures fills. They carry the fee; which were forced is joined later, by the order's reference.
pub fn futures_fills(rows: &[Box<RawValue>], book: Book<'_>, prices: &dyn Prices) -> Parsed {
    parse_each(rows, |fill: FuturesFill, raw| {
        let at = seconds(fill.create_time.0)?;
        let mut exchange = Exchange::new(prices, at);
        let native_id = book.fill_id(&fill.contract, &fill.id.0);
        let mut event = blank(book.settle.fills, native_id, EventType::Trade, at, raw);
        event.side = side_of(fill.size.0);
        book.size(&mut event, &mut exchange, &fill.contract, fill.size.0, fill.price.0)?;
        charge(
            &mut event,
            &mut exchange,
            [(Some(fill.fee.0), book.settle.coin), (fill.point_fee, POINTS), (None, "")],
        )?;
        event.order_ref = fill.order_id.map(|order| book.order_ref(&fill.contract, &order));
        event.unpriced = exchange.unpriced;
        named(&mut event, fill.contract);
        Ok(Some(Record { event, role: Role::Primary }))
    })
}

/// GET /api/v4/futures/{settle}/account_book.
#[derive(Debug, Deserialize)]
struct BookRow {
    time: Dec,
    change: Dec,
    #[serde(default, deserialize_with = "maybe_text")]
    balance: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "maybe_text")]
    contract: Option<String>,
    #[serde(default, deserialize_with = "maybe_text")]
    trade_id: Option<String>,
    #[serde(default, deserialize_with = "maybe_text")]
    id: Option<String>,
}

/// The futures account book: PnL, funding, rebates, transfers.
pub fn futures_book(rows: &[Box<RawValue>], book: Book<'_>, prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: BookRow, raw| book_row(row, book, raw, prices))
}

fn book_row(row: BookRow, book: Book<'_>, raw: &str, prices: &dyn Prices) -> Result<Meaning, String> {
    let at = seconds(row.time.0)?;
    let contract = row.contract.unwrap_or_default();
    let trade = row.trade_id.unwrap_or_default();
    let asset = if row.kind.starts_with("point_") { POINTS } else { book.settle.coin };
    // Older rows have no id: what they say together is one.
    let id = row.id.unwrap_or_else(|| {
        format!("{}:{}:{contract}:{trade}:{}", row.kind, row.time.0, row.balance.unwrap_or_default())
    });
    let native_id = format!("gate:futures:{}:book:{id}", book.settle.path);
    let mut exchange = Exchange::new(prices, at);
    let dollars = exchange.derived(row.change.0, asset)?;
    if matches!(row.kind.as_str(), "dnw" | "point_dnw") {
        return Ok(Meaning::CashFlows(vec![CashFlow {
            stream: book.settle.book,
            native_id,
            kind: FlowKind::Transfer,
            occurred_at: at,
            wallet: "futures",
            asset: Asset::new(asset),
            amount: row.change.0,
            value_usd: dollars,
            raw: raw.into(),
        }]));
    }
    let is_fee = matches!(row.kind.as_str(), "fee" | "point_fee");
    if is_fee && trade.is_empty() {
        // The fill states the fee, and there is no telling which.
        return Ok(Meaning::Nothing);
    }
    let mut event = blank(book.settle.book, native_id, EventType::Unknown, at, raw);
    match row.kind.as_str() {
        "pnl" => (event.event_type, event.realized_pnl_usd) = (EventType::ClosedPnl, dollars),
        "fund" => (event.event_type, event.funding_usd) = (EventType::Funding, dollars),
        "fee" | "refr" | "point_fee" | "point_refr" => {
            event.fee_usd = exchange.derived(negated(row.change.0), asset)?;
            event.fee = Some(Fee { amount: negated(row.change.0), asset: Asset::new(asset) });
        }
        _ => event.realized_pnl_usd = dollars,
    }
    event.unpriced = exchange.unpriced;
    let role = match is_fee {
        true => Role::UnlessFill { stream: book.settle.fills, native_id: book.fill_id(&contract, &trade) },
        false => Role::Primary,
    };
    named(&mut event, contract);
    Ok(Some(Record { event, role }).into())
}

/// GET /api/v4/futures/{settle}/liquidates and auto_deleverages.
#[derive(Debug, Deserialize)]
struct Forced {
    time: Dec,
    contract: String,
    order_id: Text,
    /// Of the position, for a liquidation.
    #[serde(default, deserialize_with = "maybe_dec")]
    size: Option<Decimal>,
    /// Of the trade, for ADL.
    #[serde(default, deserialize_with = "maybe_dec")]
    trade_size: Option<Decimal>,
    #[serde(default, deserialize_with = "maybe_dec")]
    fill_price: Option<Decimal>,
}

/// Orders that the exchange placed for the account. Their money is on fills and in the book.
pub fn forced(rows: &[Box<RawValue>], kind: EventType, book: Book<'_>, prices: &dyn Prices) -> Parsed {
    parse_each(rows, |order: Forced, raw| {
        let at = seconds(order.time.0)?;
        let mut exchange = Exchange::new(prices, at);
        let stream = if kind == EventType::Adl { book.settle.adl } else { book.settle.liquidations };
        let reference = book.order_ref(&order.contract, &order.order_id.0);
        let mut event = blank(stream, reference.clone(), kind, at, raw);
        // A liquidation sells what the position held.
        let traded = order.trade_size.or(order.size.map(negated));
        event.side = traded.and_then(side_of);
        if let (Some(size), Some(price)) = (traded, order.fill_price) {
            book.size(&mut event, &mut exchange, &order.contract, size, price)?;
        }
        event.order_ref = Some(reference);
        event.unpriced = exchange.unpriced;
        named(&mut event, order.contract);
        Ok(Some(Record { event, role: Role::Classifier }))
    })
}

/// GET /api/v4/wallet/deposits and withdrawals.
#[derive(Debug, Deserialize)]
struct Moved {
    id: Text,
    timestamp: Dec,
    currency: String,
    amount: Dec,
    #[serde(default, deserialize_with = "maybe_dec")]
    fee: Option<Decimal>,
    #[serde(default, deserialize_with = "maybe_text")]
    status: Option<String>,
}

pub fn deposits(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |moved: Moved, raw| moved_in_or_out(moved, FlowKind::Deposit, raw, prices))
}

pub fn withdrawals(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |moved: Moved, raw| moved_in_or_out(moved, FlowKind::Withdrawal, raw, prices))
}

fn moved_in_or_out(moved: Moved, kind: FlowKind, raw: &str, prices: &dyn Prices) -> Result<Meaning, String> {
    // What is not done comes again when it is.
    if moved.status.as_deref() != Some("DONE") {
        return Ok(Meaning::Nothing);
    }
    let at = seconds(moved.timestamp.0)?;
    let (stream, word) = match kind {
        FlowKind::Withdrawal => (WITHDRAWALS, "withdrawal"),
        _ => (DEPOSITS, "deposit"),
    };
    // The fee leaves beside the amount.
    let out = moved.amount.0.abs().checked_add(moved.fee.unwrap_or_default().abs()).ok_or("the amount does not fit")?;
    let amount = if kind == FlowKind::Withdrawal { negated(out) } else { moved.amount.0.abs() };
    Ok(Meaning::CashFlows(vec![CashFlow {
        stream,
        native_id: format!("gate:spot:{word}:{}", moved.id),
        kind,
        occurred_at: at,
        wallet: "spot",
        asset: Asset::new(&moved.currency),
        amount,
        value_usd: Exchange::new(prices, at).derived(amount, &moved.currency)?,
        raw: raw.into(),
    }]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;

    fn rows(text: &str) -> Vec<Box<RawValue>> {
        crate::venues::wire::rows("x", text).unwrap()
    }

    #[test]
    fn each_kind_of_book_row_is_one_part_of_the_money() {
        let contracts = Contracts::default();
        let book = Book { settle: &markets::USDT, contracts: &contracts };
        let read = |kind: &str| {
            let row = format!(
                r#"[{{"time":1682294400.123456,"change":"-2","balance":"9","type":"{kind}","contract":"ETH_USDT","trade_id":"7","id":"1"}}]"#
            );
            futures_book(&rows(&row), book, &PriceBook::default())
        };
        let money = |kind: &str| {
            let record = read(kind).records.remove(0);
            let event = record.event;
            let text = |usd: Option<Usd>| usd.map(|usd| usd.to_string()).unwrap_or_default();
            (event.event_type, text(event.realized_pnl_usd), text(event.funding_usd), text(event.fee_usd))
        };
        let zero = || "0".to_owned();
        assert_eq!(money("pnl"), (EventType::ClosedPnl, "-2".into(), zero(), zero()));
        assert_eq!(money("fund"), (EventType::Funding, zero(), "-2".into(), zero()));
        assert_eq!(money("refr"), (EventType::Unknown, zero(), zero(), "2".into()));
        assert_eq!(money("novelty"), (EventType::Unknown, "-2".into(), zero(), zero()));
        assert_eq!(money("point_refr").3, "", "points have no price");
        let fee = read("fee").records.remove(0);
        let native_id = "gate:futures:usdt:ETH_USDT:7".to_owned();
        assert_eq!(fee.role, Role::UnlessFill { stream: "futures_usdt.fills", native_id });
        let flow = read("dnw").cash_flows.remove(0);
        assert_eq!((flow.kind, flow.amount.to_string()), (FlowKind::Transfer, "-2".into()));
    }

    #[test]
    fn a_fill_and_the_order_that_forced_it_share_a_reference() {
        let contracts = Contracts([("BTC_USDT".to_owned(), markets::Contract::Base(Decimal::new(1, 4)))].into());
        let book = Book { settle: &markets::USDT, contracts: &contracts };
        let fill = r#"[{"trade_id":5,"create_time":1548654951.5,"contract":"BTC_USDT","order_id":"31","size":"-600","price":"3424","fee":"0.1"}]"#;
        let order = r#"[{"time":1548654951,"contract":"BTC_USDT","size":600,"order_id":31,"fill_price":"3424"}]"#;
        let fill = futures_fills(&rows(fill), book, &PriceBook::default()).records.remove(0).event;
        let order = forced(&rows(order), EventType::Liquidation, book, &PriceBook::default()).records.remove(0);
        assert_eq!((fill.order_ref, fill.side), (order.event.order_ref.clone(), order.event.side));
        assert_eq!(fill.native_id, "gate:futures:usdt:BTC_USDT:5");
        assert_eq!(
            (fill.qty.unwrap().to_string(), fill.notional_usd.unwrap().to_string()),
            ("0.06".into(), "205.44".into())
        );
        assert_eq!((fill.occurred_at.millis(), order.role), (1_548_654_951_500, Role::Classifier));
    }

    #[test]
    fn fees_in_gate_tokens_and_points_are_part_of_the_fee() {
        let fill = |fees: &str| {
            let row = format!(
                r#"[{{"id":"1","create_time_ms":"1548000000123.456","currency_pair":"GT_USDT","side":"buy","amount":"2","price":"5",{fees}}}]"#
            );
            spot_fills(&rows(&row), &PriceBook::fixed([("GT".to_owned(), Decimal::TEN)])).records.remove(0).event
        };
        let in_gt = fill(r#""fee":"0","fee_currency":"USDT","gt_fee":"0.1","point_fee":"0""#);
        assert_eq!((in_gt.fee_usd.unwrap().to_string(), in_gt.fee.unwrap().asset.as_str()), ("1".into(), "GT"));
        let in_points = fill(r#""fee":"0","fee_currency":"USDT","point_fee":"1""#);
        assert!(in_points.fee_usd.is_none() && in_points.unpriced);
    }

    #[test]
    fn what_is_not_done_has_not_moved_yet() {
        let row = |status: &str| {
            rows(&format!(
                r#"[{{"id":"w1","timestamp":"1542000000","currency":"USDT","amount":"10","fee":"1","status":"{status}"}}]"#
            ))
        };
        assert_eq!(withdrawals(&row("PEND"), &PriceBook::default()), Parsed::default());
        assert_eq!(withdrawals(&row("DONE"), &PriceBook::default()).cash_flows[0].amount.to_string(), "-11");
        assert_eq!(deposits(&row("DONE"), &PriceBook::default()).cash_flows[0].amount.to_string(), "10");
    }
}
