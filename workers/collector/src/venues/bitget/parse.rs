//! Bitget fills into events: pure, by the table of section 9 of the venue notes.

use codash_domain::{Asset, Event, EventType, Fee, Price, Qty, Side, Timestamp, Usd};
use rust_decimal::Decimal;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::markets::{self, Markets};
use crate::pricing::{Exchange, Prices, bounded, negated, product};
use crate::venues::wire::{Dec, Text, blank, filled, parse_each};
use crate::venues::{Parsed, Record, Role};

pub const SPOT_FILLS: &str = "spot.fills";
pub const FUTURES_FILLS: &str = "futures.fills";

/// Unix milliseconds; ten digits or fewer are seconds, as some of the venue's records have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant(pub Timestamp);

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        let bad = || D::Error::custom(format!("expected Unix milliseconds, got {text}"));
        let number: i64 = text.0.parse().map_err(|_| bad())?;
        let millis = if text.0.len() <= 10 { number.checked_mul(1000) } else { Some(number) };
        millis.and_then(Timestamp::from_millis).map(Self).ok_or_else(bad)
    }
}

/// One coin's part of a fee: negative when paid.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FeePart {
    #[serde(default, deserialize_with = "filled")]
    fee_coin: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    total_fee: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    total_deduction_fee: Option<Dec>,
}

/// A list of parts, one of them, or either written as a text.
fn fee_parts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<FeePart>, D::Error> {
    let mut value = Value::deserialize(deserializer)?;
    if let Value::String(text) = &value {
        value = if text.is_empty() { Value::Null } else { serde_json::from_str(text).map_err(D::Error::custom)? };
    }
    match value {
        Value::Null => Ok(vec![]),
        Value::Array(_) => serde_json::from_value(value).map_err(D::Error::custom),
        other => Ok(vec![serde_json::from_value(other).map_err(D::Error::custom)?]),
    }
}

/// Dollars paid, and the fee in its own coin where it is of one.
fn paid(exchange: &mut Exchange<'_>, parts: &[FeePart]) -> Result<(Option<Usd>, Option<Fee>), String> {
    let mut total = Some(Usd::ZERO);
    let mut fees = vec![];
    for part in parts {
        let amount = part.total_fee.or(part.total_deduction_fee).map_or(Decimal::ZERO, |fee| fee.0);
        let coin = part.fee_coin.as_deref().unwrap_or_default().to_ascii_uppercase();
        let amount = negated(amount);
        let dollars = exchange.stated(amount, &coin)?;
        total = match (total, dollars) {
            (Some(sum), Some(dollars)) => {
                let sum = sum.0.checked_add(dollars.0).map(Usd::new).and_then(bounded);
                Some(sum.ok_or("the fees are too large an amount")?)
            }
            _ => None,
        };
        fees.push(Fee { amount, asset: Asset::new(&coin) });
    }
    let fee = if fees.len() == 1 { fees.pop().filter(|fee| !fee.asset.as_str().is_empty()) } else { None };
    Ok((total, fee))
}

fn side(text: &str) -> Result<Side, String> {
    Side::parse(&text.to_ascii_lowercase()).ok_or_else(|| format!("unknown side {text:?}"))
}

pub(super) fn primary(event: Event) -> Option<Record> {
    Some(Record { event, role: Role::Primary })
}

/// GET /api/v2/spot/trade/fills.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpotFill {
    symbol: String,
    trade_id: Text,
    #[serde(default, deserialize_with = "filled")]
    order_id: Option<Text>,
    side: String,
    price_avg: Dec,
    size: Dec,
    /// In the quote.
    #[serde(default, deserialize_with = "filled")]
    amount: Option<Dec>,
    #[serde(default, deserialize_with = "fee_parts")]
    fee_detail: Vec<FeePart>,
    c_time: Instant,
}

/// Spot fills. They carry the fee; a sale realizes nothing, as cost basis is no fact of the venue.
pub fn spot_fills(rows: &[Box<RawValue>], markets: &Markets, prices: &dyn Prices) -> Parsed {
    parse_each(rows, |fill: SpotFill, raw| spot_fill(fill, raw, markets, prices).map(primary))
}

fn spot_fill(fill: SpotFill, raw: &str, markets: &Markets, prices: &dyn Prices) -> Result<Event, String> {
    let mut exchange = Exchange::new(prices, fill.c_time.0);
    let native = fill.symbol.to_ascii_uppercase();
    let (symbol, quote) = markets.spot(&native);
    let native_id = format!("bitget:spot:{native}:{}", fill.trade_id);
    let mut event = blank(SPOT_FILLS, native_id, EventType::Trade, fill.c_time.0, raw);
    event.symbol = symbol;
    event.side = Some(side(&fill.side)?);
    event.notional_usd = notional(&mut exchange, fill.amount, fill.price_avg.0, fill.size.0, quote)?;
    (event.fee_usd, event.fee) = paid(&mut exchange, &fill.fee_detail)?;
    event.order_ref = fill.order_id.map(|order| format!("bitget:spot:{native}:{order}"));
    event.unpriced = exchange.unpriced;
    event.qty = Some(Qty::new(fill.size.0.abs()));
    event.price = Some(Price::new(fill.price_avg.0));
    event.native_symbol = Some(native.clone());
    Ok(event)
}

/// The stated quote amount, else price × size; unpriced when the quote is not known.
fn notional(
    exchange: &mut Exchange<'_>,
    stated: Option<Dec>,
    price: Decimal,
    qty: Decimal,
    quote: Option<&str>,
) -> Result<Option<Usd>, String> {
    let Some(quote) = quote else {
        exchange.unpriced = true;
        return Ok(None);
    };
    match stated {
        Some(amount) => exchange.stated(amount.0.abs(), quote),
        None => exchange.derived(product(price, qty)?.abs(), quote),
    }
}

/// What closed or opened a position: the venue's own doings have names of their own.
fn trade_kind(trade_side: &str) -> EventType {
    match trade_side {
        "" | "open" | "close" | "buy_single" | "sell_single" => EventType::Trade,
        // In whole or in part, or by netting a hedged pair: each "liquidate" in the venue's words.
        _ if ["burst_", "reduce_", "offset_"].iter().any(|word| trade_side.starts_with(word)) => EventType::Liquidation,
        _ if trade_side.starts_with("dte_sys_adl_") => EventType::Adl,
        _ if trade_side.starts_with("delivery_") => EventType::SystemClose,
        _ => EventType::Unknown,
    }
}

/// GET /api/v2/mix/order/fill-history or fills.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FuturesFill {
    symbol: String,
    trade_id: Text,
    #[serde(default, deserialize_with = "filled")]
    order_id: Option<Text>,
    side: String,
    price: Dec,
    base_volume: Dec,
    #[serde(default, deserialize_with = "filled")]
    quote_volume: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    profit: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    margin_coin: Option<String>,
    #[serde(default, deserialize_with = "fee_parts")]
    fee_detail: Vec<FeePart>,
    #[serde(default, deserialize_with = "filled")]
    trade_side: Option<String>,
    c_time: Instant,
}

/// Futures fills. They carry PnL and fee.
pub fn futures_fills(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |fill: FuturesFill, raw| futures_fill(fill, raw, prices).map(primary))
}

fn futures_fill(fill: FuturesFill, raw: &str, prices: &dyn Prices) -> Result<Event, String> {
    let mut exchange = Exchange::new(prices, fill.c_time.0);
    let native = fill.symbol.to_ascii_uppercase();
    let contract = markets::contract(&native);
    let kind = trade_kind(fill.trade_side.as_deref().unwrap_or_default());
    let native_id = format!("bitget:mix:{native}:{}", fill.trade_id);
    let mut event = blank(FUTURES_FILLS, native_id, kind, fill.c_time.0, raw);
    let money = fill.margin_coin.as_deref().map(str::to_ascii_uppercase);
    let money = money.as_deref().or(contract.money).unwrap_or_default();
    event.side = Some(side(&fill.side)?);
    event.notional_usd = notional(&mut exchange, fill.quote_volume, fill.price.0, fill.base_volume.0, contract.quote)?;
    let profit = fill.profit.map_or(Decimal::ZERO, |profit| profit.0);
    event.realized_pnl_usd = exchange.stated(profit, money)?;
    (event.fee_usd, event.fee) = paid(&mut exchange, &fill.fee_detail)?;
    event.order_ref = fill.order_id.map(|order| format!("bitget:mix:{native}:{order}"));
    event.unpriced = exchange.unpriced;
    event.qty = Some(Qty::new(fill.base_volume.0.abs()));
    event.price = Some(Price::new(fill.price.0));
    event.symbol = contract.symbol;
    event.native_symbol = Some(native.clone());
    Ok(event)
}

/// Instants of a page's records, in the order received.
pub fn times(rows: &[Box<RawValue>]) -> Vec<i64> {
    #[derive(Deserialize)]
    struct Timed {
        #[serde(rename = "cTime")]
        at: Instant,
    }
    let time = |raw: &RawValue| Some(serde_json::from_str::<Timed>(raw.get()).ok()?.at.0.millis());
    rows.iter().filter_map(|raw| time(raw)).collect()
}

/// The id of a page's last record: where the next, older page starts.
pub fn last_id(rows: &[Box<RawValue>]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        #[serde(default, deserialize_with = "filled")]
        trade_id: Option<Text>,
        #[serde(default, deserialize_with = "filled")]
        bill_id: Option<Text>,
    }
    let named: Named = serde_json::from_str(rows.last()?.get()).ok()?;
    named.trade_id.or(named.bill_id).map(|id| id.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;
    use crate::venues::wire::rows;

    #[test]
    fn what_closed_a_position_is_told_by_the_trade_side() {
        for (word, kind) in [
            ("open", EventType::Trade),
            ("sell_single", EventType::Trade),
            ("", EventType::Trade),
            ("burst_close_long", EventType::Liquidation),
            ("reduce_sell_single", EventType::Liquidation),
            ("offset_close_short", EventType::Liquidation),
            ("dte_sys_adl_close_long", EventType::Adl),
            ("delivery_close_short", EventType::SystemClose),
            ("something_new", EventType::Unknown),
        ] {
            assert_eq!(trade_kind(word), kind, "{word}");
        }
    }

    #[test]
    fn an_inverse_fill_pays_in_its_coin_and_fees_may_be_of_two_coins() {
        let page = rows(
            "x",
            r#"[{"symbol":"BTCUSD","tradeId":"7","orderId":"","side":"sell","price":"50000","baseVolume":"0.02",
            "quoteVolume":"1000","profit":"0.001","tradeSide":"burst_close_long","cTime":"1767225600000",
            "feeDetail":"[{\"feeCoin\":\"BTC\",\"totalFee\":\"-0.00001\"},{\"feeCoin\":\"USDT\",\"totalFee\":\"-0.5\"}]"}]"#,
        )
        .unwrap();
        let book = PriceBook::fixed([("BTC".to_owned(), Decimal::from(50_000))]);
        let parsed = futures_fills(&page, &book);
        let event = &parsed.records[0].event;
        assert_eq!(event.event_type, EventType::Liquidation);
        let dollars = [event.notional_usd, event.realized_pnl_usd, event.fee_usd].map(|usd| usd.unwrap().to_string());
        assert_eq!(dollars, ["1000", "50", "1"]);
        assert_eq!((event.fee.as_ref(), event.symbol.as_ref().unwrap().as_str()), (None, "BTC-PERP-USD"));
    }
}
