//! Paging through Bitget history: pure decisions about what to ask next.

use super::bills::{FUTURES_BILLS, SPOT_BILLS};
use super::parse::{FUTURES_FILLS, SPOT_FILLS};
use crate::error::VenueError;
use crate::venues::paging::{DAY_MILLIS, PagedCursor, Span, TimeCursor};

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
    let (family, product) = match crate::venues::family(stream) {
        (family, Some(product)) => (family, Some(PRODUCTS.into_iter().find(|known| *known == product)?)),
        (family, None) => (family, None),
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

/// From where everything is read.
pub fn from_horizon(now: i64) -> PagedCursor {
    PagedCursor::starting_at(now - HORIZON_MILLIS)
}

/// The window to ask for, never one that the venue has forgotten.
pub fn window(at: &PagedCursor, source: Source, now: i64) -> Span {
    let from = at.time.from.max(now - HORIZON_MILLIS);
    TimeCursor { from, ..at.time.clone() }.window(source.longest, now)
}

/// Where the window's next page starts: at the last record of a full one.
pub fn next(source: Source, rows: usize, last_id: Option<String>) -> Result<Option<String>, VenueError> {
    if rows < source.limit {
        return Ok(None);
    }
    last_id.map(Some).ok_or_else(|| VenueError::unreadable(source.path, "a full page without ids"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venues::Page;
    use crate::venues::paging::cursor;

    const NOW: i64 = 1_767_225_600_000;

    #[test]
    fn a_full_page_is_followed_by_what_is_older_than_its_last_record() {
        let source = source("futures.fills:USDT-FUTURES").unwrap();
        let start = from_horizon(NOW);
        let asked = window(&start, source, NOW);
        let mut page = Page::default();
        let older = next(source, 100, Some("9".into())).unwrap();
        start.turn(&mut page, source.path, (asked, NOW), &[asked.from], older).unwrap();
        assert_eq!((page.covered, page.more), (None, true));
        let second: PagedCursor = cursor(&page.cursor, || start.clone()).unwrap();
        assert_eq!((window(&second, source, NOW), second.next.as_deref()), (asked, Some("9")));
        assert_eq!(next(source, 3, Some("7".into())), Ok(None));
        assert!(next(source, 100, None).is_err());
    }

    #[test]
    fn a_long_pause_does_not_ask_for_what_is_forgotten() {
        let source_ = source("spot.bills").unwrap();
        assert_eq!(window(&PagedCursor::starting_at(5), source_, NOW).from, NOW - HORIZON_MILLIS);
        for stranger in ["futures.fills", "futures.fills:X", "spot.fills:BTCUSDT", "x"] {
            assert_eq!(source(stranger), None, "{stranger}");
        }
    }
}
