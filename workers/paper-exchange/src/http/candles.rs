//! Candles, and the ticker of a day, of either market.

use serde_json::{Value, json};

use super::call::Call;
use super::refused::Refused;
use super::window::{DAY, HOUR};
use super::words::{amount, fixed, on};
use crate::model::{Candle, Millis};
use rust_decimal::Decimal;

const MINUTE: Millis = 60_000;
/// 1970 began on a Thursday; weeks begin on Mondays.
const WEEK_OFFSET: Millis = 4 * DAY;

/// The length of an interval, and where its grid starts.
fn interval(name: &str) -> Option<(Millis, Millis)> {
    let (count, unit) = name.split_at_checked(name.len().checked_sub(1)?)?;
    let unit_length = match unit {
        "m" => MINUTE,
        "h" => HOUR,
        "d" => DAY,
        "w" => 7 * DAY,
        _ => return None,
    };
    let allowed = ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w"];
    let length = count.parse::<Millis>().ok().filter(|_| allowed.contains(&name))? * unit_length;
    Some((length, if unit == "w" { WEEK_OFFSET } else { 0 }))
}

/// Candles of a request, made by `candle(open time, length)`; `origin` is when prices begin.
pub fn klines(
    call: &Call,
    now: Millis,
    origin: Millis,
    (default, most): (usize, usize),
    candle: impl Fn(Millis, Millis) -> Option<Candle>,
    tick: Decimal,
    with_volume: bool,
) -> Result<Value, Refused> {
    let name = call.need("interval")?;
    let (length, offset) = interval(name).ok_or_else(|| Refused::new(-1120, "Invalid interval."))?;
    let limit = call.limit(default, most)?;
    let (from, to) = call.window()?;
    let count = Millis::try_from(limit).unwrap_or(Millis::MAX);
    let open_of = |at: Millis| (at - offset).div_euclid(length) * length + offset;
    let first_at_or_after = |at: Millis| if open_of(at) < at { open_of(at) + length } else { open_of(at) };
    let last = open_of(to.unwrap_or(now).clamp(0, now));
    let first = match from {
        Some(from) => first_at_or_after(from.clamp(0, now.saturating_add(length))),
        None => last - (count - 1) * length,
    };
    // A candle that begins before prices do is not made.
    let first = first.max(first_at_or_after(origin));
    let opens = (0..count).map(|n| first + n * length).take_while(|open| *open <= last);
    let rows = opens.filter_map(|open| candle(open, length));
    Ok(rows.map(|of| row(&of, length, tick, with_volume)).collect())
}

fn row(candle: &Candle, length: Millis, tick: Decimal, with_volume: bool) -> Value {
    let volume = if with_volume { candle.volume } else { Decimal::ZERO };
    let middle = (candle.high + candle.low) / Decimal::TWO;
    let price = |value| on(value, tick);
    json!([
        candle.open_time,
        price(candle.open),
        price(candle.high),
        price(candle.low),
        price(candle.close),
        amount(volume),
        candle.open_time + length - 1,
        amount(volume * middle),
        candle.trades,
        amount(volume / Decimal::TWO),
        amount(volume * middle / Decimal::TWO),
        "0"
    ])
}

/// What a ticker of the last day says. The names are the same in both markets.
pub fn day_ticker(symbol: &str, candle: &Candle, last: Decimal, tick: Decimal, now: Millis) -> Value {
    let change = last - candle.open;
    let percent = if candle.open.is_zero() { Decimal::ZERO } else { change * Decimal::ONE_HUNDRED / candle.open };
    let middle = (candle.high + candle.low) / Decimal::TWO;
    json!({
        "symbol": symbol,
        "priceChange": on(change, tick),
        "priceChangePercent": fixed(percent, 3),
        "weightedAvgPrice": amount(middle),
        "lastPrice": on(last, tick),
        "lastQty": "1",
        "openPrice": on(candle.open, tick),
        "highPrice": on(candle.high.max(last), tick),
        "lowPrice": on(candle.low.min(last), tick),
        "volume": amount(candle.volume),
        "quoteVolume": amount(candle.volume * middle),
        "openTime": candle.open_time,
        "closeTime": now,
        "firstId": 1,
        "lastId": candle.trades,
        "count": candle.trades,
    })
}

/// The best levels of a made-up book around the last price: price and size, the best first.
pub fn book(last: Decimal, tick: Decimal, step: Decimal, levels: usize) -> (Vec<Value>, Vec<Value>) {
    let size = |n: u64| {
        // Any size will do; it depends on nothing but price and level.
        let spread = u64::try_from(last.mantissa().unsigned_abs() % 97).unwrap_or(0);
        step * Decimal::from(100 + (n * 7919 + spread * 31) % 900)
    };
    let level = |n: u64, price: Decimal| json!([on(price, tick), on(size(n), step)]);
    let counted = || (0..u64::try_from(levels).unwrap_or(0)).map(|n| (n, tick * Decimal::from(n)));
    let bids = counted().map(|(n, away)| (n, last - tick - away)).filter(|(_, price)| *price > Decimal::ZERO);
    let asks = counted().map(|(n, away)| (n, last + tick + away));
    (bids.map(|(n, price)| level(n, price)).collect(), asks.map(|(n, price)| level(n, price)).collect())
}

/// The best bid and ask, as `bookTicker` says them.
pub fn book_ticker(symbol: &str, last: Decimal, tick: Decimal, step: Decimal) -> Value {
    let (bids, asks) = book(last, tick, step, 1);
    let part = |side: &[Value], at: usize| side.first().map_or(Value::Null, |level| level[at].clone());
    json!({
        "symbol": symbol,
        "bidPrice": part(&bids, 0),
        "bidQty": part(&bids, 1),
        "askPrice": part(&asks, 0),
        "askQty": part(&asks, 1),
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn opens(query: &str, now: Millis) -> Vec<Millis> {
        let ip = IpAddr::from([127, 0, 0, 1]);
        let call = Call::new("GET".into(), "/x".into(), query.into(), String::new(), None, ip);
        let candle = |open_time, _| {
            let one = Decimal::ONE;
            Some(Candle { open_time, open: one, high: one, low: one, close: one, volume: one, trades: 1 })
        };
        let rows = klines(&call, now, 0, (500, 1000), candle, Decimal::ONE, true).unwrap();
        rows.as_array().unwrap().iter().filter_map(|row| row[0].as_i64()).collect()
    }

    #[test]
    fn candles_open_on_their_grid_between_start_and_end() {
        let now = 10 * MINUTE + 5;
        assert_eq!(opens("interval=1m&limit=2", now), [9 * MINUTE, 10 * MINUTE]);
        assert_eq!(opens("interval=1m&startTime=60001&limit=2", now), [2 * MINUTE, 3 * MINUTE]);
        assert_eq!(opens("interval=5m&startTime=0&endTime=300000", now), [0, 5 * MINUTE]);
        assert_eq!(opens("interval=1m&endTime=120000&limit=2", now), [MINUTE, 2 * MINUTE]);
        assert_eq!(opens("interval=1m&startTime=99999999", now), [] as [Millis; 0]);
        assert_eq!(opens("interval=1w&limit=9", 12 * DAY), [4 * DAY, 11 * DAY]);
    }
}
