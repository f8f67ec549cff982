//! What was earned, paid and traded, through time or by symbol, account and venue?

use std::collections::BTreeMap;

use codash_domain::{Timestamp, Usd};
use codash_store::grouped::{By, GroupSums};
use codash_store::ledger::Sums;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use validator::Validate;

use crate::activity_summary::Totals;
use crate::arguments::arguments;
use crate::input::present;
use crate::select::{self, Selection};
use crate::series::{self, Group, MOST_ROWS, bounded, by_id, step_hours};
use crate::{Ctx, Error, Rule};

/// Groups that the database may make before venues are added up.
const MOST_GROUPS: usize = 50_000;

arguments! {
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Query {
        ..chart_window,
        ..steps,
        ..chart_accounts,
        ..symbols,
        ..event_types,
        /// What makes a row: time (steps of intervalMs), day (UTC), symbol, account or venue.
        #[serde(default)]
        pub by: Rows,
        /// With time and day: a series for each symbol, account or venue. Default: one of all together.
        #[serde(default, deserialize_with = "present")]
        pub split_by: Option<Split>,
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Rows {
    #[default]
    Time,
    Day,
    Symbol,
    Account,
    Venue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Split {
    Symbol,
    Account,
    Venue,
}

#[derive(Debug, Clone)]
pub struct Row {
    /// The start of the step or day; `None` where rows are not of time.
    pub time: Option<Timestamp>,
    pub group: Option<Group>,
    pub totals: Totals,
    /// Events with an amount that is unknown for want of a price: it is in no total.
    pub unpriced_event_count: i64,
    /// netPnlUsd of this and all earlier rows of the series; of rows without a time that of the row.
    pub cumulative_net_pnl_usd: Usd,
}

/// Rows of time oldest first, others by net PnL, largest first. Steps in which nothing happened have no row.
pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<Vec<Row>, Error> {
    let (is_timed, split) = shape(&query)?;
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let selection = select::wanted(&mut session, &query).await?;
    let window = series::window(query.from, query.to, ctx)?;
    let step = match query.by {
        Rows::Day => 24,
        _ => step_hours(window, query.interval_ms, query.max_data_points),
    };
    let filter = select::event_filter(&selection, window, query.symbols.as_deref(), query.event_types.as_deref());
    let mut dimensions = Vec::new();
    dimensions.extend(is_timed.then_some(By::Every(step)));
    dimensions.extend(split.map(|split| match split {
        Split::Symbol => By::Symbol,
        Split::Account | Split::Venue => By::Account,
    }));
    let groups = session.sums_grouped(&dimensions, &filter, MOST_GROUPS + 1).await?;
    session.finish().await?;
    let groups = bounded(groups, MOST_GROUPS)?;
    let mut rows = bounded(rows(groups, is_timed, split, &selection), MOST_ROWS)?;
    if !is_timed {
        // Stable: equals stay in the order of their groups.
        rows.sort_by_key(|row| std::cmp::Reverse(row.totals.net_pnl_usd));
    }
    Ok(rows)
}

/// Whether rows are of time, and what else they are of.
fn shape(query: &Query) -> Result<(bool, Option<Split>), Error> {
    let own = match query.by {
        Rows::Time | Rows::Day => return Ok((true, query.split_by)),
        Rows::Symbol => Split::Symbol,
        Rows::Account => Split::Account,
        Rows::Venue => Split::Venue,
    };
    if query.split_by.is_some() {
        return Err(no_series().into());
    }
    Ok((false, Some(own)))
}

/// Of `splitBy` where rows are not of time.
pub(crate) fn no_series() -> Rule {
    let message = "splitBy makes series through time: leave it out, or leave out by.";
    Rule::new("out_of_range", message, json!({ "argument": "splitBy" }))
}

fn rows(groups: Vec<GroupSums>, is_timed: bool, split: Option<Split>, selection: &Selection) -> Vec<Row> {
    let accounts = by_id(selection);
    let mut sums: BTreeMap<(Option<Timestamp>, Option<Group>), Sums> = BTreeMap::new();
    for group in groups {
        let mut keys = group.keys.into_iter();
        let time = if is_timed { keys.next().and_then(|millis| millis.parse().ok()) } else { None };
        let group_key = split.zip(keys.next()).and_then(|(split, key)| match split {
            Split::Symbol => Some(Group::Symbol(key)),
            Split::Account => accounts.get(&key).map(|account| Group::account(account)),
            Split::Venue => accounts.get(&key).map(|account| Group::venue(account.venue)),
        });
        *sums.entry((time.map(Timestamp::nearest), group_key)).or_default() += group.sums;
    }
    let mut running: BTreeMap<Option<Group>, Usd> = BTreeMap::new();
    sums.into_iter()
        .map(|((time, group), sums)| {
            let totals = Totals::from(sums);
            let cumulative = running.entry(group.clone()).or_default();
            *cumulative = *cumulative + totals.net_pnl_usd;
            let cumulative_net_pnl_usd = *cumulative;
            Row { time, group, totals, unpriced_event_count: sums.unpriced_count, cumulative_net_pnl_usd }
        })
        .collect()
}
