//! Paging through Hyperliquid history: pure decisions about what to ask next.

use serde::{Deserialize, Serialize};

use crate::error::VenueError;
use crate::venues::Page;
use crate::venues::paging::{Span, TimeCursor, stored};

/// Rows in one reply of `userFillsByTime`.
pub const FILLS_LIMIT: usize = 2000;
/// Rows in one reply of the other types that take a time. Where more come, nothing is lost.
pub const LIMIT: usize = 500;
/// The venue keeps the newest 10000 fills. With nearly as many read, older ones may be gone.
const KEPT_FILLS: usize = 9_500;

/// Where a stream stands, and how much of its back-fill was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryCursor {
    pub time: TimeCursor,
    /// True once the present was reached.
    #[serde(default)]
    pub live: bool,
    /// Rows of the back-fill so far, repeated ones left out.
    #[serde(default)]
    pub rows: usize,
    /// The oldest row of the back-fill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<i64>,
}

impl HistoryCursor {
    pub fn start() -> Self {
        Self { time: TimeCursor::starting_at(0), ..Self::default() }
    }

    /// Reads again from an instant on: not a back-fill, so nothing older is said to be complete.
    pub fn again(from: i64) -> Self {
        Self { time: TimeCursor::starting_at(from), live: true, ..Self::default() }
    }

    /// Counts a reply towards the back-fill.
    fn counted(&self, times: &[i64]) -> Self {
        let new = times.iter().filter(|time| self.time.newest.is_none_or(|newest| **time > newest)).count();
        let oldest = times.iter().copied().chain(self.oldest).min();
        Self { rows: self.rows + new, oldest, ..self.clone() }
    }

    /// How far back a window that reads to its end is known to be complete.
    fn known_from(&self, from: i64, keeps_all: bool) -> Option<i64> {
        if self.live || keeps_all { Some(from) } else { self.oldest.map(|oldest| oldest.max(from)) }
    }
}

/// After a reply: cursor, coverage, and whether more is waiting. With the reply's limit comes
/// whether the venue keeps the whole history.
pub fn after(
    page: &mut Page,
    cursor: &HistoryCursor,
    window: Span,
    now: i64,
    times: &[i64],
    (limit, keeps_all): (usize, bool),
) -> Result<(), VenueError> {
    if times.len() >= limit {
        return after_full(page, cursor, window, times, keeps_all);
    }
    let counted = cursor.counted(times);
    let (time, more) = counted.time.after(window, now, times);
    let back_filled = !counted.live && !more && (keeps_all || counted.rows < KEPT_FILLS);
    let from = if back_filled { Some(0) } else { counted.known_from(window.from, keeps_all) };
    page.covered = from.and_then(|from| Span { from: from.min(window.to), to: window.to }.covered());
    page.cursor = stored(&HistoryCursor { time, live: counted.live || !more, ..counted });
    page.more = more;
    Ok(())
}

/// A full reply lacks rows. Oldest first: it lacks the newest, so go on at its last instant, which
/// may hold more rows. Newest first: it lacks the oldest, so read a smaller window.
fn after_full(
    page: &mut Page,
    cursor: &HistoryCursor,
    window: Span,
    times: &[i64],
    keeps_all: bool,
) -> Result<(), VenueError> {
    let first = times.iter().copied().min().unwrap_or(window.from);
    let last = times.iter().copied().max().unwrap_or(window.to);
    if first == last {
        return Err(VenueError::unreadable("the history", "one millisecond holds more rows than a reply"));
    }
    page.more = true;
    if times.first() > times.last() {
        let half = cursor.time.halved(window);
        let time =
            half.ok_or_else(|| VenueError::unreadable("the history", "a window that cannot be made smaller is full"))?;
        // Its rows are counted when they are read again.
        page.cursor = stored(&HistoryCursor { time, ..cursor.clone() });
        return Ok(());
    }
    let counted = cursor.counted(times);
    let from = counted.known_from(window.from, keeps_all);
    page.covered = from.filter(|from| *from < last).and_then(|from| Span { from, to: last - 1 }.covered());
    let time = TimeCursor { from: last, to: counted.time.to, page: 1, step: counted.time.step, newest: Some(last) };
    page.cursor = stored(&HistoryCursor { time, ..counted });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venues::paging::{OVERLAP_MILLIS, cursor};

    const NOW: i64 = 1_767_225_600_000;
    const FEW: (usize, bool) = (4, false);

    /// Reads a whole history of rows through a venue that cuts replies as told.
    fn read_all(rows: &[i64], limit: usize, newest_first: bool) -> (Vec<i64>, Vec<(i64, i64)>) {
        let (mut at, mut seen, mut spans) = (HistoryCursor::start(), vec![], vec![]);
        for _ in 0..200 {
            let window = at.time.window(i64::MAX, NOW);
            let mut reply: Vec<i64> = rows.iter().copied().filter(|t| (window.from..=window.to).contains(t)).collect();
            if newest_first {
                reply.reverse();
            }
            reply.truncate(limit);
            seen.extend(&reply);
            let mut page = Page::default();
            after(&mut page, &at, window, NOW, &reply, (limit, false)).unwrap();
            spans.extend(page.covered.map(|(from, to)| (from.millis(), to.millis())));
            at = cursor(&page.cursor, HistoryCursor::start).unwrap();
            if !page.more {
                seen.sort_unstable();
                seen.dedup();
                return (seen, spans);
            }
        }
        panic!("the present was never reached");
    }

    #[test]
    fn no_row_is_lost_whichever_end_of_a_window_the_venue_cuts_off() {
        let rows: Vec<i64> = (0..40).map(|i| NOW - 40_000 + i * 997).collect();
        for newest_first in [false, true] {
            let (seen, spans) = read_all(&rows, 7, newest_first);
            assert_eq!(seen, rows);
            assert!(spans.iter().any(|(_, to)| *to == NOW) && spans.iter().all(|(_, to)| *to <= NOW));
            assert!(spans.contains(&(0, NOW)), "fewer rows than the venue keeps: the history is whole");
        }
    }

    #[test]
    fn a_millisecond_with_too_many_rows_is_told_and_not_looped_over() {
        let at = HistoryCursor::start();
        let window = at.time.window(i64::MAX, NOW);
        let error = after(&mut Page::default(), &at, window, NOW, &[5, 5, 5, 5], FEW).unwrap_err();
        assert!(matches!(error, VenueError::Unreadable { .. }));
    }

    #[test]
    fn read_again_nothing_older_is_said_to_be_complete() {
        let (mut page, at) = (Page::default(), HistoryCursor::again(NOW - 5000));
        after(&mut page, &at, at.time.window(i64::MAX, NOW), NOW, &[NOW - 50], FEW).unwrap();
        assert_eq!(page.covered.map(|(from, to)| (from.millis(), to.millis())), Some((NOW - 5000, NOW)));
    }

    #[test]
    fn rows_that_share_the_last_millisecond_are_read_again() {
        let (mut page, at) = (Page::default(), HistoryCursor::start());
        let window = at.time.window(i64::MAX, NOW);
        after(&mut page, &at, window, NOW, &[3, 4, 9, 9], FEW).unwrap();
        let next: HistoryCursor = cursor(&page.cursor, HistoryCursor::start).unwrap();
        assert_eq!((next.time.from, next.rows, page.more), (9, 4, true));
        assert_eq!(page.covered.map(|(from, to)| (from.millis(), to.millis())), Some((3, 8)));
    }

    #[test]
    fn when_the_venue_may_have_forgotten_the_history_begins_at_its_first_row() {
        let at = HistoryCursor { rows: KEPT_FILLS, oldest: Some(NOW - 9000), ..HistoryCursor::start() };
        let mut page = Page::default();
        after(&mut page, &at, at.time.window(i64::MAX, NOW), NOW, &[NOW - 50], FEW).unwrap();
        assert_eq!(page.covered.unwrap().0.millis(), NOW - 9000);
        let live: HistoryCursor = cursor(&page.cursor, HistoryCursor::start).unwrap();
        assert_eq!((live.live, live.time.from), (true, NOW - OVERLAP_MILLIS));
    }
}
