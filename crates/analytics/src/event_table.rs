//! The events of a window in one table, or a refusal: never some of them in silence.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use validator::Validate;

use crate::arguments::arguments;
use crate::forensics::FORCED;
use crate::input::whole;
use crate::series;
use crate::trade_events::{self, Row};
use crate::{Ctx, Error, Rule};

/// More events than this are refused, unless the caller asked for the newest alone.
const MOST_EVENTS: i64 = 10_000;

arguments! {
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Query {
        ..chart_window,
        ..chart_accounts,
        ..symbols,
        ..event_types,
        /// The newest so many. Without it all of the window are given, and more than 10000 are refused.
        #[serde(default, deserialize_with = "whole")]
        #[validate(range(min = 1, max = 10000))]
        pub limit: Option<i64>,
    }
}

arguments! {
    /// Liquidations, ADL and system closes.
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct ForcedQuery {
        ..chart_window,
        ..chart_accounts,
        ..symbols,
        /// The newest so many. Without it all of the window are given, and more than 10000 are refused.
        #[serde(default, deserialize_with = "whole")]
        #[validate(range(min = 1, max = 10000))]
        pub limit: Option<i64>,
    }
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
    let Some(account_ids) = series::account_ids(ctx, &query).await? else {
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
