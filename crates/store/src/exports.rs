//! Tables as exports give them: their columns, and their rows straight from PostgreSQL's binary `COPY`.
//!
//! `COPY` takes no parameters. What goes into its text is written from typed values (ids, instants,
//! whole numbers); what a caller spelled travels as a setting of the transaction. To add a column: a
//! line in [`Table::columns`], and a grant to `codash_read` when it has none.

use std::fmt::{self, Write as _};

use bytes::Bytes;
use codash_domain::{AccountId, EventId, EventType, Timestamp};
use futures::StreamExt;
use futures::stream::BoxStream;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::{Error, Session};

/// What can be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Every canonical event.
    Events,
    /// The events that are fills: trades and forced closes.
    Trades,
    /// The events that are funding payments.
    Funding,
    /// What each account holds now.
    Balances,
    /// The positions that are open now.
    Positions,
    /// Equity and exposure through time.
    Nav,
    CashFlows,
    Accounts,
    /// Which spans of each stream have been read completely.
    Coverage,
    /// Every change of an event after it was first stored.
    Restatements,
}

/// A column: its name on the wire, where it comes from, and what it holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    sql: &'static str,
    pub kind: Kind,
}

/// How a value is printed. All of them may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A uuid, shown as `evt_…`.
    EventId,
    Uuid,
    /// The id of an account, shown as its name.
    AccountName,
    /// One of a few words of ours.
    Word,
    /// Whatever a user or a venue wrote.
    Text,
    Texts,
    /// A `numeric`, printed exactly.
    Number,
    Whole,
    Instant,
    Flag,
}

/// What a filter can be applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filters {
    pub window: bool,
    pub symbols: bool,
    pub event_types: bool,
    pub after_watermark: bool,
}

/// Which rows are meant. Lists that are empty filter nothing.
#[derive(Debug, Clone, Default)]
pub struct ExportFilter {
    /// `None`: every account of the workspace.
    pub accounts: Option<Vec<AccountId>>,
    pub symbols: Vec<String>,
    pub event_types: Vec<EventType>,
    /// Inclusive.
    pub from: Option<Timestamp>,
    /// Inclusive.
    pub to: Option<Timestamp>,
    /// Only rows that were stored or changed by a later version of the data.
    pub after: Option<i64>,
}

/// Rows of a table.
#[derive(Debug, Clone)]
pub struct Export {
    pub table: Table,
    pub columns: Vec<&'static Column>,
    pub filter: ExportFilter,
}

macro_rules! columns {
    ($($name:literal $kind:ident $sql:literal,)*) => {
        &[$(Column { name: $name, sql: $sql, kind: Kind::$kind }),*]
    };
}

const EVENTS: &[Column] = columns![
    "id" EventId "e.event_id",
    "accountId" Uuid "e.account_id",
    "accountName" AccountName "e.account_id",
    "symbol" Text "nullif(e.symbol, '')",
    "eventType" Word "e.event_type",
    "occurredAt" Instant "e.occurred_at",
    "side" Word "e.side",
    "qty" Number "e.qty",
    "price" Number "e.price",
    "notionalUsd" Number "e.notional_usd",
    "realizedPnlUsd" Number "e.realized_pnl_usd",
    "feeUsd" Number "e.fee_usd",
    "fundingUsd" Number "e.funding_usd",
    "netPnlImpactUsd" Number "e.net_pnl_impact_usd",
    "unpriced" Flag "e.unpriced",
];
const BALANCES: &[Column] = columns![
    "accountId" Uuid "e.account_id",
    "accountName" AccountName "e.account_id",
    "wallet" Text "e.wallet",
    "asset" Text "e.asset",
    "total" Number "e.total",
    "valueUsd" Number "e.value_usd",
    "takenAt" Instant "e.taken_at",
];
const POSITIONS: &[Column] = columns![
    "accountId" Uuid "e.account_id",
    "accountName" AccountName "e.account_id",
    "symbol" Text "e.symbol",
    "nativeSymbol" Text "e.native_symbol",
    "leg" Text "e.leg",
    "qty" Number "e.qty",
    "entryPrice" Number "e.entry_price",
    "markPrice" Number "e.mark_price",
    "notionalUsd" Number "e.notional_usd",
    "unrealizedPnlUsd" Number "e.unrealized_pnl_usd",
    "takenAt" Instant "e.taken_at",
];
const NAV: &[Column] = columns![
    "accountId" Uuid "e.account_id",
    "accountName" AccountName "e.account_id",
    "takenAt" Instant "e.taken_at",
    "navUsd" Number "e.nav_usd",
    "longUsd" Number "e.long_usd",
    "shortUsd" Number "e.short_usd",
    "futuresUpnlUsd" Number "e.futures_upnl_usd",
    "btcPriceUsd" Number "e.btc_price_usd",
    "ethPriceUsd" Number "e.eth_price_usd",
    "unpricedAssets" Texts "e.unpriced_assets",
];
const CASH_FLOWS: &[Column] = columns![
    "id" EventId "e.flow_id",
    "accountId" Uuid "e.account_id",
    "accountName" AccountName "e.account_id",
    "kind" Word "e.kind",
    "occurredAt" Instant "e.occurred_at",
    "wallet" Text "e.wallet",
    "asset" Text "e.asset",
    "amount" Number "e.amount",
    "valueUsd" Number "e.value_usd",
];
const ACCOUNTS: &[Column] = columns![
    "id" Uuid "e.account_id",
    "name" Text "e.name",
    "venue" Word "e.venue",
    "kind" Text "e.kind",
    "tags" Texts "e.tags",
    "isActive" Flag "e.is_active",
    "status" Word "e.status",
    "statusDetail" Text "e.status_detail",
    "assurance" Word "e.assurance",
    "notCovered" Texts "e.not_covered",
    "keyExpiresAt" Instant "e.key_expires_at",
    "lastCheckedAt" Instant "e.last_checked_at",
    "createdAt" Instant "e.created_at",
    "updatedAt" Instant "e.updated_at",
    "portfolioId" Uuid "e.portfolio_id",
    "removedAt" Instant "e.removed_at",
];
const COVERAGE: &[Column] = columns![
    "accountId" Uuid "e.account_id",
    "accountName" AccountName "e.account_id",
    "stream" Text "e.stream",
    "status" Word "e.status",
    "from" Instant "c.from_at",
    "to" Instant "c.to_at",
    "horizon" Instant "e.horizon",
    "horizonReason" Text "e.horizon_reason",
    "lastReadAt" Instant "e.last_read_at",
    "unreadableRecords" Whole "(SELECT count(*) FROM quarantined_records q WHERE q.workspace_id = e.workspace_id
        AND q.account_id = e.account_id AND q.stream = e.stream)",
];
// An event that was taken back is kept as its row was, with the names of columns; the others as the
// wire spells them.
const RESTATEMENTS: &[Column] = columns![
    "eventId" EventId "e.event_id",
    "revision" Whole "e.revision::bigint",
    "reason" Word "e.reason",
    "accountId" Uuid "b.account_id",
    "accountName" AccountName "b.account_id",
    "recordedAt" Instant "e.recorded_at",
    "watermark" Whole "b.seq",
    "statesFigures" Flag "e.before ? 'unpriced'",
    "beforeEventType" Word "coalesce(e.before ->> 'eventType', e.before ->> 'event_type')",
    "beforeSide" Word "e.before ->> 'side'",
    "beforeQty" Number "(e.before ->> 'qty')::numeric",
    "beforePrice" Number "(e.before ->> 'price')::numeric",
    "beforeNotionalUsd" Number "coalesce(e.before ->> 'notionalUsd', e.before ->> 'notional_usd')::numeric",
    "beforeRealizedPnlUsd" Number "coalesce(e.before ->> 'realizedPnlUsd', e.before ->> 'realized_pnl_usd')::numeric",
    "beforeFeeUsd" Number "coalesce(e.before ->> 'feeUsd', e.before ->> 'fee_usd')::numeric",
    "beforeFundingUsd" Number "coalesce(e.before ->> 'fundingUsd', e.before ->> 'funding_usd')::numeric",
    "afterEventType" Word "e.after ->> 'eventType'",
    "afterSide" Word "e.after ->> 'side'",
    "afterQty" Number "(e.after ->> 'qty')::numeric",
    "afterPrice" Number "(e.after ->> 'price')::numeric",
    "afterNotionalUsd" Number "(e.after ->> 'notionalUsd')::numeric",
    "afterRealizedPnlUsd" Number "(e.after ->> 'realizedPnlUsd')::numeric",
    "afterFeeUsd" Number "(e.after ->> 'feeUsd')::numeric",
    "afterFundingUsd" Number "(e.after ->> 'fundingUsd')::numeric",
];

const FILLS: &[EventType] = &[EventType::Trade, EventType::Liquidation, EventType::Adl, EventType::SystemClose];

impl Table {
    pub const ALL: [Self; 10] = [
        Self::Events,
        Self::Trades,
        Self::Funding,
        Self::Balances,
        Self::Positions,
        Self::Nav,
        Self::CashFlows,
        Self::Accounts,
        Self::Coverage,
        Self::Restatements,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Trades => "trades",
            Self::Funding => "funding",
            Self::Balances => "balances",
            Self::Positions => "positions",
            Self::Nav => "nav",
            Self::CashFlows => "cash_flows",
            Self::Accounts => "accounts",
            Self::Coverage => "coverage",
            Self::Restatements => "restatements",
        }
    }

    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Events | Self::Trades | Self::Funding => EVENTS,
            Self::Balances => BALANCES,
            Self::Positions => POSITIONS,
            Self::Nav => NAV,
            Self::CashFlows => CASH_FLOWS,
            Self::Accounts => ACCOUNTS,
            Self::Coverage => COVERAGE,
            Self::Restatements => RESTATEMENTS,
        }
    }

    pub fn filters(self) -> Filters {
        let is_of_events = self.event_types().is_some();
        Filters {
            window: !matches!(self, Self::Balances | Self::Positions | Self::Accounts),
            symbols: is_of_events || self == Self::Positions,
            event_types: matches!(self, Self::Events | Self::Trades),
            after_watermark: is_of_events || matches!(self, Self::Restatements | Self::CashFlows | Self::Nav),
        }
    }

    /// Which events the table holds; `None` when it holds none.
    pub fn event_types(self) -> Option<&'static [EventType]> {
        match self {
            Self::Events => Some(&EventType::ALL),
            Self::Trades => Some(FILLS),
            Self::Funding => Some(&[EventType::Funding]),
            _ => None,
        }
    }

    /// True when the same parameters at the same watermark are the same rows: everything that changes
    /// them draws a version.
    pub fn is_versioned(self) -> bool {
        self.filters().after_watermark
    }

    fn from(self) -> &'static str {
        match self {
            Self::Events | Self::Trades | Self::Funding => "events e",
            Self::Balances => "balances e",
            Self::Positions => "positions e",
            Self::Nav => "nav_snapshots e",
            Self::CashFlows => "cash_flows e",
            Self::Accounts => "accounts e",
            Self::Coverage => {
                "streams e LEFT JOIN coverage c ON c.workspace_id = e.workspace_id AND c.account_id = e.account_id \
                 AND c.stream = e.stream"
            }
            Self::Restatements => {
                "restatements e JOIN batches b ON b.workspace_id = e.workspace_id AND b.batch_id = e.batch_id"
            }
        }
    }

    /// The order of the rows: total, so that the same rows are the same file.
    fn order(self) -> &'static str {
        match self {
            Self::Events | Self::Trades | Self::Funding => "e.event_id",
            Self::Balances => "e.account_id, e.wallet, e.asset",
            Self::Positions => "e.account_id, e.native_symbol, e.leg",
            Self::Nav => "e.account_id, e.taken_at",
            Self::CashFlows => "e.flow_id",
            Self::Accounts => "e.created_at, e.account_id",
            Self::Coverage => "e.account_id, e.stream, c.from_at",
            Self::Restatements => "e.event_id, e.revision",
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Session<'_> {
    /// The version of the table's data that this snapshot sees: every write up to it, and no other. NAV
    /// counts its own; the other tables count together.
    pub async fn data_version(&mut self, table: Table) -> Result<i64, Error> {
        let workspace = self.workspace();
        sqlx::query_scalar(
            "SELECT CASE WHEN $2 THEN nav_version ELSE data_version END FROM workspaces WHERE workspace_id = $1",
        )
        .bind(workspace)
        .bind(table == Table::Nav)
        .fetch_optional(self.connection())
        .await?
        .ok_or(Error::NotFound)
    }

    pub async fn export_count(&mut self, export: &Export) -> Result<i64, Error> {
        let condition = self.condition(export).await?;
        let sql = format!("SELECT count(*) FROM {} WHERE {condition}", export.table.from());
        Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(self.connection()).await?)
    }

    /// Starts the rows on their way. The statement takes as long as its reader does, an hour at most: a
    /// snapshot keeps PostgreSQL from tidying up.
    pub async fn export(&mut self, export: &Export) -> Result<CopiedRows<'_>, Error> {
        let condition = self.condition(export).await?;
        let columns: Vec<&str> = export.columns.iter().map(|column| column.sql).collect();
        let sql = format!(
            "COPY (SELECT {} FROM {} WHERE {condition} ORDER BY {}) TO STDOUT (FORMAT binary)",
            columns.join(", "),
            export.table.from(),
            export.table.order(),
        );
        sqlx::raw_sql("SET LOCAL statement_timeout = '1h'").execute(self.connection()).await?;
        Ok(CopiedRows { messages: self.connection().copy_out_raw(&sql).await?.boxed() })
    }

    /// The rows that are meant, as SQL that holds nothing which a caller spelled.
    async fn condition(&mut self, export: &Export) -> Result<String, Error> {
        let (table, filter) = (export.table, &export.filter);
        let account = if table == Table::Restatements { "b.account_id" } else { "e.account_id" };
        let mut sql = format!("e.workspace_id = '{}'", self.workspace());
        if let Some(accounts) = &filter.accounts {
            let ids: Vec<String> = accounts.iter().map(|id| format!("'{id}'")).collect();
            push(&mut sql, format_args!("{account} = ANY (ARRAY[{}]::uuid[])", ids.join(", ")));
        }
        window(&mut sql, table, filter);
        let types = if filter.event_types.is_empty() {
            table.event_types().filter(|_| table != Table::Events).unwrap_or_default()
        } else {
            &filter.event_types
        };
        if !types.is_empty() {
            let words: Vec<String> = types.iter().map(|word| format!("'{word}'")).collect();
            push(&mut sql, format_args!("e.event_type IN ({})", words.join(", ")));
        }
        if !filter.symbols.is_empty() {
            sqlx::query("SELECT set_config('app.export_symbols', $1::text[]::text, true)")
                .bind(&filter.symbols)
                .execute(self.connection())
                .await?;
            push(&mut sql, format_args!("e.symbol = ANY (current_setting('app.export_symbols')::text[])"));
        }
        match filter.after {
            None => {}
            Some(after) if table == Table::Nav => push(&mut sql, format_args!("e.version > {after}")),
            Some(after) => {
                let oldest = self.oldest_batch_after(after).await?;
                push(&mut sql, newer(table, self.workspace(), after, oldest));
            }
        }
        Ok(sql)
    }

    /// Batches are numbered when they begin and versioned when they end: what is newer by version may
    /// be older by number, never than this.
    async fn oldest_batch_after(&mut self, version: i64) -> Result<Option<i64>, Error> {
        let workspace = self.workspace();
        let oldest = sqlx::query_scalar("SELECT min(batch_id) FROM batches WHERE workspace_id = $1 AND seq > $2");
        Ok(oldest.bind(workspace).bind(version).fetch_one(self.connection()).await?)
    }
}

fn newer(table: Table, workspace: Uuid, after: i64, oldest: Option<i64>) -> String {
    let Some(oldest) = oldest else { return "false".into() };
    if table == Table::Restatements {
        return format!("b.seq > {after}");
    }
    format!(
        "e.batch_id >= {oldest} AND e.batch_id IN \
         (SELECT n.batch_id FROM batches n WHERE n.workspace_id = '{workspace}' AND n.seq > {after})"
    )
}

/// The window of a table, by what it has of time.
fn window(sql: &mut String, table: Table, filter: &ExportFilter) {
    let (starts, ends, is_id) = match table {
        Table::Nav => ("e.taken_at", "e.taken_at", false),
        // A span that touches the window; and a stream without any.
        Table::Coverage => ("coalesce(c.to_at, 'infinity')", "coalesce(c.from_at, '-infinity')", false),
        Table::CashFlows => ("e.flow_id", "e.flow_id", true),
        _ => ("e.event_id", "e.event_id", true),
    };
    if let Some(from) = filter.from {
        let bound = if is_id { EventId::first_at(from.millis()).uuid().to_string() } else { from.to_string() };
        push(sql, format_args!("{starts} >= '{bound}'"));
    }
    let Some(to) = filter.to else { return };
    if is_id {
        push(sql, format_args!("{ends} < '{}'", EventId::first_at(to.millis().saturating_add(1)).uuid()));
    } else {
        // To the end of its millisecond.
        push(sql, format_args!("{ends} < '{to}'::timestamptz + interval '1 millisecond'"));
    }
}

fn push(sql: &mut String, condition: impl fmt::Display) {
    let _ = write!(sql, " AND {condition}");
}

/// Rows on their way. Dropped before the end, they leave the session fit for nothing but to be dropped.
pub struct CopiedRows<'s> {
    messages: BoxStream<'s, Result<Bytes, sqlx::Error>>,
}

impl CopiedRows<'_> {
    /// The next piece of PostgreSQL's binary format: whole rows. `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        Ok(self.messages.next().await.transpose()?)
    }
}
