//! How did NAV and exposure move?
//!
//! Hourly buckets: the last snapshot of the hour, summed over accounts. An account that has none in an
//! hour counts with its last one before; before its first it does not count.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use codash_domain::cover::HOUR;
use codash_domain::{AccountId, Timestamp, Usd};
use codash_store::nav::NavHour;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::arguments::arguments;
use crate::input::whole;
use crate::select::{self, Wanted};
use crate::{Ctx, Error};

/// More buckets than this and only the most recent are returned.
pub const MOST_POINTS: usize = 1500;

fn default_days() -> Option<i64> {
    Some(30)
}

arguments! {
    #[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Query {
        ..accounts,
        /// Lookback window in days.
        #[serde(default = "default_days", deserialize_with = "whole")]
        #[validate(range(min = 1, max = 365))]
        pub days: Option<i64>,
    }
}

arguments! {
    /// As REST asks it.
    #[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct RestQuery {
        ..selection,
        /// Lookback window in days.
        #[serde(default = "default_days", deserialize_with = "whole")]
        #[validate(range(min = 1, max = 365))]
        pub days: Option<i64>,
    }
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub count: usize,
    pub days: i64,
    /// True when there were more than 1500 hourly buckets: the most recent 1500 are returned.
    pub truncated: bool,
    pub account_ids: Vec<AccountId>,
    /// Oldest first.
    pub points: Vec<Point>,
    pub provenance: Provenance,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// The hour that the bucket begins with.
    pub timestamp: Timestamp,
    pub nav: Usd,
    /// Null where the venue stated equity alone.
    pub gross_exposure: Option<Usd>,
    pub net_exposure: Option<Usd>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    pub as_of: Timestamp,
    pub sources: Vec<&'static str>,
    pub bucket: &'static str,
    /// Points in which at least one account counts with an earlier hour's snapshot.
    pub carried_point_count: usize,
}

pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<Answer, Error> {
    within(ctx, query, None).await
}

pub async fn asked(ctx: &Ctx<'_>, query: RestQuery) -> Result<Answer, Error> {
    let RestQuery { account_id, account_ids, portfolio_id, days } = query;
    within(ctx, Query { account_id, account_ids, days }, portfolio_id.as_deref()).await
}

/// As [`answer`], of the accounts of a group when one is named.
pub async fn within(ctx: &Ctx<'_>, query: Query, portfolio_id: Option<&str>) -> Result<Answer, Error> {
    let days = query.days.unwrap_or(30);
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let wanted = Wanted { portfolio_id, ..Wanted::from(&query) };
    let selection = select::wanted(&mut session, wanted).await?;
    let from = ctx.now.minus(TimeDelta::days(days)).plus(TimeDelta::milliseconds(HOUR - 1)).floor_to(HOUR);
    let hours = session.nav_hours(&selection.ids(), from, ctx.now).await?;
    session.finish().await?;
    let (mut points, mut carried) = series(&hours, from);
    let truncated = points.len() > MOST_POINTS;
    if truncated {
        let cut = points.len() - MOST_POINTS;
        points.drain(..cut);
        carried.drain(..cut);
    }
    Ok(Answer {
        count: points.len(),
        days,
        truncated,
        account_ids: selection.ids(),
        points,
        provenance: Provenance {
            as_of: ctx.now,
            sources: vec!["nav_hours"],
            bucket: "1h",
            carried_point_count: carried.into_iter().filter(|c| *c).count(),
        },
    })
}

/// One point for every hour in which any account has a snapshot, and whether it carries an account.
fn series(hours: &[NavHour], from: Timestamp) -> (Vec<Point>, Vec<bool>) {
    let point = |sum: &HourSum| Point {
        timestamp: sum.hour,
        nav: sum.nav_usd,
        gross_exposure: sum.sides.map(|(long, short)| Usd::new((long + short).0)),
        net_exposure: sum.sides.map(|(long, short)| Usd::new((long - short).0)),
    };
    let sums = hour_sums(hours, from);
    (sums.iter().map(point).collect(), sums.iter().map(|sum| sum.carried).collect())
}

/// An hour summed over accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HourSum {
    pub hour: Timestamp,
    pub nav_usd: Usd,
    /// Long and short; `None` where a venue stated equity alone.
    pub sides: Option<(Usd, Usd)>,
    /// True when an account counts with an earlier hour's snapshot.
    pub carried: bool,
}

/// A sum for every hour from `from` on in which any account has a snapshot; the others carry their last.
pub(crate) fn hour_sums(hours: &[NavHour], from: Timestamp) -> Vec<HourSum> {
    let mut last: BTreeMap<AccountId, &NavHour> = BTreeMap::new();
    let mut sums = Vec::new();
    for group in hours.chunk_by(|a, b| a.hour == b.hour) {
        last.extend(group.iter().map(|h| (h.account, h)));
        let hour = group[0].hour;
        if hour < from {
            continue;
        }
        // At the end of the hour in which it is removed an account is not there any more.
        let end = hour.plus(TimeDelta::milliseconds(HOUR));
        last.retain(|_, h| h.removed_at.is_none_or(|at| end <= at));
        if last.is_empty() {
            continue;
        }
        let side = |pick: fn((Usd, Usd)) -> Usd| last.values().map(|h| h.sides.map(pick)).sum::<Option<Usd>>();
        sums.push(HourSum {
            hour,
            nav_usd: Usd::new(last.values().map(|h| h.nav_usd).sum::<Usd>().0),
            sides: side(|s| s.0).zip(side(|s| s.1)),
            carried: last.values().any(|h| h.hour != hour),
        });
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(account: u8, at: i64, nav: &str) -> NavHour {
        NavHour {
            account: AccountId::from_random([account; 16]),
            hour: Timestamp::from_millis(at * HOUR).unwrap(),
            nav_usd: nav.parse().unwrap(),
            sides: Some(("3".parse().unwrap(), "1".parse().unwrap())),
            removed_at: None,
        }
    }

    #[test]
    fn a_removed_account_counts_until_the_hour_before_and_a_sum_of_none_is_no_point() {
        let removed_at = Timestamp::from_millis(3 * HOUR + HOUR / 2);
        let of_removed = |at, nav| NavHour { removed_at, ..hour(2, at, nav) };
        let hours = [hour(1, 1, "10"), of_removed(2, "5"), of_removed(3, "6"), hour(1, 4, "11")];
        let (points, _) = series(&hours, Timestamp::from_millis(HOUR).unwrap());
        let navs: Vec<String> = points.iter().map(|p| p.nav.to_string()).collect();
        assert_eq!(navs, ["10", "15", "10", "11"]);
        let (alone, _) = series(&[of_removed(2, "5"), of_removed(3, "6")], Timestamp::from_millis(HOUR).unwrap());
        assert_eq!(alone.len(), 1);
    }

    #[test]
    fn an_account_without_a_snapshot_in_an_hour_counts_with_its_last_one() {
        let hours = [hour(1, 1, "10"), hour(2, 2, "5"), hour(1, 3, "11"), hour(2, 3, "6")];
        let (points, carried) = series(&hours, Timestamp::from_millis(2 * HOUR).unwrap());
        let navs: Vec<String> = points.iter().map(|p| p.nav.to_string()).collect();
        assert_eq!(navs, ["15", "17"]);
        assert_eq!(carried, [true, false]);
        assert_eq!(points[1].gross_exposure.unwrap().to_string(), "8");
        assert_eq!(points[1].net_exposure.unwrap().to_string(), "4");
    }
}
