//! Which money moved without being earned or lost? Newest first, a page at a time.

use chrono::TimeDelta;
use codash_domain::{AccountId, Asset, EventId, FlowKind, Qty, Timestamp, Usd};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use validator::Validate;

use crate::arguments::arguments;
use crate::cursor::Position;
use crate::input::whole;
use crate::provenance::{self, AppliedFilters, Provenance};
use crate::select::{self, Selection, WindowAnswer, WindowQuery};
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
        /// Most rows in a page.
        #[serde(default = "default_limit", deserialize_with = "whole")]
        #[validate(range(min = 1, max = 1000))]
        pub limit: Option<i64>,
        ..cursor,
    }
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub count: usize,
    /// Pass it back as `cursor` for the next page; null on the last.
    pub next_cursor: Option<String>,
    /// As resolved on the first page.
    pub window: WindowAnswer,
    pub rows: Vec<Row>,
    pub provenance: Provenance,
}

/// One movement of one asset in one wallet.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub id: EventId,
    pub account_id: AccountId,
    pub account_name: String,
    pub kind: FlowKind,
    pub occurred_at: Timestamp,
    /// The venue's wallet that gained or lost.
    pub wallet: String,
    pub asset: Asset,
    /// Positive: into the wallet; negative: out of it, the venue's fee included.
    pub amount: Qty,
    /// `amount` in dollars of that minute; null while no price is known.
    pub value_usd: Option<Usd>,
}

pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<Answer, Error> {
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let selection = select::wanted(&mut session, &query).await?;
    let bound_to = bound_to(ctx, &selection);
    let position = query.cursor.as_deref().map(|text| ctx.cursor_key.read(text, &bound_to)).transpose()?;
    let window = match &position {
        Some(position) => position.window,
        None => {
            let length = TimeDelta::days(DEFAULT_DAYS);
            select::window(WindowQuery { from: query.from, to: query.to, length }, ctx.now)?
        }
    };
    let limit = query.limit.unwrap_or(100);
    let before = position.map(|p| p.before);
    let mut flows = session.cash_flows(&selection.ids(), window, before, limit + 1).await?;
    let coverage = provenance::flow_coverage(&mut session, &selection, window, ctx.now).await?;
    session.finish().await?;

    let more = flows.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    if more {
        flows.pop();
    }
    let unpriced = i64::try_from(flows.iter().filter(|f| f.value_usd.is_none()).count()).unwrap_or(i64::MAX);
    let next = flows.last().filter(|_| more).map(|last| Position { window, before: last.id });
    let names = selection.names();
    let row = |flow: codash_store::cash_flows::StoredFlow| Row {
        id: flow.id,
        account_id: flow.account,
        account_name: names.get(&flow.account).copied().unwrap_or_default().to_owned(),
        kind: flow.kind,
        occurred_at: flow.occurred_at,
        wallet: flow.wallet,
        asset: flow.asset,
        amount: Qty::new(flow.amount),
        value_usd: flow.value_usd,
    };
    let filters = AppliedFilters { account_ids: selection.ids(), symbols: vec![], event_types: vec![] };
    Ok(Answer {
        count: flows.len(),
        next_cursor: next.map(|p| ctx.cursor_key.write(&p, &bound_to)),
        window: window.into(),
        provenance: Provenance {
            as_of: ctx.now,
            sources: vec!["cash_flows"],
            fallbacks: vec![],
            applied_filters: filters,
            unpriced_event_count: unpriced,
            coverage,
        },
        rows: flows.into_iter().map(row).collect(),
    })
}

/// Everything that must be the same on the next page. The page's size may change.
fn bound_to(ctx: &Ctx<'_>, selection: &Selection) -> String {
    let mut accounts = selection.ids();
    accounts.sort_unstable();
    let accounts = if selection.whole_workspace { json!("all") } else { json!(accounts) };
    json!(["cash_flows", ctx.grant.workspace, ctx.grant.key, accounts]).to_string()
}
