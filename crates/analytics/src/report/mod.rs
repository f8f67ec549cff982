//! Everything that an agent needs to tell how a portfolio stands, in one call and of one snapshot.
//!
//! Each part is that of the question that answers it alone, and names its window.

mod shape;

use std::collections::BTreeMap;

use chrono::TimeDelta;
use codash_domain::cover::{DAY, HOUR};
use codash_domain::returns::{self, Gap, joined};
use codash_domain::{AccountId, AccountStatus, FlowKind, Symbol, Timestamp, Usd, Window};
use codash_store::Session;
use codash_store::accounts::Account;
use codash_store::events::EventFilter;
use codash_store::ledger::Sums;
use codash_store::nav::LatestNav;
use codash_store::performance::Movement;
use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use crate::arguments::arguments;
use crate::aside::aside;
use crate::input::whole;
use crate::largest_losses;
use crate::metrics::figures::{Days, Figures, Realized, figures, pct, return_of, round};
use crate::metrics::history::{self, History};
use crate::metrics::{last, terms, today};
use crate::pnl_query::total;
use crate::pnl_summary::extremes;
use crate::portfolio_summary::summarize;
use crate::provenance::{self, AppliedFilters, Provenance};
use crate::select::{self, Number, Selection};
use crate::{Ctx, Error, exposure_summary};

pub use shape::*;

const DEFAULT_DAYS: i64 = 30;
/// Lengths of the windows of NAV changes, PnL and returns.
const CHANGES: [i64; 3] = [1, 7, 30];
const PNL: [i64; 4] = [1, 7, 30, 90];
const RETURNS: [i64; 3] = [7, 30, 90];
/// Rows of each list.
const TOP: usize = 5;
/// NAV is read hourly: after this it is stale.
const STALE_MILLIS: i64 = 2 * HOUR;

arguments! {
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Query {
        ..selection,
        /// Length in days of the window of losses, cash flows and data quality. Default 30.
        #[serde(default, deserialize_with = "whole")]
        #[validate(range(min = 1, max = 365))]
        pub days: Option<i64>,
    }
}

/// What the events of a window add up to, by symbol.
type Pnl = (i64, Window, Vec<(Option<Symbol>, Sums)>);

pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<Answer, Error> {
    let days = query.days.unwrap_or(DEFAULT_DAYS);
    let now = ctx.now;
    let window = before(now, days);
    let midnight = now.floor_to(DAY);
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let selection = select::wanted(&mut session, &query).await?;
    // What was removed is worth nothing now; its past stays in the windows.
    let ids: Vec<AccountId> = still_there(&selection).map(|account| account.id).collect();
    let navs = session.latest_navs(&ids).await?;
    let positions = session.positions(&ids).await?;
    let longest = midnight.minus(TimeDelta::days(RETURNS.iter().copied().max().unwrap_or(90)));
    let history = history::load(&mut session, &selection, longest.min(window.from), now).await?;
    let pnl = pnl(&mut session, &selection, now).await?;
    let filter = select::event_filter(&selection, window, None, None);
    let losses = session.largest_losses(&filter, i64::try_from(TOP).unwrap_or(5)).await?;
    let unpriced = session.unpriced_count(&filter).await?;
    let coverage = provenance::flow_coverage(&mut session, &selection, window, now).await?;
    session.finish().await?;

    let summary = summarize(&ids, &navs, now);
    let unpriced_assets = summary.provenance.unpriced_assets.clone();
    let nav_of: BTreeMap<AccountId, Usd> = navs.iter().map(|nav| (nav.account, nav.nav_usd)).collect();
    let exposed = exposure_summary::compose(summary, &nav_of, positions, &selection, TOP);
    let accounts: Vec<AccountLine> = still_there(&selection).map(|a| account_line(a, &navs, now)).collect();
    let cash_flows = cash_flows(&history.movements, window);
    let provenance = Provenance::of_events(now, AppliedFilters::new(&selection, &filter), unpriced, coverage);
    let provenance = Provenance { sources: SOURCES.to_vec(), ..provenance };
    Ok(Answer {
        as_of: now,
        days,
        window: window.into(),
        worth: WorthNow {
            timestamp: exposed.timestamp,
            nav_usd: exposed.nav_usd,
            today: today(&history.hours, midnight),
            changes: CHANGES.into_iter().map(|days| change(&history, days, now)).collect(),
        },
        exposure: exposure(exposed),
        pnl: pnl.into_iter().map(pnl_window).collect(),
        largest_losses: largest_losses::rows(losses, &selection),
        performance: aside(|| performance(&history, midnight)),
        data_quality: quality(&selection, &accounts, &history, &cash_flows, unpriced_assets, &provenance),
        accounts,
        cash_flows,
        provenance,
    })
}

const SOURCES: [&str; 5] = ["events", "nav_hours", "nav_snapshots", "positions", "cash_flows"];

fn still_there(selection: &Selection) -> impl Iterator<Item = &Account> {
    selection.accounts.iter().filter(|account| account.removed_at.is_none())
}

fn before(now: Timestamp, days: i64) -> Window {
    Window { from: now.minus(TimeDelta::days(days)), to: now }
}

async fn pnl(session: &mut Session<'_>, selection: &Selection, now: Timestamp) -> Result<Vec<Pnl>, Error> {
    let mut all = Vec::new();
    for days in PNL {
        let filter: EventFilter = select::event_filter(selection, before(now, days), None, None);
        all.push((days, filter.window, session.sums_by_symbol(&filter).await?));
    }
    Ok(all)
}

fn pnl_window((days, window, sums): Pnl) -> PnlWindow {
    let totals = total(sums.iter().map(|(_, sums)| *sums));
    PnlWindow {
        days,
        window: window.into(),
        totals: totals.into(),
        best_symbols: extremes(&sums, |net| net),
        worst_symbols: extremes(&sums, |net| -net),
        unpriced_event_count: totals.unpriced_count,
    }
}

fn account_line(account: &Account, navs: &[LatestNav], now: Timestamp) -> AccountLine {
    let nav = navs.iter().find(|nav| nav.account == account.id);
    let is_old = nav.is_none_or(|nav| now.millis() - nav.taken_at.millis() > STALE_MILLIS);
    AccountLine {
        account_id: account.id,
        account_name: account.name.clone(),
        venue: account.venue,
        is_active: account.is_active,
        status: account.status,
        status_detail: account.status_detail.clone(),
        last_checked_at: account.last_checked_at,
        nav_usd: nav.map(|nav| nav.nav_usd),
        nav_at: nav.map(|nav| nav.taken_at),
        is_stale: account.is_active && is_old,
    }
}

fn change(history: &History, days: i64, now: Timestamp) -> Change {
    let window = Window { from: now.minus(TimeDelta::days(days)).floor_to(HOUR), to: now };
    let own: Vec<returns::Period> = history.hours.iter().filter(|hour| hour.start >= window.from).cloned().collect();
    let all = joined(&own);
    let outcome = all.as_ref().map(return_of);
    let gap = outcome.and_then(Result::err);
    let priced = all.as_ref().filter(|_| gap != Some(Gap::UnpricedFlow));
    Change {
        days,
        window: window.into(),
        nav_then_usd: all.as_ref().map(|all| all.nav_before),
        nav_now_usd: all.as_ref().map(|all| all.nav_after),
        change_usd: all.as_ref().map(|all| all.nav_after - all.nav_before),
        net_flows_usd: priced.map(|all| all.flows),
        entered_usd: all.as_ref().map(|all| all.entered),
        left_usd: all.as_ref().map(|all| all.left),
        pnl_usd: priced.map(|all| all.gain),
        return_pct: outcome.and_then(Result::ok).flatten().and_then(|r| pct(r).ok()).map(round),
        gap,
    }
}

fn exposure(of: exposure_summary::Answer) -> Exposure {
    Exposure {
        gross_exposure_usd: of.gross_exposure_usd,
        net_exposure_usd: of.net_exposure_usd,
        long_exposure_usd: of.long_exposure_usd,
        short_exposure_usd: of.short_exposure_usd,
        futures_upnl_usd: of.futures_upnl_usd,
        gross_to_nav_percent: of.gross_to_nav_percent,
        largest_symbol_percent: of.largest_symbol_percent,
        position_count: of.position_count,
        top_positions: of.positions,
    }
}

fn cash_flows(movements: &[Movement], window: Window) -> CashFlows {
    let mut sum = CashFlows::default();
    let counts = |m: &&Movement| m.kind != FlowKind::Loan && window.from <= m.at && m.at <= window.to;
    for m in movements.iter().filter(counts) {
        sum.count += 1;
        let Some(value) = m.value_usd else {
            sum.unpriced_count += 1;
            continue;
        };
        sum.net_usd = sum.net_usd + value;
        match m.kind {
            FlowKind::Deposit => sum.deposits_usd = sum.deposits_usd + value,
            FlowKind::Withdrawal => sum.withdrawals_usd = sum.withdrawals_usd - value,
            _ => sum.transfers_usd = sum.transfers_usd + value,
        }
    }
    sum
}

fn performance(history: &History, midnight: Timestamp) -> Vec<Headline> {
    let days = returns::days(&history.hours);
    let terms = terms(365, Number(rust_decimal::Decimal::ZERO));
    let of = |length: i64| {
        let window: Days = last(length, midnight);
        headline(figures(format!("{length}d"), window, &days, &history.hours, &Realized::default(), terms))
    };
    RETURNS.into_iter().map(of).collect()
}

fn headline(of: Figures) -> Headline {
    const SHOWN: [&str; 10] = [
        "pnlUsd",
        "netFlowsUsd",
        "totalReturnPct",
        "mwrPct",
        "volatilityPct",
        "sharpe",
        "maxDrawdownPct",
        "currentDrawdownPct",
        "hitRatePct",
        "averageLeverage",
    ];
    Headline {
        label: of.label,
        window: of.window,
        history_from: of.history_from,
        day_count: of.day_count,
        pnl_usd: of.pnl_usd,
        net_flows_usd: of.net_flows_usd,
        total_return_pct: of.total_return_pct,
        mwr_pct: of.mwr_pct,
        volatility_pct: of.volatility_pct,
        sharpe: of.sharpe,
        max_drawdown_pct: of.max_drawdown_pct,
        current_drawdown_pct: of.current_drawdown_pct,
        hit_rate_pct: of.hit_rate_pct,
        average_leverage: of.average_leverage,
        gap_count: of.gap_count,
        missing: of.missing.into_iter().filter(|(name, _)| SHOWN.contains(name)).collect(),
    }
}

fn quality(
    selection: &Selection,
    accounts: &[AccountLine],
    history: &History,
    flows: &CashFlows,
    unpriced_assets: Vec<String>,
    provenance: &Provenance,
) -> DataQuality {
    let ids = |pick: fn(&AccountLine) -> bool| -> Vec<AccountId> {
        accounts.iter().filter(|a| pick(a)).map(|a| a.account_id).collect()
    };
    let stale = ids(|a| a.is_stale);
    let degraded = ids(|a| a.is_active && a.status != AccountStatus::Connected);
    let unpriced = provenance.unpriced_event_count > 0 || flows.unpriced_count > 0 || !unpriced_assets.is_empty();
    let not_covered = selection.accounts.iter().filter(|account| !account.not_covered.is_empty());
    DataQuality {
        complete: provenance.coverage.complete && stale.is_empty() && degraded.is_empty() && !unpriced,
        coverage_complete: provenance.coverage.complete,
        stale_account_ids: stale,
        degraded_account_ids: degraded,
        never_valued_account_ids: history.never_valued.clone(),
        not_covered: not_covered.map(|a| NotCovered { account_id: a.id, what: a.not_covered.clone() }).collect(),
        unpriced_assets,
        unpriced_event_count: provenance.unpriced_event_count,
        unpriced_flow_count: flows.unpriced_count,
        pending_flow_count: history.pending_flows,
    }
}
