//! The wire shape of the report.

use std::collections::BTreeMap;

use codash_domain::performance::Lack;
use codash_domain::returns::Gap;
use codash_domain::{AccountId, AccountStatus, Timestamp, Usd, Venue};
use schemars::JsonSchema;
use serde::Serialize;

use crate::activity_summary::{SymbolTotals, Totals};
use crate::exposure_summary::PositionRow;
use crate::largest_losses;
use crate::metrics::Today;
use crate::provenance::Provenance;
use crate::select::{Number, WindowAnswer};

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub as_of: Timestamp,
    pub days: i64,
    /// Of losses, cash flows and data quality.
    pub window: WindowAnswer,
    pub accounts: Vec<AccountLine>,
    pub worth: WorthNow,
    pub exposure: Exposure,
    /// Of events, shortest window first.
    pub pnl: Vec<PnlWindow>,
    /// Single events that lost most, worst first.
    pub largest_losses: Vec<largest_losses::Row>,
    pub cash_flows: CashFlows,
    /// Of whole days in UTC up to yesterday, shortest first. `GET /api/metrics` has more.
    pub performance: Vec<Headline>,
    pub data_quality: DataQuality,
    pub provenance: Provenance,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountLine {
    pub account_id: AccountId,
    pub account_name: String,
    pub venue: Venue,
    pub is_active: bool,
    pub status: AccountStatus,
    /// What is wrong, when something is.
    pub status_detail: Option<String>,
    pub last_checked_at: Option<Timestamp>,
    /// Null before the first NAV.
    pub nav_usd: Option<Usd>,
    pub nav_at: Option<Timestamp>,
    /// True when the account is read and its NAV is older than two hours, or missing.
    pub is_stale: bool,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorthNow {
    /// The newest NAV in the sum.
    pub timestamp: Option<Timestamp>,
    pub nav_usd: Option<Usd>,
    /// Since midnight in UTC.
    pub today: Today,
    /// Over the last 1, 7 and 30 times 24 hours, to the hour.
    pub changes: Vec<Change>,
}

/// navNow = navThen + netFlowsUsd + enteredUsd - leftUsd + pnlUsd. All null when no NAV falls into the window.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    pub days: i64,
    pub window: WindowAnswer,
    pub nav_then_usd: Option<Usd>,
    pub nav_now_usd: Option<Usd>,
    /// navNow - navThen: deposits, withdrawals and new accounts move it too.
    pub change_usd: Option<Usd>,
    pub net_flows_usd: Option<Usd>,
    pub entered_usd: Option<Usd>,
    pub left_usd: Option<Usd>,
    /// What no flow explains. Null while a flow has no price.
    pub pnl_usd: Option<Usd>,
    /// Time-weighted.
    pub return_pct: Option<Number>,
    /// Why there is no return although there was money at work.
    pub gap: Option<Gap>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exposure {
    pub gross_exposure_usd: Option<Usd>,
    pub net_exposure_usd: Option<Usd>,
    pub long_exposure_usd: Option<Usd>,
    pub short_exposure_usd: Option<Usd>,
    pub futures_upnl_usd: Option<Usd>,
    /// 250 is 2.5 times. Null while NAV is not positive.
    pub gross_to_nav_percent: Option<Number>,
    /// The largest symbol's gross as a percentage of all positions' gross.
    pub largest_symbol_percent: Option<Number>,
    pub position_count: usize,
    /// At most 5, largest notional first.
    pub top_positions: Vec<PositionRow>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PnlWindow {
    pub days: i64,
    pub window: WindowAnswer,
    #[serde(flatten)]
    pub totals: Totals,
    /// At most 5 that gained, most first.
    pub best_symbols: Vec<SymbolTotals>,
    /// At most 5 that lost, most first.
    pub worst_symbols: Vec<SymbolTotals>,
    /// Events with an amount that is unknown for want of a price and in no total.
    pub unpriced_event_count: i64,
}

/// Money that came and went in the window. Flows without a price are in no sum.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CashFlows {
    pub count: usize,
    pub unpriced_count: usize,
    /// Positive.
    pub deposits_usd: Usd,
    /// Positive: the venue's fees included.
    pub withdrawals_usd: Usd,
    /// In less out; those between wallets and accounts of the selection cancel.
    pub transfers_usd: Usd,
    /// depositsUsd - withdrawalsUsd + transfersUsd.
    pub net_usd: Usd,
}

/// The headline of a window's metrics.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Headline {
    pub label: String,
    pub window: WindowAnswer,
    pub history_from: Option<String>,
    pub day_count: usize,
    pub pnl_usd: Option<Usd>,
    pub net_flows_usd: Option<Usd>,
    pub total_return_pct: Option<Number>,
    pub mwr_pct: Option<Number>,
    pub volatility_pct: Option<Number>,
    pub sharpe: Option<Number>,
    pub max_drawdown_pct: Option<Number>,
    pub current_drawdown_pct: Option<Number>,
    pub hit_rate_pct: Option<Number>,
    pub average_leverage: Option<Number>,
    /// Days with money at work that have no return.
    pub gap_count: usize,
    /// Why a figure is null, by its name.
    pub missing: BTreeMap<&'static str, Lack>,
}

/// What the report could not know. `provenance.coverage` lists the gaps.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataQuality {
    /// True when the events and flows of the window were read completely, every account that is read is
    /// connected and fresh, and everything has a price.
    pub complete: bool,
    pub coverage_complete: bool,
    pub stale_account_ids: Vec<AccountId>,
    /// Accounts that are read and not connected: pending, degraded or in error.
    pub degraded_account_ids: Vec<AccountId>,
    pub never_valued_account_ids: Vec<AccountId>,
    /// What of accounts is not read at all, and in no number.
    pub not_covered: Vec<NotCovered>,
    /// Assets that NAV leaves out because no price is known.
    pub unpriced_assets: Vec<String>,
    pub unpriced_event_count: i64,
    pub unpriced_flow_count: usize,
    /// Flows since the last NAV of their account: in no return yet.
    pub pending_flow_count: usize,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotCovered {
    pub account_id: AccountId,
    pub what: Vec<String>,
}
