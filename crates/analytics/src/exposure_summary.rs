//! How exposed is the portfolio now, to what, and how close are its positions to their entries?

use std::collections::BTreeMap;

use codash_domain::{AccountId, Price, Qty, Symbol, Timestamp, Usd};
use codash_store::positions::StoredPosition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::arguments::arguments;
use crate::input::whole;
use crate::portfolio_summary::{self, Provenance, summarize};
use crate::select::{self, Number, Selection, percent};
use crate::{Ctx, Error};

fn default_limit() -> Option<i64> {
    Some(100)
}

arguments! {
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Query {
        ..selection,
        /// Most positions listed.
        #[serde(default = "default_limit", deserialize_with = "whole")]
        #[validate(range(min = 1, max = 1000))]
        pub limit: Option<i64>,
    }
}

/// Totals are those of the portfolio's summary: of each account's newest snapshot.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub timestamp: Option<Timestamp>,
    pub account_count: usize,
    pub nav_usd: Option<Usd>,
    pub gross_exposure_usd: Option<Usd>,
    pub net_exposure_usd: Option<Usd>,
    pub long_exposure_usd: Option<Usd>,
    pub short_exposure_usd: Option<Usd>,
    pub futures_upnl_usd: Option<Usd>,
    /// grossExposureUsd as a percentage of navUsd: 250 is 2.5 times. Null while NAV is not positive.
    pub gross_to_nav_percent: Option<Number>,
    /// The largest symbol's gross as a percentage of all positions' gross.
    pub largest_symbol_percent: Option<Number>,
    /// Largest gross first.
    pub by_symbol: Vec<SymbolExposure>,
    /// Largest gross first. Accounts without a position are not listed.
    pub by_account: Vec<AccountExposure>,
    pub position_count: usize,
    /// Largest notional first.
    pub positions: Vec<PositionRow>,
    /// True when there are more positions than `limit`. No sum leaves one out.
    pub truncated: bool,
    pub provenance: Provenance,
}

/// Sums over positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sides {
    pub position_count: usize,
    /// Positive.
    pub long_usd: Usd,
    /// Positive.
    pub short_usd: Usd,
    /// longUsd + shortUsd.
    pub gross_usd: Usd,
    /// longUsd - shortUsd.
    pub net_usd: Usd,
    pub unrealized_pnl_usd: Usd,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SymbolExposure {
    pub symbol: Option<Symbol>,
    #[serde(flatten)]
    pub sides: Sides,
    /// Of all positions' gross, as a percentage.
    pub share_percent: Option<Number>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountExposure {
    pub account_id: AccountId,
    pub account_name: String,
    #[serde(flatten)]
    pub sides: Sides,
    /// grossUsd as a percentage of the account's NAV; null while that is unknown or not positive.
    pub gross_to_nav_percent: Option<Number>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PositionRow {
    pub account_id: AccountId,
    pub account_name: String,
    pub symbol: Option<Symbol>,
    /// The leg of a hedged pair: both, long or short.
    pub leg: String,
    /// Base units; negative: short.
    pub qty: Qty,
    pub entry_price: Option<Price>,
    pub mark_price: Option<Price>,
    /// Positive, at the venue's mark.
    pub notional_usd: Usd,
    pub unrealized_pnl_usd: Usd,
    /// unrealizedPnlUsd as a percentage of notionalUsd.
    pub unrealized_pnl_percent: Option<Number>,
    pub taken_at: Timestamp,
}

impl Sides {
    fn add(&mut self, position: &StoredPosition) {
        let notional = position.notional_usd.abs();
        let (long, short) =
            if position.qty.0.is_sign_negative() { (Usd::ZERO, notional) } else { (notional, Usd::ZERO) };
        self.position_count += 1;
        self.long_usd = self.long_usd + long;
        self.short_usd = self.short_usd + short;
        self.gross_usd = self.gross_usd + notional;
        self.net_usd = self.net_usd + long - short;
        self.unrealized_pnl_usd = self.unrealized_pnl_usd + position.unrealized_pnl_usd;
    }
}

pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<Answer, Error> {
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let selection = select::present(&mut session, &query).await?;
    let ids = selection.ids();
    let navs = session.latest_navs(&ids).await?;
    let positions = session.positions(&ids).await?;
    session.finish().await?;
    let nav_of = navs.iter().map(|n| (n.account, n.nav_usd)).collect();
    let limit = usize::try_from(query.limit.unwrap_or(100)).unwrap_or(100);
    Ok(compose(summarize(&ids, &navs, ctx.now), &nav_of, positions, &selection, limit))
}

pub(crate) fn compose(
    summary: portfolio_summary::Answer,
    nav_of: &BTreeMap<AccountId, Usd>,
    positions: Vec<StoredPosition>,
    selection: &Selection,
    limit: usize,
) -> Answer {
    let mut all = Sides::default();
    let mut symbols: BTreeMap<Option<Symbol>, Sides> = BTreeMap::new();
    let mut accounts: BTreeMap<AccountId, Sides> = BTreeMap::new();
    for position in &positions {
        all.add(position);
        symbols.entry(position.symbol.clone()).or_default().add(position);
        accounts.entry(position.account).or_default().add(position);
    }
    let by_symbol: Vec<SymbolExposure> = largest_first(symbols)
        .map(|(symbol, sides)| SymbolExposure { symbol, sides, share_percent: percent(sides.gross_usd, all.gross_usd) })
        .collect();
    let names = selection.names();
    let name = |id: AccountId| names.get(&id).copied().unwrap_or_default().to_owned();
    let by_account = largest_first(accounts)
        .map(|(account_id, sides)| AccountExposure {
            account_id,
            account_name: name(account_id),
            sides,
            gross_to_nav_percent: nav_of.get(&account_id).and_then(|nav| percent(sides.gross_usd, *nav)),
        })
        .collect();
    Answer {
        timestamp: summary.timestamp,
        account_count: summary.account_count,
        nav_usd: summary.nav_usd,
        gross_exposure_usd: summary.gross_exposure_usd,
        net_exposure_usd: summary.net_exposure_usd,
        long_exposure_usd: summary.long_exposure_usd,
        short_exposure_usd: summary.short_exposure_usd,
        futures_upnl_usd: summary.futures_upnl_usd,
        gross_to_nav_percent: summary.gross_exposure_usd.zip(summary.nav_usd).and_then(|(g, nav)| percent(g, nav)),
        largest_symbol_percent: by_symbol.first().and_then(|row| row.share_percent),
        by_symbol,
        by_account,
        position_count: positions.len(),
        truncated: positions.len() > limit,
        positions: positions.into_iter().take(limit).map(|p| row(p, &name)).collect(),
        provenance: Provenance { sources: vec!["nav_snapshots", "positions"], ..summary.provenance },
    }
}

fn row(position: StoredPosition, name: &impl Fn(AccountId) -> String) -> PositionRow {
    PositionRow {
        account_id: position.account,
        account_name: name(position.account),
        symbol: position.symbol,
        leg: position.leg,
        qty: position.qty,
        entry_price: position.entry_price,
        mark_price: position.mark_price,
        notional_usd: position.notional_usd,
        unrealized_pnl_usd: position.unrealized_pnl_usd,
        unrealized_pnl_percent: percent(position.unrealized_pnl_usd, position.notional_usd),
        taken_at: position.taken_at,
    }
}

fn largest_first<K: Ord>(sums: BTreeMap<K, Sides>) -> impl Iterator<Item = (K, Sides)> {
    let mut sums: Vec<(K, Sides)> = sums.into_iter().collect();
    // Stable: equals stay in the order of their keys.
    sums.sort_by_key(|(_, sides)| std::cmp::Reverse(sides.gross_usd));
    sums.into_iter()
}
