//! Records that say again what the transaction log says: read in recorded cases, to compare. They
//! carry no money of ours.

use codash_domain::{Asset, Event, EventType, Fee};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::markets::{self, Category};
use super::parse::{Sizes, session_id, side};
use super::wire::Maybe;
use crate::pricing::{Exchange, Prices, negated, product, sum};
use crate::venues::wire::{Dec, Millis, Text, blank, parse_each};
use crate::venues::{Parsed, Record, Role};

/// What such a row is for.
pub const ROLE: &str = "reconcile (PnL of the same closes is already in the transaction log rows)";

const STREAM: &str = "reconcile";

/// Nothing is stored of it: a classifier of no order.
fn compared(event: Event) -> Option<Record> {
    Some(Record { event, role: Role::Classifier })
}

/// GET /v5/position/closed-pnl.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Closed {
    symbol: String,
    order_id: Text,
    /// Of the close: `Sell` closes a long position.
    side: String,
    closed_size: Dec,
    closed_pnl: Dec,
    #[serde(default)]
    open_fee: Maybe,
    #[serde(default)]
    close_fee: Maybe,
    #[serde(default)]
    avg_exit_price: Maybe,
    #[serde(default)]
    cum_entry_value: Maybe,
    #[serde(default)]
    cum_exit_value: Maybe,
    updated_time: Millis,
}

impl Closed {
    /// `closedPnl` is net of both fees: gross is with the fees where they are stated, else the
    /// difference of the two values. Values of inverse contracts are in the coin, and run backwards.
    fn gross(&self, is_inverse: bool) -> Result<Decimal, String> {
        if let (Some(open), Some(close)) = (self.open_fee.0, self.close_fee.0) {
            return sum([self.closed_pnl.0, open, close]);
        }
        let (Some(entry), Some(exit)) = (self.cum_entry_value.0, self.cum_exit_value.0) else {
            return Err("neither the fees nor the values of the close".into());
        };
        let rise = exit.checked_sub(entry).ok_or("the values do not fit")?;
        let closes_long = match self.side.as_str() {
            "Sell" => true,
            "Buy" => false,
            other => return Err(format!("unknown side {other:?}")),
        };
        Ok(if closes_long == is_inverse { negated(rise) } else { rise })
    }
}

/// Closed positions, gross of fees.
pub fn closed_pnl(rows: &[Box<RawValue>], category: Option<&str>, prices: &dyn Prices) -> Parsed {
    parse_each(rows, |row: Closed, raw| {
        // These records are of derivatives alone, and their USDT contracts are linear.
        let category = match category {
            None if row.symbol.ends_with("USDT") => Category::Linear,
            stated => Category::of(stated, &row.symbol)?,
        };
        let contract = markets::contract(category, &row.symbol);
        let at = row.updated_time.0;
        let mut exchange = Exchange::new(prices, at);
        let native_id = format!("bybit:{}:closedpnl:{}:{}", category.as_str(), row.order_id, at.millis());
        let mut event = blank(STREAM, native_id, EventType::ClosedPnl, at, raw);
        let money = contract.money.as_deref();
        event.side = side(Some(&row.side));
        event.realized_pnl_usd = exchange.stated(row.gross(contract.is_inverse)?, money.unwrap_or_default())?;
        let sizes = Sizes { qty: Some(row.closed_size.0), price: row.avg_exit_price.0, value: row.cum_exit_value.0 };
        sizes.put(&mut event, &mut exchange, money, contract.is_inverse)?;
        event.symbol = contract.symbol;
        event.native_symbol = Some(row.symbol);
        event.unpriced = exchange.unpriced;
        Ok(compared(event))
    })
}

/// GET /v5/asset/settlement-record: PnL of the eight-hour sessions of USDC contracts.
pub fn sessions(rows: &[Box<RawValue>], category: Option<&str>, prices: &dyn Prices) -> Parsed {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Session {
        symbol: String,
        #[serde(default)]
        side: Option<String>,
        size: Dec,
        #[serde(default)]
        mark_price: Maybe,
        realised_pnl: Dec,
        created_time: Millis,
    }
    parse_each(rows, |row: Session, raw| {
        let category = Category::of(category, &row.symbol)?;
        let contract = markets::contract(category, &row.symbol);
        let at = row.created_time.0;
        let mut exchange = Exchange::new(prices, at);
        let native_id = session_id(category, &row.symbol, at, row.side.as_deref());
        let mut event = blank(STREAM, native_id, EventType::ClosedPnl, at, raw);
        let money = contract.money.as_deref();
        event.side = side(row.side.as_deref());
        event.realized_pnl_usd = exchange.stated(row.realised_pnl.0, money.unwrap_or_default())?;
        let sizes = Sizes { qty: Some(row.size.0), price: row.mark_price.0, value: None };
        sizes.put(&mut event, &mut exchange, money, contract.is_inverse)?;
        event.symbol = contract.symbol;
        event.native_symbol = Some(row.symbol);
        event.unpriced = exchange.unpriced;
        Ok(compared(event))
    })
}

/// GET /v5/asset/delivery-record: options and dated futures that ended.
pub fn deliveries(rows: &[Box<RawValue>], category: Option<&str>, prices: &dyn Prices) -> Parsed {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Delivery {
        symbol: String,
        #[serde(default)]
        side: Option<String>,
        position: Dec,
        #[serde(default)]
        delivery_price: Maybe,
        delivery_rpl: Dec,
        #[serde(default)]
        fee: Maybe,
        delivery_time: Millis,
    }
    parse_each(rows, |row: Delivery, raw| {
        let category = Category::of(category, &row.symbol)?;
        let contract = markets::contract(category, &row.symbol);
        let at = row.delivery_time.0;
        let mut exchange = Exchange::new(prices, at);
        let side_text = row.side.as_deref().unwrap_or_default();
        let native_id = format!("bybit:{}:delivery:{}:{}:{side_text}", category.as_str(), row.symbol, at.millis());
        let mut event = blank(STREAM, native_id, EventType::SystemClose, at, raw);
        let money = contract.money.as_deref().unwrap_or_default();
        event.side = side(row.side.as_deref());
        event.realized_pnl_usd = exchange.stated(row.delivery_rpl.0, money)?;
        event.fee_usd = exchange.stated(row.fee.or_zero(), money)?;
        event.fee = Some(Fee { amount: row.fee.or_zero(), asset: Asset::new(money) });
        let value = match row.delivery_price.0 {
            Some(price) if !contract.is_inverse => Some(product(price, row.position.0)?),
            _ => None,
        };
        let sizes = Sizes { qty: Some(row.position.0), price: row.delivery_price.0, value };
        sizes.put(&mut event, &mut exchange, contract.money.as_deref(), contract.is_inverse)?;
        event.symbol = contract.symbol;
        event.native_symbol = Some(row.symbol);
        event.unpriced = exchange.unpriced;
        Ok(compared(event))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;
    use crate::venues::wire::rows;

    #[test]
    fn gross_is_net_with_the_fees_or_the_difference_of_the_values() {
        let gross = |extra: &str, category: &str, symbol: &str, side: &str| {
            let row = format!(
                r#"[{{"symbol":"{symbol}","orderId":"o","side":"{side}","closedSize":"3","closedPnl":"-47","avgExitPrice":"1000",
                     "cumEntryValue":"3000","cumExitValue":"2990","updatedTime":"1672214887236"{extra}}}]"#
            );
            let prices = PriceBook::fixed([("ETH".to_owned(), Decimal::ONE)]);
            let mut parsed = closed_pnl(&rows("x", &row).unwrap(), Some(category), &prices);
            parsed.records.remove(0).event.realized_pnl_usd.unwrap().to_string()
        };
        assert_eq!(gross(r#","openFee":"1.5","closeFee":"0.5""#, "linear", "ETHUSDT", "Sell"), "-45");
        assert_eq!(gross("", "linear", "ETHUSDT", "Sell"), "-10");
        assert_eq!(gross("", "linear", "ETHUSDT", "Buy"), "10");
        assert_eq!(gross("", "inverse", "ETHUSD", "Sell"), "10");
    }
}
