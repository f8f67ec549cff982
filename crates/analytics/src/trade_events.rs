//! Which events happened? Newest first, a page at a time.

use chrono::TimeDelta;
use codash_domain::{AccountId, EventId, EventType, Price, Qty, Side, Symbol, Timestamp, Usd};
use codash_store::events::StoredEvent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use validator::Validate;

use crate::arguments::arguments;
use crate::cursor::Position;
use crate::input::whole;
use crate::provenance::{self, AppliedFilters, Provenance};
use crate::select::{self, Selection, Wanted, WindowAnswer, WindowQuery};
use crate::{Ctx, Error};

const DEFAULT_DAYS: i64 = 90;

fn default_limit() -> Option<i64> {
    Some(100)
}

arguments! {
    #[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Query {
        ..accounts,
        ..paged_window,
        ..symbols,
        ..event_types,
        /// Most rows in a page.
        #[serde(default = "default_limit", deserialize_with = "whole")]
        #[validate(range(min = 1, max = 1000))]
        pub limit: Option<i64>,
        ..cursor,
    }
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer<W = WindowAnswer> {
    pub count: usize,
    /// Pass it back as `cursor` for the next page; null on the last.
    pub next_cursor: Option<String>,
    /// As resolved on the first page.
    pub window: W,
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
    pub side: Option<Side>,
    /// Base units.
    pub qty: Option<Qty>,
    pub price: Option<Price>,
    pub notional_usd: Option<Usd>,
    /// Before fees. Null: unknown for want of a price.
    pub realized_pnl_usd: Option<Usd>,
    /// Positive: paid; negative: a rebate. Null: unknown for want of a price.
    pub fee_usd: Option<Usd>,
    /// Positive: received.
    pub funding_usd: Option<Usd>,
    /// realizedPnlUsd + fundingUsd - feeUsd; null when a part is unknown.
    pub net_pnl_impact_usd: Option<Usd>,
}

impl Answer {
    /// The same answer with its window written in another way.
    pub fn with_window<W>(self, write: impl FnOnce(WindowAnswer) -> W) -> Answer<W> {
        let Self { window, count, next_cursor, rows, provenance } = self;
        Answer { window: write(window), count, next_cursor, rows, provenance }
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
    let bound_to = bound_to(ctx, &query, &selection);
    let position = query.cursor.as_deref().map(|text| ctx.cursor_key.read(text, &bound_to)).transpose()?;
    let window = match &position {
        Some(position) => position.window,
        None => {
            let length = TimeDelta::days(DEFAULT_DAYS);
            select::window(WindowQuery { from: query.from, to: query.to, length }, ctx.now)?
        }
    };
    let filter = select::event_filter(&selection, window, query.symbols.as_deref(), query.event_types.as_deref());
    let limit = query.limit.unwrap_or(100);
    let mut events = session.events_page(&filter, position.map(|p| p.before), limit + 1).await?;
    let coverage = provenance::coverage(&mut session, &selection, window, ctx.now).await?;
    session.finish().await?;

    let more = events.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    if more {
        events.pop();
    }
    let unpriced = i64::try_from(events.iter().filter(|e| e.unpriced).count()).unwrap_or(i64::MAX);
    let next = events.last().filter(|_| more).map(|last| Position { window, before: last.id });
    Ok(Answer {
        count: events.len(),
        next_cursor: next.map(|p| ctx.cursor_key.write(&p, &bound_to)),
        window: window.into(),
        provenance: Provenance::of_events(ctx.now, AppliedFilters::new(&selection, &filter), unpriced, coverage),
        rows: rows(events, &selection),
    })
}

/// Everything that must be the same on the next page. The page's size may change.
fn bound_to(ctx: &Ctx<'_>, query: &Query, selection: &Selection) -> String {
    let mut accounts = selection.ids();
    accounts.sort_unstable();
    // An account that is attached between two pages of the whole workspace does not spoil the cursor.
    let accounts = if selection.whole_workspace { json!("all") } else { json!(accounts) };
    let mut symbols = query.symbols.clone().unwrap_or_default();
    symbols.sort_unstable();
    symbols.dedup();
    let mut types = query.event_types.clone().unwrap_or_default();
    types.sort_unstable();
    types.dedup();
    json!(["trade_events", ctx.grant.workspace, ctx.grant.key, accounts, symbols, types]).to_string()
}

fn rows(events: Vec<StoredEvent>, selection: &Selection) -> Vec<Row> {
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
            side: e.side,
            qty: e.qty,
            price: e.price,
            notional_usd: e.notional_usd,
            realized_pnl_usd: e.realized_pnl_usd,
            fee_usd: e.fee_usd,
            funding_usd: e.funding_usd,
            net_pnl_impact_usd: e.net_pnl_impact_usd,
        })
        .collect()
}
