//! Binance records into events: pure, by the table of section 2 of the venue notes.

use std::collections::BTreeMap;

use codash_domain::{Asset, Event, EventType, Fee, FlowKind, Price, Qty, Side};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::markets::{self, Markets};
use crate::pricing::{Exchange, Prices, negated, product};
use crate::venues::flow::Flow;
use crate::venues::wire::{Dec, Meaning, Millis, Text, blank, flag, parse_each};
use crate::venues::{Parsed, Record, Role};

pub const SPOT_FILLS: &str = "spot.fills";
pub const USDM_FILLS: &str = "usdm.fills";
pub const USDM_FORCED: &str = "usdm.forced";
pub const USDM_INCOME: &str = "usdm.income";

/// What the client order id says about who placed the order: the exchange signs its own.
pub fn forced_type(client_order_id: &str) -> Option<EventType> {
    [
        ("autoclose-", EventType::Liquidation),
        ("adl_autoclose", EventType::Adl),
        ("settlement_autoclose-", EventType::SystemClose),
        ("delivery_autoclose-", EventType::SystemClose),
    ]
    .into_iter()
    .find_map(|(prefix, kind)| client_order_id.starts_with(prefix).then_some(kind))
}

/// The order that fills and forced orders share.
fn usdm_order_ref(symbol: &str, order_id: &Text) -> String {
    format!("binance:usdm:{symbol}:{order_id}")
}

/// The native id of a USD-M fill: what income rows point at.
fn usdm_fill_id(symbol: &str, trade_id: &Text) -> String {
    format!("binance:usdm:{symbol}:{trade_id}")
}

fn side(text: &str) -> Result<Side, String> {
    match text {
        "BUY" => Ok(Side::Buy),
        "SELL" => Ok(Side::Sell),
        other => Err(format!("unknown side {other:?}")),
    }
}

fn primary(event: Event) -> Option<Record> {
    Some(Record { event, role: Role::Primary })
}

/// GET /api/v3/myTrades.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpotFill {
    symbol: String,
    id: Text,
    #[serde(default)]
    order_id: Option<Text>,
    price: Dec,
    qty: Dec,
    #[serde(default)]
    quote_qty: Option<Dec>,
    commission: Dec,
    commission_asset: String,
    time: Millis,
    #[serde(deserialize_with = "flag")]
    is_buyer: bool,
}

/// Spot fills. They carry the fee; a sale realizes nothing, as cost basis is no fact of the venue.
pub fn spot_fills(rows: &[Box<RawValue>], markets: &Markets, prices: &dyn Prices) -> Parsed {
    parse_each(rows, |fill: SpotFill, raw| spot_fill(fill, raw, markets, prices).map(primary))
}

fn spot_fill(fill: SpotFill, raw: &str, markets: &Markets, prices: &dyn Prices) -> Result<Event, String> {
    let mut exchange = Exchange::new(prices, fill.time.0);
    let (symbol, quote) = markets.spot(&fill.symbol);
    let mut event =
        blank(SPOT_FILLS, format!("binance:spot:{}:{}", fill.symbol, fill.id), EventType::Trade, fill.time.0, raw);
    event.symbol = symbol;
    event.side = Some(if fill.is_buyer { Side::Buy } else { Side::Sell });
    event.notional_usd = notional(&mut exchange, fill.quote_qty, fill.price, fill.qty, quote)?;
    event.fee_usd = exchange.stated(fill.commission.0, &fill.commission_asset)?;
    event.fee = Some(Fee { amount: fill.commission.0, asset: Asset::new(&fill.commission_asset) });
    event.order_ref = fill.order_id.map(|order| format!("binance:spot:{}:{order}", fill.symbol));
    event.unpriced = exchange.unpriced;
    Ok(sized(event, fill.symbol, fill.qty, fill.price))
}

/// Size, price and market, which every fill states alike.
fn sized(mut event: Event, native_symbol: String, qty: Dec, price: Dec) -> Event {
    event.native_symbol = Some(native_symbol);
    event.qty = Some(Qty::new(qty.0.abs()));
    event.price = Some(Price::new(price.0));
    event
}

/// The stated quote amount, else price × size; unpriced when the quote is not known.
fn notional(
    exchange: &mut Exchange<'_>,
    stated: Option<Dec>,
    price: Dec,
    qty: Dec,
    quote: Option<&str>,
) -> Result<Option<codash_domain::Usd>, String> {
    let Some(quote) = quote else {
        exchange.unpriced = true;
        return Ok(None);
    };
    match stated {
        Some(amount) => exchange.stated(amount.0.abs(), quote),
        None => exchange.derived(product(price.0, qty.0)?.abs(), quote),
    }
}

/// GET /fapi/v1/userTrades.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UsdmFill {
    symbol: String,
    id: Text,
    order_id: Text,
    side: String,
    price: Dec,
    qty: Dec,
    #[serde(default)]
    quote_qty: Option<Dec>,
    realized_pnl: Dec,
    #[serde(default)]
    margin_asset: Option<String>,
    commission: Dec,
    commission_asset: String,
    time: Millis,
}

/// USD-M fills. They carry PnL and fee. `forced` maps an order id to its client order id, where
/// forced orders are known already; otherwise the order reference joins them later.
pub fn usdm_fills(rows: &[Box<RawValue>], forced: &BTreeMap<String, String>, prices: &dyn Prices) -> Parsed {
    parse_each(rows, |fill: UsdmFill, raw| {
        let client_id = forced.get(&fill.order_id.0).map(String::as_str);
        let kind = client_id.and_then(forced_type).unwrap_or(EventType::Trade);
        usdm_fill(fill, kind, raw, prices).map(primary)
    })
}

fn usdm_fill(fill: UsdmFill, kind: EventType, raw: &str, prices: &dyn Prices) -> Result<Event, String> {
    let mut exchange = Exchange::new(prices, fill.time.0);
    let (symbol, quote) = markets::linear(&fill.symbol);
    let money = fill.margin_asset.as_deref().or(quote);
    let mut event = blank(USDM_FILLS, usdm_fill_id(&fill.symbol, &fill.id), kind, fill.time.0, raw);
    event.symbol = symbol;
    event.side = Some(side(&fill.side)?);
    event.notional_usd = notional(&mut exchange, fill.quote_qty, fill.price, fill.qty, quote.or(money))?;
    event.realized_pnl_usd = exchange.stated(fill.realized_pnl.0, money.unwrap_or_default())?;
    event.fee_usd = exchange.stated(fill.commission.0, &fill.commission_asset)?;
    event.fee = Some(Fee { amount: fill.commission.0, asset: Asset::new(&fill.commission_asset) });
    event.order_ref = Some(usdm_order_ref(&fill.symbol, &fill.order_id));
    event.unpriced = exchange.unpriced;
    Ok(sized(event, fill.symbol, fill.qty, fill.price))
}

/// GET /fapi/v1/forceOrders.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ForcedOrder {
    order_id: Text,
    symbol: String,
    client_order_id: String,
    avg_price: Dec,
    executed_qty: Dec,
    #[serde(default)]
    cum_quote: Option<Dec>,
    side: String,
    #[serde(default)]
    time: Option<Millis>,
    #[serde(default)]
    update_time: Option<Millis>,
}

/// Orders that the exchange placed for the account. Their money is on the fills.
pub fn forced_orders(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |order: ForcedOrder, raw| {
        let event = forced_order(order, raw, prices)?;
        Ok(Some(Record { event, role: Role::Classifier }))
    })
}

fn forced_order(order: ForcedOrder, raw: &str, prices: &dyn Prices) -> Result<Event, String> {
    let at = order.update_time.or(order.time).ok_or("neither updateTime nor time")?.0;
    let kind = forced_type(&order.client_order_id).unwrap_or(EventType::Unknown);
    let mut exchange = Exchange::new(prices, at);
    let (symbol, quote) = markets::linear(&order.symbol);
    let native_id = format!("binance:usdm:{}:order:{}", order.symbol, order.order_id);
    let mut event = blank(USDM_FORCED, native_id, kind, at, raw);
    event.symbol = symbol;
    event.side = Some(side(&order.side)?);
    event.notional_usd = notional(&mut exchange, order.cum_quote, order.avg_price, order.executed_qty, quote)?;
    event.order_ref = Some(usdm_order_ref(&order.symbol, &order.order_id));
    event.unpriced = exchange.unpriced;
    Ok(sized(event, order.symbol, order.executed_qty, order.avg_price))
}

/// GET /fapi/v1/income.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Income {
    #[serde(default)]
    symbol: Option<String>,
    income_type: String,
    income: Dec,
    asset: String,
    time: Millis,
    tran_id: Text,
    #[serde(default)]
    trade_id: Option<Text>,
}

/// Which part of an event's money an income row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Funding,
    Realized,
    /// Stated from the account's side: a cost is negative.
    Fee,
}

/// The cash flow that an income type is, if it is one: no event.
fn income_flow(income_type: &str) -> Option<FlowKind> {
    match income_type {
        "TRANSFER" | "INTERNAL_TRANSFER" | "CROSS_COLLATERAL_TRANSFER" | "STRATEGY_UMFUTURES_TRANSFER" => {
            Some(FlowKind::Transfer)
        }
        "AUTO_EXCHANGE" => Some(FlowKind::Conversion),
        other => other.starts_with("COIN_SWAP_").then_some(FlowKind::Conversion),
    }
}

/// What an income type means.
fn income_meaning(income_type: &str) -> (EventType, Part) {
    match income_type {
        "FUNDING_FEE" | "SPECIAL_FUNDING_FEE" => (EventType::Funding, Part::Funding),
        "REALIZED_PNL" => (EventType::ClosedPnl, Part::Realized),
        "INSURANCE_CLEAR" => (EventType::Liquidation, Part::Realized),
        // The exchange's own spelling.
        "DELIVERED_SETTELMENT" => (EventType::SystemClose, Part::Realized),
        "COMMISSION"
        | "COMMISSION_REBATE"
        | "REFERRAL_KICKBACK"
        | "API_REBATE"
        | "FEE_RETURN"
        | "POSITION_LIMIT_INCREASE_FEE" => (EventType::Unknown, Part::Fee),
        _ => (EventType::Unknown, Part::Realized),
    }
}

/// Income rows: funding, and what no fill carries.
pub fn income(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: Income, raw| match income_flow(&row.income_type) {
        Some(kind) => {
            let (native_id, at, asset) = (income_id(&row), row.time.0, row.asset.as_str());
            let moved = Flow { stream: USDM_INCOME, native_id, kind, at, wallet: "usdm", asset, amount: row.income.0 };
            Ok(Meaning::CashFlows(vec![moved.priced(raw, prices)?]))
        }
        None => income_row(&row, raw, prices).map(Some).map(Meaning::from),
    })
}

/// One settlement writes several symbols in the same millisecond: the venue's id alone is not enough.
fn income_id(row: &Income) -> String {
    let native = row.symbol.as_deref().unwrap_or_default();
    format!("binance:usdm:income:{}:{}:{native}:{}", row.income_type, row.tran_id, row.asset)
}

fn income_row(row: &Income, raw: &str, prices: &dyn Prices) -> Result<Record, String> {
    let (kind, part) = income_meaning(&row.income_type);
    let mut exchange = Exchange::new(prices, row.time.0);
    let native = row.symbol.as_deref().unwrap_or_default();
    let mut event = blank(USDM_INCOME, income_id(row), kind, row.time.0, raw);
    match part {
        Part::Funding => event.funding_usd = exchange.stated(row.income.0, &row.asset)?,
        Part::Realized => event.realized_pnl_usd = exchange.stated(row.income.0, &row.asset)?,
        Part::Fee => {
            let paid = negated(row.income.0);
            event.fee_usd = exchange.stated(paid, &row.asset)?;
            event.fee = Some(Fee { amount: paid, asset: Asset::new(&row.asset) });
        }
    }
    if !native.is_empty() {
        event.symbol = markets::linear(native).0;
        event.native_symbol = Some(native.into());
    }
    event.unpriced = exchange.unpriced;
    Ok(Record { event, role: income_role(row, native) })
}

/// PnL and commission of a fill are on the fill; the income row counts only where that is lost.
fn income_role(row: &Income, native: &str) -> Role {
    if !matches!(row.income_type.as_str(), "REALIZED_PNL" | "COMMISSION") {
        return Role::Primary;
    }
    let trade_id = row.trade_id.clone().unwrap_or_default();
    Role::UnlessFill { stream: USDM_FILLS, native_id: usdm_fill_id(native, &trade_id) }
}

/// The symbols whose fills a page of income tells of.
pub fn income_symbols(rows: &[Box<RawValue>]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(default)]
        symbol: Option<String>,
    }
    let named = rows.iter().filter_map(|raw| serde_json::from_str::<Named>(raw.get()).ok()?.symbol);
    let symbols: std::collections::BTreeSet<String> = named.filter(|symbol| !symbol.is_empty()).collect();
    symbols.into_iter().collect()
}

/// The payload of the user data stream: `o` of ORDER_TRADE_UPDATE.
#[derive(Debug, Deserialize)]
struct OrderUpdate {
    s: String,
    c: String,
    #[serde(rename = "S")]
    side: String,
    x: String,
    #[serde(rename = "X", default)]
    status: String,
    i: Text,
    #[serde(rename = "l")]
    last_qty: Dec,
    #[serde(rename = "L")]
    last_price: Dec,
    #[serde(rename = "N", default)]
    commission_asset: Option<String>,
    #[serde(rename = "n", default)]
    commission: Option<Dec>,
    #[serde(rename = "T")]
    time: Millis,
    t: Text,
    #[serde(default)]
    rp: Option<Dec>,
}

/// A pushed message. Only an executed ORDER_TRADE_UPDATE is a row: that of its fill.
pub fn user_data(message: &RawValue, prices: &dyn Prices) -> Parsed {
    #[derive(Deserialize)]
    struct Message {
        e: String,
        #[serde(default)]
        o: Option<Box<RawValue>>,
    }
    match crate::venues::wire::record::<Message>(message) {
        Ok(Message { e, o: Some(order) }) if e == "ORDER_TRADE_UPDATE" => {
            parse_each(&[order], |order: OrderUpdate, raw| order_update(order, raw, prices))
        }
        Ok(Message { e, o: None }) if e == "ORDER_TRADE_UPDATE" => Parsed {
            unreadable: vec![crate::venues::wire::unreadable(message, "no order in the message")],
            ..Parsed::default()
        },
        Ok(_) => Parsed::default(),
        Err(bad) => Parsed { unreadable: vec![bad], ..Parsed::default() },
    }
}

fn order_update(order: OrderUpdate, raw: &str, prices: &dyn Prices) -> Result<Option<Record>, String> {
    // CALCULATED is the exchange's word for its own execution; NEW, CANCELED and the like fill nothing.
    if !matches!(order.x.as_str(), "TRADE" | "CALCULATED") || order.last_qty.0.is_zero() {
        return Ok(None);
    }
    let kind = forced_type(&order.c).unwrap_or(match (order.x.as_str(), order.status.as_str()) {
        (_, "NEW_ADL") => EventType::Adl,
        ("CALCULATED", _) => EventType::Liquidation,
        _ => EventType::Trade,
    });
    let (_, quote) = markets::linear(&order.s);
    let fill = UsdmFill {
        commission_asset: order.commission_asset.or(quote.map(Into::into)).unwrap_or_default(),
        commission: order.commission.unwrap_or(Dec(Decimal::ZERO)),
        symbol: order.s,
        id: order.t,
        order_id: order.i,
        side: order.side,
        price: order.last_price,
        qty: order.last_qty,
        quote_qty: None,
        realized_pnl: order.rp.unwrap_or(Dec(Decimal::ZERO)),
        margin_asset: None,
        time: order.time,
    };
    usdm_fill(fill, kind, raw, prices).map(primary)
}
