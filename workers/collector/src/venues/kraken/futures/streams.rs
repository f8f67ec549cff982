//! Paging through Kraken Futures history: pure decisions about what to ask next.

use codash_domain::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::VenueError;
use crate::venues::Page;
use crate::venues::paging::{OVERLAP_MILLIS, Span, stored};
use crate::venues::wire::Text;

/// Entries that are asked for at once.
pub const LOG_LIMIT: usize = 1000;
/// Fills in one reply; the venue lets nobody choose.
pub const FILLS_LIMIT: usize = 100;

/// Where the account log stands. Its entries are numbered from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogCursor {
    /// Asked for inclusively.
    pub from: u64,
    /// Executions older than this were read with both their entries.
    pub after: i64,
    /// Complete up to here.
    pub through: i64,
}

impl LogCursor {
    pub fn start() -> Self {
        Self { from: 1, after: 0, through: 0 }
    }
}

/// Number and instant of each entry.
fn heads(rows: &[Box<RawValue>]) -> Vec<Option<(u64, i64)>> {
    #[derive(Deserialize)]
    struct Head {
        id: Text,
        date: Timestamp,
    }
    let head = |raw: &RawValue| {
        let head: Head = serde_json::from_str(raw.get()).ok()?;
        Some((head.id.0.parse().ok()?, head.date.millis()))
    };
    rows.iter().map(|raw| head(raw)).collect()
}

/// After a reply of the log: sets cursor and coverage, and gives the entries that may be read now.
/// Of a full reply, the last instant is held back: the other entry of an execution may be missing.
pub fn after_log(
    page: &mut Page,
    cursor: &LogCursor,
    now: i64,
    rows: Vec<Box<RawValue>>,
) -> Result<Vec<Box<RawValue>>, VenueError> {
    const ENDPOINT: &str = "/api/history/v3/account-log";
    let heads = heads(&rows);
    let known = || heads.iter().flatten().copied();
    let newest = known().map(|(_, at)| at).max();
    let first_since = |instant: i64| known().filter(|(_, at)| *at >= instant).map(|(id, _)| id).min();
    if rows.len() < LOG_LIMIT {
        let through = now.max(cursor.through);
        let after = newest.map_or(cursor.after, |newest| newest.min(through - OVERLAP_MILLIS).max(0));
        let from = first_since(after).unwrap_or(cursor.from);
        page.cursor = stored(&LogCursor { from, after, through });
        page.covered = Span { from: cursor.through, to: through }.covered();
        page.more = false;
        return Ok(rows);
    }
    let stuck = || VenueError::unreadable(ENDPOINT, "a full reply whose entries do not advance");
    let last = newest.ok_or_else(stuck)?;
    let from = first_since(last).filter(|from| *from > cursor.from).ok_or_else(stuck)?;
    let through = (last - 1).max(cursor.through);
    page.cursor = stored(&LogCursor { from, after: last, through });
    page.covered = Span { from: cursor.through, to: through }.covered().filter(|_| through > cursor.through);
    page.more = true;
    let is_ready = |head: &Option<(u64, i64)>| head.is_none_or(|(_, at)| at < last);
    Ok(rows.into_iter().zip(&heads).filter(|(_, head)| is_ready(head)).map(|(raw, _)| raw).collect())
}

/// Leaves out what is half of an execution that was read whole before: its other entry came before
/// the first one that was asked for.
pub fn whole(joined: Vec<Box<RawValue>>, after: i64) -> Vec<Box<RawValue>> {
    #[derive(Deserialize)]
    struct Half {
        date: Timestamp,
        execution: Text,
        contract: String,
    }
    let is_old_half = |raw: &RawValue| {
        let half = serde_json::from_str::<Half>(raw.get());
        half.is_ok_and(|half| !half.execution.0.is_empty() && !half.contract.is_empty() && half.date.millis() < after)
    };
    joined.into_iter().filter(|raw| !is_old_half(raw)).collect()
}

/// Where the fills stand. They are read backwards, from now to where the last pass began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FillCursor {
    /// Complete up to here.
    pub through: i64,
    /// When the present pass began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<i64>,
    /// The pass has come down to here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
}

/// After a reply of fills.
pub fn after_fills(
    page: &mut Page,
    cursor: &FillCursor,
    now: i64,
    times: &[i64],
    rows: usize,
) -> Result<(), VenueError> {
    let began = cursor.began.unwrap_or(now).max(cursor.through);
    let oldest = times.iter().copied().min();
    let is_back = oldest.is_some_and(|oldest| oldest < cursor.through - OVERLAP_MILLIS);
    if rows < FILLS_LIMIT || is_back {
        page.cursor = stored(&FillCursor { through: began, began: None, before: None });
        page.covered = Span { from: cursor.through, to: began }.covered();
        page.more = false;
        return Ok(());
    }
    // Fills of the oldest instant may have been cut off: it is asked for again.
    let before = oldest.map(|oldest| oldest + 1).filter(|before| cursor.before.is_none_or(|last| *before < last));
    let before = before
        .ok_or_else(|| VenueError::unreadable("/derivatives/api/v3/fills", "a full reply that does not go back"))?;
    page.cursor = stored(&FillCursor { through: cursor.through, began: Some(began), before: Some(before) });
    page.more = true;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venues::paging::cursor;

    const NOW: i64 = 1_767_225_600_000;

    fn entry(id: u64, at: i64) -> Box<RawValue> {
        let date = Timestamp::from_millis(at).unwrap();
        RawValue::from_string(format!(r#"{{"id":{id},"date":"{date}","execution":"e{id}","contract":"c"}}"#)).unwrap()
    }

    #[test]
    fn the_last_instant_of_a_full_reply_is_read_again_and_only_then_counted() {
        let rows: Vec<_> = (1..=1000_u64).map(|id| entry(id, NOW + id.cast_signed() / 3)).collect();
        let mut page = Page::default();
        let ready = after_log(&mut page, &LogCursor::start(), NOW + 9999, rows).unwrap();
        let next: LogCursor = cursor(&page.cursor, LogCursor::start).unwrap();
        // 999 and 1000 share the last instant.
        assert_eq!((ready.len(), next), (998, LogCursor { from: 999, after: NOW + 333, through: NOW + 332 }));
        assert_eq!(page.covered, Span { from: 0, to: NOW + 332 }.covered());
        let same: Vec<_> = (1..=1000).map(|id| entry(id, NOW)).collect();
        assert!(after_log(&mut page, &LogCursor::start(), NOW, same).is_err());
    }

    #[test]
    fn caught_up_five_minutes_and_the_last_entry_are_read_again() {
        let at = LogCursor { from: 1, after: 0, through: NOW - 50 };
        let rows = vec![entry(1, NOW - 900_000), entry(2, NOW - 200_000), entry(3, NOW - 10)];
        let mut page = Page::default();
        assert_eq!(after_log(&mut page, &at, NOW, rows).unwrap().len(), 3);
        let next: LogCursor = cursor(&page.cursor, LogCursor::start).unwrap();
        assert_eq!(next, LogCursor { from: 2, after: NOW - OVERLAP_MILLIS, through: NOW });
        assert_eq!((page.covered, page.more), (Span { from: NOW - 50, to: NOW }.covered(), false));
        let quiet = vec![entry(3, NOW - 900_000)];
        after_log(&mut page, &next, NOW + 5, quiet).unwrap();
        let next: LogCursor = cursor(&page.cursor, LogCursor::start).unwrap();
        assert_eq!((next.from, next.after), (3, NOW - 900_000));
    }

    #[test]
    fn half_of_an_old_execution_is_left_out() {
        let pair = RawValue::from_string("[1,2]".into()).unwrap();
        let rows = vec![entry(1, NOW - 1), entry(2, NOW), pair];
        assert_eq!(whole(rows, NOW).len(), 2);
    }

    #[test]
    fn fills_are_read_back_to_where_the_last_pass_began() {
        let mut page = Page::default();
        let at = FillCursor { through: NOW - 1_000_000, ..FillCursor::default() };
        after_fills(&mut page, &at, NOW, &[NOW - 5, NOW - 10], 100).unwrap();
        let next: FillCursor = cursor(&page.cursor, FillCursor::default).unwrap();
        assert_eq!((next.began, next.before, page.covered, page.more), (Some(NOW), Some(NOW - 9), None, true));
        assert!(after_fills(&mut page, &next, NOW + 7, &[NOW - 10], 100).is_err());
        after_fills(&mut page, &next, NOW + 7, &[NOW - 10, NOW - 2_000_000], 100).unwrap();
        let next: FillCursor = cursor(&page.cursor, FillCursor::default).unwrap();
        assert_eq!(next, FillCursor { through: NOW, ..FillCursor::default() });
        assert_eq!(page.covered, Span { from: NOW - 1_000_000, to: NOW }.covered());
    }
}
