//! The streams of an account, and paging through them: pure decisions about what to ask next.
//!
//! Bybit answers a window newest first, in pages that a token leads through. A window is complete
//! when its last page was read; only then is it said to be covered, and the next one begun.

use serde::{Deserialize, Serialize};

use super::executions::{INVERSE_FORCED, LINEAR_FORCED, SPOT_FILLS};
use super::flows::{DEPOSITS, INTERNAL_DEPOSITS, TRANSFERS, WITHDRAWALS};
use super::parse::LOG;
use crate::error::VenueError;
use crate::venues::Page;
use crate::venues::paging::{DAY_MILLIS, OVERLAP_MILLIS, Span, TimeCursor, stored};

/// Bybit keeps two years; a day less is asked for, as a back-fill takes its time.
pub const HORIZON_MILLIS: i64 = 729 * DAY_MILLIS;
/// Nothing that begins before this is asked for at all.
const OLDEST_MILLIS: i64 = 730 * DAY_MILLIS - 3_600_000;
/// A token that has lain this long leads nowhere: the window is read from its first page again.
const TOKEN_MILLIS: i64 = 30 * 60 * 1000;

const WEEK: i64 = 7 * DAY_MILLIS - 1;
const MONTH: i64 = 29 * DAY_MILLIS;

/// How a stream is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Feed {
    pub stream: &'static str,
    pub path: &'static str,
    pub params: &'static [(&'static str, &'static str)],
    /// The longest window.
    pub window: i64,
    /// Records in one page.
    pub limit: usize,
    /// The field that holds a record's instant.
    pub time: &'static str,
    /// Read again at each new read: what may still change, such as a withdrawal under way.
    pub overlap: i64,
    pub order: u8,
    pub minutes: u64,
    pub horizon: &'static str,
}

const KEPT: &str = "Bybit keeps two years of records";
const FLOWS_KEPT: &str = "deposits, withdrawals and transfers are read for two years back";

const fn executions(stream: &'static str, params: &'static [(&'static str, &'static str)], order: u8) -> Feed {
    Feed {
        stream,
        path: "/v5/execution/list",
        params,
        window: WEEK,
        limit: 100,
        time: "execTime",
        overlap: OVERLAP_MILLIS,
        order,
        minutes: 2,
        horizon: KEPT,
    }
}

const fn flows(stream: &'static str, path: &'static str, window: i64, time: &'static str, overlap: i64) -> Feed {
    Feed { stream, path, params: &[], window, limit: 50, time, overlap, order: 3, minutes: 10, horizon: FLOWS_KEPT }
}

/// Every stream: which orders were forced first, then the log, which carries their money.
pub static FEEDS: &[Feed] = &[
    executions(LINEAR_FORCED, &[("category", "linear")], 0),
    executions(INVERSE_FORCED, &[("category", "inverse")], 0),
    Feed {
        stream: LOG,
        path: "/v5/account/transaction-log",
        params: &[("accountType", "UNIFIED")],
        window: WEEK,
        limit: 50,
        time: "transactionTime",
        overlap: OVERLAP_MILLIS,
        order: 1,
        minutes: 2,
        horizon: KEPT,
    },
    executions(SPOT_FILLS, &[("category", "spot")], 2),
    flows(DEPOSITS, "/v5/asset/deposit/query-record", MONTH, "successAt", 7 * DAY_MILLIS),
    // Instants in seconds, which are no help for overlaps.
    flows(INTERNAL_DEPOSITS, "/v5/asset/deposit/query-internal-record", MONTH, "", DAY_MILLIS),
    Feed {
        // Those to other users of Bybit too.
        params: &[("withdrawType", "2")],
        ..flows(WITHDRAWALS, "/v5/asset/withdraw/query-record", MONTH, "createTime", 7 * DAY_MILLIS)
    },
    flows(TRANSFERS, "/v5/asset/transfer/query-inter-transfer-list", WEEK, "timestamp", DAY_MILLIS),
];

pub fn feed(stream: &str) -> Option<&'static Feed> {
    FEEDS.iter().find(|feed| feed.stream == stream)
}

/// Where a stream stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCursor {
    pub time: TimeCursor,
    /// Leads to the next page of the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// When the token was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_at: Option<i64>,
}

impl TokenCursor {
    pub fn from_horizon(now: i64) -> Self {
        Self::starting_at(now - HORIZON_MILLIS)
    }

    pub fn starting_at(from: i64) -> Self {
        Self { time: TimeCursor::starting_at(from), ..Self::default() }
    }

    /// Without a token that is too old, and not before the venue's memory.
    pub fn renewed(mut self, now: i64) -> Self {
        if self.given_at.is_none_or(|at| now.saturating_sub(at) > TOKEN_MILLIS) {
            self.token = None;
            self.time.from = self.time.from.max(now.saturating_sub(OLDEST_MILLIS));
        }
        self
    }
}

/// A page as it came.
pub struct Reply<'a> {
    pub rows: usize,
    pub times: &'a [i64],
    pub next: Option<String>,
}

/// After a page: cursor, coverage, and whether more is waiting.
pub fn after(
    page: &mut Page,
    feed: &Feed,
    at: &TokenCursor,
    window: Span,
    now: i64,
    reply: Reply<'_>,
) -> Result<(), VenueError> {
    page.more = true;
    let is_full = reply.rows >= feed.limit;
    match reply.next {
        // Even a short page may have a successor; a token that repeats leads nowhere.
        Some(next) if reply.rows > 0 && at.token.as_ref() != Some(&next) => {
            let time = at.time.next_page(window, reply.times);
            page.cursor = stored(&TokenCursor { time, token: Some(next), given_at: Some(now) });
            return Ok(());
        }
        _ if is_full => {
            // Full, and no way on: records may be missing, so the window is read in halves.
            let half = at.time.halved(window);
            let time = half
                .ok_or_else(|| VenueError::unreadable(feed.path, "one millisecond holds more records than a page"))?;
            page.cursor = stored(&TokenCursor { time, ..TokenCursor::default() });
            return Ok(());
        }
        _ => {}
    }
    let (mut time, more) = at.time.after(window, now, reply.times);
    if !more {
        time.from = time.from.min(window.to - feed.overlap).max(0);
    }
    page.covered = window.covered();
    page.cursor = stored(&TokenCursor { time, ..TokenCursor::default() });
    page.more = more;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venues::paging::cursor;

    const NOW: i64 = 1_767_225_600_000;

    fn log() -> &'static Feed {
        feed(LOG).unwrap()
    }

    fn next(page: &Page) -> TokenCursor {
        cursor(&page.cursor, TokenCursor::default).unwrap()
    }

    fn step(at: &TokenCursor, now: i64, rows: usize, next: Option<&str>) -> Result<Page, VenueError> {
        let window = at.time.window(log().window, now);
        let mut page = Page::default();
        let times = vec![window.from + 1; rows];
        after(&mut page, log(), at, window, now, Reply { rows, times: &times, next: next.map(Into::into) })?;
        Ok(page)
    }

    #[test]
    fn a_window_is_covered_when_its_last_page_was_read() {
        let start = TokenCursor::from_horizon(NOW);
        let first = step(&start, NOW, 50, Some("a")).unwrap();
        assert_eq!((first.covered, first.more, next(&first).token.as_deref()), (None, true, Some("a")));
        let second = step(&next(&first), NOW + 5, 3, Some("b")).unwrap();
        assert_eq!(second.covered, None, "a short page may have a successor");
        let last = step(&next(&second), NOW + 9, 0, Some("b")).unwrap();
        let window = start.time.window(log().window, NOW);
        assert_eq!((last.covered, next(&last).time.from), (window.covered(), window.to));
        assert_eq!(next(&last).token, None);
    }

    #[test]
    fn a_full_page_without_a_way_on_is_read_in_halves() {
        let start = TokenCursor::from_horizon(NOW);
        for token in [None, Some("same")] {
            let at = TokenCursor { token: token.map(Into::into), ..start.clone() };
            let page = step(&at, NOW, 50, token).unwrap();
            assert_eq!((page.covered, page.more), (None, true));
            let half = next(&page).time;
            assert_eq!((half.from, half.to), (start.time.from, Some(start.time.from + log().window / 2)));
        }
        let single = TimeCursor { from: 7, to: Some(7), ..TimeCursor::starting_at(7) };
        assert!(step(&TokenCursor { time: single, ..TokenCursor::default() }, NOW, 50, None).is_err());
    }

    #[test]
    fn an_old_token_is_given_up_and_the_venues_memory_moves_on() {
        let at = TokenCursor { token: Some("a".into()), given_at: Some(NOW), ..TokenCursor::from_horizon(NOW) };
        assert_eq!(at.clone().renewed(NOW + 1000), at);
        assert_eq!(at.clone().renewed(NOW + TOKEN_MILLIS + 1).token, None);
        let late = at.renewed(NOW + 3 * DAY_MILLIS);
        assert_eq!(late.time.from, NOW + 3 * DAY_MILLIS - OLDEST_MILLIS);
    }

    #[test]
    fn caught_up_the_next_read_repeats_what_may_still_change() {
        let feed = feed(WITHDRAWALS).unwrap();
        let at = TokenCursor { time: TimeCursor::starting_at(NOW - DAY_MILLIS), ..TokenCursor::default() };
        let window = at.time.window(feed.window, NOW);
        let mut page = Page::default();
        after(&mut page, feed, &at, window, NOW, Reply { rows: 0, times: &[], next: None }).unwrap();
        assert_eq!((next(&page).time.from, page.more), (NOW - 7 * DAY_MILLIS, false));
        assert!(FEEDS.iter().all(|feed| feed.overlap >= OVERLAP_MILLIS && feed.limit <= 100));
    }
}
