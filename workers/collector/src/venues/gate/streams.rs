//! Gate's streams, and pure decisions about what to ask next.
//!
//! Lists are newest first and paged by offset: a window is read whole before the next one is begun.
//! Gate counts time in seconds, so windows end on whole ones.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::markets::{BTC, Settle, USDT};
use super::parse::{DEPOSITS, SPOT_FILLS, WITHDRAWALS};
use crate::error::VenueError;
use crate::venues::Page;
use crate::venues::paging::{DAY_MILLIS, Span, TimeCursor, cursor, stored};
use crate::venues::wire::Dec;

/// What a stream's records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    SpotFills,
    Deposits,
    Withdrawals,
    Fills(&'static Settle),
    Book(&'static Settle),
    Liquidations(&'static Settle),
    Adl(&'static Settle),
}

/// A stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    pub name: &'static str,
    pub path: &'static str,
    pub records: Records,
    pub order: u8,
    pub minutes: u64,
    /// What is read again at least, beyond the usual overlap: records that are not final at first.
    pub again: i64,
    pub limit: usize,
    /// Pages by number, not by offset.
    pub numbered: bool,
}

/// The longest window that we ask for.
pub const WINDOW_MILLIS: i64 = 7 * DAY_MILLIS;
pub const WHY: &str = "only the last six months before the account was attached are read";
/// What begins at the horizon is behind it a moment later; a window that was begun is read on.
const GRACE_MILLIS: i64 = DAY_MILLIS;
pub const HORIZON_MILLIS: i64 = 180 * DAY_MILLIS;

const fn futures(name: &'static str, path: &'static str, records: Records, order: u8) -> Stream {
    Stream { name, path, records, order, minutes: 2, again: 0, limit: 100, numbered: false }
}

const fn wallet(name: &'static str, path: &'static str, records: Records) -> Stream {
    Stream { name, path, records, order: 3, minutes: 10, again: 3 * DAY_MILLIS, limit: 100, numbered: false }
}

/// Every stream that an account has.
pub static STREAMS: [Stream; 11] = [
    futures(USDT.liquidations, "/api/v4/futures/usdt/liquidates", Records::Liquidations(&USDT), 0),
    futures(BTC.liquidations, "/api/v4/futures/btc/liquidates", Records::Liquidations(&BTC), 0),
    futures(USDT.adl, "/api/v4/futures/usdt/auto_deleverages", Records::Adl(&USDT), 0),
    futures(BTC.adl, "/api/v4/futures/btc/auto_deleverages", Records::Adl(&BTC), 0),
    futures(USDT.book, "/api/v4/futures/usdt/account_book", Records::Book(&USDT), 1),
    futures(BTC.book, "/api/v4/futures/btc/account_book", Records::Book(&BTC), 1),
    futures(USDT.fills, "/api/v4/futures/usdt/my_trades_timerange", Records::Fills(&USDT), 2),
    futures(BTC.fills, "/api/v4/futures/btc/my_trades_timerange", Records::Fills(&BTC), 2),
    Stream {
        name: SPOT_FILLS,
        path: "/api/v4/spot/my_trades",
        records: Records::SpotFills,
        order: 2,
        minutes: 2,
        again: 0,
        limit: 1000,
        numbered: true,
    },
    wallet(DEPOSITS, "/api/v4/wallet/deposits", Records::Deposits),
    wallet(WITHDRAWALS, "/api/v4/wallet/withdrawals", Records::Withdrawals),
];

pub fn stream(name: &str) -> Option<&'static Stream> {
    STREAMS.iter().find(|stream| stream.name == name)
}

impl Records {
    /// The settle coin of futures records.
    pub fn settle(self) -> Option<&'static Settle> {
        match self {
            Self::Fills(settle) | Self::Book(settle) | Self::Liquidations(settle) | Self::Adl(settle) => Some(settle),
            Self::SpotFills | Self::Deposits | Self::Withdrawals => None,
        }
    }
}

impl Stream {
    /// The stored place. What has dropped behind the horizon since is not asked for any more, so
    /// that no window is called complete of which the venue may show nothing.
    pub fn place(&self, stored: &Value, now: i64) -> Result<TimeCursor, VenueError> {
        let oldest = whole(now.saturating_sub(HORIZON_MILLIS));
        let place = cursor(stored, || TimeCursor::starting_at(oldest))?;
        Ok(if place.from < oldest - GRACE_MILLIS {
            TimeCursor { newest: place.newest, ..TimeCursor::starting_at(oldest) }
        } else {
            place
        })
    }

    pub fn params(&self, place: &TimeCursor, window: Span) -> Vec<(&'static str, String)> {
        let (name, at) = match self.numbered {
            true => ("page", u64::from(place.page)),
            false => ("offset", u64::from(place.page.saturating_sub(1)) * self.limit as u64),
        };
        vec![
            ("from", (window.from / 1000).to_string()),
            ("to", (window.to / 1000).to_string()),
            ("limit", self.limit.to_string()),
            (name, at.to_string()),
        ]
    }
}

/// The last whole second, in milliseconds.
pub fn whole(millis: i64) -> i64 {
    millis - millis.rem_euclid(1000)
}

/// Instants of a page's records, whatever the field is called; all are seconds.
fn times(rows: &[Box<RawValue>]) -> Vec<i64> {
    use rust_decimal::prelude::ToPrimitive;
    #[derive(Deserialize)]
    struct Timed {
        create_time: Option<Dec>,
        time: Option<Dec>,
        timestamp: Option<Dec>,
    }
    let time = |raw: &RawValue| {
        let row: Timed = serde_json::from_str(raw.get()).ok()?;
        let seconds = row.create_time.or(row.time).or(row.timestamp)?.0;
        seconds.to_i64()?.checked_mul(1000)
    };
    rows.iter().filter_map(|raw| time(raw)).collect()
}

/// Moves a page forwards: cursor, coverage, and whether more is waiting.
pub fn advance(page: &mut Page, stream: &Stream, place: &TimeCursor, window: Span, now: i64, rows: &[Box<RawValue>]) {
    let times = times(rows);
    if rows.len() >= stream.limit {
        (page.cursor, page.covered, page.more) = (stored(&place.next_page(window, &times)), None, true);
        return;
    }
    let (mut next, more) = place.after(window, now, &times);
    if !more {
        next.from = whole(next.from.min(window.to - stream.again).max(window.to - WINDOW_MILLIS));
    }
    (page.cursor, page.covered, page.more) = (stored(&next), window.covered(), more);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_is_found_by_its_name_and_is_a_listed_read() {
        for known in &STREAMS {
            assert_eq!(stream(known.name), Some(known));
            assert!(crate::venues::reads::Listed::new(super::super::READS, "GET", known.path).is_ok());
            assert!(known.records.settle().is_none_or(|settle| known.path.contains(settle.path)));
        }
        assert!(stream("spot.fills:BTC_USDT").is_none() && stream("").is_none());
    }

    #[test]
    fn a_full_page_is_followed_by_the_next_of_the_same_window() {
        let book = stream("futures_usdt.book").unwrap();
        let now = 1_767_225_600_000;
        let place = book.place(&Value::Null, now).unwrap();
        let window = place.window(WINDOW_MILLIS, now);
        let rows = format!("[{}{{}}]", r#"{"time":1751673600.5},"#.repeat(99));
        let rows = crate::venues::wire::rows("x", &rows).unwrap();
        let mut page = Page::default();
        advance(&mut page, book, &place, window, now, &rows);
        let next = book.place(&page.cursor, now).unwrap();
        assert!(page.more && page.covered.is_none());
        assert_eq!(next.window(WINDOW_MILLIS, now), window);
        assert_eq!(book.params(&next, window).last().unwrap(), &("offset", "100".to_owned()));
        assert_eq!(book.place(&page.cursor, now + GRACE_MILLIS).unwrap(), next, "a window is read on");
        let long_ago = crate::venues::paging::stored(&TimeCursor::starting_at(5000));
        assert_eq!(book.place(&long_ago, now).unwrap().from, now - HORIZON_MILLIS, "no claim about what is gone");
    }
}
