//! The postmortem's questions: those of the tools with a window of 90 days unless said otherwise.

use chrono::TimeDelta;
use codash_domain::{EventType, Timestamp, Window};
use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use crate::arguments::arguments;
use crate::input::whole;
use crate::select::{self, EchoedWindow, WindowQuery};
use crate::{Ctx, Error, largest_losses, pnl_by_symbol, trade_events};

/// Length of the window when the caller names neither a start nor a length.
pub const DEFAULT_DAYS: i64 = 90;

/// Types of events by which a venue forces a close.
pub const FORCED: [EventType; 3] = [EventType::Liquidation, EventType::Adl, EventType::SystemClose];
/// Types of events that are fills: trades, and the fills of forced closes.
pub const FILLS: [EventType; 4] = [EventType::Trade, EventType::Liquidation, EventType::Adl, EventType::SystemClose];

fn most_symbols() -> Option<i64> {
    Some(100)
}

fn most_losses() -> Option<i64> {
    Some(25)
}

fn page_size() -> Option<i64> {
    Some(100)
}

arguments! {
    /// As the tool get_pnl_by_symbol takes it, over 90 days.
    #[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct SymbolsQuery {
        ..selection,
        ..window,
        ..ninety_days,
        ..symbols,
        /// Most rows returned.
        #[serde(default = "most_symbols", deserialize_with = "whole")]
        #[validate(range(min = 1, max = 2000))]
        pub limit: Option<i64>,
    }
}

arguments! {
    /// As the tool get_largest_loss_events takes it, over 90 days.
    #[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct LossesQuery {
        ..selection,
        ..window,
        ..ninety_days,
        ..symbols,
        /// Most rows returned.
        #[serde(default = "most_losses", deserialize_with = "whole")]
        #[validate(range(min = 1, max = 500))]
        pub limit: Option<i64>,
    }
}

arguments! {
    /// Fills or forced closes, a page at a time.
    #[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct PageQuery {
        ..selection,
        ..paged_window,
        ..symbols,
        /// Most rows in a page.
        #[serde(default = "page_size", deserialize_with = "whole")]
        #[validate(range(min = 1, max = 1000))]
        pub limit: Option<i64>,
        ..cursor,
    }
}

/// A page of events. The window is null on every page but the first.
pub type Page = trade_events::Answer<Option<EchoedWindow>>;

pub async fn pnl_by_symbol(ctx: &Ctx<'_>, query: SymbolsQuery) -> Result<pnl_by_symbol::Answer<EchoedWindow>, Error> {
    let defaulted = query.from.is_none() && query.days.is_none();
    let SymbolsQuery { account_id, account_ids, portfolio_id, from, to, days, symbols, limit } = query;
    let days = days.or(Some(DEFAULT_DAYS));
    let query = pnl_by_symbol::Query { account_id, account_ids, from, to, days, symbols, limit };
    let answer = pnl_by_symbol::within(ctx, query, portfolio_id.as_deref()).await?;
    Ok(answer.with_window(|window| EchoedWindow { window, defaulted }))
}

pub async fn largest_losses(ctx: &Ctx<'_>, query: LossesQuery) -> Result<largest_losses::Answer<EchoedWindow>, Error> {
    let defaulted = query.from.is_none() && query.days.is_none();
    let LossesQuery { account_id, account_ids, portfolio_id, from, to, days, symbols, limit } = query;
    let days = days.or(Some(DEFAULT_DAYS));
    let query = largest_losses::Query { account_id, account_ids, from, to, days, symbols, limit };
    let answer = largest_losses::within(ctx, query, portfolio_id.as_deref()).await?;
    Ok(answer.with_window(|window| EchoedWindow { window, defaulted }))
}

/// The window of a question, and whether the caller left its length to us.
pub(crate) fn resolve(
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    days: Option<i64>,
    default_days: i64,
    ctx: &Ctx<'_>,
) -> Result<(Window, bool), Error> {
    let length = TimeDelta::days(days.unwrap_or(default_days));
    Ok((select::window(WindowQuery { from, to, length }, ctx.now)?, from.is_none() && days.is_none()))
}

/// Events of these types.
pub async fn events_of(ctx: &Ctx<'_>, types: &[EventType], query: PageQuery) -> Result<Page, Error> {
    let PageQuery { account_id, account_ids, portfolio_id, from, to, symbols, limit, cursor } = query;
    let event_types = Some(types.to_vec());
    let query = trade_events::Query { account_id, account_ids, from, to, symbols, event_types, limit, cursor };
    page(ctx, query, portfolio_id.as_deref()).await
}

/// Events as REST pages them.
pub async fn events(ctx: &Ctx<'_>, query: trade_events::Query) -> Result<Page, Error> {
    page(ctx, query, None).await
}

async fn page(ctx: &Ctx<'_>, query: trade_events::Query, portfolio_id: Option<&str>) -> Result<Page, Error> {
    let (defaulted, is_first) = (query.from.is_none(), query.cursor.is_none());
    let answer = trade_events::within(ctx, query, portfolio_id).await?;
    Ok(answer.with_window(|window| is_first.then_some(EchoedWindow { window, defaulted })))
}
