//! Paging through Coinbase history: pure decisions about what to ask next.

use serde::{Deserialize, Serialize};

use super::parse::Progress;
use crate::error::VenueError;
use crate::venues::Page;
use crate::venues::paging::{DAY_MILLIS, OVERLAP_MILLIS, PagedCursor, Span, stored};

/// Fills in one reply.
pub const FILLS_LIMIT: usize = 100;
/// Transactions in one reply.
pub const TRANSACTIONS_LIMIT: usize = 100;
/// A window of fills, from the first year of Coinbase on.
const WINDOW_MILLIS: i64 = 180 * DAY_MILLIS;
/// 2012-06-01: nobody traded there before.
const FIRST_MILLIS: i64 = 1_338_508_800_000;
/// A transaction that is pending longer than this is not waited for any more.
const PATIENCE_MILLIS: i64 = 45 * DAY_MILLIS;

/// The window of fills to ask for.
pub fn fills_window(at: &PagedCursor, now: i64) -> Span {
    let longest = if at.time.from < FIRST_MILLIS { FIRST_MILLIS } else { WINDOW_MILLIS };
    at.time.window(longest, now)
}

/// Where the window's next page of fills starts. A token that comes with nothing leads nowhere.
pub fn next_fills(token: Option<String>, rows: usize) -> Option<String> {
    token.filter(|_| rows > 0)
}

/// Where the transactions of a wallet stand, oldest first, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalletCursor {
    /// The next page starts after this transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The next round starts after this one: everything up to it will not change any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<String>,
    /// True once a transaction was met that this round's anchor must not pass.
    #[serde(default)]
    pub anchored: bool,
    /// When this round began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<i64>,
    /// Complete up to here.
    #[serde(default)]
    pub through: i64,
}

/// After a page of a wallet's transactions, oldest first.
pub fn after_transactions(
    page: &mut Page,
    cursor: &WalletCursor,
    now: i64,
    steps: &[(String, i64, Progress)],
    is_last: bool,
) -> Result<(), VenueError> {
    let began = cursor.began.unwrap_or(now);
    let (mut anchor, mut anchored) = (cursor.anchor.clone(), cursor.anchored);
    for (index, (id, at, progress)) in steps.iter().enumerate() {
        let waits = *progress == Progress::Waiting && now - at < PATIENCE_MILLIS;
        // Each round repeats five minutes, and the last record.
        let repeats = began - at < OVERLAP_MILLIS || (is_last && index + 1 == steps.len());
        anchored = anchored || waits || repeats;
        if !anchored {
            anchor = Some(id.clone());
        }
    }
    if !is_last {
        let (last, ..) =
            steps.last().ok_or_else(|| VenueError::unreadable("the transactions", "an empty full page"))?;
        if cursor.after.as_ref() == Some(last) {
            return Err(VenueError::unreadable("the transactions", "a page that does not advance"));
        }
        let next =
            WalletCursor { after: Some(last.clone()), anchor, anchored, began: Some(began), through: cursor.through };
        page.cursor = stored(&next);
        page.more = true;
        return Ok(());
    }
    let through = began.max(cursor.through);
    page.cursor = stored(&WalletCursor { after: anchor.clone(), anchor, anchored: false, began: None, through });
    page.covered = Span { from: cursor.through, to: through }.covered();
    page.more = false;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venues::paging::cursor;

    const NOW: i64 = 1_767_225_600_000;

    #[test]
    fn a_window_of_fills_is_covered_with_its_last_page_only() {
        let mut page = Page::default();
        let start = PagedCursor::starting_at(NOW - DAY_MILLIS);
        let window = fills_window(&start, NOW);
        start.turn(&mut page, "x", (window, NOW), &[NOW - 5], next_fills(Some("t1".into()), 100)).unwrap();
        assert_eq!((page.covered, page.more), (None, true));
        let second: PagedCursor = cursor(&page.cursor, PagedCursor::default).unwrap();
        assert_eq!(fills_window(&second, NOW + 1000), window, "the same window, whatever the time");
        assert!(second.turn(&mut page, "x", (window, NOW), &[], next_fills(Some("t1".into()), 1)).is_err());
        second.turn(&mut page, "x", (window, NOW), &[], next_fills(Some("t2".into()), 0)).unwrap();
        assert_eq!(page.covered, Span { from: NOW - DAY_MILLIS, to: NOW }.covered());
        assert!(!page.more);
    }

    #[test]
    fn the_first_window_reaches_to_where_history_begins() {
        let start = PagedCursor::starting_at(0);
        let window = fills_window(&start, NOW);
        assert_eq!(window, Span { from: 0, to: FIRST_MILLIS });
        let mut page = Page::default();
        start.turn(&mut page, "x", (window, NOW), &[], None).unwrap();
        let next: PagedCursor = cursor(&page.cursor, PagedCursor::default).unwrap();
        assert_eq!(fills_window(&next, NOW), Span { from: FIRST_MILLIS, to: FIRST_MILLIS + WINDOW_MILLIS });
    }

    fn step(id: &str, at: i64, progress: Progress) -> (String, i64, Progress) {
        (id.into(), at, progress)
    }

    #[test]
    fn the_next_round_starts_before_whatever_may_still_change() {
        let mut page = Page::default();
        let old = NOW - DAY_MILLIS;
        let steps =
            [step("a", old, Progress::Done), step("b", old + 1, Progress::Waiting), step("c", old + 2, Progress::Done)];
        after_transactions(&mut page, &WalletCursor::default(), NOW, &steps, true).unwrap();
        let next: WalletCursor = cursor(&page.cursor, WalletCursor::default).unwrap();
        assert_eq!((next.after.as_deref(), next.anchored, next.through), (Some("a"), false, NOW));
        assert_eq!(page.covered, Span { from: 0, to: NOW }.covered());
        // Too old to wait for; the last one is repeated all the same.
        let steps = steps.map(|(id, at, progress)| (id, at - PATIENCE_MILLIS, progress));
        after_transactions(&mut page, &WalletCursor::default(), NOW, &steps, true).unwrap();
        assert_eq!(page.cursor["after"], "b");
    }

    #[test]
    fn pages_follow_each_other_by_id_and_the_round_is_covered_at_its_end() {
        let mut page = Page::default();
        let steps = [step("a", 5, Progress::Done), step("b", 6, Progress::Done)];
        after_transactions(&mut page, &WalletCursor::default(), NOW, &steps, false).unwrap();
        let next: WalletCursor = cursor(&page.cursor, WalletCursor::default).unwrap();
        assert_eq!(
            (next.after.as_deref(), next.anchor.as_deref(), page.more, page.covered),
            (Some("b"), Some("b"), true, None)
        );
        assert!(after_transactions(&mut page, &next, NOW + 9, &steps, false).is_err(), "it does not advance");
        after_transactions(&mut page, &next, NOW + 9, &[], true).unwrap();
        let last: WalletCursor = cursor(&page.cursor, WalletCursor::default).unwrap();
        assert_eq!((last.after.as_deref(), last.through), (Some("b"), NOW));
        assert!(!page.more);
    }
}
