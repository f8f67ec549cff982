//! Prices of past minutes at Kraken spot. Its minute candles reach back twelve hours alone; its
//! trades reach back to the first one, so a minute's close is read from them.

use async_trait::async_trait;
use codash_domain::Timestamp;
use rust_decimal::Decimal;
use serde_json::value::RawValue;

use super::client::Spot;
use super::fault::{self, Fault};
use crate::error::VenueError;
use crate::pricing::MINUTE_MILLIS;
use crate::venues::closes::{Closes, inverted};
use crate::venues::kraken::wire::{Entries, Named, Seconds};
use crate::venues::wire::{Dec, read};

/// Trades in one reply.
const TRADES_LIMIT: usize = 1000;
/// Replies that are read for one minute at most.
const REPLIES_A_MINUTE: usize = 4;
/// In a minute without a trade the next one counts, if it is this near.
const NEAREST_MILLIS: i64 = 15 * MINUTE_MILLIS;

/// Trades of one market from an instant on, in order.
#[derive(Debug, Default)]
struct Tape {
    from: i64,
    trades: Vec<(i64, Decimal)>,
    /// True when there is nothing after them yet.
    is_whole: bool,
}

impl Tape {
    fn knows(&self, minute: i64) -> bool {
        let last = self.trades.last().map_or(self.from, |(at, _)| *at);
        let reaches = !self.trades.is_empty() && last >= minute + MINUTE_MILLIS;
        self.from <= minute && (self.is_whole || reaches)
    }

    /// The last price of a minute, or else the first one soon after it.
    fn close(&self, minute: i64) -> Option<Decimal> {
        let end = minute + MINUTE_MILLIS;
        let inside = self.trades.iter().rev().find(|(at, _)| (minute..end).contains(at));
        let after = || self.trades.iter().find(|(at, _)| (end..end + NEAREST_MILLIS).contains(at));
        inside.or_else(after).map(|(_, price)| *price)
    }
}

impl Spot {
    async fn closes_of(&self, market: &str, minutes: &[Timestamp]) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
        let (mut closes, mut tape) = (Vec::new(), Tape::default());
        for minute in minutes {
            let start = minute.millis();
            if !tape.knows(start) {
                tape = Tape { from: start, ..Tape::default() };
                // Trades after this nanosecond.
                let mut since = format!("{}", i128::from(start) * 1_000_000 - 1);
                for _ in 0..REPLIES_A_MINUTE {
                    since = match self.read_trades(market, &since, &mut tape).await? {
                        Some(last) if !tape.knows(start) => last,
                        _ => break,
                    };
                }
            }
            closes.extend(tape.close(start).map(|price| (*minute, price)));
        }
        Ok(closes)
    }

    /// Adds a reply to the tape and says where it goes on; `None` when there is no such market.
    async fn read_trades(&self, market: &str, since: &str, tape: &mut Tape) -> Result<Option<String>, VenueError> {
        const PATH: &str = "/0/public/Trades";
        let params = [("pair", market.to_owned()), ("since", since.to_owned()), ("count", TRADES_LIMIT.to_string())];
        let body = match self.public(PATH, &params).await? {
            Ok(body) => body,
            Err(Fault::NoSuchMarket { .. }) => return Ok(None),
            Err(fault) => return Err(fault.into_error()),
        };
        let (trades, last) = trades(PATH, &body)?;
        tape.is_whole = trades.len() < TRADES_LIMIT;
        tape.trades.extend(trades);
        Ok(last)
    }
}

#[async_trait]
impl Closes for Spot {
    /// Closes against dollars, or of dollars against the asset (`USDCHF`).
    async fn closes(&self, asset: &str, minutes: &[Timestamp]) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
        let pairs = self.pairs().await?;
        if let Some(market) = ["USD", "USDT", "USDC"].into_iter().find_map(|dollar| pairs.market(asset, dollar)) {
            return self.closes_of(market, minutes).await;
        }
        let Some(market) = pairs.market("USD", asset) else { return Ok(vec![]) };
        let inverse = self.closes_of(market, minutes).await?;
        Ok(inverted(inverse))
    }
}

/// Instants and prices of the one market of a reply, and where the next reply goes on.
type Trades = (Vec<(i64, Decimal)>, Option<String>);

fn trades(endpoint: &str, body: &str) -> Result<Trades, VenueError> {
    let Entries(rows) = read(endpoint, fault::result(endpoint, body)?.get())?;
    let (mut trades, mut last) = (Vec::new(), None);
    for raw in rows {
        let Named { id, record } = read::<Named<Box<RawValue>>>(endpoint, raw.get())?;
        if id == "last" {
            last = Some(read::<crate::venues::wire::Text>(endpoint, record.get())?.0);
            continue;
        }
        for trade in read::<Vec<Vec<Box<RawValue>>>>(endpoint, record.get())? {
            let [price, _, time, ..] = trade.as_slice() else {
                return Err(VenueError::unreadable(endpoint, "a trade of fewer than three fields"));
            };
            let time: Seconds = read(endpoint, time.get())?;
            trades.push((time.0.millis(), read::<Dec>(endpoint, price.get())?.0));
        }
    }
    Ok((trades, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_closes_with_its_last_trade_or_the_next_one_soon_after() {
        let price = Decimal::from;
        let tape =
            Tape { from: 0, trades: vec![(5, price(1)), (59_999, price(2)), (200_000, price(3))], is_whole: false };
        assert!(tape.knows(0) && tape.knows(60_000) && !tape.knows(180_000));
        assert_eq!([tape.close(0), tape.close(60_000)], [Some(price(2)), Some(price(3))]);
        let whole = Tape { is_whole: true, ..tape };
        assert!(whole.knows(180_000) && whole.close(240_000).is_none());
        let late = Tape { from: 0, trades: vec![(MINUTE_MILLIS + NEAREST_MILLIS, price(4))], is_whole: true };
        assert_eq!(late.close(0), None, "too far away");
        assert!(!Tape::default().knows(0));
    }
}
