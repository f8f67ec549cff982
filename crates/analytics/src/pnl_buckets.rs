//! When in the day or the week, or where, is money made and lost?

use std::collections::BTreeMap;

use codash_store::grouped::GroupSums;
use codash_store::ledger::Sums;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::activity_summary::Totals;
use crate::arguments::arguments;
use crate::forensics::{DEFAULT_DAYS, resolve};
use crate::pnl_query::{Dimension, groups, total, weekday};
use crate::provenance::{self, AppliedFilters, Provenance};
use crate::select::{self, EchoedWindow, Selection};
use crate::{Ctx, Error};

arguments! {
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Query {
        /// What a bucket is: hour (of the day, UTC), weekday (UTC) or venue.
        #[serde(default)]
        pub bucket: Bucket,
        ..selection,
        ..window,
        ..ninety_days,
        ..symbols,
        ..event_types,
    }
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
    let selection = select::wanted(&mut session, &query).await?;
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
