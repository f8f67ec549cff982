//! What did a window earn and cost: in all, by kind of event, on its best and worst days and symbols?

use codash_domain::{EventType, Symbol, Usd, pnl};
use codash_store::grouped::GroupSums;
use codash_store::ledger::Sums;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::activity_summary::{SymbolTotals, Totals};
use crate::arguments::arguments;
use crate::forensics::resolve;
use crate::input::whole;
use crate::moment::Moment;
use crate::pnl_query::{Dimension, groups, total};
use crate::provenance::{self, AppliedFilters, Provenance};
use crate::select::{self, EchoedWindow};
use crate::{Ctx, Error};

const DEFAULT_DAYS: i64 = 30;
/// Best and worst symbols listed.
const TOP: usize = 5;

arguments! {
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Query {
        ..selection,
        ..day_window,
        /// Length of the window in days when `from` is omitted. Default 30.
        #[serde(default, deserialize_with = "whole")]
        #[validate(range(min = 1, max = 365))]
        pub days: Option<i64>,
        ..symbols,
        ..event_types,
    }
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub window: EchoedWindow,
    pub totals: Totals,
    /// Only types that occurred.
    pub by_event_type: Vec<TypeTotals>,
    pub days: Days,
    pub symbol_count: usize,
    /// At most 5 that gained, most first.
    pub best_symbols: Vec<SymbolTotals>,
    /// At most 5 that lost, most first.
    pub worst_symbols: Vec<SymbolTotals>,
    pub provenance: Provenance,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TypeTotals {
    pub event_type: EventType,
    #[serde(flatten)]
    pub totals: Totals,
}

/// Days in UTC on which anything happened, by their net PnL.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Days {
    pub count: usize,
    pub winning: usize,
    pub losing: usize,
    pub best: Option<DayNet>,
    pub worst: Option<DayNet>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DayNet {
    /// 2026-05-15, in UTC.
    pub day: String,
    pub net_pnl_usd: Usd,
}

pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<Answer, Error> {
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let selection = select::wanted(&mut session, &query).await?;
    let (from, to) = (query.from.map(Moment::first), query.to.map(Moment::last));
    let (window, defaulted) = resolve(from, to, query.days, DEFAULT_DAYS, ctx)?;
    let filter = select::event_filter(&selection, window, query.symbols.as_deref(), query.event_types.as_deref());
    let by_type = groups(&mut session, &[Dimension::EventType], &filter).await?;
    let by_day = groups(&mut session, &[Dimension::Day], &filter).await?;
    let by_symbol = session.sums_by_symbol(&filter).await?;
    let coverage = provenance::coverage(&mut session, &selection, window, ctx.now).await?;
    session.finish().await?;

    let totals = total(by_type.iter().map(|group| group.sums));
    Ok(Answer {
        window: EchoedWindow { window: window.into(), defaulted },
        totals: totals.into(),
        by_event_type: by_event_type(&by_type),
        days: days(&by_day),
        symbol_count: by_symbol.len(),
        best_symbols: extremes(&by_symbol, |net| net),
        worst_symbols: extremes(&by_symbol, |net| -net),
        provenance: Provenance::of_events(
            ctx.now,
            AppliedFilters::new(&selection, &filter),
            totals.unpriced_count,
            coverage,
        ),
    })
}

pub(crate) fn net(sums: &Sums) -> Usd {
    pnl::net(sums.realized_pnl_usd, sums.funding_usd, sums.fees_usd)
}

/// Groups by type, in the order of types.
pub(crate) fn by_event_type(groups: &[GroupSums]) -> Vec<TypeTotals> {
    let of = |event_type: EventType| {
        let group = groups.iter().find(|g| g.keys.last().is_some_and(|key| key == event_type.as_str()))?;
        Some(TypeTotals { event_type, totals: group.sums.into() })
    };
    EventType::ALL.into_iter().filter_map(of).collect()
}

/// Groups whose last key is a day.
pub(crate) fn days(groups: &[GroupSums]) -> Days {
    let mut nets: Vec<DayNet> = groups
        .iter()
        .map(|g| DayNet { day: g.keys.last().cloned().unwrap_or_default(), net_pnl_usd: net(&g.sums) })
        .collect();
    nets.sort_by(|a, b| a.net_pnl_usd.cmp(&b.net_pnl_usd).then_with(|| a.day.cmp(&b.day)));
    Days {
        count: nets.len(),
        winning: nets.iter().filter(|d| d.net_pnl_usd > Usd::ZERO).count(),
        losing: nets.iter().filter(|d| d.net_pnl_usd < Usd::ZERO).count(),
        best: nets.last().cloned(),
        worst: nets.first().cloned(),
    }
}

/// The symbols with the greatest positive `worth` of their net, at most [`TOP`].
pub(crate) fn extremes(sums: &[(Option<Symbol>, Sums)], worth: fn(Usd) -> Usd) -> Vec<SymbolTotals> {
    let mut all: Vec<&(Option<Symbol>, Sums)> = sums.iter().filter(|(_, s)| worth(net(s)) > Usd::ZERO).collect();
    all.sort_by(|a, b| worth(net(&b.1)).cmp(&worth(net(&a.1))).then_with(|| a.0.cmp(&b.0)));
    all.truncate(TOP);
    all.into_iter().map(|(symbol, sums)| SymbolTotals { symbol: symbol.clone(), totals: (*sums).into() }).collect()
}
