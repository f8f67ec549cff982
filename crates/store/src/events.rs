//! Canonical events, a page at a time, newest first; and the worst of them.
//!
//! An id holds its time, so a window is a range of ids and a cursor is the last id seen. Filters by
//! account, symbol or rare type walk one short index range for each value and merge the heads.

use codash_domain::{AccountId, EventId, EventType, Price, Qty, Side, Symbol, Timestamp, Usd, Window};
use rust_decimal::Decimal;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::row::Columns;
use crate::{Error, Session};

/// Which events are meant. Lists that are empty filter nothing.
#[derive(Debug, Clone)]
pub struct EventFilter {
    /// `None`: every account of the workspace.
    pub accounts: Option<Vec<AccountId>>,
    pub symbols: Vec<String>,
    pub event_types: Vec<EventType>,
    pub window: Window,
}

/// An event as questions see it.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    pub id: EventId,
    pub account: AccountId,
    pub event_type: EventType,
    pub symbol: Option<Symbol>,
    pub occurred_at: Timestamp,
    pub side: Option<Side>,
    pub qty: Option<Qty>,
    pub price: Option<Price>,
    pub notional_usd: Option<Usd>,
    pub realized_pnl_usd: Option<Usd>,
    pub fee_usd: Option<Usd>,
    pub funding_usd: Option<Usd>,
    pub net_pnl_impact_usd: Option<Usd>,
    pub unpriced: bool,
}

/// The types that `events_rare` holds: few enough to be found without walking the others.
const RARE: [EventType; 5] =
    [EventType::ClosedPnl, EventType::Liquidation, EventType::Adl, EventType::SystemClose, EventType::Unknown];

macro_rules! columns {
    () => {
        "e.event_id, e.account_id, e.event_type, e.symbol, e.occurred_at, e.side, e.qty, e.price, e.notional_usd, \
         e.realized_pnl_usd, e.fee_usd, e.funding_usd, e.net_pnl_impact_usd, e.unpriced"
    };
}

macro_rules! filters {
    () => {
        " AND ($4::text[] IS NULL OR e.event_type = ANY ($4)) \
          AND ($5::text[] IS NULL OR e.symbol = ANY ($5)) \
          AND ($6::uuid[] IS NULL OR e.account_id = ANY ($6)) "
    };
}

/// $1 workspace, $2 and $3 id range (half-open), $4 types, $5 symbols, $6 accounts, $7 limit.
const PAGE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM events e WHERE e.workspace_id = $1 AND e.event_id >= $2 AND e.event_id < $3",
    filters!(),
    "ORDER BY e.event_id DESC LIMIT $7"
);
const PAGE_BY_ACCOUNT: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM unnest($6::uuid[]) k CROSS JOIN LATERAL (SELECT ",
    columns!(),
    " FROM events e WHERE e.workspace_id = $1 AND e.account_id = k AND e.event_id >= $2 AND e.event_id < $3",
    filters!(),
    "ORDER BY e.event_id DESC LIMIT $7) e ORDER BY e.event_id DESC LIMIT $7"
);
const PAGE_BY_SYMBOL: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM unnest($5::text[]) k CROSS JOIN LATERAL (SELECT ",
    columns!(),
    " FROM events e WHERE e.workspace_id = $1 AND e.symbol = k AND e.event_id >= $2 AND e.event_id < $3",
    filters!(),
    "ORDER BY e.event_id DESC LIMIT $7) e ORDER BY e.event_id DESC LIMIT $7"
);
const PAGE_BY_RARE_TYPE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM unnest($4::text[]) k CROSS JOIN LATERAL (SELECT ",
    columns!(),
    " FROM events e WHERE e.workspace_id = $1 AND e.event_type = k AND e.event_id >= $2 AND e.event_id < $3",
    " AND e.event_type IN ('closed_pnl', 'liquidation', 'adl', 'system_close', 'unknown')",
    filters!(),
    "ORDER BY e.event_id DESC LIMIT $7) e ORDER BY e.event_id DESC LIMIT $7"
);
/// Worst first, from the index of losses.
const LOSSES: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM events e WHERE e.workspace_id = $1 AND e.net_pnl_impact_usd < 0",
    " AND e.event_id >= $2 AND e.event_id < $3",
    filters!(),
    "ORDER BY e.net_pnl_impact_usd, e.event_id LIMIT $7"
);
/// Worst first, by reading the window: the index of losses would walk a long history for a short window.
const LOSSES_IN_SHORT_WINDOW: &str = concat!(
    "SELECT * FROM (SELECT ",
    columns!(),
    " FROM events e WHERE e.workspace_id = $1",
    " AND e.event_id >= $2 AND e.event_id < $3",
    filters!(),
    "OFFSET 0) e WHERE e.net_pnl_impact_usd < 0",
    " ORDER BY e.net_pnl_impact_usd, e.event_id LIMIT $7"
);
/// Below this length of window, reading it beats walking the losses of all time.
const SHORT_WINDOW_MILLIS: i64 = 2 * codash_domain::cover::DAY;

impl Session<'_> {
    /// The newest events of the window, at most `limit`; older than `before` when given.
    pub async fn events_page(
        &mut self,
        filter: &EventFilter,
        before: Option<EventId>,
        limit: i64,
    ) -> Result<Vec<StoredEvent>, Error> {
        let rare_only = !filter.event_types.is_empty() && filter.event_types.iter().all(|t| RARE.contains(t));
        let sql = if rare_only {
            PAGE_BY_RARE_TYPE
        } else if !filter.symbols.is_empty() {
            PAGE_BY_SYMBOL
        } else if filter.accounts.is_some() {
            PAGE_BY_ACCOUNT
        } else {
            PAGE
        };
        self.select_events(sql, filter, before, limit).await
    }

    /// The events of the window that lost most, worst first.
    pub async fn largest_losses(&mut self, filter: &EventFilter, limit: i64) -> Result<Vec<StoredEvent>, Error> {
        let (from, to) = filter.window.millis();
        let sql = if to - from <= SHORT_WINDOW_MILLIS { LOSSES_IN_SHORT_WINDOW } else { LOSSES };
        self.select_events(sql, filter, None, limit).await
    }

    async fn select_events(
        &mut self,
        sql: &'static str,
        filter: &EventFilter,
        before: Option<EventId>,
        limit: i64,
    ) -> Result<Vec<StoredEvent>, Error> {
        let (from, to) = filter.window.millis();
        let end = EventId::first_at(to);
        let workspace = self.workspace();
        let types: Vec<&str> = filter.event_types.iter().map(|t| t.as_str()).collect();
        let rows = sqlx::query(sql)
            .bind(workspace)
            .bind(EventId::first_at(from).uuid())
            .bind(before.map_or(end, |b| b.min(end)).uuid())
            .bind(some_unless_empty(types))
            .bind(some_unless_empty(filter.symbols.clone()))
            .bind(account_ids(filter.accounts.as_deref()))
            .bind(limit)
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(stored_event).collect()
    }
}

pub(crate) fn some_unless_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

pub(crate) fn account_ids(accounts: Option<&[AccountId]>) -> Option<Vec<Uuid>> {
    accounts.map(|ids| ids.iter().map(|a| a.0).collect())
}

fn stored_event(row: &PgRow) -> Result<StoredEvent, Error> {
    let decimal = |column| -> Result<Option<Decimal>, Error> { row.col(column) };
    Ok(StoredEvent {
        id: EventId::from_uuid(row.col("event_id")?),
        account: AccountId(row.col("account_id")?),
        event_type: row.col::<&str>("event_type")?.parse().map_err(|e: codash_domain::event::NotEventType| {
            Error::Corrupt { column: "event_type", detail: e.to_string() }
        })?,
        symbol: Symbol::new(row.col("symbol")?),
        occurred_at: row.at("occurred_at")?,
        side: row.col::<Option<&str>>("side")?.and_then(Side::parse),
        qty: decimal("qty")?.map(Qty),
        price: decimal("price")?.map(Price),
        notional_usd: decimal("notional_usd")?.map(Usd),
        realized_pnl_usd: decimal("realized_pnl_usd")?.map(Usd),
        fee_usd: decimal("fee_usd")?.map(Usd),
        funding_usd: decimal("funding_usd")?.map(Usd),
        net_pnl_impact_usd: decimal("net_pnl_impact_usd")?.map(Usd),
        unpriced: row.col("unpriced")?,
    })
}
