//! Sums over events: by symbol, by account, by both.
//!
//! Exactly the sums of the raw rows, at every instant: a window is tiled by [`Cover`] with the
//! largest clean rollup cells and raw edges, all read in one snapshot.

use std::collections::BTreeSet;

use codash_domain::cover::{Cover, Finest, HOUR, Longest, Span};
use codash_domain::{AccountId, EventId, Symbol, Timestamp, Usd, Window};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, SqlSafeStr};
use uuid::Uuid;

use crate::events::{EventFilter, account_ids, some_unless_empty};
use crate::row::Columns;
use crate::{Error, Session};

/// Sums of one group. Amounts that are unknown for want of a price are not in them; `unpriced_count`
/// says of how many events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    pub event_count: i64,
    pub notional_usd: Usd,
    pub fees_usd: Usd,
    pub realized_pnl_usd: Usd,
    pub funding_usd: Usd,
    pub forced_close_count: i64,
    pub unpriced_count: i64,
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.event_count += other.event_count;
        self.notional_usd = self.notional_usd + other.notional_usd;
        self.fees_usd = self.fees_usd + other.fees_usd;
        self.realized_pnl_usd = self.realized_pnl_usd + other.realized_pnl_usd;
        self.funding_usd = self.funding_usd + other.funding_usd;
        self.forced_close_count += other.forced_close_count;
        self.unpriced_count += other.unpriced_count;
    }
}

/// The three cubes, and which columns each can group by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cube {
    Symbols,
    Accounts,
    AccountSymbols,
}

impl Cube {
    fn table(self) -> &'static str {
        match self {
            Self::Symbols => "rollup_symbols",
            Self::Accounts => "rollup_accounts",
            Self::AccountSymbols => "rollup_account_symbols",
        }
    }

    fn keys(self) -> &'static str {
        match self {
            Self::Symbols => "NULL::uuid AS account_id, x.symbol, x.account_ids",
            Self::Accounts => "x.account_id, NULL::text AS symbol, NULL::uuid[] AS account_ids",
            Self::AccountSymbols => "x.account_id, x.symbol, NULL::uuid[] AS account_ids",
        }
    }

    fn finest(self) -> Finest {
        if self == Self::AccountSymbols { Finest::Day } else { Finest::Hour }
    }
}

impl Session<'_> {
    /// Sums for each symbol, in no order. `None` groups records that belong to no market.
    pub async fn sums_by_symbol(&mut self, filter: &EventFilter) -> Result<Vec<(Option<Symbol>, Sums)>, Error> {
        let cube = if filter.accounts.is_some() { Cube::AccountSymbols } else { Cube::Symbols };
        let rows = self.sums(cube, "symbol", filter).await?;
        rows.iter().map(|row| Ok((Symbol::new(row.col("symbol")?), sums(row)?))).collect()
    }

    /// Sums for each symbol and set of accounts that traded it, in no order: a symbol comes several
    /// times, and its accounts are the union. Only for the whole workspace.
    pub async fn sums_by_symbol_and_accounts(
        &mut self,
        filter: &EventFilter,
    ) -> Result<Vec<(Option<Symbol>, Vec<AccountId>, Sums)>, Error> {
        let rows = self.sums(Cube::Symbols, "symbol, account_ids", filter).await?;
        rows.iter()
            .map(|row| {
                let accounts: Vec<Uuid> = row.col("account_ids")?;
                Ok((Symbol::new(row.col("symbol")?), accounts.into_iter().map(AccountId).collect(), sums(row)?))
            })
            .collect()
    }

    /// Sums for each account, in no order.
    pub async fn sums_by_account(&mut self, filter: &EventFilter) -> Result<Vec<(AccountId, Sums)>, Error> {
        let cube = if filter.symbols.is_empty() { Cube::Accounts } else { Cube::AccountSymbols };
        let rows = self.sums(cube, "account_id", filter).await?;
        rows.iter().map(|row| Ok((AccountId(row.col("account_id")?), sums(row)?))).collect()
    }

    /// Sums for each symbol and account, in no order.
    pub async fn sums_by_symbol_and_account(
        &mut self,
        filter: &EventFilter,
    ) -> Result<Vec<(Option<Symbol>, AccountId, Sums)>, Error> {
        let rows = self.sums(Cube::AccountSymbols, "symbol, account_id", filter).await?;
        rows.iter()
            .map(|row| Ok((Symbol::new(row.col("symbol")?), AccountId(row.col("account_id")?), sums(row)?)))
            .collect()
    }

    /// How many events have an amount that is unknown for want of a price.
    pub async fn unpriced_count(&mut self, filter: &EventFilter) -> Result<i64, Error> {
        Ok(self.sums_by_account(filter).await?.iter().map(|(_, sums)| sums.unpriced_count).sum())
    }

    async fn sums(&mut self, cube: Cube, group: &'static str, filter: &EventFilter) -> Result<Vec<PgRow>, Error> {
        self.grouped(cube, Longest::Month, group, &format!("GROUP BY {group}"), filter).await
    }

    /// Sums of a cube's cells no longer than `longest` and of raw rows, as `columns` and `tail` of the
    /// statement group them.
    pub(crate) async fn grouped(
        &mut self,
        cube: Cube,
        longest: Longest,
        columns: &str,
        tail: &str,
        filter: &EventFilter,
    ) -> Result<Vec<PgRow>, Error> {
        let cover = self.cover(filter.window, cube.finest()).await?.no_longer_than(longest, cube.finest());
        let types: Vec<&str> = filter.event_types.iter().map(|t| t.as_str()).collect();
        let workspace = self.workspace();
        let (months, days, hours) = (instants(&cover.months), instants(&cover.days), instants(&cover.hours));
        let raw = ids(&cover.raw);
        Ok(sqlx::query(sums_sql(cube, columns, tail).into_sql_str())
            .bind(workspace)
            .bind(some_unless_empty(types))
            .bind(some_unless_empty(filter.symbols.clone()))
            .bind(account_ids(filter.accounts.as_deref()))
            .bind(raw.0)
            .bind(raw.1)
            .bind(months.0)
            .bind(months.1)
            .bind(days.0)
            .bind(days.1)
            .bind(hours.0)
            .bind(hours.1)
            .fetch_all(self.connection())
            .await?)
    }

    /// The cells that answer the window now: none for a tenant that has no rollups yet.
    async fn cover(&mut self, window: Window, finest: Finest) -> Result<Cover, Error> {
        let span = window.millis();
        let workspace = self.workspace();
        let rolled_up: bool = sqlx::query_scalar("SELECT rolled_up FROM workspaces WHERE workspace_id = $1")
            .bind(workspace)
            .fetch_optional(self.connection())
            .await?
            .unwrap_or(false);
        if !rolled_up {
            return Ok(Cover::raw(span));
        }
        let bound = |millis| Timestamp::nearest(millis).utc();
        let marks: Vec<chrono::DateTime<chrono::Utc>> = sqlx::query_scalar(
            "SELECT DISTINCT hour FROM rollup_marks WHERE workspace_id = $1 AND hour >= $2 AND hour < $3",
        )
        .bind(workspace)
        .bind(bound(span.0 - HOUR))
        .bind(bound(span.1))
        .fetch_all(self.connection())
        .await?;
        let dirty: BTreeSet<i64> = marks.into_iter().map(|hour| hour.timestamp_millis()).collect();
        Ok(Cover::of(span, &dirty, finest))
    }
}

/// One text for each cube and grouping. `OFFSET 0` holds the planner to one index range a span: it knows
/// nothing of how many spans there are or how long.
fn sums_sql(cube: Cube, columns: &str, tail: &str) -> AssertSqlSafe<String> {
    let (table, keys) = (cube.table(), cube.keys());
    let cells = |grain: char, from: u8, to: u8| {
        format!(
            "SELECT {keys}, x.event_type, x.bucket AS at, NULL::text AS side, x.event_count, x.notional_usd, x.fee_usd, x.realized_pnl_usd, x.funding_usd,
                    x.unpriced_count
             FROM unnest(${from}::timestamptz[], ${to}::timestamptz[]) AS r(a, b) CROSS JOIN LATERAL (
                SELECT * FROM {table} x
                WHERE x.workspace_id = $1 AND x.grain = '{grain}' AND x.bucket >= r.a AND x.bucket < r.b OFFSET 0
             ) x"
        )
    };
    let (months, days, hours) = (cells('M', 7, 8), cells('D', 9, 10), cells('H', 11, 12));
    AssertSqlSafe(format!(
        "SELECT {columns}, sum(event_count)::bigint AS event_count, sum(notional_usd) AS notional_usd, sum(fee_usd) AS fee_usd,
                sum(realized_pnl_usd) AS realized_pnl_usd, sum(funding_usd) AS funding_usd,
                sum(event_count) FILTER (WHERE event_type IN ('liquidation', 'adl', 'system_close'))::bigint AS forced_close_count,
                sum(unpriced_count)::bigint AS unpriced_count
         FROM (
            SELECT x.account_id, x.symbol, ARRAY[x.account_id] AS account_ids, x.event_type,
                   x.occurred_at AS at, x.side, 1::bigint AS event_count, coalesce(x.notional_usd, 0) AS notional_usd,
                   coalesce(x.fee_usd, 0) AS fee_usd, coalesce(x.realized_pnl_usd, 0) AS realized_pnl_usd,
                   coalesce(x.funding_usd, 0) AS funding_usd, x.unpriced::int::bigint AS unpriced_count
            FROM unnest($5::uuid[], $6::uuid[]) AS r(a, b) CROSS JOIN LATERAL (
                SELECT account_id, symbol, event_type, occurred_at, side, notional_usd, fee_usd, realized_pnl_usd, funding_usd, unpriced
                FROM events x WHERE x.workspace_id = $1 AND x.event_id >= r.a AND x.event_id < r.b OFFSET 0
            ) x
            UNION ALL {months}
            UNION ALL {days}
            UNION ALL {hours}
         ) s
         WHERE ($2::text[] IS NULL OR event_type = ANY ($2))
           AND ($3::text[] IS NULL OR symbol = ANY ($3))
           AND ($4::uuid[] IS NULL OR account_id = ANY ($4))
         {tail}"
    ))
}

type Instants = Vec<chrono::DateTime<chrono::Utc>>;

fn instants(spans: &[Span]) -> (Instants, Instants) {
    let at = |millis: i64| Timestamp::nearest(millis).utc();
    (spans.iter().map(|s| at(s.0)).collect(), spans.iter().map(|s| at(s.1)).collect())
}

fn ids(spans: &[Span]) -> (Vec<Uuid>, Vec<Uuid>) {
    let id = |millis: i64| EventId::first_at(millis).uuid();
    (spans.iter().map(|s| id(s.0)).collect(), spans.iter().map(|s| id(s.1)).collect())
}

pub(crate) fn sums(row: &PgRow) -> Result<Sums, Error> {
    Ok(Sums {
        event_count: row.col("event_count")?,
        notional_usd: row.usd("notional_usd")?,
        fees_usd: row.usd("fee_usd")?,
        realized_pnl_usd: row.usd("realized_pnl_usd")?,
        funding_usd: row.usd("funding_usd")?,
        forced_close_count: row.col::<Option<i64>>("forced_close_count")?.unwrap_or_default(),
        unpriced_count: row.col("unpriced_count")?,
    })
}
