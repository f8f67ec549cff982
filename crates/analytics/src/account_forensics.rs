//! What happened to each account in a window? The first page of a postmortem.

use std::collections::BTreeMap;

use codash_domain::cover::HOUR;
use codash_domain::{AccountId, Timestamp, Usd, Venue};
use codash_store::accounts::Account;
use codash_store::grouped::GroupSums;
use codash_store::nav::NavHour;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::activity_summary::Totals;
use crate::arguments::arguments;
use crate::forensics::{DEFAULT_DAYS, resolve};
use crate::largest_losses;
use crate::pnl_query::{Dimension, groups, total};
use crate::pnl_summary::{Days, TypeTotals, by_event_type, days};
use crate::provenance::{self, AppliedFilters, Provenance};
use crate::select::{self, EchoedWindow};
use crate::{Ctx, Error};

arguments! {
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Query {
        ..selection,
        ..window,
        ..ninety_days,
        ..symbols,
    }
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub count: usize,
    pub window: EchoedWindow,
    pub totals: Totals,
    /// The single event of the window that lost most; null when none lost.
    pub largest_loss: Option<largest_losses::Row>,
    /// Every selected account, also those in which nothing happened, but for those that were removed before
    /// the window; lowest net PnL first.
    pub accounts: Vec<AccountSummary>,
    pub provenance: Provenance,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountSummary {
    pub account_id: AccountId,
    pub account_name: String,
    pub venue: Venue,
    #[serde(flatten)]
    pub totals: Totals,
    /// Only types that occurred.
    pub by_event_type: Vec<TypeTotals>,
    pub days: Days,
    pub nav: NavSpan,
}

/// NAV through the window, from hourly snapshots. Deposits and withdrawals move it too. Symbols do not
/// narrow it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NavSpan {
    /// The last snapshot before the window, else the first in it; null without one.
    pub start_usd: Option<Usd>,
    pub end_usd: Option<Usd>,
    pub lowest_usd: Option<Usd>,
    /// The hour of `lowestUsd`.
    pub lowest_at: Option<Timestamp>,
}

pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<Answer, Error> {
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let selection = select::wanted(&mut session, &query).await?;
    let (window, defaulted) = resolve(query.from, query.to, query.days, DEFAULT_DAYS, ctx)?;
    let filter = select::event_filter(&selection, window, query.symbols.as_deref(), None);
    let by_type = groups(&mut session, &[Dimension::Account, Dimension::EventType], &filter).await?;
    let by_day = groups(&mut session, &[Dimension::Account, Dimension::Day], &filter).await?;
    let losses = session.largest_losses(&filter, 1).await?;
    let hours = session.nav_hours(&selection.ids(), window.from.floor_to(HOUR), window.to).await?;
    let coverage = provenance::coverage(&mut session, &selection, window, ctx.now).await?;
    session.finish().await?;

    let totals = total(by_type.iter().map(|group| group.sums));
    let (by_type, by_day) = (by_account(by_type), by_account(by_day));
    let none = Vec::new();
    let mut accounts: Vec<AccountSummary> = selection
        .accounts
        .iter()
        .map(|account| {
            let key = account.id.to_string();
            let of = |groups: &BTreeMap<String, Vec<GroupSums>>| groups.get(&key).unwrap_or(&none).clone();
            summary(account, &of(&by_type), &of(&by_day), &hours)
        })
        .collect();
    let is_of_window = |id: AccountId| {
        let removed_at = selection.accounts.iter().find(|a| a.id == id).and_then(|a| a.removed_at);
        removed_at.is_none_or(|at| at >= window.from)
    };
    accounts.retain(|account| account.totals.event_count > 0 || is_of_window(account.account_id));
    accounts.sort_by_key(|account| account.totals.net_pnl_usd);
    let provenance =
        Provenance::of_events(ctx.now, AppliedFilters::new(&selection, &filter), totals.unpriced_count, coverage);
    Ok(Answer {
        count: accounts.len(),
        window: EchoedWindow { window: window.into(), defaulted },
        totals: totals.into(),
        largest_loss: largest_losses::rows(losses, &selection).pop(),
        accounts,
        provenance: Provenance { sources: vec!["events", "nav_hours"], ..provenance },
    })
}

/// Groups by their first key.
fn by_account(groups: Vec<GroupSums>) -> BTreeMap<String, Vec<GroupSums>> {
    let mut accounts: BTreeMap<String, Vec<GroupSums>> = BTreeMap::new();
    for group in groups {
        accounts.entry(group.keys.first().cloned().unwrap_or_default()).or_default().push(group);
    }
    accounts
}

fn summary(account: &Account, by_type: &[GroupSums], by_day: &[GroupSums], hours: &[NavHour]) -> AccountSummary {
    let own: Vec<&NavHour> = hours.iter().filter(|hour| hour.account == account.id).collect();
    let lowest = own.iter().min_by_key(|hour| (hour.nav_usd, hour.hour));
    AccountSummary {
        account_id: account.id,
        account_name: account.name.clone(),
        venue: account.venue,
        totals: total(by_type.iter().map(|group| group.sums)).into(),
        by_event_type: by_event_type(by_type),
        days: days(by_day),
        nav: NavSpan {
            start_usd: own.first().map(|hour| hour.nav_usd),
            end_usd: own.last().map(|hour| hour.nav_usd),
            lowest_usd: lowest.map(|hour| hour.nav_usd),
            lowest_at: lowest.map(|hour| hour.hour),
        },
    }
}
