//! Which rollup cells answer a window exactly.
//!
//! A window is answered as whole months, whole days, whole hours and raw edges. A cell may be used
//! only when it is **clean**: no dirty mark lies on any of its hours. Everything else is read raw,
//! so the answer equals the raw sum at every instant, late records or not.

use std::collections::BTreeSet;

use chrono::{Datelike, TimeZone, Utc};

pub const HOUR: i64 = 3_600_000;
pub const DAY: i64 = 24 * HOUR;

/// A half-open span of Unix milliseconds.
pub type Span = (i64, i64);

/// Disjoint spans whose union is the window.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cover {
    pub months: Vec<Span>,
    pub days: Vec<Span>,
    pub hours: Vec<Span>,
    pub raw: Vec<Span>,
}

/// The finest cell that a cube keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finest {
    Hour,
    Day,
}

impl Cover {
    /// The whole span read raw: small tenants, and cubes that do not exist yet.
    pub fn raw(span: Span) -> Self {
        Self { raw: if span.0 < span.1 { vec![span] } else { vec![] }, ..Self::default() }
    }

    /// Covers `span` with the largest clean cells. `dirty` holds the first millisecond of every
    /// hour that carries a mark.
    pub fn of(span: Span, dirty: &BTreeSet<i64>, finest: Finest) -> Self {
        let mut cover = Self::default();
        let clean = |from: i64, to: i64| dirty.range(from..to).next().is_none();
        let mut at = span.0;
        while at < span.1 {
            if let Some(end) = month_end(at).filter(|&end| end <= span.1 && clean(at, end)) {
                push(&mut cover.months, at, end);
                at = end;
            } else if at % DAY == 0 && at + DAY <= span.1 && clean(at, at + DAY) {
                push(&mut cover.days, at, at + DAY);
                at += DAY;
            } else if finest == Finest::Hour && at % HOUR == 0 && at + HOUR <= span.1 && clean(at, at + HOUR) {
                push(&mut cover.hours, at, at + HOUR);
                at += HOUR;
            } else {
                let next_cell = at - at.rem_euclid(HOUR) + HOUR;
                let end = next_cell.min(span.1);
                push(&mut cover.raw, at, end);
                at = end;
            }
        }
        cover
    }
}

/// How long a cell may be, so that it lies in one group of what is grouped by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Longest {
    Raw,
    Hour,
    Day,
    Month,
}

impl Cover {
    /// The same window in cells no longer than `longest`. A clean cell is made of clean finer ones.
    #[must_use]
    pub fn no_longer_than(mut self, longest: Longest, finest: Finest) -> Self {
        if longest < Longest::Month {
            self.days.append(&mut self.months);
        }
        if longest < Longest::Day {
            let finer = if finest == Finest::Hour { &mut self.hours } else { &mut self.raw };
            finer.append(&mut self.days);
        }
        if longest < Longest::Hour {
            self.raw.append(&mut self.hours);
        }
        self
    }
}

/// Adds a span, joined to the last one when they touch.
fn push(spans: &mut Vec<Span>, from: i64, to: i64) {
    match spans.last_mut() {
        Some(last) if last.1 == from => last.1 = to,
        _ => spans.push((from, to)),
    }
}

/// The end of the month that begins exactly at `millis`.
fn month_end(millis: i64) -> Option<i64> {
    if millis % DAY != 0 {
        return None;
    }
    let start = Utc.timestamp_millis_opt(millis).single()?;
    if start.day() != 1 {
        return None;
    }
    Some(start.checked_add_months(chrono::Months::new(1))?.timestamp_millis())
}

/// The first millisecond of the month that holds `millis`.
pub fn month_start(millis: i64) -> Option<i64> {
    let at = Utc.timestamp_millis_opt(millis).single()?;
    Some(Utc.with_ymd_and_hms(at.year(), at.month(), 1, 0, 0, 0).single()?.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> i64 {
        text.parse::<crate::Timestamp>().unwrap().millis()
    }

    #[test]
    fn a_year_is_months_days_hours_and_two_raw_edges() {
        let span = (at("2025-03-30T22:30:00.000Z"), at("2026-03-02T01:15:00.000Z"));
        let cover = Cover::of(span, &BTreeSet::new(), Finest::Hour);
        assert_eq!(cover.raw, [(span.0, at("2025-03-30T23:00:00.000Z")), (at("2026-03-02T01:00:00.000Z"), span.1)]);
        assert_eq!(cover.months, [(at("2025-04-01T00:00:00.000Z"), at("2026-03-01T00:00:00.000Z"))]);
        assert_eq!(cover.days.len(), 2);
        assert_eq!(cover.hours.len(), 2);
    }

    #[test]
    fn a_dirty_hour_is_raw_and_its_neighbours_are_not() {
        let span = (at("2026-01-01T00:00:00.000Z"), at("2026-02-01T00:00:00.000Z"));
        let hour = at("2026-01-10T05:00:00.000Z");
        let cover = Cover::of(span, &BTreeSet::from([hour]), Finest::Hour);
        assert_eq!(cover.raw, [(hour, hour + HOUR)]);
        assert!(cover.months.is_empty());
        assert_eq!(cover.days.len(), 2);
    }

    proptest! {
        #[test]
        fn the_spans_tile_the_window_and_no_cell_is_dirty(
            from in 1_700_000_000_000_i64..1_710_000_000_000, length in 0_i64..(100 * DAY),
            marks in proptest::collection::btree_set(0_i64..2_400, 0..30), hourly: bool,
        ) {
            let span = (from, from + length);
            let base = 1_700_000_000_000 / HOUR * HOUR;
            let dirty: BTreeSet<i64> = marks.into_iter().map(|m| base + m * HOUR).collect();
            let finest = if hourly { Finest::Hour } else { Finest::Day };
            let cover = Cover::of(span, &dirty, finest);
            let mut all: Vec<Span> = [&cover.months, &cover.days, &cover.hours, &cover.raw].into_iter().flatten().copied().collect();
            all.sort_unstable();
            let mut cursor = span.0;
            for (a, b) in all {
                prop_assert_eq!(a, cursor);
                prop_assert!(b > a);
                cursor = b;
            }
            prop_assert_eq!(cursor, span.1);
            for (a, b) in cover.months.iter().chain(&cover.days).chain(&cover.hours) {
                prop_assert!(dirty.range(*a..*b).next().is_none());
            }
            prop_assert!(hourly || cover.hours.is_empty());
        }

        #[test]
        fn shorter_cells_tile_the_same_window(
            from in 1_700_000_000_000_i64..1_710_000_000_000, length in 0_i64..(100 * DAY), hourly: bool,
            longest in proptest::sample::select(vec![Longest::Raw, Longest::Hour, Longest::Day, Longest::Month]),
        ) {
            let finest = if hourly { Finest::Hour } else { Finest::Day };
            let cover = Cover::of((from, from + length), &BTreeSet::new(), finest).no_longer_than(longest, finest);
            prop_assert!(longest == Longest::Month || cover.months.is_empty());
            prop_assert!(longest >= Longest::Day || cover.days.is_empty());
            prop_assert!((hourly && longest >= Longest::Hour) || cover.hours.is_empty());
            let mut all: Vec<Span> = [cover.months, cover.days, cover.hours, cover.raw].concat();
            all.sort_unstable();
            let mut cursor = from;
            for (a, b) in all {
                prop_assert_eq!(a, cursor);
                cursor = b;
            }
            prop_assert_eq!(cursor, from + length);
        }
    }
}
