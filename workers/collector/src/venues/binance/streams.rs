//! Paging through Binance history: pure decisions about what to ask next.

use codash_domain::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::VenueError;
use crate::venues::Page;
use crate::venues::paging::{DAY_MILLIS, OVERLAP_MILLIS, Span, TimeCursor, stored};

/// Binance keeps three months of futures records.
pub const HORIZON_MILLIS: i64 = 90 * DAY_MILLIS;
/// The longest window of income, fills and forced orders.
pub const WINDOW_MILLIS: i64 = 7 * DAY_MILLIS - 1;
/// The longest window of spot fills.
pub const SPOT_WINDOW_MILLIS: i64 = DAY_MILLIS - 1;
/// A fill older than this is too near the horizon to page from its id.
const OLDEST_ID_MILLIS: i64 = 80 * DAY_MILLIS;

pub const INCOME_LIMIT: usize = 1000;
pub const FILLS_LIMIT: usize = 1000;
pub const FORCED_LIMIT: usize = 100;

/// Where the fills of one market stand: by time until the first is found, by id from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FillCursor {
    Time(TimeCursor),
    Id {
        /// Asked for inclusively: the last fill is always read again.
        from_id: u64,
        /// When the last fill happened.
        at: i64,
        /// Complete up to here.
        through: i64,
    },
}

impl FillCursor {
    /// From the horizon, for futures.
    pub fn from_horizon(now: i64) -> Self {
        Self::Time(TimeCursor::starting_at(now - HORIZON_MILLIS))
    }

    /// From the first fill there ever was, for spot.
    pub fn from_the_first() -> Self {
        Self::Id { from_id: 0, at: i64::MAX, through: 0 }
    }

    /// Back to windows of time, before the last fill's id drops behind the horizon.
    pub fn renewed(self, now: i64) -> Self {
        match self {
            Self::Id { at, through, .. } if now.saturating_sub(at) > OLDEST_ID_MILLIS => {
                Self::Time(TimeCursor::starting_at((through - OVERLAP_MILLIS).max(now - HORIZON_MILLIS)))
            }
            other => other,
        }
    }
}

/// Moves a page forwards: cursor, coverage, and whether more is waiting.
fn advance(page: &mut Page, cursor: Value, covered: Option<(Timestamp, Timestamp)>, more: bool) {
    page.cursor = cursor;
    page.covered = covered;
    page.more = more;
}

pub fn full_millisecond(endpoint: &str) -> VenueError {
    VenueError::unreadable(endpoint, "one millisecond holds more records than a reply")
}

/// After a reply of a window that the venue numbers pages of.
pub fn after_numbered(page: &mut Page, cursor: &TimeCursor, window: Span, now: i64, times: &[i64], rows: usize) {
    if rows >= INCOME_LIMIT {
        advance(page, stored(&cursor.next_page(window, times)), None, true);
    } else {
        let (next, more) = cursor.after(window, now, times);
        advance(page, stored(&next), window.covered(), more);
    }
}

/// After a reply of a window that can only be made smaller.
pub fn after_forced(
    page: &mut Page,
    cursor: &TimeCursor,
    window: Span,
    now: i64,
    times: &[i64],
    rows: usize,
) -> Result<(), VenueError> {
    if rows >= FORCED_LIMIT {
        let half = cursor.halved(window).ok_or_else(|| full_millisecond("/fapi/v1/forceOrders"))?;
        advance(page, stored(&half), None, true);
    } else {
        let (next, more) = cursor.after(window, now, times);
        advance(page, stored(&next), window.covered(), more);
    }
    Ok(())
}

/// After a window of fills. The first fill that is found leads on by its id.
pub fn after_window(
    page: &mut Page,
    cursor: &TimeCursor,
    window: Span,
    now: i64,
    ids: &[(u64, i64)],
    rows: usize,
) -> Result<(), VenueError> {
    if rows >= FILLS_LIMIT {
        // Whichever end was cut off: up to the oldest fill of the reply the window is smaller, and
        // not empty. From there on the ids lead.
        let oldest = ids.iter().map(|(_, at)| *at).min().filter(|oldest| (window.from..window.to).contains(oldest));
        let to = Some(oldest.ok_or_else(|| full_millisecond("/fapi/v1/userTrades"))?);
        advance(page, stored(&FillCursor::Time(TimeCursor { from: window.from, to, ..cursor.clone() })), None, true);
        return Ok(());
    }
    let (next, more) = match ids.iter().max() {
        Some(&(from_id, at)) => (FillCursor::Id { from_id, at, through: window.to }, true),
        None => {
            let (next, more) = cursor.after(window, now, &[]);
            (FillCursor::Time(next), more)
        }
    };
    advance(page, stored(&next), window.covered(), more);
    Ok(())
}

/// After fills from an id on.
pub fn after_ids(
    page: &mut Page,
    asked: (u64, i64, i64),
    now: i64,
    ids: &[(u64, i64)],
    rows: usize,
) -> Result<(), VenueError> {
    let (from_id, at, through) = asked;
    let last = ids.iter().copied().max();
    if rows >= FILLS_LIMIT {
        let (last_id, last_at) = last
            .filter(|(id, _)| *id > from_id)
            .ok_or_else(|| VenueError::unreadable("the fills of a market", "a full reply whose ids do not advance"))?;
        // More fills may share the last one's millisecond.
        let complete = (last_at - 1).max(through);
        let next = FillCursor::Id { from_id: last_id, at: last_at, through: complete };
        let covered = Span { from: through, to: complete }.covered().filter(|_| complete > through);
        advance(page, stored(&next), covered, true);
        return Ok(());
    }
    let (next_id, last_at) = match last {
        Some((_, last_at)) => {
            let overlap = ids.iter().filter(|(_, at)| *at >= last_at - OVERLAP_MILLIS).map(|(id, _)| *id);
            (overlap.min().unwrap_or(from_id), last_at)
        }
        None => (from_id, at),
    };
    let through_now = now.max(through);
    let next = FillCursor::Id { from_id: next_id, at: last_at, through: through_now };
    advance(page, stored(&next), Span { from: through, to: through_now }.covered(), false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venues::paging::cursor;

    const NOW: i64 = 1_767_225_600_000;

    fn next(page: &Page) -> FillCursor {
        cursor(&page.cursor, FillCursor::from_the_first).unwrap()
    }

    #[test]
    fn fills_are_found_by_time_and_followed_by_id() {
        let mut page = Page::default();
        let start = TimeCursor::starting_at(NOW - HORIZON_MILLIS);
        let window = start.window(WINDOW_MILLIS, NOW);
        after_window(&mut page, &start, window, NOW, &[], 0).unwrap();
        assert!(matches!(next(&page), FillCursor::Time(TimeCursor { from, .. }) if from == window.to));
        after_window(&mut page, &start, window, NOW, &[(7, window.from + 5), (9, window.from + 6)], 2).unwrap();
        assert_eq!(next(&page), FillCursor::Id { from_id: 9, at: window.from + 6, through: window.to });
        assert_eq!((page.covered, page.more), (window.covered(), true));
    }

    #[test]
    fn a_full_page_by_id_covers_up_to_the_last_shared_millisecond() {
        let mut page = Page::default();
        let ids: Vec<(u64, i64)> = (0..1000_u64).map(|i| (100 + i, NOW + i.cast_signed() / 10)).collect();
        after_ids(&mut page, (100, NOW, NOW - 50), NOW + 5000, &ids, 1000).unwrap();
        assert_eq!(next(&page), FillCursor::Id { from_id: 1099, at: NOW + 99, through: NOW + 98 });
        assert_eq!(page.covered, Span { from: NOW - 50, to: NOW + 98 }.covered());
        assert!(page.more);
        let stuck = vec![(100, NOW); 1000];
        assert!(after_ids(&mut page, (100, NOW, NOW), NOW, &stuck, 1000).is_err());
    }

    #[test]
    fn caught_up_the_next_read_repeats_five_minutes_and_at_least_the_last_fill() {
        let mut page = Page::default();
        let ids = [(1, NOW - OVERLAP_MILLIS * 2), (2, NOW - 1000), (3, NOW - 10)];
        after_ids(&mut page, (1, 0, 0), NOW, &ids, 3).unwrap();
        assert_eq!(next(&page), FillCursor::Id { from_id: 2, at: NOW - 10, through: NOW });
        assert!(!page.more);
        after_ids(&mut page, (2, NOW - 10, NOW), NOW + 9, &[], 0).unwrap();
        assert_eq!(next(&page), FillCursor::Id { from_id: 2, at: NOW - 10, through: NOW + 9 });
    }

    #[test]
    fn an_id_near_the_horizon_is_given_up_for_time() {
        let old = FillCursor::Id { from_id: 5, at: NOW - 81 * DAY_MILLIS, through: NOW - 1000 };
        let renewed = old.renewed(NOW);
        assert_eq!(renewed, FillCursor::Time(TimeCursor::starting_at(NOW - 1000 - OVERLAP_MILLIS)));
        assert_eq!(FillCursor::from_the_first().renewed(NOW), FillCursor::from_the_first());
    }

    #[test]
    fn a_full_window_of_forced_orders_is_read_in_halves_and_one_millisecond_is_the_end() {
        let mut page = Page::default();
        let start = TimeCursor::starting_at(0);
        after_forced(&mut page, &start, Span { from: 0, to: 100 }, NOW, &[], FORCED_LIMIT).unwrap();
        assert_eq!((page.cursor["to"].to_string().as_str(), page.covered, page.more), ("50", None, true));
        assert!(after_forced(&mut page, &start, Span { from: 7, to: 7 }, NOW, &[], FORCED_LIMIT).is_err());
    }
}
