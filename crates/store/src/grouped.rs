//! Sums over events by any choice of dimensions, time among them (UTC).
//!
//! Rollup cells answer where a cell lies in one group: a month's cell when nothing finer than months is
//! asked, a day's for days and weeks, an hour's for hours. Sides are in no cell and are read raw.

use std::borrow::Cow;

use codash_domain::cover::Longest;

use crate::events::EventFilter;
use crate::ledger::{Cube, Sums, sums};
use crate::row::Columns;
use crate::{Error, Session};

/// What sums can be grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Empty: records that belong to no market.
    Symbol,
    /// The account's id.
    Account,
    EventType,
    /// `buy`, `sell`; empty: the record has none.
    Side,
    /// `2026-05`.
    Month,
    /// The Monday that the week begins with, `2026-05-11`.
    Week,
    /// `2026-05-15`.
    Day,
    /// `1` (Monday) to `7`.
    Weekday,
    /// Of the day, `00` to `23`.
    Hour,
    /// Spans of so many hours, counted from 1970 on: the first millisecond of the span.
    Every(u32),
}

impl By {
    /// The key as text.
    fn sql(self) -> Cow<'static, str> {
        let text = match self {
            Self::Symbol => "symbol",
            Self::Account => "account_id::text",
            Self::EventType => "event_type",
            Self::Side => "coalesce(side, '')",
            Self::Month => "to_char(at AT TIME ZONE 'UTC', 'YYYY-MM')",
            Self::Week => "to_char(date_trunc('week', at AT TIME ZONE 'UTC'), 'YYYY-MM-DD')",
            Self::Day => "to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
            Self::Weekday => "to_char(at AT TIME ZONE 'UTC', 'ID')",
            Self::Hour => "to_char(at AT TIME ZONE 'UTC', 'HH24')",
            Self::Every(hours) => {
                let span = format!("date_bin(interval '{hours} hours', at, timestamptz '1970-01-01 00:00:00+00')");
                return Cow::Owned(format!("(extract(epoch FROM {span}) * 1000)::bigint::text"));
            }
        };
        Cow::Borrowed(text)
    }

    /// The longest cell that lies in one group.
    fn longest(self) -> Longest {
        match self {
            Self::Symbol | Self::Account | Self::EventType | Self::Month => Longest::Month,
            Self::Week | Self::Day | Self::Weekday => Longest::Day,
            Self::Every(hours) if hours % 24 == 0 => Longest::Day,
            Self::Hour | Self::Every(_) => Longest::Hour,
            Self::Side => Longest::Raw,
        }
    }
}

/// Sums of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSums {
    /// A text for each dimension, in the order asked.
    pub keys: Vec<String>,
    pub sums: Sums,
}

impl Session<'_> {
    /// Sums for each group, in no order; at most `limit` groups, of which the caller must not take
    /// `limit` for all.
    pub async fn sums_grouped(
        &mut self,
        by: &[By],
        filter: &EventFilter,
        limit: usize,
    ) -> Result<Vec<GroupSums>, Error> {
        let columns: Vec<String> = by.iter().zip(KEYS).map(|(by, key)| format!("{} AS {key}", by.sql())).collect();
        let places: Vec<&'static str> = KEYS.into_iter().take(by.len()).collect();
        let columns = if by.is_empty() { "true AS one".to_owned() } else { columns.join(", ") };
        let group = if by.is_empty() { "one".to_owned() } else { places.join(", ") };
        let longest = by.iter().map(|by| by.longest()).min().unwrap_or(Longest::Month);
        let tail = format!("GROUP BY {group} LIMIT {limit}");
        let rows = self.grouped(cube(by, filter), longest, &columns, &tail, filter).await?;
        rows.iter()
            .map(|row| {
                let keys = places.iter().map(|place| row.col(place)).collect::<Result<_, _>>()?;
                Ok(GroupSums { keys, sums: sums(row)? })
            })
            .collect()
    }
}

/// Names of key columns, one for each of [`By`].
const KEYS: [&str; 9] = ["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8"];

/// The smallest cube that knows what is grouped and filtered by.
fn cube(by: &[By], filter: &EventFilter) -> Cube {
    let symbols = by.contains(&By::Symbol) || !filter.symbols.is_empty();
    let accounts = by.contains(&By::Account) || filter.accounts.is_some();
    match (symbols, accounts) {
        (true, true) => Cube::AccountSymbols,
        (true, false) => Cube::Symbols,
        (false, _) => Cube::Accounts,
    }
}
