//! OKX fills and orders into events: pure, by the table of section 4 of the venue notes. The fill
//! carries the money of a trade. Dollar amounts are rounded to ten places.

use codash_domain::{Asset, Event, EventType, Fee, Price, Qty, Side, Usd};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::markets::{self, Contracts, MARGIN_FILLS, Name};
use crate::pricing::{Exchange, Prices, negated, product};
use crate::venues::wire::{Dec, Millis, Text, blank, filled, parse_each};
use crate::venues::{Parsed, Record, Role};

/// Recorded cases only: fills state their own kind.
const ORDERS: &str = "orders";

/// What a sub-type of a fill or of a trade's bill says; without one it is a trade.
pub(super) fn kind_of(sub_type: Option<&Text>) -> EventType {
    let Some(sub_type) = sub_type else { return EventType::Trade };
    match sub_type.0.parse::<u32>() {
        Ok(1..=6 | 204..=209) => EventType::Trade,
        Ok(100..=107 | 110 | 111) => EventType::Liquidation,
        Ok(125..=128) => EventType::Adl,
        Ok(112 | 113 | 170..=172) => EventType::SystemClose,
        _ => EventType::Unknown,
    }
}

/// An empty field says that there is nothing.
pub(super) fn or_zero(amount: Option<Dec>) -> Decimal {
    amount.map_or(Decimal::ZERO, |amount| amount.0)
}

fn side(text: Option<&str>) -> Result<Option<Side>, String> {
    match text {
        None => Ok(None),
        Some(text) => Side::parse(text).map(Some).ok_or_else(|| format!("unknown side {text:?}")),
    }
}

/// The order that fills and forced orders share.
pub(super) fn order_ref(inst_id: &str, order: Option<&Text>) -> Option<String> {
    order.map(|order| format!("okx:{inst_id}:{order}"))
}

/// What a size is in units of the base, and what it is worth.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sized {
    qty: Option<Decimal>,
    /// An amount and its asset.
    pub(super) notional: Option<(Decimal, String)>,
}

/// Spot sizes are in the base; others are contracts, whose value the list of instruments tells.
pub(super) fn sized(
    inst_id: &str,
    size: Decimal,
    price: Decimal,
    quote: &str,
    contracts: &Contracts,
) -> Result<Sized, String> {
    let size = size.abs();
    let is_spot = Name::of(inst_id).is_some_and(|name| name.is_spot());
    let (value, is_inverse) = match contracts.get(inst_id) {
        _ if is_spot => (Decimal::ONE, false),
        Some(contract) => (contract.value, contract.is_inverse),
        None => return Ok(Sized::default()),
    };
    let amount = product(size, value)?;
    if is_inverse {
        let qty = amount.checked_div(price).map(|qty| Usd::derived(qty).0);
        return Ok(Sized { qty, notional: Some((amount, "USD".into())) });
    }
    Ok(Sized { qty: Some(amount), notional: Some((product(amount, price)?.abs(), quote.into())) })
}

/// Puts size and worth on an event. A contract of unknown value leaves the worth unknown.
pub(super) fn put_size(event: &mut Event, exchange: &mut Exchange<'_>, sized: Sized) -> Result<(), String> {
    event.qty = sized.qty.map(Qty::new);
    match sized.notional {
        Some((amount, asset)) => event.notional_usd = exchange.derived(amount, &asset)?,
        None => exchange.unpriced = true,
    }
    Ok(())
}

/// GET /api/v5/trade/fills and /fills-history.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fill {
    #[serde(default, deserialize_with = "filled")]
    inst_type: Option<String>,
    inst_id: String,
    #[serde(default, deserialize_with = "filled")]
    bill_id: Option<Text>,
    #[serde(default, deserialize_with = "filled")]
    trade_id: Option<Text>,
    #[serde(default, deserialize_with = "filled")]
    ord_id: Option<Text>,
    #[serde(default, deserialize_with = "filled")]
    sub_type: Option<Text>,
    #[serde(default, deserialize_with = "filled")]
    side: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    fill_px: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    fill_sz: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    fill_pnl: Option<Dec>,
    /// Negative when charged, positive when given back.
    #[serde(default, deserialize_with = "filled")]
    fee: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    fee_ccy: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    trade_quote_ccy: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    fill_time: Option<Millis>,
    #[serde(default, deserialize_with = "filled")]
    ts: Option<Millis>,
}

impl Fill {
    fn native_id(&self) -> Result<String, String> {
        match (&self.bill_id, &self.trade_id) {
            (Some(bill), _) => Ok(bill_key(bill)),
            (None, Some(trade)) => Ok(format!("okx:fill:{}:{trade}", self.inst_id)),
            (None, None) => Err("neither billId nor tradeId".into()),
        }
    }

    /// What PnL is in. OKX does not say it of margin trades; it is not guessed.
    fn money<'a>(&'a self, stream: &str, contracts: &'a Contracts) -> &'a str {
        if stream == MARGIN_FILLS {
            return "";
        }
        let listed = contracts.get(&self.inst_id).and_then(|contract| contract.settle.as_deref());
        let named = || Name::of(&self.inst_id).and_then(|name| name.settle());
        listed.or_else(named).or(self.fee_ccy.as_deref()).unwrap_or_default()
    }
}

pub(super) fn bill_key(bill_id: &Text) -> String {
    format!("okx:bill:{bill_id}")
}

/// Fills. They carry PnL and fee.
pub fn fills(rows: &[Box<RawValue>], contracts: &Contracts, prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: Fill, raw| {
        let event = fill(&row, raw, contracts, prices)?;
        Ok(Some(Record { event, role: Role::Primary }))
    })
}

fn fill(row: &Fill, raw: &str, contracts: &Contracts, prices: &dyn Prices) -> Result<Event, String> {
    let at = row.fill_time.or(row.ts).ok_or("neither fillTime nor ts")?.0;
    let stream = markets::fills_stream(row.inst_type.as_deref(), &row.inst_id).ok_or("an unknown instType")?;
    let mut exchange = Exchange::new(prices, at);
    let mut event = blank(stream, row.native_id()?, kind_of(row.sub_type.as_ref()), at, raw);
    let money = row.money(stream, contracts);
    let named = Name::of(&row.inst_id).map(|name| name.quote());
    let quote = row.trade_quote_ccy.as_deref().or(named).unwrap_or_default();
    event.symbol = markets::symbol(&row.inst_id);
    event.side = side(row.side.as_deref())?;
    event.price = row.fill_px.map(|price| Price::new(price.0));
    if let (Some(size), Some(price)) = (row.fill_sz, row.fill_px) {
        let sized = sized(&row.inst_id, size.0, price.0, quote, contracts)?;
        put_size(&mut event, &mut exchange, sized)?;
    }
    event.realized_pnl_usd = exchange.derived(or_zero(row.fill_pnl), money)?;
    let (fee, asset) = (negated(or_zero(row.fee)), row.fee_ccy.as_deref().unwrap_or(money));
    event.fee_usd = exchange.derived(fee, asset)?;
    event.fee = Some(Fee { amount: fee, asset: Asset::new(asset) });
    event.order_ref = order_ref(&row.inst_id, row.ord_id.as_ref());
    event.native_symbol = Some(row.inst_id.clone());
    event.unpriced = exchange.unpriced;
    Ok(event)
}

/// GET /api/v5/trade/orders-history and what the `orders` channel pushes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    inst_id: String,
    ord_id: Text,
    #[serde(default, deserialize_with = "filled")]
    category: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    side: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    avg_px: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    acc_fill_sz: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    fill_time: Option<Millis>,
    #[serde(default, deserialize_with = "filled")]
    u_time: Option<Millis>,
}

/// Orders that OKX placed for the account say what their fills are. Their money is on the fills, and
/// so is that of all other orders.
pub fn orders(rows: &[Box<RawValue>], contracts: &Contracts, prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: Order, raw| {
        let kind = match row.category.as_deref() {
            Some("full_liquidation" | "partial_liquidation") => EventType::Liquidation,
            Some("adl") => EventType::Adl,
            Some("delivery") => EventType::SystemClose,
            _ => return Ok(None),
        };
        let event = forced_order(&row, kind, raw, contracts, prices)?;
        Ok(Some(Record { event, role: Role::Classifier }))
    })
}

fn forced_order(
    row: &Order,
    kind: EventType,
    raw: &str,
    contracts: &Contracts,
    prices: &dyn Prices,
) -> Result<Event, String> {
    let at = row.fill_time.or(row.u_time).ok_or("neither fillTime nor uTime")?.0;
    let mut exchange = Exchange::new(prices, at);
    let mut event = blank(ORDERS, format!("okx:order:{}:{}", row.inst_id, row.ord_id), kind, at, raw);
    event.symbol = markets::symbol(&row.inst_id);
    event.side = side(row.side.as_deref())?;
    event.price = row.avg_px.map(|price| Price::new(price.0));
    if let (Some(size), Some(price)) = (row.acc_fill_sz, row.avg_px) {
        let quote = Name::of(&row.inst_id).map(|name| name.quote()).unwrap_or_default();
        let sized = sized(&row.inst_id, size.0, price.0, quote, contracts)?;
        put_size(&mut event, &mut exchange, sized)?;
    }
    event.order_ref = order_ref(&row.inst_id, Some(&row.ord_id));
    event.native_symbol = Some(row.inst_id.clone());
    event.unpriced = exchange.unpriced;
    Ok(event)
}

/// The instrument that a record names.
pub fn instrument_of(row: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        #[serde(default, deserialize_with = "filled")]
        inst_id: Option<String>,
    }
    serde_json::from_str::<Named>(row.get()).ok()?.inst_id
}

/// The instruments that a page of records names.
pub fn instruments_of(rows: &[Box<RawValue>]) -> Vec<String> {
    rows.iter().filter_map(|row| instrument_of(row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;
    use crate::venues::okx::markets::Contract;

    fn rows(list: &str) -> Vec<Box<RawValue>> {
        serde_json::from_str(list).unwrap()
    }

    fn contracts() -> Contracts {
        let mut contracts = Contracts::default();
        let contract = |value, is_inverse| Contract { value, is_inverse, settle: None };
        contracts.add("BTC-USDT-SWAP", contract(Decimal::new(1, 2), false));
        contracts.add("BTC-USD-261225-100000-C", contract(Decimal::new(1, 2), false));
        contracts
    }

    fn one_fill(fields: &str) -> Event {
        let row = format!(r#"[{{"billId":1,"fillTime":"1767225600000",{fields}}}]"#);
        let book = PriceBook::fixed([("BTC".to_owned(), Decimal::new(100_000, 0))]);
        let mut parsed = fills(&rows(&row), &contracts(), &book);
        assert_eq!(parsed.unreadable, []);
        parsed.records.remove(0).event
    }

    #[test]
    fn a_fill_without_what_does_not_apply_is_a_trade_of_its_own_market() {
        let fill =
            one_fill(r#""instId":"BTC-USDT-SWAP","side":"sell","fillPx":"100","fillSz":3,"fillPnl":"","fee":null"#);
        assert_eq!((fill.stream, fill.event_type), ("swap.fills", EventType::Trade));
        assert_eq!((fill.qty, fill.notional_usd.unwrap().to_string()), (Some("0.03".parse().unwrap()), "3".into()));
        assert_eq!((fill.net_pnl_impact_usd(), fill.unpriced), (Some(Usd::ZERO), false));
    }

    #[test]
    fn an_option_is_quoted_charged_and_settled_in_the_coin() {
        let fill = one_fill(
            r#""instType":"OPTION","instId":"BTC-USD-261225-100000-C","side":"buy","fillPx":"0.05","fillSz":"10","fillPnl":"0.001","fee":"-0.0002","feeCcy":"BTC","subType":"170""#,
        );
        assert_eq!((fill.stream, fill.event_type), ("option.fills", EventType::SystemClose));
        assert_eq!(
            (fill.qty.unwrap().to_string(), fill.notional_usd.unwrap().to_string()),
            ("0.1".into(), "500".into())
        );
        assert_eq!(fill.net_pnl_impact_usd().unwrap().to_string(), "80");
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let swap = one_fill(
            r#""instId":"NEW-USDT-SWAP","side":"buy","fillPx":"2","fillSz":"1","fillPnl":"5","fee":"-1","feeCcy":"USDT","subType":"999""#,
        );
        assert_eq!((swap.qty, swap.notional_usd, swap.unpriced), (None, None, true));
        assert_eq!((swap.event_type, swap.net_pnl_impact_usd().unwrap().to_string()), (EventType::Unknown, "4".into()));
        let margin = one_fill(
            r#""instType":"MARGIN","instId":"BTC-USDT","side":"buy","fillPx":"2","fillSz":"1","fillPnl":"5","fee":"-1","feeCcy":"USDT""#,
        );
        assert_eq!((margin.stream, margin.realized_pnl_usd, margin.unpriced), (MARGIN_FILLS, None, true));
        let bad = fills(
            &rows(r#"[{"billId":"1","instId":"BTC-USDT","side":"hold","ts":"1","fillPx":"1","fillSz":"1"}]"#),
            &contracts(),
            &PriceBook::default(),
        );
        assert_eq!((bad.records.len(), bad.unreadable.len()), (0, 1));
    }
}
