//! What charts ask for: a window, rows through it no closer than they can be drawn, and a series for each
//! account, venue or symbol.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use codash_domain::cover::HOUR;
use codash_domain::{AccountId, Timestamp, Venue, Window};
use codash_store::Session;
use codash_store::accounts::Account;
use serde_json::json;

use crate::moment::Instant;
use crate::select::{self, Selection, Wanted, WindowQuery};
use crate::{Ctx, Error, Rule};

/// Length of the window when the caller names no start.
const DEFAULT_DAYS: i64 = 30;
const DEFAULT_POINTS: i64 = 1500;
/// More rows than this are refused: a chart that leaves some out would be wrong.
pub const MOST_ROWS: usize = 20_000;

/// What a row is of, when a question gives a series for each of something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Account {
        name: String,
        id: AccountId,
    },
    Venue(String),
    /// Empty: records that belong to no market.
    Symbol(String),
}

impl Group {
    pub(crate) fn account(account: &Account) -> Self {
        Self::Account { name: account.name.clone(), id: account.id }
    }

    pub(crate) fn venue(venue: Venue) -> Self {
        Self::Venue(venue.to_string())
    }
}

/// The accounts by the text of their id.
pub(crate) fn by_id(selection: &Selection) -> BTreeMap<String, &Account> {
    selection.accounts.iter().map(|account| (account.id.to_string(), account)).collect()
}

/// The accounts that a chart of what is there now is of: removed ones are left out, named or not.
pub(crate) async fn present(session: &mut Session<'_>, wanted: impl Into<Wanted<'_>>) -> Result<Selection, Error> {
    let mut selection = select::wanted(session, wanted).await?;
    let count = selection.accounts.len();
    selection.accounts.retain(|account| account.removed_at.is_none());
    selection.whole_workspace &= selection.accounts.len() == count;
    Ok(selection)
}

/// The same as ids for a question that takes ids alone, to which none would mean all; `None`: no account is
/// meant.
pub(crate) async fn account_ids(
    ctx: &Ctx<'_>,
    wanted: impl Into<Wanted<'_>>,
) -> Result<Option<Option<Vec<String>>>, Error> {
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let selection = select::wanted(&mut session, wanted).await?;
    session.finish().await?;
    Ok(as_ids(&selection))
}

/// As [`account_ids`], without removed accounts.
pub(crate) async fn present_ids(
    ctx: &Ctx<'_>,
    wanted: impl Into<Wanted<'_>>,
) -> Result<Option<Option<Vec<String>>>, Error> {
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let selection = present(&mut session, wanted).await?;
    session.finish().await?;
    Ok(as_ids(&selection))
}

fn as_ids(selection: &Selection) -> Option<Option<Vec<String>>> {
    if selection.whole_workspace {
        return Some(None);
    }
    let ids: Vec<String> = selection.accounts.iter().map(|account| account.id.to_string()).collect();
    (!ids.is_empty()).then_some(Some(ids))
}

pub(crate) fn window(from: Option<Instant>, to: Option<Instant>, ctx: &Ctx<'_>) -> Result<Window, Error> {
    let (from, to) = (from.map(Instant::first), to.map(Instant::last));
    select::window(WindowQuery { from, to, length: TimeDelta::days(DEFAULT_DAYS) }, ctx.now)
}

/// Lengths of steps in hours. Steps are counted from 1970 on, so that a row of the same instant is the same
/// row in every window.
const STEPS: [u32; 14] = [1, 2, 3, 4, 6, 8, 12, 24, 48, 72, 120, 168, 336, 720];
/// Ten thousand years: one row.
const LONGEST_STEP: u32 = 24 * 3_650_000;

/// The shortest step that is as long as wanted and makes no more rows than wanted.
pub(crate) fn step_hours(window: Window, interval_ms: Option<i64>, most: Option<i64>) -> u32 {
    let (interval, most) = (interval_ms.unwrap_or(0), most.unwrap_or(DEFAULT_POINTS));
    let fits = |hours: &u32| {
        let length = i64::from(*hours) * HOUR;
        length >= interval && window.to.millis() / length - window.from.millis() / length < most
    };
    let doubled = std::iter::successors(Some(1440_u32), |hours| hours.checked_mul(2).filter(|h| *h < LONGEST_STEP));
    STEPS.into_iter().chain(doubled).find(fits).unwrap_or(LONGEST_STEP)
}

/// The start of the step that holds `at`.
pub(crate) fn step_start(at: Timestamp, hours: u32) -> Timestamp {
    at.floor_to(i64::from(hours) * HOUR)
}

/// Refuses more rows than `most`.
pub(crate) fn bounded<T>(rows: Vec<T>, most: usize) -> Result<Vec<T>, Error> {
    if rows.len() <= most {
        return Ok(rows);
    }
    let message = format!(
        "The question makes more than {most} rows: take a shorter window, a longer intervalMs, or fewer accounts or \
         symbols."
    );
    Err(Rule::new("out_of_range", message, json!({ "mostRows": most })).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: &str, to: &str) -> Window {
        Window { from: from.parse().unwrap(), to: to.parse().unwrap() }
    }

    #[test]
    fn a_step_is_never_shorter_than_an_hour_or_than_asked_and_makes_no_more_rows_than_asked() {
        let month = window("2026-05-01T00:00:00Z", "2026-05-31T00:00:00Z");
        assert_eq!(step_hours(month, None, None), 1);
        assert_eq!(step_hours(month, Some(1), Some(20_000)), 1);
        assert_eq!(step_hours(month, Some(5 * HOUR), None), 6);
        assert_eq!(step_hours(month, None, Some(31)), 24);
        assert_eq!(step_hours(month, None, Some(30)), 48);
        assert_eq!(step_hours(month, Some(i64::MAX), None), LONGEST_STEP);
        let all = window("1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z");
        for most in [1, 2, 100, 1500] {
            let length = i64::from(step_hours(all, None, Some(most))) * HOUR;
            assert!(all.to.millis() / length < most, "{most}");
        }
    }

    #[test]
    fn more_rows_than_are_answered_are_refused_and_never_cut() {
        assert_eq!(bounded(vec![1, 2], 2).unwrap(), [1, 2]);
        assert!(matches!(bounded(vec![1, 2, 3], 2), Err(Error::Rule(rule)) if rule.code == "out_of_range"));
    }
}
