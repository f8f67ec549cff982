//! When in the day or the week, or where, is money made and lost?

use std::collections::BTreeMap;

use codash_domain::{EventType, Timestamp};
use codash_store::grouped::GroupSums;
use codash_store::ledger::Sums;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::activity_summary::Totals;
use crate::forensics::{DEFAULT_DAYS, resolve};
use crate::input::{bound, present, whole};
use crate::pnl_query::{Dimension, groups, total, weekday};
use crate::provenance::{self, AppliedFilters, Provenance};
use crate::select::{self, EchoedWindow, Selection, Wanted, short_strings};
use crate::{Ctx, Error};

#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Query {
    /// What a bucket is: hour (of the day, UTC), weekday (UTC) or venue.
    #[serde(default)]
    pub bucket: Bucket,
    /// Single visible exchange account id, as list_accounts returns it.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(min = 1, max = 128))]
    pub account_id: Option<String>,
    /// Up to 100 ids. When both are omitted (or the list is empty), all visible accounts are queried.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 100), custom(function = "short_strings"))]
    pub account_ids: Option<Vec<String>>,
    /// A portfolio group: only its accounts and those of every group below it.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(min = 1, max = 128))]
    pub portfolio_id: Option<String>,
    /// Inclusive lower bound, ISO 8601 with a zone. Default: days before `to`.
    #[serde(default, deserialize_with = "bound")]
    pub from: Option<Timestamp>,
    /// Inclusive upper bound, ISO 8601 with a zone. Default: now.
    #[serde(default, deserialize_with = "bound")]
    pub to: Option<Timestamp>,
    /// Length of the window in days when `from` is omitted. Default 90.
    #[serde(default, deserialize_with = "whole")]
    #[validate(range(min = 1, max = 365))]
    pub days: Option<i64>,
    /// Up to 100 symbols, spelled as answers spell them (BTC-PERP). Empty: all.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 100), custom(function = "short_strings"))]
    pub symbols: Option<Vec<String>>,
    /// Up to 7 event types. Empty: all.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 7))]
    pub event_types: Option<Vec<EventType>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Bucket {
    #[default]
    Hour,
    Weekday,
    Venue,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub bucket: Bucket,
    pub count: usize,
    pub window: EchoedWindow,
    pub totals: Totals,
    /// Every hour (00 to 23) or weekday (monday to sunday), also those in which nothing happened; of
    /// venues those of the selected accounts.
    pub rows: Vec<Row>,
    pub provenance: Provenance,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub key: String,
    #[serde(flatten)]
    pub totals: Totals,
}

pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<Answer, Error> {
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let wanted = Wanted {
        account_id: query.account_id.as_deref(),
        account_ids: query.account_ids.as_deref(),
        portfolio_id: query.portfolio_id.as_deref(),
    };
    let selection = select::wanted(&mut session, ctx.grant, wanted).await?;
    let (window, defaulted) = resolve(query.from, query.to, query.days, DEFAULT_DAYS, ctx)?;
    let filter = select::event_filter(&selection, window, query.symbols.as_deref(), query.event_types.as_deref());
    let dimension = match query.bucket {
        Bucket::Hour => Dimension::Hour,
        Bucket::Weekday => Dimension::Weekday,
        Bucket::Venue => Dimension::Account,
    };
    let groups = groups(&mut session, &[dimension], &filter).await?;
    let coverage = provenance::coverage(&mut session, &selection, window, ctx.now).await?;
    session.finish().await?;

    let totals = total(groups.iter().map(|group| group.sums));
    let rows = rows(query.bucket, &groups, &selection);
    Ok(Answer {
        bucket: query.bucket,
        count: rows.len(),
        window: EchoedWindow { window: window.into(), defaulted },
        totals: totals.into(),
        rows,
        provenance: Provenance::of_events(
            ctx.now,
            AppliedFilters::new(&selection, &filter),
            totals.unpriced_count,
            coverage,
        ),
    })
}

fn rows(bucket: Bucket, groups: &[GroupSums], selection: &Selection) -> Vec<Row> {
    let sums_of = |key: &str| total(groups.iter().filter(|g| g.keys.iter().any(|k| k == key)).map(|g| g.sums));
    match bucket {
        Bucket::Hour => {
            (0..24).map(|hour| format!("{hour:02}")).map(|key| Row { totals: sums_of(&key).into(), key }).collect()
        }
        Bucket::Weekday => (1..=7)
            .map(|day: i32| day.to_string())
            .map(|number| Row { key: weekday(&number).to_owned(), totals: sums_of(&number).into() })
            .collect(),
        Bucket::Venue => {
            let mut venues: BTreeMap<&str, Sums> = BTreeMap::new();
            for account in &selection.accounts {
                *venues.entry(account.venue.as_str()).or_default() += sums_of(&account.id.to_string());
            }
            venues.into_iter().map(|(key, sums)| Row { key: key.to_owned(), totals: sums.into() }).collect()
        }
    }
}
