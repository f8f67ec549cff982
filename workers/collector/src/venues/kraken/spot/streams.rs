//! Paging through Kraken spot history: pure decisions about what to ask next.
//!
//! Replies are newest first, fifty records at an offset. The offset counts from the newest record,
//! so a window keeps its end until it has been read whole.

use codash_domain::Timestamp;
use serde::{Deserialize, Serialize};

use crate::venues::Page;
use crate::venues::paging::{DAY_MILLIS, Span, TimeCursor, stored};

/// Records in one reply.
pub const PAGE_LIMIT: usize = 50;
/// The longest window that is read.
pub const WINDOW_MILLIS: i64 = 180 * DAY_MILLIS;
/// 2013-07-01: before Kraken traded. All before is one window.
const OPENING_MILLIS: i64 = 1_372_636_800_000;
/// Windows are asked for in whole seconds: a shorter one is not cut.
const SHORTEST_MILLIS: i64 = 2000;
/// Instants that lie nearer than this are looked up together.
const NEAR_MILLIS: i64 = 10 * 60 * 1000;

/// Where a stream stands: a window and the records of it that were read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetCursor {
    pub time: TimeCursor,
    #[serde(default)]
    pub ofs: usize,
}

impl OffsetCursor {
    pub fn start() -> Self {
        Self { time: TimeCursor { to: Some(OPENING_MILLIS), ..TimeCursor::starting_at(0) }, ofs: 0 }
    }
}

/// `start` (exclusive) and `end` (inclusive) of a request that holds the whole window.
pub fn bounds(window: Span) -> (i64, i64) {
    ((window.from.div_euclid(1000) - 1).max(0), window.to.div_euclid(1000) + 1)
}

/// After a reply of `rows` records, of which the venue says there are `count` in the window.
pub fn after(
    page: &mut Page,
    cursor: &OffsetCursor,
    window: Span,
    now: i64,
    times: &[i64],
    (rows, count): (usize, Option<usize>),
) {
    let read = cursor.ofs + rows;
    let says_more = count.is_some_and(|count| read < count);
    if rows >= PAGE_LIMIT || (rows > 0 && says_more) {
        page.cursor = stored(&OffsetCursor { time: cursor.time.next_page(window, times), ofs: read });
        page.more = true;
        return;
    }
    // Nothing came, and the venue says that something is missing: smaller windows bring it, or show
    // that the count was wrong.
    if says_more
        && window.to - window.from > SHORTEST_MILLIS
        && let Some(time) = cursor.time.halved(window)
    {
        page.cursor = stored(&OffsetCursor { time, ofs: 0 });
        page.more = true;
        return;
    }
    let (time, more) = cursor.time.after(window, now, times);
    page.cursor = stored(&OffsetCursor { time, ofs: 0 });
    page.covered = window.covered();
    page.more = more;
}

/// Spans of time that hold all these instants, with two seconds to spare.
pub fn spans(mut times: Vec<Timestamp>) -> Vec<Span> {
    times.sort_unstable();
    let mut spans: Vec<Span> = Vec::new();
    for at in times.into_iter().map(Timestamp::millis) {
        match spans.last_mut() {
            Some(span) if at - span.to < NEAR_MILLIS => span.to = at + 2000,
            _ => spans.push(Span { from: at - 2000, to: at + 2000 }),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venues::paging::cursor;

    const NOW: i64 = 1_767_225_600_000;

    fn step(at: &OffsetCursor, rows: usize, count: Option<usize>) -> (Page, OffsetCursor) {
        let mut page = Page::default();
        after(&mut page, at, at.time.window(WINDOW_MILLIS, NOW), NOW, &[], (rows, count));
        let next = cursor(&page.cursor, OffsetCursor::start).unwrap();
        (page, next)
    }

    #[test]
    fn a_window_is_said_to_be_read_when_it_is() {
        let at = OffsetCursor { time: TimeCursor::starting_at(OPENING_MILLIS), ofs: 0 };
        let window = at.time.window(WINDOW_MILLIS, NOW);
        let (page, next) = step(&at, 50, Some(50));
        assert_eq!((page.covered, page.more, next.ofs, next.time.to), (None, true, 50, Some(window.to)));
        let (page, next) = step(&next, 0, Some(50));
        assert_eq!((page.covered, next.ofs, next.time.from), (window.covered(), 0, window.to));
        let (page, next) = step(&at, 30, Some(70));
        assert_eq!((page.covered, next.ofs), (None, 30), "a short page is not the last one");
        assert_eq!(step(&at, 30, None).0.covered, window.covered());
    }

    #[test]
    fn records_that_are_counted_but_not_given_are_looked_for_in_smaller_windows() {
        let mut at = OffsetCursor { time: TimeCursor::starting_at(OPENING_MILLIS), ofs: 50 };
        let mut cuts = 0;
        let covered = loop {
            let (page, next) = step(&at, 0, Some(60));
            if let Some(covered) = page.covered {
                break covered;
            }
            (at, cuts) = (next, cuts + 1);
        };
        assert!(
            cuts < 30 && (covered.0.millis(), covered.1.millis() - covered.0.millis() < 2001) == (OPENING_MILLIS, true)
        );
    }

    #[test]
    fn what_came_before_the_opening_is_one_window_and_requests_hold_their_window() {
        let start = OffsetCursor::start();
        let window = start.time.window(WINDOW_MILLIS, NOW);
        assert_eq!((window.from, window.to), (0, OPENING_MILLIS));
        assert_eq!(bounds(Span { from: 5_999, to: 7_001 }), (4, 8));
        assert_eq!(bounds(window).0, 0);
    }

    #[test]
    fn near_instants_are_looked_up_together() {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        let found = spans(vec![at(9_000_000), at(100_000), at(400_000)]);
        let told: Vec<_> = found.iter().map(|span| (span.from, span.to)).collect();
        assert_eq!(told, [(98_000, 402_000), (8_998_000, 9_002_000)]);
    }
}
