//! Paging through Bitget history: pure decisions about what to ask next.

use serde::{Deserialize, Serialize};

use super::bills::{FUTURES_BILLS, SPOT_BILLS};
use super::parse::{FUTURES_FILLS, SPOT_FILLS};
use crate::error::VenueError;
use crate::venues::Page;
use crate::venues::paging::{DAY_MILLIS, Span, TimeCursor, stored};

/// Bitget gives out 90 days; an hour less is never refused.
pub const HORIZON_MILLIS: i64 = 90 * DAY_MILLIS - 3_600_000;

pub const PRODUCTS: [&str; 3] = ["USDT-FUTURES", "COIN-FUTURES", "USDC-FUTURES"];

/// How a family of streams is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    pub family: &'static str,
    pub path: &'static str,
    /// The kind of futures, where the venue keeps them apart.
    pub product: Option<&'static str>,
    /// The longest window, in milliseconds.
    pub longest: i64,
    /// Records in one reply.
    pub limit: usize,
    /// Lower is read first.
    pub order: u8,
}

/// The source of a stream, if it is one of ours.
pub fn source(stream: &str) -> Option<Source> {
    const WEEK: i64 = 7 * DAY_MILLIS - 1;
    const MONTH: i64 = 29 * DAY_MILLIS;
    let spot = |family, path, limit, order| Source { family, path, product: None, longest: MONTH, limit, order };
    let (family, product) = match stream.split_once(':') {
        Some((family, product)) => (family, Some(PRODUCTS.into_iter().find(|known| *known == product)?)),
        None => (stream, None),
    };
    Some(match (family, product) {
        (FUTURES_BILLS, Some(_)) => Source {
            family: FUTURES_BILLS,
            path: "/api/v2/mix/account/bill",
            product,
            longest: MONTH,
            limit: 100,
            order: 0,
        },
        (FUTURES_FILLS, Some(_)) => Source {
            family: FUTURES_FILLS,
            path: "/api/v2/mix/order/fill-history",
            product,
            longest: WEEK,
            limit: 100,
            order: 1,
        },
        (SPOT_BILLS, None) => spot(SPOT_BILLS, "/api/v2/spot/account/bills", 500, 2),
        (SPOT_FILLS, None) => spot(SPOT_FILLS, "/api/v2/spot/trade/fills", 100, 3),
        _ => return None,
    })
}

/// Where a stream stands: a window of time, read from its newest record to its oldest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackCursor {
    pub time: TimeCursor,
    /// The window's next page holds what is older than this record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

impl BackCursor {
    pub fn from_horizon(now: i64) -> Self {
        Self { time: TimeCursor::starting_at(now - HORIZON_MILLIS), before: None }
    }

    /// The window, never one that the venue has forgotten.
    pub fn window(&self, longest: i64, now: i64) -> Span {
        let mut time = self.time.clone();
        time.from = time.from.max(now - HORIZON_MILLIS);
        time.window(longest, now)
    }
}

/// After a page. A window is complete with its last page, and only then is anything of it covered.
pub fn after(
    page: &mut Page,
    cursor: &BackCursor,
    source: Source,
    now: i64,
    times: &[i64],
    (rows, last_id): (usize, Option<String>),
) -> Result<(), VenueError> {
    let window = cursor.window(source.longest, now);
    if rows >= source.limit {
        let last = last_id.ok_or_else(|| VenueError::unreadable(source.path, "a full page without ids"))?;
        if cursor.before.as_ref() == Some(&last) {
            return Err(VenueError::unreadable(source.path, "a page that does not advance"));
        }
        page.cursor = stored(&BackCursor { time: cursor.time.next_page(window, times), before: Some(last) });
        page.more = true;
        return Ok(());
    }
    let (time, more) = cursor.time.after(window, now, times);
    page.cursor = stored(&BackCursor { time, before: None });
    page.covered = window.covered();
    page.more = more;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venues::paging::cursor;

    const NOW: i64 = 1_767_225_600_000;

    #[test]
    fn a_window_is_read_backwards_and_covered_at_its_end() {
        let source = source("futures.fills:USDT-FUTURES").unwrap();
        let start = BackCursor::from_horizon(NOW);
        let window = start.window(source.longest, NOW);
        let mut page = Page::default();
        after(&mut page, &start, source, NOW, &[window.from], (100, Some("9".into()))).unwrap();
        assert_eq!((page.covered, page.more), (None, true));
        let second: BackCursor = cursor(&page.cursor, || start.clone()).unwrap();
        assert_eq!((second.window(source.longest, NOW), second.before.as_deref()), (window, Some("9")));
        assert!(after(&mut page, &second, source, NOW, &[], (100, Some("9".into()))).is_err());
        after(&mut page, &second, source, NOW, &[], (3, Some("7".into()))).unwrap();
        assert_eq!((page.covered, page.more), (window.covered(), true));
    }

    #[test]
    fn a_long_pause_does_not_ask_for_what_is_forgotten() {
        let old = BackCursor { time: TimeCursor::starting_at(5), before: None };
        assert_eq!(old.window(DAY_MILLIS, NOW).from, NOW - HORIZON_MILLIS);
        for stranger in ["futures.fills", "futures.fills:X", "spot.fills:BTCUSDT", "x"] {
            assert_eq!(source(stranger), None, "{stranger}");
        }
    }
}
