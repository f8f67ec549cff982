//! The positions that are open now, all of them, in one table.

use codash_domain::Venue;
use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use crate::exposure_summary::{self, PositionRow};
use crate::input::present;
use crate::select::short_strings;
use crate::series::{self, MOST_ROWS, Of, bounded};
use crate::{Ctx, Error};

#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Query {
    /// Up to 100 ids. Empty: all visible accounts.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 100), custom(function = "short_strings"))]
    pub account_ids: Option<Vec<String>>,
    /// Of these venues alone. Empty: all.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 100))]
    pub venues: Option<Vec<Venue>>,
    /// Of these portfolio groups and those below them alone, up to 100 ids. Empty: whatever their group.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 100), custom(function = "short_strings"))]
    pub portfolio_ids: Option<Vec<String>>,
    /// Up to 100 symbols, spelled as answers spell them (BTC-PERP). Empty: all.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 100), custom(function = "short_strings"))]
    pub symbols: Option<Vec<String>>,
}

impl Query {
    fn of(&self) -> Of<'_> {
        Of {
            ids: self.account_ids.as_deref(),
            portfolios: self.portfolio_ids.as_deref(),
            venues: self.venues.as_deref(),
        }
    }
}

/// Largest notional first.
pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<Vec<PositionRow>, Error> {
    let limit = i64::try_from(MOST_ROWS + 1).ok();
    let Some(account_ids) = series::present_ids(ctx, query.of()).await? else {
        return Ok(Vec::new());
    };
    let asked = exposure_summary::Query { account_ids, limit, ..exposure_summary::Query::default() };
    let mut rows = bounded(exposure_summary::answer(ctx, asked).await?.positions, MOST_ROWS)?;
    if let Some(symbols) = query.symbols.filter(|symbols| !symbols.is_empty()) {
        rows.retain(|row| row.symbol.as_ref().is_some_and(|symbol| symbols.iter().any(|s| s == symbol.as_str())));
    }
    Ok(rows)
}
