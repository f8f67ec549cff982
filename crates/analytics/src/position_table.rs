//! The positions that are open now, all of them, in one table.

use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use crate::arguments::arguments;
use crate::exposure_summary::{self, PositionRow};
use crate::series::{self, MOST_ROWS, bounded};
use crate::{Ctx, Error};

arguments! {
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Query {
        ..chart_accounts,
        ..symbols,
    }
}

/// Largest notional first.
pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<Vec<PositionRow>, Error> {
    let limit = i64::try_from(MOST_ROWS + 1).ok();
    let Some(account_ids) = series::present_ids(ctx, &query).await? else {
        return Ok(Vec::new());
    };
    let asked = exposure_summary::Query { account_ids, limit, ..exposure_summary::Query::default() };
    let mut rows = bounded(exposure_summary::answer(ctx, asked).await?.positions, MOST_ROWS)?;
    if let Some(symbols) = query.symbols.filter(|symbols| !symbols.is_empty()) {
        rows.retain(|row| row.symbol.as_ref().is_some_and(|symbol| symbols.iter().any(|s| s == symbol.as_str())));
    }
    Ok(rows)
}
