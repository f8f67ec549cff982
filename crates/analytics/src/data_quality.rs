//! How good are the numbers: how do the connections stand, how old is what was read, what is missing?

use codash_domain::{AccountId, Timestamp, Venue, Window};
use codash_store::Session;
use codash_store::accounts::{Account, StreamState};
use codash_store::coverage::{StreamCoverage, Streams};
use rust_decimal::{Decimal, RoundingStrategy};
use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use crate::arguments::arguments;
use crate::provenance::{Gap, gaps_of};
use crate::select::{self, Number, Selection};
use crate::series::{self, MOST_ROWS, bounded};
use crate::{Ctx, Error};

arguments! {
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct AccountsQuery {
        ..chart_accounts,
    }
}

arguments! {
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct CoverageQuery {
        ..chart_window,
        ..chart_accounts,
        /// What makes a row: a stream of an account, or a gap in one.
        #[serde(default)]
        pub by: CoverageRows,
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum CoverageRows {
    #[default]
    Stream,
    Gap,
}

/// Whose row it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub account_id: AccountId,
    pub account_name: String,
    pub venue: Venue,
}

/// A stream of records and when it was read last.
#[derive(Debug, Clone)]
pub struct StreamLag {
    pub owner: Owner,
    pub state: StreamState,
    /// Whole seconds since the venue was last read; `None` before the first time.
    pub lag_seconds: Option<i64>,
}

/// How much of the past part of a window has been read of a stream.
#[derive(Debug, Clone)]
pub struct Covered {
    pub owner: Owner,
    pub stream: String,
    pub status: String,
    /// No gap up to `read_until`, and nothing unreadable.
    pub complete: bool,
    pub covered_percent: Number,
    pub read_until: Option<Timestamp>,
    pub gap_count: usize,
    pub unreadable_record_count: i64,
}

/// The accounts, oldest first.
pub async fn accounts(ctx: &Ctx<'_>, query: AccountsQuery) -> Result<Vec<Account>, Error> {
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let selection = series::present(&mut session, &query).await?;
    session.finish().await?;
    Ok(selection.accounts)
}

/// Every stream of the accounts.
pub async fn lags(ctx: &Ctx<'_>, query: AccountsQuery) -> Result<Vec<StreamLag>, Error> {
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let selection = series::present(&mut session, &query).await?;
    let states = session.stream_states(&selection.ids()).await?;
    session.finish().await?;
    let lag = |at: Timestamp| (ctx.now.millis() - at.millis()).max(0) / 1000;
    let row = |(id, state): (AccountId, StreamState)| {
        Some(StreamLag { owner: owner(&selection, id)?, lag_seconds: state.last_read_at.map(lag), state })
    };
    Ok(states.into_iter().filter_map(row).collect())
}

/// Every stream of the accounts that events or cash flows come from.
pub async fn coverage(ctx: &Ctx<'_>, query: CoverageQuery) -> Result<Vec<Covered>, Error> {
    let (selection, window, streams) = read(ctx, query).await?;
    let row = |stream: StreamCoverage| {
        let (read_until, gaps) = gaps_of(&stream, window);
        Some(Covered {
            owner: owner(&selection, stream.account)?,
            complete: gaps.is_empty() && read_until.is_some() && stream.quarantined == 0,
            covered_percent: covered_percent(&stream, window),
            read_until,
            gap_count: gaps.len(),
            unreadable_record_count: stream.quarantined,
            stream: stream.stream,
            status: stream.status,
        })
    };
    Ok(streams.into_iter().filter_map(row).collect())
}

/// Every gap in those streams, oldest first.
pub async fn gaps(ctx: &Ctx<'_>, query: CoverageQuery) -> Result<Vec<(Owner, Gap)>, Error> {
    let (selection, window, streams) = read(ctx, query).await?;
    bounded(all_gaps(&selection, window, &streams), MOST_ROWS)
}

pub(crate) fn all_gaps(selection: &Selection, window: Window, streams: &[StreamCoverage]) -> Vec<(Owner, Gap)> {
    let mut gaps: Vec<(Owner, Gap)> = Vec::new();
    for stream in streams {
        let Some(owner) = owner(selection, stream.account) else { continue };
        gaps.extend(gaps_of(stream, window).1.into_iter().map(|gap| (owner.clone(), gap)));
    }
    gaps.sort_by_key(|(_, gap)| gap.from);
    gaps
}

/// What has been read of the part of the window that is past.
pub(crate) async fn streams(
    session: &mut Session<'_>,
    selection: &Selection,
    window: Window,
    now: Timestamp,
) -> Result<(Window, Vec<StreamCoverage>), Error> {
    let past = Window { from: window.from, to: window.to.min(now) };
    if past.from > past.to {
        return Ok((past, Vec::new()));
    }
    Ok((past, session.coverage(&selection.ids(), past, Streams::EventsAndFlows).await?))
}

async fn read(ctx: &Ctx<'_>, query: CoverageQuery) -> Result<(Selection, Window, Vec<StreamCoverage>), Error> {
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let selection = select::wanted(&mut session, &query).await?;
    let window = series::window(query.from, query.to, ctx)?;
    let (past, streams) = streams(&mut session, &selection, window, ctx.now).await?;
    session.finish().await?;
    Ok((selection, past, streams))
}

fn owner(selection: &Selection, id: AccountId) -> Option<Owner> {
    let account = selection.accounts.iter().find(|account| account.id == id)?;
    Some(Owner { account_id: id, account_name: account.name.clone(), venue: account.venue })
}

/// Cut, not rounded, to six places: 100 is all of it.
fn covered_percent(stream: &StreamCoverage, window: Window) -> Number {
    let (start, end) = window.millis();
    let covered: i64 =
        stream.read.iter().map(|(from, to)| ((to.millis() + 1).min(end) - from.millis().max(start)).max(0)).sum();
    let share = Decimal::from(covered * 100) / Decimal::from((end - start).max(1));
    Number(share.round_dp_with_strategy(6, RoundingStrategy::ToZero).normalize())
}
