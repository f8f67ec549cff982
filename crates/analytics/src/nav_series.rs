//! How did NAV, exposure and drawdown move, in steps that a chart can draw?
//!
//! A step shows the last hour in it, and of drawdown the deepest; the hours are those of
//! [`crate::nav_history`], so a step of one hour has its figures.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use codash_domain::cover::HOUR;
use codash_domain::{Timestamp, Usd, Window};
use codash_store::nav::NavHour;
use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use crate::arguments::arguments;
use crate::input::present;
use crate::nav_history::{HourSum, hour_sums};
use crate::select::{self, Number, Selection, percent};
use crate::series::{self, Group, MOST_ROWS, bounded, step_hours, step_start};
use crate::{Ctx, Error, exposure_summary};

arguments! {
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Query {
        ..chart_window,
        ..steps,
        ..chart_accounts,
        /// A series for each account or venue. Default: one of all together.
        #[serde(default, deserialize_with = "present")]
        pub split_by: Option<Split>,
    }
}

arguments! {
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct DrawdownQuery {
        ..chart_window,
        ..steps,
        ..chart_accounts,
    }
}

arguments! {
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct ExposureQuery {
        ..chart_window,
        ..steps,
        ..chart_accounts,
        /// What makes a row: time, or symbol or account, which are of the newest snapshots, whatever the window.
        #[serde(default)]
        pub by: ExposureRows,
        /// With time: a series for each account or venue. Default: one of all together.
        #[serde(default, deserialize_with = "present")]
        pub split_by: Option<Split>,
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum ExposureRows {
    #[default]
    Time,
    Symbol,
    Account,
}

impl From<ExposureQuery> for Query {
    fn from(query: ExposureQuery) -> Self {
        let ExposureQuery {
            from,
            to,
            interval_ms,
            max_data_points,
            account_ids,
            venues,
            portfolio_ids,
            split_by,
            by: _,
        } = query;
        Self { from, to, interval_ms, max_data_points, account_ids, venues, portfolio_ids, split_by }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Split {
    Account,
    Venue,
}

/// The end of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The start of the step.
    pub time: Timestamp,
    pub group: Option<Group>,
    pub nav_usd: Usd,
    /// Exposures are `None` where a venue stated equity alone.
    pub long_usd: Option<Usd>,
    pub short_usd: Option<Usd>,
    pub gross_usd: Option<Usd>,
    pub net_usd: Option<Usd>,
    /// Gross as a percentage of NAV.
    pub gross_to_nav_percent: Option<Number>,
    /// True when an account counts with a snapshot from before the step.
    pub carried: bool,
}

/// The deepest hour of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawdown {
    /// The start of the step.
    pub time: Timestamp,
    pub nav_usd: Usd,
    /// The highest NAV until then, since the window began.
    pub peak_usd: Usd,
    /// Never positive. Deposits and withdrawals move NAV too.
    pub drawdown_usd: Usd,
    /// Of the peak; `None` while that is not positive.
    pub drawdown_percent: Option<Number>,
}

/// Oldest first, and of one instant in the order of the groups.
pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<Vec<Point>, Error> {
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let selection = select::wanted(&mut session, &query).await?;
    let window = whole_hours(series::window(query.from, query.to, ctx)?);
    let step = step_hours(window, query.interval_ms, query.max_data_points);
    let first = step_start(window.from, step);
    let before = first.minus(TimeDelta::hours(i64::from(step)));
    let hours = session.nav_spans(&selection.ids(), window, step, before).await?;
    session.finish().await?;
    let mut points: Vec<Point> = Vec::new();
    for (group, hours) in split(hours, query.split_by, &selection) {
        points.extend(hour_sums(&hours, first).iter().map(|sum| point(sum, group.clone())));
        points = bounded(points, MOST_ROWS)?;
    }
    // Stable: groups stay in their order.
    points.sort_by_key(|point| point.time);
    Ok(points)
}

/// Exposure of the newest snapshots, whatever the window; `None`: of no account.
pub async fn exposure_now(ctx: &Ctx<'_>, query: &ExposureQuery) -> Result<Option<exposure_summary::Answer>, Error> {
    let ids = series::present_ids(ctx, query).await?;
    let Some(account_ids) = ids else { return Ok(None) };
    let asked = exposure_summary::Query { account_ids, ..exposure_summary::Query::default() };
    exposure_summary::answer(ctx, asked).await.map(Some)
}

/// Oldest first.
pub async fn drawdown(ctx: &Ctx<'_>, query: DrawdownQuery) -> Result<Vec<Drawdown>, Error> {
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let selection = select::wanted(&mut session, &query).await?;
    let window = whole_hours(series::window(query.from, query.to, ctx)?);
    let step = step_hours(window, query.interval_ms, query.max_data_points);
    let lows = session.nav_lows(&selection.ids(), window, step).await?;
    session.finish().await?;
    let row = |low: codash_store::nav::NavLow| Drawdown {
        time: low.at,
        nav_usd: low.nav_usd,
        peak_usd: low.peak_usd,
        drawdown_usd: low.nav_usd - low.peak_usd,
        drawdown_percent: percent(low.nav_usd - low.peak_usd, low.peak_usd),
    };
    Ok(lows.into_iter().map(row).collect())
}

/// From the first hour that begins in the window, as NAV's history has it.
fn whole_hours(window: Window) -> Window {
    Window { from: window.from.plus(TimeDelta::milliseconds(HOUR - 1)).floor_to(HOUR), to: window.to }
}

/// The hours of each group, in the order of groups.
fn split(hours: Vec<NavHour>, by: Option<Split>, selection: &Selection) -> BTreeMap<Option<Group>, Vec<NavHour>> {
    let group_of: BTreeMap<_, _> = selection
        .accounts
        .iter()
        .map(|account| {
            let group = by.map(|by| match by {
                Split::Account => Group::account(account),
                Split::Venue => Group::venue(account.venue),
            });
            (account.id, group)
        })
        .collect();
    let mut groups: BTreeMap<Option<Group>, Vec<NavHour>> = BTreeMap::new();
    for hour in hours {
        groups.entry(group_of.get(&hour.account).cloned().flatten()).or_default().push(hour);
    }
    groups
}

fn point(sum: &HourSum, group: Option<Group>) -> Point {
    let gross_usd = sum.sides.map(|(long, short)| long + short);
    Point {
        time: sum.hour,
        group,
        nav_usd: sum.nav_usd,
        long_usd: sum.sides.map(|(long, _)| long),
        short_usd: sum.sides.map(|(_, short)| short),
        gross_usd,
        net_usd: sum.sides.map(|(long, short)| long - short),
        gross_to_nav_percent: gross_usd.and_then(|gross| percent(gross, sum.nav_usd)),
        carried: sum.carried,
    }
}
