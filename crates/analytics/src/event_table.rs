//! The events of a window in one table, or a refusal: never some of them in silence.

use codash_domain::{EventType, Venue};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use validator::Validate;

use crate::forensics::FORCED;
use crate::input::{present, whole};
use crate::moment::Instant;
use crate::select::short_strings;
use crate::series::{self, Of};
use crate::trade_events::{self, Row};
use crate::{Ctx, Error, Rule};

/// More events than this are refused, unless the caller asked for the newest alone.
const MOST_EVENTS: i64 = 10_000;

#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Query {
    /// Inclusive lower bound: milliseconds since 1970, a day in UTC, or ISO 8601 with a zone. Default: 30 days before `to`.
    #[serde(default, deserialize_with = "present")]
    pub from: Option<Instant>,
    /// Inclusive upper bound, written like `from`. Default: now.
    #[serde(default, deserialize_with = "present")]
    pub to: Option<Instant>,
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
    /// Up to 7 event types. Empty: all.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 7))]
    pub event_types: Option<Vec<EventType>>,
    /// The newest so many. Without it all of the window are given, and more than 10000 are refused.
    #[serde(default, deserialize_with = "whole")]
    #[validate(range(min = 1, max = 10000))]
    pub limit: Option<i64>,
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

/// Liquidations, ADL and system closes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForcedQuery {
    /// Inclusive lower bound: milliseconds since 1970, a day in UTC, or ISO 8601 with a zone. Default: 30 days before `to`.
    #[serde(default, deserialize_with = "present")]
    pub from: Option<Instant>,
    /// Inclusive upper bound, written like `from`. Default: now.
    #[serde(default, deserialize_with = "present")]
    pub to: Option<Instant>,
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
    /// The newest so many. Without it all of the window are given, and more than 10000 are refused.
    #[serde(default, deserialize_with = "whole")]
    #[validate(range(min = 1, max = 10000))]
    pub limit: Option<i64>,
}

impl From<ForcedQuery> for Query {
    fn from(query: ForcedQuery) -> Self {
        let ForcedQuery { from, to, account_ids, venues, portfolio_ids, symbols, limit } = query;
        Self { from, to, account_ids, venues, portfolio_ids, symbols, event_types: Some(FORCED.to_vec()), limit }
    }
}

/// Newest first.
pub async fn answer(ctx: &Ctx<'_>, query: Query) -> Result<Vec<Row>, Error> {
    let window = series::window(query.from, query.to, ctx)?;
    let Some(account_ids) = series::account_ids(ctx, query.of()).await? else {
        return Ok(Vec::new());
    };
    let asked = trade_events::Query {
        account_id: None,
        account_ids,
        from: Some(window.from),
        to: Some(window.to),
        symbols: query.symbols,
        event_types: query.event_types,
        limit: Some(query.limit.unwrap_or(MOST_EVENTS)),
        cursor: None,
    };
    let answer = trade_events::answer(ctx, asked).await?;
    if query.limit.is_none() && answer.next_cursor.is_some() {
        let message = format!(
            "The window holds more than {MOST_EVENTS} events: take a shorter one, fewer accounts, symbols or types, or \
             limit for the newest alone."
        );
        return Err(Rule::new("out_of_range", message, json!({ "mostRows": MOST_EVENTS })).into());
    }
    Ok(answer.rows)
}
