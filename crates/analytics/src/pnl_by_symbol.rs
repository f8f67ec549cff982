//! What did each symbol earn and cost in a window?

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use codash_domain::{AccountId, Symbol, Usd, pnl};
use codash_store::Session;
use codash_store::events::EventFilter;
use codash_store::ledger::Sums;
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
    Some(100)
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
        #[validate(range(min = 1, max = 2000))]
        pub limit: Option<i64>,
    }
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer<W = WindowAnswer> {
    pub count: usize,
    pub total_symbol_count: usize,
    pub window: W,
    /// Largest absolute net PnL first.
    pub rows: Vec<Row>,
    /// True when more than `limit` symbols match.
    pub truncated: bool,
    pub provenance: Provenance,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Null: records that belong to no market (a rebate, say).
    pub symbol: Option<Symbol>,
    pub account_ids: Vec<AccountId>,
    pub account_names: Vec<String>,
    /// Before fees and funding.
    pub realized_pnl_usd: Usd,
    /// Positive: received.
    pub funding_usd: Usd,
    /// Positive: paid.
    pub fees_usd: Usd,
    /// realizedPnlUsd + fundingUsd - feesUsd.
    pub net_pnl_usd: Usd,
}

impl Answer {
    /// The same answer with its window written in another way.
    pub fn with_window<W>(self, write: impl FnOnce(WindowAnswer) -> W) -> Answer<W> {
        let Self { window, count, total_symbol_count, rows, truncated, provenance } = self;
        Answer { window: write(window), count, total_symbol_count, rows, truncated, provenance }
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
    let groups = by_symbol(&mut session, &filter).await?;
    let coverage = provenance::coverage(&mut session, &selection, window, ctx.now).await?;
    session.finish().await?;

    let unpriced_event_count = groups.values().map(|g| g.sums.unpriced_count).sum();
    let total_symbol_count = groups.len();
    let limit = usize::try_from(query.limit.unwrap_or(100)).unwrap_or(100);
    let rows = rows(groups, &selection, limit);
    Ok(Answer {
        count: rows.len(),
        total_symbol_count,
        window: window.into(),
        truncated: total_symbol_count > limit,
        rows,
        provenance: Provenance::of_events(
            ctx.now,
            AppliedFilters::new(&selection, &filter),
            unpriced_event_count,
            coverage,
        ),
    })
}

#[derive(Debug, Default)]
struct Group {
    sums: Sums,
    accounts: BTreeSet<AccountId>,
}

/// One reading, so that sums and the accounts behind them cannot disagree: of the workspace's own
/// cube when every account is meant, else of the one that knows symbol and account.
async fn by_symbol(session: &mut Session<'_>, filter: &EventFilter) -> Result<BTreeMap<Option<Symbol>, Group>, Error> {
    let mut groups: BTreeMap<Option<Symbol>, Group> = BTreeMap::new();
    let mut add = |symbol, accounts: &[AccountId], sums| {
        let group = groups.entry(symbol).or_default();
        group.sums += sums;
        group.accounts.extend(accounts);
    };
    if filter.accounts.is_none() {
        let rows = session.sums_by_symbol_and_accounts(filter).await?;
        rows.into_iter().for_each(|(symbol, accounts, sums)| add(symbol, &accounts, sums));
    } else {
        let rows = session.sums_by_symbol_and_account(filter).await?;
        rows.into_iter().for_each(|(symbol, account, sums)| add(symbol, &[account], sums));
    }
    Ok(groups)
}

fn rows(groups: BTreeMap<Option<Symbol>, Group>, selection: &Selection, limit: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = groups.into_iter().map(|(symbol, group)| row(symbol, &group, selection)).collect();
    rows.sort_by(|a, b| b.net_pnl_usd.abs().cmp(&a.net_pnl_usd.abs()).then_with(|| a.symbol.cmp(&b.symbol)));
    rows.truncate(limit);
    rows
}

fn row(symbol: Option<Symbol>, group: &Group, selection: &Selection) -> Row {
    let accounts = selection.accounts.iter().filter(|a| group.accounts.contains(&a.id));
    Row {
        symbol,
        account_ids: accounts.clone().map(|a| a.id).collect(),
        account_names: accounts.map(|a| a.name.clone()).collect(),
        realized_pnl_usd: group.sums.realized_pnl_usd,
        funding_usd: group.sums.funding_usd,
        fees_usd: group.sums.fees_usd,
        net_pnl_usd: pnl::net(group.sums.realized_pnl_usd, group.sums.funding_usd, group.sums.fees_usd),
    }
}
