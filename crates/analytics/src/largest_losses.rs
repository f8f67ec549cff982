//! Which single events lost most?

use chrono::TimeDelta;
use codash_domain::{AccountId, EventId, EventType, Symbol, Timestamp, Usd};
use codash_store::events::StoredEvent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::arguments::arguments;
use crate::input::whole;
use crate::provenance::{self, AppliedFilters, Provenance};
use crate::select::{self, Selection, Wanted, WindowAnswer, WindowQuery};
use crate::{Ctx, Error};

fn default_days() -> Option<i64> {
    Some(30)
}

fn default_limit() -> Option<i64> {
    Some(25)
}

arguments! {
    #[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Query {
        ..accounts,
        ..window,
        /// Length of the window in days when `from` is omitted.
        #[serde(default = "default_days", deserialize_with = "whole")]
        #[validate(range(min = 1, max = 365))]
        pub days: Option<i64>,
        ..symbols,
        /// Most rows returned.
        #[serde(default = "default_limit", deserialize_with = "whole")]
        #[validate(range(min = 1, max = 500))]
        pub limit: Option<i64>,
    }
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer<W = WindowAnswer> {
    pub count: usize,
    pub window: W,
    /// Worst first. Only events that lost money.
    pub rows: Vec<Row>,
    pub provenance: Provenance,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub id: EventId,
    pub account_id: AccountId,
    pub account_name: String,
    /// Null: a record that belongs to no market.
    pub symbol: Option<Symbol>,
    pub event_type: EventType,
    pub occurred_at: Timestamp,
    /// Realized PnL + funding - fee of this event: negative.
    pub net_pnl_impact_usd: Option<Usd>,
    pub notional_usd: Option<Usd>,
}

impl Answer {
    /// The same answer with its window written in another way.
    pub fn with_window<W>(self, write: impl FnOnce(WindowAnswer) -> W) -> Answer<W> {
        let Self { window, count, rows, provenance } = self;
        Answer { window: write(window), count, rows, provenance }
    }
}

pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<Answer, Error> {
    within(ctx, query, None).await
}

/// As [`answer`], of the accounts of a group when one is named.
pub async fn within(ctx: &Ctx<'_>, query: Query, portfolio_id: Option<&str>) -> Result<Answer, Error> {
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let wanted = Wanted { portfolio_id, ..Wanted::from(&query) };
    let selection = select::wanted(&mut session, wanted).await?;
    let length = TimeDelta::days(query.days.unwrap_or(30));
    let window = select::window(WindowQuery { from: query.from, to: query.to, length }, ctx.now)?;
    let filter = select::event_filter(&selection, window, query.symbols.as_deref(), None);
    let events = session.largest_losses(&filter, query.limit.unwrap_or(25)).await?;
    let unpriced_event_count = session.unpriced_count(&filter).await?;
    let coverage = provenance::coverage(&mut session, &selection, window, ctx.now).await?;
    session.finish().await?;
    let rows = rows(events, &selection);
    Ok(Answer {
        count: rows.len(),
        window: window.into(),
        rows,
        provenance: Provenance::of_events(
            ctx.now,
            AppliedFilters::new(&selection, &filter),
            unpriced_event_count,
            coverage,
        ),
    })
}

pub(crate) fn rows(events: Vec<StoredEvent>, selection: &Selection) -> Vec<Row> {
    let names = selection.names();
    events
        .into_iter()
        .map(|e| Row {
            id: e.id,
            account_id: e.account,
            account_name: names.get(&e.account).copied().unwrap_or_default().to_owned(),
            symbol: e.symbol,
            event_type: e.event_type,
            occurred_at: e.occurred_at,
            net_pnl_impact_usd: e.net_pnl_impact_usd,
            notional_usd: e.notional_usd,
        })
        .collect()
}
