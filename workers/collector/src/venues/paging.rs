//! Reading forwards in time, in windows that can be restarted anywhere.
//!
//! A window that came back full may lack any of its records: it is read again in a smaller piece,
//! so that records that share a millisecond are never cut apart.

use codash_domain::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Page;
use super::wire::{Millis, Text, maybe_text};
use crate::error::VenueError;

pub const DAY_MILLIS: i64 = 24 * 3600 * 1000;
/// Read again at each new read, for records that arrived late.
pub const OVERLAP_MILLIS: i64 = 5 * 60 * 1000;
/// An old last record is not worth reading more than this again.
const LONGEST_OVERLAP_MILLIS: i64 = 6 * DAY_MILLIS;

/// An inclusive span of Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: i64,
    pub to: i64,
}

impl Span {
    pub fn covered(self) -> Option<(Timestamp, Timestamp)> {
        Timestamp::from_millis(self.from).zip(Timestamp::from_millis(self.to))
    }

    /// The first half, which never is the whole of more than one millisecond.
    fn first_half(self) -> i64 {
        self.from + (self.to - self.from) / 2
    }
}

/// Reads the stored cursor; what was never read starts from `start`.
pub fn cursor<T: serde::de::DeserializeOwned>(stored: &Value, start: impl FnOnce() -> T) -> Result<T, VenueError> {
    if stored.is_null() {
        return Ok(start());
    }
    serde_json::from_value(stored.clone())
        .map_err(|error| VenueError::unreadable("the stored cursor", error.to_string()))
}

/// Our cursors are plain structs, which cannot fail to be written.
pub fn stored<T: Serialize>(cursor: &T) -> Value {
    serde_json::to_value(cursor).unwrap_or(Value::Null)
}

/// The instants of a page's records, in the order received; records without one are unreadable elsewhere.
pub fn times<T: AsRef<serde_json::value::RawValue>>(rows: &[T]) -> Vec<i64> {
    #[derive(Deserialize)]
    struct Timed {
        time: Millis,
    }
    let time = |raw: &T| Some(serde_json::from_str::<Timed>(raw.as_ref().get()).ok()?.time.0.millis());
    rows.iter().filter_map(time).collect()
}

/// Ids and instants of a page's records.
pub fn ids<T: AsRef<serde_json::value::RawValue>>(rows: &[T]) -> Vec<(u64, i64)> {
    #[derive(Deserialize)]
    struct Numbered {
        id: Text,
        time: Millis,
    }
    let id = |raw: &T| {
        let row: Numbered = serde_json::from_str(raw.as_ref().get()).ok()?;
        Some((row.id.0.parse().ok()?, row.time.0.millis()))
    };
    rows.iter().filter_map(id).collect()
}

/// Where a stream that is read by time stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeCursor {
    /// Where the next window starts.
    pub from: i64,
    /// Where it ends, when that has been fixed: by pages of one window, or by a full reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<i64>,
    /// The page of the window, for venues that number them.
    #[serde(default = "first_page")]
    pub page: u32,
    /// How long windows are at most after one was full; it grows again with every one that is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<i64>,
    /// The newest record seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<i64>,
}

fn first_page() -> u32 {
    1
}

impl TimeCursor {
    pub fn starting_at(from: i64) -> Self {
        Self { from: from.max(0), to: None, page: 1, step: None, newest: None }
    }

    /// The window to ask for: at most `longest`, never past `now`.
    pub fn window(&self, longest: i64, now: i64) -> Span {
        let from = self.from.min(now);
        let length = longest.min(self.step.unwrap_or(longest));
        let to = self.to.unwrap_or_else(|| from.saturating_add(length)).min(now);
        Span { from, to: to.max(from) }
    }

    fn saw(&self, times: &[i64]) -> Option<i64> {
        times.iter().copied().chain(self.newest).max()
    }

    /// The same window, next page.
    pub fn next_page(&self, window: Span, times: &[i64]) -> Self {
        Self { from: window.from, to: Some(window.to), page: self.page + 1, step: self.step, newest: self.saw(times) }
    }

    /// The rest of the same window.
    pub fn on_from(&self, from: i64, window: Span, times: &[i64]) -> Self {
        Self { from, to: Some(window.to), page: 1, step: self.step, newest: self.saw(times) }
    }

    /// The window was full: its first half, or `None` when it is a single millisecond already.
    pub fn halved(&self, window: Span) -> Option<Self> {
        let to = window.first_half();
        let step = Some((to - window.from).max(1));
        (window.from < window.to).then_some(Self {
            from: window.from,
            to: Some(to),
            page: 1,
            step,
            newest: self.newest,
        })
    }

    /// The window is complete. The second value says whether more is waiting now: caught up, the
    /// next read overlaps by five minutes and the last record.
    pub fn after(&self, window: Span, now: i64, times: &[i64]) -> (Self, bool) {
        let newest = self.saw(times);
        if window.to < now {
            let step = self.step.map(|step| step.saturating_mul(2));
            return (Self { from: window.to, to: None, page: 1, step, newest }, true);
        }
        let overlap = (window.to - OVERLAP_MILLIS).min(newest.unwrap_or(window.to));
        let from = overlap.max(window.to - LONGEST_OVERLAP_MILLIS).max(0);
        (Self { from, to: None, page: 1, step: None, newest }, false)
    }
}

/// Where a stream stands whose windows are read page by page, the newest records first: each page says
/// where the next one starts, by an id or a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PagedCursor {
    pub time: TimeCursor,
    /// Where the window's next page starts. Stored under other names before.
    #[serde(
        default,
        alias = "after",
        alias = "before",
        deserialize_with = "maybe_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub next: Option<String>,
}

impl PagedCursor {
    pub fn starting_at(from: i64) -> Self {
        Self { time: TimeCursor::starting_at(from), next: None }
    }

    /// After a page of `endpoint`. A window is complete with the page that has no `next`, and only then
    /// is anything of it covered.
    pub fn turn(
        &self,
        page: &mut Page,
        endpoint: &str,
        (window, now): (Span, i64),
        times: &[i64],
        next: Option<String>,
    ) -> Result<(), VenueError> {
        if next.is_some() {
            if self.next == next {
                return Err(VenueError::unreadable(endpoint, "a page that does not advance"));
            }
            page.cursor = stored(&Self { time: self.time.next_page(window, times), next });
            page.more = true;
            return Ok(());
        }
        let (time, more) = self.time.after(window, now, times);
        page.cursor = stored(&Self { time, next });
        page.covered = window.covered();
        page.more = more;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_storage_and_a_strange_one_is_refused() {
        let cursor_ = TimeCursor { from: 5, to: Some(9), page: 3, step: None, newest: Some(7) };
        assert_eq!(cursor(&stored(&cursor_), TimeCursor::default).unwrap(), cursor_);
        assert_eq!(cursor(&Value::Null, || TimeCursor::starting_at(4)).unwrap().from, 4);
        assert!(cursor::<TimeCursor>(&Value::Bool(true), TimeCursor::default).is_err());
    }

    #[test]
    fn windows_walk_to_the_present_and_then_overlap() {
        let now = 10 * DAY_MILLIS;
        let start = TimeCursor::starting_at(0);
        let first = start.window(7 * DAY_MILLIS, now);
        assert_eq!((first.from, first.to), (0, 7 * DAY_MILLIS));
        let (second, more) = start.after(first, now, &[5]);
        assert!(more);
        let window = second.window(7 * DAY_MILLIS, now);
        assert_eq!((window.from, window.to), (7 * DAY_MILLIS, now));
        let (third, more) = second.after(window, now, &[now - 1000]);
        assert_eq!((third.from, more), (now - OVERLAP_MILLIS, false));
        let (quiet, _) = second.after(window, now, &[]);
        assert_eq!(quiet.from, now - LONGEST_OVERLAP_MILLIS, "the last record is older than the longest overlap");
    }

    #[test]
    fn a_window_of_several_pages_stays_as_it_is_until_its_last() {
        let (start, now) = (PagedCursor::starting_at(0), 10 * DAY_MILLIS);
        let window = start.time.window(DAY_MILLIS, now);
        let mut page = Page::default();
        start.turn(&mut page, "x", (window, now), &[5], Some("a".into())).unwrap();
        assert_eq!((page.covered, page.more), (None, true));
        let second: PagedCursor = cursor(&page.cursor, PagedCursor::default).unwrap();
        assert_eq!((second.time.window(DAY_MILLIS, now + 9), second.next.as_deref()), (window, Some("a")));
        assert!(second.turn(&mut page, "x", (window, now), &[], Some("a".into())).is_err(), "it does not advance");
        second.turn(&mut page, "x", (window, now), &[], None).unwrap();
        assert_eq!((page.covered, page.more), (window.covered(), true));
    }

    #[test]
    fn what_was_stored_under_other_names_goes_on_where_it_was() {
        for older in [r#"{"time":{"from":5},"after":801}"#, r#"{"time":{"from":5},"before":"801"}"#] {
            let read: PagedCursor = cursor(&serde_json::from_str(older).unwrap(), PagedCursor::default).unwrap();
            assert_eq!(read, PagedCursor { next: Some("801".into()), ..PagedCursor::starting_at(5) });
        }
    }

    #[test]
    fn a_full_window_is_halved_down_to_one_millisecond() {
        let mut cursor = TimeCursor::starting_at(0);
        let mut window = cursor.window(1000, 5000);
        let mut steps = 0;
        while let Some(half) = cursor.halved(window) {
            cursor = half;
            window = cursor.window(1000, 5000);
            steps += 1;
        }
        assert_eq!((window.from, window.to, steps), (0, 0, 10));
    }
}
