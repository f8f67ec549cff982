//! How much was traded, paid and earned in a window, in all, by account and by symbol?

use chrono::TimeDelta;
use codash_domain::{AccountId, Symbol, Timestamp, Usd, pnl};
use codash_store::ledger::Sums;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::arguments::arguments;
use crate::input::{bound, number};
use crate::provenance::{self, AppliedFilters, Provenance};
use crate::select::{self, Number, WindowAnswer, WindowQuery};
use crate::{Ctx, Error};

const DEFAULT_HOURS: i64 = 24;
const MOST_HOURS: i64 = 2160;

arguments! {
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Query {
        ..accounts,
        /// Inclusive lower bound, ISO 8601 with a zone. Default: hours before `to`.
        #[serde(default, deserialize_with = "bound")]
        pub from: Option<Timestamp>,
        /// Inclusive upper bound, ISO 8601 with a zone. Default: now.
        #[serde(default, deserialize_with = "bound")]
        pub to: Option<Timestamp>,
        /// Length of the window in hours when `from` is omitted. Default 24, at most 2160 (90 days).
        #[serde(default, deserialize_with = "number")]
        #[validate(custom(function = "hours_in_range"))]
        #[schemars(with = "Option<Hours>", extend("default" = DEFAULT_HOURS))]
        pub hours: Option<Number>,
        ..symbols,
        ..event_types,
    }
}

/// The schema of `hours`.
struct Hours;

impl JsonSchema for Hours {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Hours".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "number", "minimum": 1, "maximum": MOST_HOURS, "default": DEFAULT_HOURS })
    }
}

fn hours_in_range(hours: &Number) -> Result<(), validator::ValidationError> {
    if (Decimal::ONE..=Decimal::from(MOST_HOURS)).contains(&hours.0) {
        return Ok(());
    }
    let mut fault = validator::ValidationError::new("range");
    fault.message = Some(format!("must be between 1 and {MOST_HOURS} (range)").into());
    Err(fault)
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub window: WindowAnswer,
    pub filters: AppliedFilters,
    pub totals: Totals,
    /// Largest notional first.
    pub by_account: Vec<AccountTotals>,
    /// Largest notional first.
    pub by_symbol: Vec<SymbolTotals>,
    pub provenance: Provenance,
}

#[derive(Debug, Clone, Copy, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    pub event_count: i64,
    pub notional_usd: Usd,
    /// Positive: paid.
    pub fees_usd: Usd,
    /// Before fees and funding.
    pub realized_pnl_usd: Usd,
    /// Positive: received.
    pub funding_usd: Usd,
    /// realizedPnlUsd + fundingUsd - feesUsd.
    pub net_pnl_usd: Usd,
    /// Liquidations, ADL and system closes.
    pub forced_close_count: i64,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountTotals {
    pub account_id: AccountId,
    pub account_name: String,
    #[serde(flatten)]
    pub totals: Totals,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SymbolTotals {
    /// Null: records that belong to no market.
    pub symbol: Option<Symbol>,
    #[serde(flatten)]
    pub totals: Totals,
}

impl From<Sums> for Totals {
    fn from(sums: Sums) -> Self {
        Self {
            event_count: sums.event_count,
            notional_usd: sums.notional_usd,
            fees_usd: sums.fees_usd,
            realized_pnl_usd: sums.realized_pnl_usd,
            funding_usd: sums.funding_usd,
            net_pnl_usd: pnl::net(sums.realized_pnl_usd, sums.funding_usd, sums.fees_usd),
            forced_close_count: sums.forced_close_count,
        }
    }
}

pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<Answer, Error> {
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let selection = select::wanted(&mut session, &query).await?;
    let millis = query.hours.and_then(|h| (h.0 * Decimal::from(3_600_000)).to_i64());
    let length = TimeDelta::milliseconds(millis.unwrap_or(DEFAULT_HOURS * 3_600_000));
    let window = select::window(WindowQuery { from: query.from, to: query.to, length }, ctx.now)?;
    let filter = select::event_filter(&selection, window, query.symbols.as_deref(), query.event_types.as_deref());
    let by_account = session.sums_by_account(&filter).await?;
    let by_symbol = session.sums_by_symbol(&filter).await?;
    let coverage = provenance::coverage(&mut session, &selection, window, ctx.now).await?;
    session.finish().await?;

    let mut totals = Sums::default();
    by_account.iter().for_each(|(_, sums)| totals += *sums);
    let filters = AppliedFilters::new(&selection, &filter);
    Ok(Answer {
        window: window.into(),
        filters: filters.clone(),
        totals: totals.into(),
        by_account: account_rows(by_account, &selection),
        by_symbol: symbol_rows(by_symbol),
        provenance: Provenance::of_events(ctx.now, filters, totals.unpriced_count, coverage),
    })
}

fn account_rows(sums: Vec<(AccountId, Sums)>, selection: &select::Selection) -> Vec<AccountTotals> {
    let names = selection.names();
    let row = |(account_id, sums): (AccountId, Sums)| AccountTotals {
        account_id,
        account_name: names.get(&account_id).copied().unwrap_or_default().to_owned(),
        totals: sums.into(),
    };
    largest_first(sums).map(row).collect()
}

fn symbol_rows(sums: Vec<(Option<Symbol>, Sums)>) -> Vec<SymbolTotals> {
    largest_first(sums).map(|(symbol, sums)| SymbolTotals { symbol, totals: sums.into() }).collect()
}

fn largest_first<K: Ord>(mut sums: Vec<(K, Sums)>) -> impl Iterator<Item = (K, Sums)> {
    sums.sort_by(|a, b| b.1.notional_usd.cmp(&a.1.notional_usd).then_with(|| a.0.cmp(&b.0)));
    sums.into_iter()
}
