//! The days behind the figures, one row each.

use codash_domain::Usd;
use codash_domain::performance as perf;
use codash_domain::returns::{Gap, Period};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;

use super::figures::{Days, Terms, day_name, pct, return_of, round};
use crate::select::Number;

/// More days than this and only the most recent are returned.
pub const MOST_DAYS: usize = 1500;

/// A day in which any account was valued.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// 2026-05-15, in UTC.
    pub day: String,
    /// At the end of the day.
    pub nav_usd: Usd,
    /// Null where a flow has no price.
    pub pnl_usd: Option<Usd>,
    pub net_flows_usd: Option<Usd>,
    pub entered_usd: Usd,
    pub left_usd: Usd,
    /// Null: no money was at work, or `gap` says why.
    pub return_pct: Option<Number>,
    pub gap: Option<Gap>,
    /// Time-weighted, from the first day of the series to the end of this; null from a gap on.
    pub cumulative_pct: Option<Number>,
    /// Zero or negative; null from a gap on.
    pub drawdown_pct: Option<Number>,
    /// Of the last rollingDays days with a return; null until there are as many.
    pub rolling_volatility_pct: Option<Number>,
    pub rolling_sharpe: Option<Number>,
    /// True when some account counts with an earlier hour's worth.
    pub carried: bool,
}

pub(crate) fn rows(window: Days, days: &[Period], rolling: usize, terms: Terms) -> Vec<Row> {
    let mut known: Vec<Decimal> = Vec::new();
    // Wealth and its highest so far; none from a gap on.
    let mut chain = Some((Decimal::ONE, Decimal::ONE));
    let mut rows = Vec::new();
    for day in days.iter().filter(|day| window.holds(day.start)) {
        let outcome = return_of(day);
        if let Ok(Some(r)) = outcome {
            known.push(r);
        }
        chain = match outcome {
            Ok(Some(r)) => chain.and_then(|(wealth, highest)| {
                let wealth = wealth.checked_mul(Decimal::ONE.checked_add(r)?)?;
                Some((wealth, highest.max(wealth)))
            }),
            Ok(None) => chain,
            Err(_) => None,
        };
        let last = known.len().checked_sub(rolling).and_then(|from| known.get(from..));
        let rolled = last.filter(|_| matches!(outcome, Ok(Some(_))));
        let gap = outcome.err();
        let priced = gap != Some(Gap::UnpricedFlow);
        let show = |fraction: Decimal| pct(fraction).ok().map(round);
        rows.push(Row {
            day: day_name(day.start),
            nav_usd: day.nav_after,
            pnl_usd: priced.then_some(day.gain),
            net_flows_usd: priced.then_some(day.flows),
            entered_usd: day.entered,
            left_usd: day.left,
            return_pct: outcome.ok().flatten().and_then(show),
            gap,
            cumulative_pct: chain.and_then(|(wealth, _)| show(wealth - Decimal::ONE)),
            drawdown_pct: chain.and_then(|(wealth, highest)| show((wealth - highest).checked_div(highest)?)),
            rolling_volatility_pct: rolled.and_then(|r| perf::volatility(r, terms.year).ok()).and_then(show),
            rolling_sharpe: rolled.and_then(|r| perf::sharpe(r, terms.risk_free, terms.year).ok()).map(round),
            carried: day.carried,
        });
    }
    if rows.len() > MOST_DAYS {
        rows.drain(..rows.len() - MOST_DAYS);
    }
    rows
}
