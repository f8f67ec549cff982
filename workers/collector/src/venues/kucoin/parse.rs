//! KuCoin fills, closed positions and funding into events: pure, by section 6 of the venue notes.
//!
//! Fills carry the fee and nothing else, closed positions carry the PnL, funding carries itself.
//! KuCoin states amounts with more places than dollars have here: all are rounded as derived ones are.

use codash_domain::{Asset, Event, EventType, Fee, Price, Qty, Side, Timestamp, Usd};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::markets::{self, Contract, Contracts, asset};
use crate::pricing::{Exchange, Prices, product};
use crate::venues::wire::{Dec, Millis, Text, blank, maybe_dec, maybe_text, parse_each};
use crate::venues::{Parsed, Record, Role};

pub const SPOT_FILLS: &str = "spot.fills";
pub const FUTURES_FILLS: &str = "futures.fills";
pub const FUTURES_POSITIONS: &str = "futures.positions";
pub const FUTURES_FUNDING: &str = "futures.funding";

fn primary(event: Event) -> Option<Record> {
    Some(Record { event, role: Role::Primary })
}

fn side(text: &str) -> Result<Side, String> {
    match text {
        "buy" | "BUY" => Ok(Side::Buy),
        "sell" | "SELL" => Ok(Side::Sell),
        other => Err(format!("unknown side {other:?}")),
    }
}

/// GET /api/v1/hf/fills, and the older /api/v1/fills of the spot host.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpotFill {
    symbol: String,
    trade_id: Text,
    #[serde(default, deserialize_with = "maybe_text")]
    order_id: Option<String>,
    side: String,
    price: Dec,
    size: Dec,
    #[serde(default, deserialize_with = "maybe_dec")]
    funds: Option<Decimal>,
    fee: Dec,
    #[serde(default, deserialize_with = "maybe_text")]
    fee_currency: Option<String>,
    created_at: Millis,
}

/// Spot fills. They carry the fee; a sale realizes nothing, as cost basis is no fact of the venue.
pub fn spot_fills(rows: &[Box<RawValue>], prices: &dyn Prices) -> Parsed {
    parse_each(rows, |fill: SpotFill, raw| spot_fill(fill, raw, prices).map(primary))
}

fn spot_fill(fill: SpotFill, raw: &str, prices: &dyn Prices) -> Result<Event, String> {
    let at = fill.created_at.0;
    let mut exchange = Exchange::new(prices, at);
    let market = markets::spot(&fill.symbol);
    let native_id = format!("kucoin:spot:{}:{}", fill.symbol, fill.trade_id);
    let mut event = blank(SPOT_FILLS, native_id, EventType::Trade, at, raw);
    event.symbol = match market {
        Some((base, quote)) => codash_domain::Symbol::spot(base, quote),
        None => codash_domain::Symbol::new(&fill.symbol),
    };
    event.side = Some(side(&fill.side)?);
    event.qty = Some(Qty::new(fill.size.0.abs()));
    event.price = Some(Price::new(fill.price.0));
    let quote = market.map(|(_, quote)| asset(quote)).unwrap_or_default();
    event.notional_usd = match fill.funds {
        Some(funds) => exchange.derived(funds.abs(), quote)?,
        None => exchange.derived(product(fill.price.0, fill.size.0)?.abs(), quote)?,
    };
    charge(&mut event, &mut exchange, fill.fee.0, fill.fee_currency.as_deref().unwrap_or_default())?;
    event.order_ref = fill.order_id.map(|order| format!("kucoin:spot:{}:{order}", fill.symbol));
    event.unpriced = exchange.unpriced;
    event.native_symbol = Some(fill.symbol);
    Ok(event)
}

/// A fee as charged: positive when paid.
fn charge(event: &mut Event, exchange: &mut Exchange<'_>, fee: Decimal, currency: &str) -> Result<(), String> {
    event.fee_usd = exchange.derived(fee, asset(currency))?;
    event.fee = (!currency.is_empty()).then(|| Fee { amount: fee, asset: Asset::new(currency) });
    Ok(())
}

/// GET /api/v1/fills of the futures host.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FuturesFill {
    symbol: String,
    trade_id: Text,
    #[serde(default, deserialize_with = "maybe_text")]
    order_id: Option<String>,
    side: String,
    price: Dec,
    /// In lots.
    size: Dec,
    /// Price times size, in the settle coin.
    #[serde(default, deserialize_with = "maybe_dec")]
    value: Option<Decimal>,
    #[serde(default, deserialize_with = "maybe_dec")]
    fee: Option<Decimal>,
    #[serde(default, deserialize_with = "maybe_dec")]
    open_fee_pay: Option<Decimal>,
    #[serde(default, deserialize_with = "maybe_dec")]
    close_fee_pay: Option<Decimal>,
    #[serde(default, deserialize_with = "maybe_text")]
    fee_currency: Option<String>,
    #[serde(default, deserialize_with = "maybe_text")]
    settle_currency: Option<String>,
    #[serde(default, deserialize_with = "maybe_text")]
    trade_type: Option<String>,
    #[serde(default, deserialize_with = "maybe_text")]
    trade_time: Option<String>,
    #[serde(default, deserialize_with = "maybe_text")]
    created_at: Option<String>,
}

impl FuturesFill {
    fn at(&self) -> Result<Timestamp, String> {
        let text =
            self.trade_time.as_deref().or(self.created_at.as_deref()).ok_or("neither tradeTime nor createdAt")?;
        instant(text)
    }

    /// The one fee, or what opening and closing cost.
    fn paid(&self) -> Result<Decimal, String> {
        match (self.fee, self.open_fee_pay, self.close_fee_pay) {
            (Some(fee), _, _) => Ok(fee),
            (None, Some(open), Some(close)) => open.checked_add(close).ok_or_else(|| "the fee does not fit".into()),
            _ => Err("no fee".into()),
        }
    }
}

/// Unix time in nanoseconds, cut to milliseconds; a number too small for that is milliseconds already.
pub fn instant(text: &str) -> Result<Timestamp, String> {
    const FIRST_NANOS: i64 = 1_000_000_000_000_000;
    let number: i64 = text.parse().map_err(|_| format!("expected a Unix time, got {text:?}"))?;
    let millis = if number >= FIRST_NANOS { number / 1_000_000 } else { number };
    Timestamp::from_millis(millis).ok_or_else(|| format!("{text} is no time of ours"))
}

/// Futures fills. They carry the fee; the PnL comes with the closed position.
pub fn futures_fills(rows: &[Box<RawValue>], contracts: &Contracts, prices: &dyn Prices) -> Parsed {
    parse_each(rows, |fill: FuturesFill, raw| futures_fill(fill, raw, contracts, prices).map(primary))
}

fn futures_fill(fill: FuturesFill, raw: &str, contracts: &Contracts, prices: &dyn Prices) -> Result<Event, String> {
    let at = fill.at()?;
    let kind = match fill.trade_type.as_deref() {
        Some("trade") | None => EventType::Trade,
        Some("liquid" | "liquidation") => EventType::Liquidation,
        Some("adl") => EventType::Adl,
        Some("settlement") => EventType::SystemClose,
        Some(_) => EventType::Unknown,
    };
    let mut exchange = Exchange::new(prices, at);
    let contract = contracts.of(&fill.symbol);
    let native_id = format!("kucoin:futures:{}:{}", fill.symbol, fill.trade_id);
    let mut event = blank(FUTURES_FILLS, native_id, kind, at, raw);
    event.side = Some(side(&fill.side)?);
    event.price = Some(Price::new(fill.price.0));
    size(
        &mut event,
        &mut exchange,
        contract.as_ref(),
        Sized { lots: fill.size.0, price: fill.price.0, value: fill.value },
    )?;
    let settle = contract.as_ref().map(|contract| contract.settle.as_str());
    let currency = fill.fee_currency.as_deref().or(fill.settle_currency.as_deref()).or(settle).unwrap_or_default();
    charge(&mut event, &mut exchange, fill.paid()?, currency)?;
    event.order_ref = fill.order_id.map(|order| format!("kucoin:futures:{}:{order}", fill.symbol));
    event.unpriced = exchange.unpriced;
    name(&mut event, &contract, fill.symbol);
    Ok(event)
}

fn name(event: &mut Event, contract: &Option<Contract>, native: String) {
    event.symbol = contract.as_ref().and_then(Contract::symbol).or_else(|| codash_domain::Symbol::new(&native));
    event.native_symbol = Some(native);
}

/// What a record says about its size.
struct Sized {
    lots: Decimal,
    price: Decimal,
    /// In the settle coin, as stated.
    value: Option<Decimal>,
}

/// Quantity and notional: from the lot where it is known, else from the value that is stated.
fn size(
    event: &mut Event,
    exchange: &mut Exchange<'_>,
    contract: Option<&Contract>,
    sized: Sized,
) -> Result<(), String> {
    let Some(contract) = contract else {
        exchange.unpriced = true;
        return Ok(());
    };
    let (lots, price) = (sized.lots.abs(), sized.price.abs());
    let value = sized.value.map(|value| value.abs());
    let of_lots = contract.lot.map(|lot| product(lots, lot)).transpose()?;
    // Values that we derive are rounded as dollars are.
    let rounded = |qty: Option<Decimal>| qty.map(|qty| Qty::new(Usd::derived(qty).0));
    if contract.inverse {
        let dollars = match (of_lots, value) {
            (Some(dollars), _) => Some(dollars),
            (None, Some(coins)) => Some(product(coins, price)?),
            (None, None) => None,
        };
        event.qty = rounded(dollars.and_then(|dollars| dollars.checked_div(price)));
        event.notional_usd = match dollars {
            Some(dollars) => exchange.derived(dollars, &contract.quote)?,
            None => None,
        };
    } else {
        event.qty = match (of_lots, value) {
            (Some(qty), _) => Some(Qty::new(qty)),
            (None, Some(value)) => rounded(value.checked_div(price)),
            (None, None) => None,
        };
        event.notional_usd = match (value, of_lots) {
            (Some(value), _) => exchange.derived(value, &contract.quote)?,
            (None, Some(qty)) => exchange.derived(product(qty, price)?, &contract.quote)?,
            (None, None) => None,
        };
    }
    exchange.unpriced |= event.notional_usd.is_none();
    Ok(())
}

/// GET /api/v1/history-positions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClosedPosition {
    close_id: Text,
    symbol: String,
    #[serde(default, deserialize_with = "maybe_text")]
    settle_currency: Option<String>,
    /// Net of fees and funding.
    #[serde(default, deserialize_with = "maybe_dec")]
    pnl: Option<Decimal>,
    #[serde(default, deserialize_with = "maybe_dec")]
    trade_fee: Option<Decimal>,
    #[serde(default, deserialize_with = "maybe_dec")]
    funding_fee: Option<Decimal>,
    /// The gross PnL with the sign turned.
    #[serde(default, deserialize_with = "maybe_dec")]
    realised_gross_cost: Option<Decimal>,
    close_time: Millis,
    #[serde(default, deserialize_with = "maybe_dec")]
    close_price: Option<Decimal>,
}

impl ClosedPosition {
    /// PnL before fees and funding, which fills and funding records carry.
    fn gross(&self) -> Result<Decimal, String> {
        match (self.pnl, self.trade_fee, self.funding_fee, self.realised_gross_cost) {
            (Some(net), Some(fee), Some(funding), _) => {
                let gross = net.checked_add(fee).and_then(|sum| sum.checked_sub(funding));
                gross.ok_or_else(|| "the PnL does not fit".into())
            }
            (_, _, _, Some(cost)) => Ok(if cost.is_zero() { cost } else { -cost }),
            _ => Err("neither pnl with its fees nor realisedGrossCost".into()),
        }
    }
}

/// Closed positions. They carry the PnL of all their fills, forced ones too.
pub fn closed_positions(rows: &[Box<RawValue>], contracts: &Contracts, prices: &dyn Prices) -> Parsed {
    parse_each(rows, |closed: ClosedPosition, raw| closed_position(closed, raw, contracts, prices).map(primary))
}

fn closed_position(
    closed: ClosedPosition,
    raw: &str,
    contracts: &Contracts,
    prices: &dyn Prices,
) -> Result<Event, String> {
    let at = closed.close_time.0;
    let mut exchange = Exchange::new(prices, at);
    let contract = contracts.of(&closed.symbol);
    let native_id = format!("kucoin:futures:position:{}", closed.close_id);
    let mut event = blank(FUTURES_POSITIONS, native_id, EventType::ClosedPnl, at, raw);
    let settle = contract.as_ref().map(|contract| contract.settle.as_str());
    let coin = closed.settle_currency.as_deref().or(settle).unwrap_or_default();
    event.realized_pnl_usd = exchange.derived(closed.gross()?, asset(coin))?;
    event.price = closed.close_price.map(Price::new);
    event.unpriced = exchange.unpriced;
    name(&mut event, &contract, closed.symbol);
    Ok(event)
}

/// GET /api/v1/funding-history.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Funding {
    id: Text,
    symbol: String,
    time_point: Millis,
    #[serde(default, deserialize_with = "maybe_dec")]
    mark_price: Option<Decimal>,
    /// In lots, negative when short.
    #[serde(default, deserialize_with = "maybe_dec")]
    position_qty: Option<Decimal>,
    /// The position's value in the settle coin.
    #[serde(default, deserialize_with = "maybe_dec")]
    position_cost: Option<Decimal>,
    /// Positive when received.
    funding: Dec,
    #[serde(default, deserialize_with = "maybe_text")]
    settle_currency: Option<String>,
}

/// Funding payments.
pub fn funding(rows: &[Box<RawValue>], contracts: &Contracts, prices: &dyn Prices) -> Parsed {
    parse_each(rows, |paid: Funding, raw| funding_paid(paid, raw, contracts, prices).map(primary))
}

fn funding_paid(paid: Funding, raw: &str, contracts: &Contracts, prices: &dyn Prices) -> Result<Event, String> {
    let at = paid.time_point.0;
    let mut exchange = Exchange::new(prices, at);
    let contract = contracts.of(&paid.symbol);
    let mut event = blank(FUTURES_FUNDING, format!("kucoin:futures:funding:{}", paid.id), EventType::Funding, at, raw);
    let settle = contract.as_ref().map(|contract| contract.settle.as_str());
    let coin = paid.settle_currency.as_deref().or(settle).unwrap_or_default();
    event.funding_usd = exchange.derived(paid.funding.0, asset(coin))?;
    event.price = paid.mark_price.map(Price::new);
    if let (Some(lots), Some(price)) = (paid.position_qty, paid.mark_price) {
        event.side = match lots {
            lots if lots.is_zero() => None,
            lots if lots.is_sign_negative() => Some(Side::Sell),
            _ => Some(Side::Buy),
        };
        size(&mut event, &mut exchange, contract.as_ref(), Sized { lots, price, value: paid.position_cost })?;
    }
    event.unpriced = exchange.unpriced;
    name(&mut event, &contract, paid.symbol);
    Ok(event)
}

/// The markets that a page of records tells of.
pub fn symbols(rows: &[Box<RawValue>]) -> std::collections::BTreeSet<String> {
    #[derive(Deserialize)]
    struct Named {
        symbol: String,
    }
    rows.iter().filter_map(|raw| serde_json::from_str::<Named>(raw.get()).ok()).map(|named| named.symbol).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;

    fn rows(text: &str) -> Vec<Box<RawValue>> {
        crate::venues::wire::rows("x", text).unwrap()
    }

    #[test]
    fn nanoseconds_and_milliseconds_are_the_same_instant() {
        assert_eq!(instant("1740640088244999999"), instant("1740640088244"));
        assert!(instant("soon").is_err() && instant("-5").is_err());
    }

    #[test]
    fn a_delisted_contract_counts_by_what_its_fill_states() {
        let fill = r#"[{"symbol":"LUNAUSDTM","tradeId":1,"side":"sell","price":"2","size":"30","value":"6","openFeePay":"0",
            "closeFeePay":"0.01","fee":"","tradeTime":"1740640088244000000","tradeType":"trade"}]"#;
        let parsed = futures_fills(&rows(fill), &Contracts::default(), &PriceBook::default());
        let event = &parsed.records[0].event;
        assert_eq!(event.qty.unwrap().to_string(), "3");
        assert_eq!(
            (event.notional_usd.unwrap().to_string(), event.fee_usd.unwrap().to_string()),
            ("6".into(), "0.01".into())
        );
    }

    #[test]
    fn an_unknown_kind_of_trade_is_kept_with_its_money_and_no_fee_is_no_guess() {
        let fill = |more: &str| {
            format!(
                r#"[{{"symbol":"XBTUSDTM","tradeId":"1","side":"buy","price":1,"size":1,"value":1,"tradeTime":1740640088244000000,
                "feeCurrency":"USDT"{more}}}]"#
            )
        };
        let read = |more: &str| futures_fills(&rows(&fill(more)), &Contracts::default(), &PriceBook::default());
        let known = read(r#","fee":"0.5","tradeType":"merger""#);
        assert_eq!(known.records[0].event.event_type, EventType::Unknown);
        assert_eq!(known.records[0].event.fee_usd.unwrap().to_string(), "0.5");
        assert_eq!(read(r#","tradeType":"trade""#).unreadable[0].reason, "no fee");
    }

    #[test]
    fn gross_pnl_is_what_is_left_when_fees_and_funding_are_taken_out_again() {
        let closed = |more: &str| {
            let row = format!(
                r#"[{{"closeId":1,"symbol":"XBTUSDTM","settleCurrency":"USDT","closeTime":1735589352069{more}}}]"#
            );
            let parsed = closed_positions(&rows(&row), &Contracts::default(), &PriceBook::default());
            parsed.records.first().map(|record| record.event.realized_pnl_usd.unwrap().to_string())
        };
        let stated = r#","pnl":"1","tradeFee":"0.25","fundingFee":"-0.5","realisedGrossCost":"9""#;
        assert_eq!(closed(stated).unwrap(), "1.75");
        assert_eq!(closed(r#","pnl":null,"realisedGrossCost":"-3""#).unwrap(), "3");
        assert_eq!(closed(r#","pnl":"1""#), None);
    }
}
