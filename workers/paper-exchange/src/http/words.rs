//! How Binance writes numbers and names.

use chrono::{DateTime, SecondsFormat};
use rust_decimal::Decimal;
use serde_json::Value;

use crate::model::{Leg, Millis, OrderKind, OrderStatus, Side, TimeInForce};

/// With exactly so many decimals.
pub fn fixed(value: Decimal, decimals: u32) -> String {
    let mut value = value;
    value.rescale(decimals);
    // "-0.00000000" is no number that an exchange writes.
    if value.is_zero() {
        value.set_sign_positive(true);
    }
    value.to_string()
}

/// An amount: eight decimals.
pub fn amount(value: Decimal) -> String {
    fixed(value, 8)
}

/// On a tick or a step: with as many decimals as it has.
pub fn on(value: Decimal, grid: Decimal) -> String {
    let decimals = grid.normalize().scale();
    // More decimals than the grid has (the entry of a position) are never cut off.
    fixed(value, decimals.max(value.normalize().scale()))
}

/// Without zeros at the end.
pub fn plain(value: Decimal) -> String {
    value.normalize().to_string()
}

/// An exact JSON number.
pub fn number(value: Decimal) -> Value {
    serde_json::from_str(&plain(value)).unwrap_or(Value::Null)
}

/// Thousandths as a decimal.
pub fn permille(value: u64) -> Decimal {
    Decimal::from_i128_with_scale(i128::from(value), 3)
}

/// RFC 3339, UTC, milliseconds.
pub fn instant(at: Millis) -> String {
    DateTime::from_timestamp_millis(at).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// `2026-01-31 23:59:59`, UTC.
pub fn wall(at: Millis) -> String {
    DateTime::from_timestamp_millis(at).unwrap_or_default().format("%Y-%m-%d %H:%M:%S").to_string()
}

/// Unix milliseconds or RFC 3339. The plus of an offset, which a query turns into a space, is understood.
pub fn parse_instant(text: &str) -> Option<Millis> {
    match text.parse() {
        Ok(millis) => Some(millis),
        Err(_) => DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok().map(|at| at.timestamp_millis()),
    }
}

pub fn side(side: Side) -> &'static str {
    match side {
        Side::Buy => "BUY",
        Side::Sell => "SELL",
    }
}

pub fn leg(leg: Leg) -> &'static str {
    match leg {
        Leg::Both => "BOTH",
        Leg::Long => "LONG",
        Leg::Short => "SHORT",
    }
}

pub fn status(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::New => "NEW",
        OrderStatus::PartiallyFilled => "PARTIALLY_FILLED",
        OrderStatus::Filled => "FILLED",
        OrderStatus::Canceled => "CANCELED",
        OrderStatus::Expired => "EXPIRED",
    }
}

pub fn is_open(status: OrderStatus) -> bool {
    matches!(status, OrderStatus::New | OrderStatus::PartiallyFilled)
}

pub fn time_in_force(tif: TimeInForce) -> &'static str {
    match tif {
        TimeInForce::GoodTillCancel => "GTC",
        TimeInForce::ImmediateOrCancel => "IOC",
        TimeInForce::FillOrKill => "FOK",
        TimeInForce::GoodTillCrossing => "GTX",
    }
}

/// Order types of USD-M.
pub fn usdm_kind(kind: OrderKind) -> &'static str {
    match kind {
        OrderKind::Market => "MARKET",
        OrderKind::Limit => "LIMIT",
        OrderKind::StopMarket => "STOP_MARKET",
        OrderKind::StopLimit => "STOP",
        OrderKind::TakeProfitMarket => "TAKE_PROFIT_MARKET",
        OrderKind::TakeProfitLimit => "TAKE_PROFIT",
    }
}

/// Order types of the spot market, where post-only is a type.
pub fn spot_kind(kind: OrderKind, tif: TimeInForce) -> &'static str {
    match (kind, tif) {
        (OrderKind::Limit, TimeInForce::GoodTillCrossing) => "LIMIT_MAKER",
        (OrderKind::Limit, _) => "LIMIT",
        (OrderKind::Market, _) => "MARKET",
        (OrderKind::StopMarket, _) => "STOP_LOSS",
        (OrderKind::StopLimit, _) => "STOP_LOSS_LIMIT",
        (OrderKind::TakeProfitMarket, _) => "TAKE_PROFIT",
        (OrderKind::TakeProfitLimit, _) => "TAKE_PROFIT_LIMIT",
    }
}

/// Whether an order waits for a trigger.
pub fn is_conditional(kind: OrderKind) -> bool {
    !matches!(kind, OrderKind::Market | OrderKind::Limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        let d = |text: &str| text.parse::<Decimal>().unwrap();
        assert_eq!(amount(d("-0.1")), "-0.10000000");
        assert_eq!(amount(d("-0")), "0.00000000");
        assert_eq!(on(d("36567.1"), d("0.10")), "36567.1");
        assert_eq!(on(d("100.123456"), d("0.1")), "100.123456");
        assert_eq!(number(d("1.500")).to_string(), "1.5");
    }

    #[test]
    fn instants_are_milliseconds_or_rfc_3339() {
        assert_eq!(parse_instant("1767225600123"), Some(1_767_225_600_123));
        assert_eq!(parse_instant("2026-01-01T00:00:00.123Z"), Some(1_767_225_600_123));
        assert_eq!(parse_instant("2026-01-01T02:00:00 02:00"), Some(1_767_225_600_000));
        assert_eq!(parse_instant("yesterday"), None);
        assert_eq!(instant(1_767_225_600_123), "2026-01-01T00:00:00.123Z");
    }
}
