//! KuCoin's streams, and pure decisions about what to ask next.
//!
//! Every list is newest first. A window is therefore read whole, page after page, before the next
//! one is begun, and it is covered only then.

use codash_domain::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::ledger::{FUTURES_LEDGER, MAIN_LEDGER, SPOT_LEDGER};
use super::parse::{FUTURES_FILLS, FUTURES_FUNDING, FUTURES_POSITIONS, SPOT_FILLS, instant};
use crate::error::VenueError;
use crate::venues::Page;
use crate::venues::paging::{DAY_MILLIS, Span, TimeCursor, cursor, stored};
use crate::venues::wire::{Text, read};

/// How the pages of a window are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paging {
    /// By number.
    Numbered { page: &'static str },
    /// By the lowest id so far; the field that holds ids, and the parameter.
    Below { id: &'static str, param: &'static str },
    /// Not at all: a full window is read again in a smaller piece.
    Halves,
}

/// A stream, or one for each market.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    pub name: &'static str,
    pub path: &'static str,
    pub futures: bool,
    pub per_market: bool,
    pub order: u8,
    pub minutes: u64,
    /// The longest window, and how far back there is anything.
    pub longest: i64,
    pub horizon: i64,
    /// What is read again at least, beyond the usual overlap: records that are not final at first.
    pub again: i64,
    pub why: &'static str,
    pub span: (&'static str, &'static str),
    pub paging: Paging,
    /// The parameter for the number of rows, and the number that we ask for.
    pub limit: (&'static str, usize),
}

/// What begins at the horizon is behind it a moment later. A window that was begun may be read on
/// for this long: KuCoin still shows it.
pub const GRACE_MILLIS: i64 = 3600 * 1000;

const THREE_MONTHS: &str = "KuCoin keeps about three months of futures history";
const STARTS: (&str, &str) = ("startAt", "endAt");

pub static FAMILIES: &[Family] = &[
    Family {
        name: SPOT_LEDGER,
        path: "/api/v1/hf/accounts/ledgers",
        futures: false,
        per_market: false,
        order: 0,
        minutes: 2,
        longest: 3 * DAY_MILLIS - 1,
        horizon: 3 * DAY_MILLIS - GRACE_MILLIS,
        again: 0,
        why: "KuCoin shows the last three days of the trading account's ledger",
        span: STARTS,
        paging: Paging::Below { id: "id", param: "lastId" },
        limit: ("limit", 100),
    },
    Family {
        name: MAIN_LEDGER,
        path: "/api/v1/accounts/ledgers",
        futures: false,
        per_market: false,
        order: 0,
        minutes: 5,
        longest: DAY_MILLIS - 1,
        horizon: 90 * DAY_MILLIS,
        again: 0,
        why: "only the last three months of the main account's ledger are read, a day at a time",
        span: STARTS,
        paging: Paging::Numbered { page: "currentPage" },
        limit: ("pageSize", 500),
    },
    Family {
        name: FUTURES_LEDGER,
        path: "/api/v1/transaction-history",
        futures: true,
        per_market: false,
        order: 0,
        minutes: 5,
        longest: DAY_MILLIS - 1,
        horizon: 90 * DAY_MILLIS,
        again: DAY_MILLIS - 1,
        why: THREE_MONTHS,
        span: STARTS,
        paging: Paging::Below { id: "offset", param: "offset" },
        limit: ("maxCount", 50),
    },
    Family {
        name: FUTURES_FILLS,
        path: "/api/v1/fills",
        futures: true,
        per_market: false,
        order: 1,
        minutes: 2,
        longest: 7 * DAY_MILLIS - 1,
        horizon: 90 * DAY_MILLIS,
        again: 0,
        why: THREE_MONTHS,
        span: STARTS,
        paging: Paging::Numbered { page: "currentPage" },
        limit: ("pageSize", 1000),
    },
    Family {
        name: FUTURES_POSITIONS,
        path: "/api/v1/history-positions",
        futures: true,
        per_market: false,
        order: 1,
        minutes: 2,
        longest: 7 * DAY_MILLIS - 1,
        horizon: 90 * DAY_MILLIS,
        again: 0,
        why: THREE_MONTHS,
        span: ("from", "to"),
        paging: Paging::Numbered { page: "pageId" },
        limit: ("limit", 200),
    },
    Family {
        name: FUTURES_FUNDING,
        path: "/api/v1/funding-history",
        futures: true,
        per_market: true,
        order: 2,
        minutes: 10,
        longest: 7 * DAY_MILLIS - 1,
        horizon: 90 * DAY_MILLIS,
        again: 0,
        why: THREE_MONTHS,
        span: STARTS,
        paging: Paging::Halves,
        limit: ("maxCount", 100),
    },
    Family {
        name: SPOT_FILLS,
        path: "/api/v1/hf/fills",
        futures: false,
        per_market: true,
        order: 2,
        minutes: 5,
        longest: 7 * DAY_MILLIS - 1,
        horizon: 7 * DAY_MILLIS - GRACE_MILLIS,
        again: 0,
        why: "KuCoin shows the last seven days of spot fills",
        span: STARTS,
        paging: Paging::Below { id: "id", param: "lastId" },
        limit: ("limit", 100),
    },
];

/// The family of a stream, and its market if it is of one.
pub fn family(stream: &str) -> Option<(&'static Family, Option<&str>)> {
    let (name, market) = crate::venues::family(stream);
    let family = FAMILIES.iter().find(|family| family.name == name)?;
    (family.per_market == market.is_some() && market.is_none_or(is_market)).then_some((family, market))
}

/// What can stand in a query as it is.
pub fn is_market(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Where a stream stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    time: TimeCursor,
    /// The lowest id seen of the window, for lists that page by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    below: Option<String>,
}

impl Place {
    /// A stored place from which everything is read again.
    pub fn again(from: i64) -> Value {
        stored(&Self { time: TimeCursor::starting_at(from), below: None })
    }

    /// The stored place. What has dropped behind the horizon since is not asked for any more, so
    /// that no window is called complete of which the venue shows nothing.
    pub fn of(stored: &Value, family: &Family, now: i64) -> Result<Self, VenueError> {
        let oldest = now.saturating_sub(family.horizon);
        let start = || Self { time: TimeCursor::starting_at(oldest), below: None };
        let place = cursor(stored, start)?;
        let overtaken = place.time.from < oldest - GRACE_MILLIS;
        Ok(if overtaken {
            Self { time: TimeCursor { newest: place.time.newest, ..start().time }, below: None }
        } else {
            place
        })
    }

    pub fn window(&self, family: &Family, now: i64) -> Span {
        self.time.window(family.longest, now)
    }

    pub fn page(&self) -> u32 {
        self.time.page
    }

    pub fn params(&self, family: &Family, market: Option<&str>, window: Span) -> Vec<(&'static str, String)> {
        let mut params = vec![(family.span.0, window.from.to_string()), (family.span.1, window.to.to_string())];
        if let Some(market) = market {
            params.insert(0, ("symbol", market.into()));
        }
        match (family.paging, &self.below) {
            (Paging::Numbered { page }, _) => params.push((page, self.time.page.to_string())),
            (Paging::Below { param, .. }, Some(below)) => params.push((param, below.clone())),
            (Paging::Below { .. } | Paging::Halves, _) => {}
        }
        params.push((family.limit.0, family.limit.1.to_string()));
        params
    }
}

/// One page as received.
#[derive(Debug)]
pub struct Batch {
    pub rows: Vec<Box<RawValue>>,
    /// Whether the venue says, or the number of rows suggests, that the window holds more.
    pub full: bool,
}

/// Cuts a reply into its rows: a list, or one of the wrappings that KuCoin puts around lists.
pub fn batch(endpoint: &str, data: &str, page: u32, limit: usize) -> Result<Batch, VenueError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wrapped {
        #[serde(alias = "dataList")]
        items: Vec<Box<RawValue>>,
        #[serde(default)]
        has_more: Option<bool>,
        #[serde(default)]
        total_page: Option<u32>,
        #[serde(default)]
        page_size: Option<usize>,
    }
    if data.trim_start().starts_with('[') {
        let rows: Vec<Box<RawValue>> = read(endpoint, data)?;
        return Ok(Batch { full: rows.len() >= limit, rows });
    }
    let wrapped: Wrapped = read(endpoint, data)?;
    // The venue may grant smaller pages than we ask for.
    let granted = wrapped.page_size.filter(|size| *size > 0).map_or(limit, |size| size.min(limit));
    let told = wrapped.has_more == Some(true) || wrapped.total_page.is_some_and(|pages| pages > page);
    let full = !wrapped.items.is_empty() && (wrapped.items.len() >= granted || told);
    Ok(Batch { rows: wrapped.items, full })
}

/// Instants of a page's records, whatever the field is called.
fn times(rows: &[Box<RawValue>]) -> Vec<i64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Timed {
        trade_time: Option<Text>,
        created_at: Option<Text>,
        close_time: Option<Text>,
        time_point: Option<Text>,
        time: Option<Text>,
    }
    let time = |raw: &RawValue| {
        let row: Timed = serde_json::from_str(raw.get()).ok()?;
        let text = row.trade_time.or(row.created_at).or(row.close_time).or(row.time_point).or(row.time)?;
        Some(instant(&text.0).ok()?.millis())
    };
    rows.iter().filter_map(|raw| time(raw)).collect()
}

/// The lowest id of a page. What is pending has the id -1 and is no place to go on from.
fn lowest(rows: &[Box<RawValue>], field: &str) -> Option<u64> {
    let id = |raw: &RawValue| {
        let row: serde_json::Map<String, Value> = serde_json::from_str(raw.get()).ok()?;
        match row.get(field)? {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.as_u64(),
            _ => None,
        }
    };
    rows.iter().filter_map(|raw| id(raw)).min()
}

/// Moves a page forwards: cursor, coverage, and whether more is waiting.
pub fn advance(
    page: &mut Page,
    family: &Family,
    place: &Place,
    window: Span,
    now: i64,
    batch: &Batch,
) -> Result<(), VenueError> {
    let times = times(&batch.rows);
    let mut next = |place: &Place, covered: Option<(Timestamp, Timestamp)>, more: bool| {
        page.cursor = stored(place);
        page.covered = covered;
        page.more = more;
    };
    if !batch.full {
        let (mut time, more) = place.time.after(window, now, &times);
        if !more {
            // One window is enough of an overlap.
            time.from = time.from.min(window.to - family.again).max(window.to - family.longest);
        }
        next(&Place { time, below: None }, window.covered(), more);
        return Ok(());
    }
    let stuck = |why: &str| VenueError::unreadable(family.path, why);
    let time = match family.paging {
        Paging::Halves => {
            place.time.halved(window).ok_or_else(|| stuck("one millisecond holds more records than a reply"))?
        }
        _ => place.time.next_page(window, &times),
    };
    let below = match family.paging {
        Paging::Below { id, .. } => {
            let lowest = lowest(&batch.rows, id).ok_or_else(|| stuck("a full page without ids"))?;
            let before = place.below.as_deref().and_then(|below| below.parse::<u64>().ok());
            if before.is_some_and(|before| lowest >= before) {
                return Err(stuck("a full page whose ids do not advance"));
            }
            Some(lowest.to_string())
        }
        _ => None,
    };
    next(&Place { time, below }, None, true);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_767_225_600_000;

    fn of(name: &str) -> &'static Family {
        FAMILIES.iter().find(|family| family.name == name).unwrap()
    }

    #[test]
    fn a_stream_has_a_market_or_has_none() {
        assert!(family("futures.fills").is_some() && family("spot.fills:BTC-USDT").is_some());
        for stream in ["futures.fills:X", "spot.fills", "spot.fills:", "spot.fills:A&b=1", "orders", ""] {
            assert!(family(stream).is_none(), "{stream}");
        }
    }

    #[test]
    fn what_dropped_behind_the_horizon_is_not_called_covered() {
        let family = of(SPOT_LEDGER);
        let old = Place { time: TimeCursor::starting_at(NOW - 10 * DAY_MILLIS), below: Some("5".into()) };
        let place = Place::of(&stored(&old), family, NOW).unwrap();
        assert_eq!(place.window(family, NOW), Span { from: NOW - family.horizon, to: NOW });
        assert_eq!(place.below, None);
        let begun = Place { time: TimeCursor::starting_at(NOW - family.horizon), below: Some("5".into()) };
        assert_eq!(Place::of(&stored(&begun), family, NOW + GRACE_MILLIS).unwrap(), begun, "a window is read on");
    }

    #[test]
    fn a_page_is_full_by_its_rows_or_by_the_venues_word() {
        let full = |data: &str, page| batch("x", data, page, 2).unwrap().full;
        assert!(full("[1,2]", 1) && !full("[1]", 1) && !full("[]", 1));
        assert!(full(r#"{"items":[1],"totalPage":3}"#, 1) && !full(r#"{"items":[1],"totalPage":3}"#, 3));
        assert!(full(r#"{"items":[1],"pageSize":1}"#, 1), "a smaller page than we asked for");
        assert!(full(r#"{"dataList":[1],"hasMore":true}"#, 1) && !full(r#"{"dataList":[],"hasMore":true}"#, 1));
        assert!(batch("x", r#"{"rows":[]}"#, 1, 2).is_err());
    }

    #[test]
    fn ids_that_do_not_advance_are_an_error_and_no_loop() {
        let family = of(SPOT_LEDGER);
        let rows = crate::venues::wire::rows("x", r#"[{"id":"9"},{"id":8},{"id":-1}]"#).unwrap();
        let batch = Batch { rows, full: true };
        let mut page = Page::default();
        let place = Place::of(&Value::Null, family, NOW).unwrap();
        let window = place.window(family, NOW);
        advance(&mut page, family, &place, window, NOW, &batch).unwrap();
        let next = Place::of(&page.cursor, family, NOW).unwrap();
        assert_eq!((next.below.as_deref(), page.covered, page.more), (Some("8"), None, true));
        assert_eq!(next.window(family, NOW + 5000), window, "the window stays");
        assert!(advance(&mut page, family, &next, window, NOW, &batch).is_err());
    }

    #[test]
    fn caught_up_an_idle_stream_reads_one_window_again() {
        let family = of(MAIN_LEDGER);
        let mut page = Page::default();
        let place = Place { time: TimeCursor { newest: Some(5), ..TimeCursor::starting_at(NOW - 1000) }, below: None };
        let window = place.window(family, NOW);
        advance(&mut page, family, &place, window, NOW, &Batch { rows: vec![], full: false }).unwrap();
        assert_eq!((page.covered, page.more), (window.covered(), false));
        assert_eq!(Place::of(&page.cursor, family, NOW).unwrap().time.from, NOW - family.longest);
    }
}
