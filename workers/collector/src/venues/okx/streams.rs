//! Paging through OKX history: pure decisions about what to ask next.
//!
//! Bills and fills come newest first and are paged backwards by the id of the bill. A window of time
//! is read whole before the next: only then is it covered.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::VenueError;
use crate::venues::Page;
use crate::venues::paging::{DAY_MILLIS, PagedCursor, Span, TimeCursor, stored};
use crate::venues::wire::{Millis, Text};

/// OKX keeps three months, of which the shortest has 89 days.
pub const HORIZON_MILLIS: i64 = 89 * DAY_MILLIS;
/// Records in one reply, the most that there can be.
pub const LIMIT: usize = 100;

/// A history that two endpoints answer for: one quickly about the last days, one about all that is kept.
#[derive(Debug)]
pub struct History {
    pub recent_path: &'static str,
    pub archive_path: &'static str,
    /// How far back the quick one is asked; it answers for at least a day more.
    recent: i64,
    longest: i64,
}

pub static BILLS: History = History {
    recent_path: "/api/v5/account/bills",
    archive_path: "/api/v5/account/bills-archive",
    recent: 6 * DAY_MILLIS,
    longest: 7 * DAY_MILLIS,
};

pub static FILLS: History = History {
    recent_path: "/api/v5/trade/fills",
    archive_path: "/api/v5/trade/fills-history",
    recent: 2 * DAY_MILLIS,
    longest: 30 * DAY_MILLIS,
};

impl History {
    /// Whom to ask, and about which window. The archive may lag behind, so it is not asked about the
    /// last days.
    pub fn window(&self, cursor: &PagedCursor, now: i64) -> (&'static str, Span) {
        if cursor.time.from >= now - self.recent {
            return (self.recent_path, cursor.time.window(self.longest, now));
        }
        (self.archive_path, cursor.time.window(self.longest, now - self.recent / 2))
    }
}

/// Where a stream stands, back at the horizon when what comes next is kept no more: the gap stays
/// uncovered.
pub fn renewed(at: PagedCursor, now: i64) -> PagedCursor {
    // A back-fill begins at the horizon, and the horizon moves while it is read.
    if at.time.from < now - HORIZON_MILLIS - DAY_MILLIS {
        return PagedCursor::starting_at(now - HORIZON_MILLIS);
    }
    at
}

/// What to ask: the window, one millisecond wider at both ends, whether or not they are inclusive.
pub fn params(at: &PagedCursor, window: Span) -> Vec<(&'static str, String)> {
    let mut params = vec![
        ("begin", (window.from - 1).max(0).to_string()),
        ("end", (window.to + 1).to_string()),
        ("limit", LIMIT.to_string()),
    ];
    params.extend(at.next.clone().map(|bill| ("after", bill)));
    params
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stamped {
    #[serde(default)]
    bill_id: Option<Text>,
    ts: Millis,
}

fn stamps(rows: &[Box<RawValue>]) -> Vec<(Option<u64>, i64)> {
    let rows = rows.iter().filter_map(|raw| serde_json::from_str::<Stamped>(raw.get()).ok());
    rows.map(|row| (row.bill_id.and_then(|id| id.0.parse().ok()), row.ts.0.millis())).collect()
}

/// After a reply of bills or fills: a full one is followed by older bills of the same window.
pub fn after(
    page: &mut Page,
    at: &PagedCursor,
    window: Span,
    now: i64,
    rows: &[Box<RawValue>],
) -> Result<(), VenueError> {
    let stamps = stamps(rows);
    let times: Vec<i64> = stamps.iter().map(|(_, at)| *at).collect();
    let mut next = None;
    if rows.len() >= LIMIT {
        let last: Option<u64> = at.next.as_ref().and_then(|bill| bill.parse().ok());
        let oldest = stamps.iter().filter_map(|(id, _)| *id).min();
        let older = oldest.filter(|oldest| last.is_none_or(|last| *oldest < last));
        let stuck = || VenueError::unreadable("the history", "a full page whose ids do not go back");
        next = Some(older.ok_or_else(stuck)?.to_string());
    }
    at.turn(page, "the history", (window, now), &times, next)
}

/// Deposits and withdrawals before OKX was there are not looked for.
pub const FIRST_FLOW_MILLIS: i64 = 1_483_228_800_000;
/// A deposit or withdrawal keeps the time of its beginning while it is under way: this long they are
/// read again.
const UNDER_WAY_MILLIS: i64 = 30 * DAY_MILLIS;

/// What to ask about deposits or withdrawals: their ends are exclusive.
pub fn flow_params(window: Span) -> [(&'static str, String); 3] {
    [("before", (window.from - 1).to_string()), ("after", (window.to + 1).to_string()), ("limit", LIMIT.to_string())]
}

/// After a reply of deposits or withdrawals: a full window is read again in halves.
pub fn after_flows(
    page: &mut Page,
    cursor: &TimeCursor,
    window: Span,
    now: i64,
    rows: &[Box<RawValue>],
) -> Result<(), VenueError> {
    if rows.len() >= LIMIT {
        let full = || VenueError::unreadable("the history", "one millisecond holds more records than a reply");
        page.cursor = stored(&cursor.halved(window).ok_or_else(full)?);
        page.more = true;
        return Ok(());
    }
    let times: Vec<i64> = stamps(rows).into_iter().map(|(_, at)| at).collect();
    let (mut next, more) = cursor.after(window, now, &times);
    if !more {
        next.from = next.from.min(window.to - UNDER_WAY_MILLIS).max(FIRST_FLOW_MILLIS);
    }
    page.cursor = stored(&next);
    page.covered = window.covered();
    page.more = more;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venues::paging::{OVERLAP_MILLIS, cursor};

    const NOW: i64 = 1_767_225_600_000;

    fn rows(stamps: &[(u64, i64)]) -> Vec<Box<RawValue>> {
        let row = |(id, at): &(u64, i64)| RawValue::from_string(format!(r#"{{"billId":"{id}","ts":"{at}"}}"#)).unwrap();
        stamps.iter().map(row).collect()
    }

    fn next(page: &Page) -> PagedCursor {
        cursor(&page.cursor, PagedCursor::default).unwrap()
    }

    #[test]
    fn a_window_is_read_backwards_by_id_and_covered_when_it_is_whole() {
        let start = PagedCursor::starting_at(NOW - HORIZON_MILLIS);
        let (path, window) = BILLS.window(&start, NOW);
        assert_eq!((path, window.to - window.from), (BILLS.archive_path, 7 * DAY_MILLIS));
        let full: Vec<(u64, i64)> = (0..100).map(|i| (900 - i, window.to - 5)).collect();
        let mut page = Page::default();
        after(&mut page, &start, window, NOW, &rows(&full)).unwrap();
        let second = next(&page);
        assert_eq!((second.next.as_deref(), page.covered, page.more), (Some("801"), None, true));
        let (path, same) = BILLS.window(&second, NOW + 9999);
        assert_eq!((path, same), (BILLS.archive_path, window), "the window stays while it is read");
        assert!(params(&second, same).contains(&("after", "801".into())));
        assert!(after(&mut Page::default(), &second, same, NOW, &rows(&full)).is_err(), "the ids do not go back");
        after(&mut page, &second, same, NOW, &rows(&full[..3])).unwrap();
        assert_eq!(
            (page.covered, next(&page)),
            (
                window.covered(),
                PagedCursor {
                    time: TimeCursor { from: window.to, newest: Some(window.to - 5), ..TimeCursor::starting_at(0) },
                    next: None
                }
            )
        );
    }

    #[test]
    fn the_archive_is_not_asked_about_the_last_days() {
        for history in [&BILLS, &FILLS] {
            let (mut at, mut asked) = (PagedCursor::starting_at(NOW - HORIZON_MILLIS), vec![]);
            loop {
                let (path, window) = history.window(&at, NOW);
                let lag = if path == history.archive_path { DAY_MILLIS } else { 0 };
                assert!(window.to <= NOW - lag && window.from < window.to);
                assert!(path == history.archive_path || window.from >= NOW - history.recent);
                asked.push(path);
                let mut page = Page::default();
                after(&mut page, &at, window, NOW, &[]).unwrap();
                at = next(&page);
                if !page.more {
                    break;
                }
            }
            assert_eq!(asked.iter().filter(|path| **path == history.recent_path).count(), 1);
            assert!(at.time.from <= NOW - OVERLAP_MILLIS);
        }
    }

    #[test]
    fn after_a_long_absence_what_is_kept_no_more_is_not_called_read() {
        let old = PagedCursor { next: Some("7".into()), ..PagedCursor::starting_at(NOW - 200 * DAY_MILLIS) };
        assert_eq!(renewed(old, NOW), PagedCursor::starting_at(NOW - HORIZON_MILLIS));
        let young = PagedCursor::starting_at(NOW - HORIZON_MILLIS - 1);
        assert_eq!(renewed(young.clone(), NOW), young);
    }

    #[test]
    fn flows_under_way_are_read_again_and_full_windows_in_halves() {
        let start = TimeCursor::starting_at(FIRST_FLOW_MILLIS);
        let window = start.window(i64::MAX, NOW);
        assert_eq!((window.from, window.to), (FIRST_FLOW_MILLIS, NOW));
        let mut page = Page::default();
        after_flows(&mut page, &start, window, NOW, &rows(&[(1, NOW - 9)])).unwrap();
        let at: TimeCursor = cursor(&page.cursor, TimeCursor::default).unwrap();
        assert_eq!((at.from, page.more, page.covered), (NOW - UNDER_WAY_MILLIS, false, window.covered()));
        let mut page = Page::default();
        after_flows(&mut page, &start, window, NOW, &rows(&[(1, NOW - 9); 100])).unwrap();
        let half: TimeCursor = cursor(&page.cursor, TimeCursor::default).unwrap();
        assert_eq!((half.to, page.more, page.covered), (Some(window.from + (NOW - window.from) / 2), true, None));
        let one = Span { from: 7, to: 7 };
        assert!(after_flows(&mut Page::default(), &start, one, NOW, &rows(&[(1, 7); 100])).is_err());
    }
}
