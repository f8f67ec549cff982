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
        /// When that fill happened.
        at: i64,
        /// Complete up to here.
        through: i64,
        /// Where the next fresh reading starts: five minutes before the newest fill.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        anchor: Option<(u64, i64)>,
    },
}

impl FillCursor {
    /// From the horizon, for futures.
    pub fn from_horizon(now: i64) -> Self {
        Self::Time(TimeCursor::starting_at(now - HORIZON_MILLIS))
    }

    /// From the first fill there ever was, for spot.
    pub fn from_the_first() -> Self {
        Self::Id { from_id: 0, at: i64::MAX, through: 0, anchor: None }
    }

    /// Back to windows of time, before the last fill's id drops behind the horizon. Not in the middle of
    /// reading on from an id: a window that starts there would find the same old fill again, for ever.
    pub fn renewed(self, now: i64) -> Self {
        match self {
            Self::Id { at, through, .. } if through >= at && now.saturating_sub(at) > OLDEST_ID_MILLIS => {
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

/// What cannot be read: more than a reply, with nothing to tell them apart by.
pub fn full_millisecond(endpoint: &str) -> VenueError {
    VenueError::unreadable(endpoint, "one millisecond holds more records than a reply")
}

/// Through when a window is complete after a reply that begins with its oldest records: just before the
/// newest of the reply, of whose millisecond there may be more. `None` when that says nothing new.
pub fn through(window: Span, times: &[i64]) -> Option<i64> {
    let inside = || times.iter().copied().filter(|at| (window.from..=window.to).contains(at));
    let (first, last) = (inside().min()?, inside().max()?);
    (first < last && last - 1 > window.from).then_some(last - 1)
}

/// After replies that begin with the oldest records of a window, complete through `through`, or whole.
/// The next one begins where these ended in time: a page that is asked for by its number is another one
/// as soon as the venue grants longer pages, or drops what is too old, and nobody would see what lies between.
pub fn after_oldest(page: &mut Page, cursor: &TimeCursor, window: Span, now: i64, times: &[i64], through: Option<i64>) {
    let Some(through) = through else {
        let (next, more) = cursor.after(window, now, times);
        return advance(page, stored(&next), window.covered(), more);
    };
    let covered = Span { from: window.from, to: through }.covered();
    advance(page, stored(&cursor.on_from(through, window, times)), covered, true);
}

/// After a whole window.
pub fn after_whole(page: &mut Page, cursor: &TimeCursor, window: Span, now: i64) {
    let (next, more) = cursor.after(window, now, &[]);
    advance(page, stored(&next), window.covered(), more);
}

/// The parts of a window in which a reply may have left records out: before its first and after its
/// last. Nothing is left to ask once a reply brings nothing new.
pub fn remaining(window: Span, times: &[i64]) -> Vec<Span> {
    let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else { return vec![] };
    let (first, last) = ((*first).clamp(window.from, window.to), (*last).clamp(window.from, window.to));
    let mut parts = vec![];
    if first < window.to || window.from == window.to {
        parts.push(Span { from: window.from, to: first });
    }
    if last > window.from {
        parts.push(Span { from: last, to: window.to });
    }
    parts
}

/// After a window of fills. The first fill that is found leads on by its id.
pub fn after_window(page: &mut Page, cursor: &TimeCursor, window: Span, now: i64, ids: &[(u64, i64)]) {
    match ids.iter().max() {
        Some(&(from_id, at)) => {
            // More fills may share the last one's millisecond, or the reply was cut short there.
            let through = (at - 1).max(window.from);
            let next = FillCursor::Id { from_id, at, through, anchor: anchor(None, ids) };
            advance(page, stored(&next), Span { from: window.from, to: through }.covered(), true);
        }
        None => {
            let (next, more) = cursor.after(window, now, &[]);
            advance(page, stored(&FillCursor::Time(next)), window.covered(), more);
        }
    }
}

/// The oldest fill within five minutes of the newest.
fn anchor(known: Option<(u64, i64)>, ids: &[(u64, i64)]) -> Option<(u64, i64)> {
    let newest = ids.iter().copied().chain(known).max()?.1;
    ids.iter().copied().chain(known).filter(|(_, at)| *at >= newest - OVERLAP_MILLIS).min()
}

/// After fills from an id on. Only a reply with nothing newer is the end.
pub fn after_ids(page: &mut Page, asked: (u64, i64, i64), known: Option<(u64, i64)>, now: i64, ids: &[(u64, i64)]) {
    let (from_id, at, through) = asked;
    let anchor = anchor(known, ids);
    match ids.iter().copied().max().filter(|(id, _)| *id > from_id) {
        Some((last_id, last_at)) => {
            let complete = (last_at - 1).max(through);
            let next = FillCursor::Id { from_id: last_id, at: last_at, through: complete, anchor };
            let covered = Span { from: through, to: complete }.covered().filter(|_| complete > through);
            advance(page, stored(&next), covered, true);
        }
        None => {
            let at = ids.iter().map(|(_, at)| *at).max().unwrap_or(at);
            let (from_id, at) = anchor.unwrap_or((from_id, at));
            let through_now = now.max(through);
            let next = FillCursor::Id { from_id, at, through: through_now, anchor: None };
            advance(page, stored(&next), Span { from: through, to: through_now }.covered(), false);
        }
    }
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
        after_window(&mut page, &start, window, NOW, &[]);
        assert!(matches!(next(&page), FillCursor::Time(TimeCursor { from, .. }) if from == window.to));
        let (first, last) = ((7, window.from + 5), (9, window.from + 6));
        after_window(&mut page, &start, window, NOW, &[first, last]);
        assert_eq!(next(&page), FillCursor::Id { from_id: 9, at: last.1, through: last.1 - 1, anchor: Some(first) });
        assert_eq!((page.covered, page.more), (Span { from: window.from, to: last.1 - 1 }.covered(), true));
    }

    #[test]
    fn a_reply_with_something_new_is_never_the_end_however_short() {
        let mut page = Page::default();
        after_ids(&mut page, (100, NOW, NOW - 50), None, NOW + 5000, &[(100, NOW), (101, NOW + 99)]);
        let anchor = Some((100, NOW));
        assert_eq!(next(&page), FillCursor::Id { from_id: 101, at: NOW + 99, through: NOW + 98, anchor });
        assert_eq!(page.covered, Span { from: NOW - 50, to: NOW + 98 }.covered());
        assert!(page.more);
        after_ids(&mut page, (101, NOW + 99, NOW + 98), anchor, NOW + 5000, &[(101, NOW + 99)]);
        assert_eq!(next(&page), FillCursor::Id { from_id: 100, at: NOW, through: NOW + 5000, anchor: None });
        assert_eq!((page.covered, page.more), (Span { from: NOW + 98, to: NOW + 5000 }.covered(), false));
    }

    #[test]
    fn caught_up_the_next_read_repeats_five_minutes_and_at_least_the_last_fill() {
        let ids = [(1, NOW - OVERLAP_MILLIS * 2), (2, NOW - 1000), (3, NOW - 10)];
        assert_eq!(anchor(None, &ids), Some((2, NOW - 1000)));
        let mut page = Page::default();
        after_ids(&mut page, (2, NOW - 10, NOW), None, NOW + 9, &[]);
        assert_eq!(next(&page), FillCursor::Id { from_id: 2, at: NOW - 10, through: NOW + 9, anchor: None });
        assert!(!page.more);
    }

    #[test]
    fn an_id_near_the_horizon_is_given_up_for_time() {
        let old = FillCursor::Id { from_id: 5, at: NOW - 81 * DAY_MILLIS, through: NOW - 1000, anchor: None };
        let renewed = old.renewed(NOW);
        assert_eq!(renewed, FillCursor::Time(TimeCursor::starting_at(NOW - 1000 - OVERLAP_MILLIS)));
        assert_eq!(FillCursor::from_the_first().renewed(NOW), FillCursor::from_the_first());
        // The first fill was found by time just now, and what follows it is asked for by its id.
        let at = NOW - 85 * DAY_MILLIS;
        let found = FillCursor::Id { from_id: 5, at, through: at - 1, anchor: Some((5, at)) };
        assert_eq!(found.clone().renewed(NOW), found);
    }

    #[test]
    fn what_a_reply_may_have_left_out_lies_around_it() {
        let window = Span { from: 0, to: 100 };
        assert_eq!(remaining(window, &[]), []);
        assert_eq!(remaining(window, &[40, 20]), [Span { from: 0, to: 20 }, Span { from: 40, to: 100 }]);
        assert_eq!(remaining(window, &[100]), [Span { from: 100, to: 100 }]);
        assert_eq!(remaining(Span { from: 7, to: 7 }, &[7]), [Span { from: 7, to: 7 }]);
    }
}
