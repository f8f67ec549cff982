//! The datasets for dashboards: flat rows at the top level.

use codash_analytics::{annotations, data_quality, event_table, nav_series, position_table, sum_series, symbols};
use codash_domain::Scope;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::{more, parameters, rate_header_refs, with_errors};
use crate::rest::exports;
use crate::rest::grafana::params::Look;

pub(super) fn paths() -> Value {
    let datasets = [
        (
            "/api/grafana/nav",
            dataset::<nav_series::Query>(
                "grafanaNav",
                "NAV through time",
                Scope::ReadLive,
                "time, [series], navUsd, carried (an account counts with an earlier snapshot)",
            ),
        ),
        (
            "/api/grafana/drawdown",
            dataset::<nav_series::DrawdownQuery>(
                "grafanaDrawdown",
                "How far NAV lay below its peak since the window began, of each step the deepest hour; deposits and withdrawals move NAV too",
                Scope::ReadLive,
                "time, navUsd, peakUsd, drawdownUsd and drawdownPercent (never positive)",
            ),
        ),
        (
            "/api/grafana/exposure",
            dataset::<nav_series::ExposureQuery>(
                "grafanaExposure",
                "Exposure through time, or now by symbol or account",
                Scope::ReadLive,
                "time, [series], longExposureUsd, shortExposureUsd, grossExposureUsd, netExposureUsd, navUsd, grossToNavPercent, carried; by symbol or account the sums of their positions",
            ),
        ),
        (
            "/api/grafana/pnl",
            dataset::<sum_series::Query>(
                "grafanaPnl",
                "PnL through time, by day, symbol, account or venue",
                Scope::ReadSummary,
                "[time], [series], eventCount, notionalUsd, feesUsd, realizedPnlUsd, fundingUsd, netPnlUsd, forcedCloseCount, cumulativeNetPnlUsd, unpricedEventCount",
            ),
        ),
        (
            "/api/grafana/funding",
            dataset::<sum_series::Query>(
                "grafanaFunding",
                "Funding, positive when received",
                Scope::ReadSummary,
                "[time], [series], fundingUsd, unpricedEventCount",
            ),
        ),
        (
            "/api/grafana/fees",
            dataset::<sum_series::Query>(
                "grafanaFees",
                "Fees, positive when paid",
                Scope::ReadSummary,
                "[time], [series], feesUsd, unpricedEventCount",
            ),
        ),
        (
            "/api/grafana/volume",
            dataset::<sum_series::Query>(
                "grafanaVolume",
                "Traded notional",
                Scope::ReadSummary,
                "[time], [series], notionalUsd, unpricedEventCount",
            ),
        ),
        (
            "/api/grafana/events",
            dataset::<event_table::Query>(
                "grafanaEvents",
                "Canonical events, newest first",
                Scope::ReadRaw,
                "time, id and the fields of an event",
            ),
        ),
        (
            "/api/grafana/forced-closes",
            dataset::<event_table::ForcedQuery>(
                "grafanaForcedCloses",
                "Liquidations, ADL and system closes, newest first",
                Scope::ReadRaw,
                "as those of events",
            ),
        ),
        (
            "/api/grafana/positions",
            dataset::<position_table::Query>(
                "grafanaPositions",
                "The positions that are open now, largest notional first",
                Scope::ReadLive,
                "time (of the snapshot), accountId, accountName, symbol, leg, qty, entryPrice, markPrice, notionalUsd, unrealizedPnlUsd, unrealizedPnlPercent",
            ),
        ),
        (
            "/api/grafana/account-status",
            dataset::<data_quality::AccountsQuery>(
                "grafanaAccountStatus",
                "How the connection of each account stands",
                Scope::ReadLive,
                "accountId, accountName, venue, isActive, status, detail, navUsd, lastCheckedAt, kind, assurance, keyExpiresAt",
            ),
        ),
        (
            "/api/grafana/collector-lag",
            dataset::<data_quality::AccountsQuery>(
                "grafanaCollectorLag",
                "When each stream of each account was last read",
                Scope::ReadLive,
                "accountId, accountName, venue, stream, status, lagSeconds, lastReadAt, coveredFrom, coveredTo, unreadableRecordCount, detail",
            ),
        ),
        (
            "/api/grafana/coverage",
            dataset::<data_quality::CoverageQuery>(
                "grafanaCoverage",
                "How much of the window has been read of each stream, or what has not",
                Scope::ReadLive,
                "accountId, accountName, venue, stream, status, complete, coveredPercent, readUntil, gapCount, unreadableRecordCount; by gap time, timeEnd, accountId, accountName, venue, stream, reason",
            ),
        ),
        (
            "/api/grafana/annotations",
            dataset::<annotations::Query>(
                "grafanaAnnotations",
                "Forced closes, spans that were not read, events that changed later",
                Scope::ReadRaw,
                "time, timeEnd, title, text, tags",
            ),
        ),
        (
            "/api/grafana/variables/account",
            dataset::<data_quality::AccountsQuery>(
                "grafanaAccountVariable",
                "The accounts, as choices of a variable",
                Scope::ReadSummary,
                "text (name), value (id)",
            ),
        ),
        (
            "/api/grafana/variables/portfolio",
            dataset::<exports::NoQuery>(
                "grafanaPortfolioVariable",
                "The portfolios, as choices of a variable",
                Scope::ReadSummary,
                "text, value",
            ),
        ),
        (
            "/api/grafana/variables/symbol",
            dataset::<symbols::Query>(
                "grafanaSymbolVariable",
                "The symbols that were ever traded or are held, as choices of a variable",
                Scope::ReadSummary,
                "text, value",
            ),
        ),
        (
            "/api/grafana/variables/venue",
            dataset::<data_quality::AccountsQuery>(
                "grafanaVenueVariable",
                "The venues of the accounts, as choices of a variable",
                Scope::ReadSummary,
                "text, value",
            ),
        ),
    ];
    datasets.into_iter().map(|(path, dataset)| (path.to_owned(), dataset)).collect::<Map<_, _>>().into()
}

/// Flat rows for dashboards, at the top level.
fn dataset<Q: JsonSchema>(id: &str, summary: &str, needed: Scope, columns: &str) -> Value {
    let looks = parameters::<Look>();
    let all: Vec<Value> = parameters::<Q>().as_array().into_iter().chain(looks.as_array()).flatten().cloned().collect();
    let rows = json!({ "type": "array", "items": { "type": "object" } });
    let answer = json!({
        "description": format!("Columns, in this order: {columns}"),
        "headers": rate_header_refs(),
        "content": { "application/json": { "schema": rows }, "text/csv": { "schema": { "type": "string" } } },
    });
    json!({ "get": {
        "operationId": id,
        "summary": summary,
        "description": more(needed, DASHBOARDS),
        "parameters": all,
        "responses": with_errors(&[("200", answer)], &["400", "401", "403", "429", "500", "504"]),
    }})
}

const DASHBOARDS: &str = "An array of flat objects without an envelope. An empty value and $__all filter nothing, {a,b} \
    is a list; lists may also be repeated. More rows than are answered at once are refused with code out_of_range, \
    never cut.";
