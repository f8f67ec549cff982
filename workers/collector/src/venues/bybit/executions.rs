//! Executions: the fills of spot, and which orders of derivatives were forced.

use codash_domain::{Asset, Event, EventType, Fee, Side, Timestamp, Usd};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::markets::{self, Category, Contract, Markets};
use super::parse::{Sizes, add_fee, fill_id, funding_id, order_ref, primary, side};
use super::wire::{Maybe, id, said};
use crate::pricing::{Exchange, Prices, negated};
use crate::venues::wire::{Dec, Millis, Text, blank, parse_each};
use crate::venues::{Parsed, Record, Role};

pub const SPOT_FILLS: &str = "spot.fills";
pub const LINEAR_FORCED: &str = "linear.forced";
pub const INVERSE_FORCED: &str = "inverse.forced";

/// GET /v5/execution/list, and the pushed executions, which name their category themselves.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Execution {
    symbol: String,
    #[serde(default)]
    category: Option<String>,
    #[serde(default)]
    side: Option<String>,
    exec_id: Text,
    #[serde(default)]
    order_id: Option<Text>,
    exec_time: Millis,
    #[serde(default)]
    exec_type: Option<String>,
    #[serde(default)]
    create_type: Option<String>,
    #[serde(default)]
    exec_price: Maybe,
    #[serde(default)]
    exec_qty: Maybe,
    #[serde(default)]
    exec_value: Maybe,
    #[serde(default)]
    exec_fee: Maybe,
    /// The fee of a spread's spot leg.
    #[serde(default)]
    exec_fee_v2: Maybe,
    #[serde(default)]
    fee_rate: Maybe,
    #[serde(default)]
    fee_currency: Option<String>,
    #[serde(default)]
    is_maker: Option<Value>,
    #[serde(default)]
    extra_fees: Option<Value>,
}

/// What kind of event an execution is; `None` for funding.
fn event_type(exec_type: Option<&str>, create_type: Option<&str>) -> Option<EventType> {
    let created = match create_type.unwrap_or_default() {
        "CreateByLiq" | "CreateByTakeOver_PassThrough" => EventType::Liquidation,
        "CreateByAdl_PassThrough" => EventType::Adl,
        "CreateBySettle" | "CreateByAdminClosing" => EventType::SystemClose,
        _ => EventType::Trade,
    };
    Some(match exec_type.unwrap_or_default() {
        // A ladder of liquidations is made of plain trades: who created the order tells.
        "Trade" | "BlockTrade" | "MovePosition" | "FutureSpread" => created,
        "BustTrade" => EventType::Liquidation,
        "AdlTrade" => EventType::Adl,
        "Delivery" | "Settle" => EventType::SystemClose,
        "Funding" => return None,
        _ => EventType::Unknown,
    })
}

impl Execution {
    fn kind(&self) -> Option<EventType> {
        event_type(self.exec_type.as_deref(), self.create_type.as_deref())
    }

    fn at(&self) -> Timestamp {
        self.exec_time.0
    }

    fn sizes(&self) -> Sizes {
        Sizes { qty: self.exec_qty.0, price: self.exec_price.0, value: self.exec_value.0 }
    }

    /// Positive when paid. A trade without a fee is not taken for a free one.
    fn fee(&self) -> Result<Decimal, String> {
        let spread_leg = if self.exec_type.as_deref() == Some("FutureSpread") { self.exec_fee_v2.0 } else { None };
        match spread_leg.or(self.exec_fee.0) {
            Some(fee) => Ok(fee),
            None if self.exec_type.as_deref() == Some("Trade") => Err("no execFee".into()),
            None => Ok(Decimal::ZERO),
        }
    }

    /// A rebate is paid in the other asset of the market than a fee would be.
    fn is_rebate(&self, fee: Decimal) -> bool {
        let is_maker = matches!(&self.is_maker, Some(Value::Bool(true)))
            || matches!(&self.is_maker, Some(Value::String(text)) if text == "true");
        is_maker && (fee.is_sign_negative() && !fee.is_zero() || self.fee_rate.or_zero().is_sign_negative())
    }

    /// The asset of the fee: as stated, else the settlement money; of spot, what the fill brought.
    fn fee_asset<'a>(
        &'a self,
        fee: Decimal,
        side: Option<Side>,
        spot: Option<(&'a str, &'a str)>,
        contract: &'a Contract,
    ) -> Option<&'a str> {
        said(self.fee_currency.as_deref()).or_else(|| {
            let (base, quote) = match spot {
                Some(pair) => pair,
                None => return contract.money.as_deref(),
            };
            let pays_base = (side? == Side::Buy) != self.is_rebate(fee);
            Some(if pays_base { base } else { quote })
        })
    }
}

/// Executions as rows: those of spot, and recorded cases of the others.
pub fn executions(rows: &[Box<RawValue>], category: Option<&str>, markets: &Markets, prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: Execution, raw| {
        execution(&row, category, markets, raw, prices).map(|event| Some(primary(event)))
    })
}

/// The stream of a category's executions.
fn stream(category: Category) -> &'static str {
    match category {
        Category::Spot => SPOT_FILLS,
        Category::Inverse => INVERSE_FORCED,
        Category::Linear | Category::Options => LINEAR_FORCED,
    }
}

fn execution(
    row: &Execution,
    category: Option<&str>,
    markets: &Markets,
    raw: &str,
    prices: &dyn Prices,
) -> Result<Event, String> {
    let category = Category::of(said(row.category.as_deref()).or(category), &row.symbol)?;
    let Some(kind) = row.kind() else { return funding(row, category, raw, prices) };
    let mut exchange = Exchange::new(prices, row.at());
    let mut event = blank(stream(category), fill_id(category, &row.exec_id.0), kind, row.at(), raw);
    let contract = markets::contract(category, &row.symbol);
    let spot = if category == Category::Spot { markets.spot(&row.symbol) } else { (contract.symbol.clone(), None) };
    event.symbol = spot.0;
    event.native_symbol = Some(row.symbol.clone());
    event.side = side(row.side.as_deref());
    event.order_ref = order_ref(category, row.order_id.as_ref());
    let quote = spot.1.map(|(_, quote)| quote).or(contract.money.as_deref());
    row.sizes().put(&mut event, &mut exchange, quote, contract.is_inverse)?;
    if kind == EventType::Trade && (event.side.is_none() || event.qty.is_none() || event.price.is_none()) {
        return Err("a fill without side, size or price".into());
    }
    let fee = row.fee()?;
    let asset = row.fee_asset(fee, event.side, spot.1, &contract);
    event.fee_usd = exchange.stated(fee, asset.unwrap_or_default())?;
    event.fee = asset.map(|asset| Fee { amount: fee, asset: Asset::new(asset) });
    event.fee_usd = taxed(event.fee_usd, row, &mut exchange)?;
    event.unpriced = exchange.unpriced;
    Ok(event)
}

/// The fee and the taxes that some countries put on top of it.
fn taxed(fee: Option<Usd>, row: &Execution, exchange: &mut Exchange<'_>) -> Result<Option<Usd>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Tax {
        fee_coin: String,
        fee: Dec,
    }
    let unclear = |error: serde_json::Error| format!("extraFees: {error}");
    let taxes: Vec<Tax> = match &row.extra_fees {
        None | Some(Value::Null) => vec![],
        Some(Value::String(text)) if text.is_empty() => vec![],
        Some(Value::String(text)) => serde_json::from_str(text).map_err(unclear)?,
        Some(other) => serde_json::from_value(other.clone()).map_err(unclear)?,
    };
    taxes.iter().try_fold(fee, |total, tax| add_fee(total, tax.fee.0, &tax.fee_coin, exchange))
}

/// Funding among executions: the fee is what was paid, so what was received is its opposite.
fn funding(row: &Execution, category: Category, raw: &str, prices: &dyn Prices) -> Result<Event, String> {
    let mut exchange = Exchange::new(prices, row.at());
    let contract = markets::contract(category, &row.symbol);
    let native_id = funding_id(category, &row.symbol, row.at(), row.side.as_deref());
    let mut event = blank(stream(category), native_id, EventType::Funding, row.at(), raw);
    let money = said(row.fee_currency.as_deref()).or(contract.money.as_deref()).unwrap_or_default();
    let paid = row.exec_fee.0.ok_or("no execFee")?;
    event.funding_usd = exchange.stated(negated(paid), money)?;
    event.side = side(row.side.as_deref());
    row.sizes().put(&mut event, &mut exchange, contract.money.as_deref(), contract.is_inverse)?;
    event.symbol = contract.symbol;
    event.native_symbol = Some(row.symbol.clone());
    event.unpriced = exchange.unpriced;
    Ok(event)
}

/// Which orders were forced. Their money is in the transaction log, as is that of all other executions.
pub fn forced(rows: &[Box<RawValue>], category: Category) -> Parsed {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Row {
        symbol: String,
        exec_id: Text,
        #[serde(default)]
        order_id: Option<Text>,
        exec_time: Millis,
        #[serde(default)]
        exec_type: Option<String>,
        #[serde(default)]
        create_type: Option<String>,
    }
    parse_each(rows, |row: Row, raw| {
        let kind = event_type(row.exec_type.as_deref(), row.create_type.as_deref());
        let Some(kind) = kind.filter(|kind| kind.is_forced_close()) else { return Ok(None) };
        if id(row.order_id.as_ref()).is_none() {
            return Ok(None);
        }
        let mut event = blank(stream(category), fill_id(category, &row.exec_id.0), kind, row.exec_time.0, raw);
        event.order_ref = order_ref(category, row.order_id.as_ref());
        event.symbol = markets::contract(category, &row.symbol).symbol;
        event.native_symbol = Some(row.symbol);
        Ok(Some(Record { event, role: Role::Classifier }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;
    use crate::venues::wire::rows;

    fn spot(row: &str) -> Event {
        let prices = PriceBook::fixed([("ETH".to_owned(), Decimal::from(2000))]);
        let mut parsed = executions(&rows("x", row).unwrap(), Some("spot"), &Markets::default(), &prices);
        assert_eq!(parsed.unreadable, []);
        parsed.records.remove(0).event
    }

    /// A spot fill of half an ETH whose fee asset is not named.
    fn unnamed(side: &str, fee: &str, is_maker: bool) -> Event {
        spot(&format!(
            r#"[{{"symbol":"ETHUSDT","side":"{side}","execId":"1","execTime":"1767225700000","execType":"Trade",
                 "execPrice":"2000","execQty":"0.5","execValue":"1000","execFee":"{fee}","feeCurrency":"","isMaker":{is_maker}}}]"#
        ))
    }

    #[test]
    fn an_unnamed_fee_is_in_what_the_fill_brought_and_a_rebate_in_the_other() {
        let fee = |event: Event| (event.fee.unwrap().asset.to_string(), event.fee_usd.unwrap().to_string());
        assert_eq!(fee(unnamed("Buy", "0.001", false)), ("ETH".into(), "2".into()));
        assert_eq!(fee(unnamed("Sell", "0.5", false)), ("USDT".into(), "0.5".into()));
        assert_eq!(fee(unnamed("Buy", "-0.1", true)), ("USDT".into(), "-0.1".into()));
        assert_eq!(fee(unnamed("Sell", "-0.001", true)), ("ETH".into(), "-2".into()));
    }

    #[test]
    fn taxes_are_part_of_the_fee() {
        for taxes in [
            r#"[{"feeCoin":"USDT","feeType":"GST","fee":"0.25"}]"#,
            r#""[{\"feeCoin\":\"USDT\",\"feeType\":\"GST\",\"fee\":\"0.25\"}]""#,
        ] {
            let event = spot(&format!(
                r#"[{{"symbol":"ETHUSDT","side":"Sell","execId":1,"execTime":1767225700000,"execType":"Trade",
                     "execPrice":2000,"execQty":0.5,"execFee":"1","feeCurrency":"USDT","extraFees":{taxes}}}]"#
            ));
            assert_eq!(event.fee_usd.unwrap().to_string(), "1.25");
            assert_eq!(event.notional_usd.unwrap().to_string(), "1000");
        }
    }

    #[test]
    fn forced_orders_are_told_and_nothing_else_is() {
        let rows = rows(
            "x",
            r#"[{"symbol":"SOLUSDT","execId":"a","orderId":"o","execTime":"1767225700000","execType":"Trade","createType":"CreateByLiq"},
                {"symbol":"SOLUSDT","execId":"b","orderId":"p","execTime":"1767225700000","execType":"Trade","createType":"CreateByUser"},
                {"symbol":"SOLUSDT","execId":"c","orderId":"q","execTime":"1767225700000","execType":"Funding"},
                {"symbol":"SOLUSDT","execId":"d","orderId":"r","execTime":"1767225700000","execType":"AdlTrade","createType":null}]"#,
        )
        .unwrap();
        let parsed = forced(&rows, Category::Linear);
        let told: Vec<(String, EventType)> =
            parsed.records.into_iter().map(|r| (r.event.order_ref.unwrap(), r.event.event_type)).collect();
        assert_eq!(
            told,
            [("bybit:linear:o".to_owned(), EventType::Liquidation), ("bybit:linear:r".to_owned(), EventType::Adl)]
        );
        assert_eq!(parsed.unreadable, []);
    }
}
