//! Cash flows: deposits, withdrawals, transfers, conversions and loans, apart from events.

use codash_domain::{AccountId, Asset, CashFlow, EventId, FlowKind, Timestamp, Usd, Window};
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::row::Columns;
use crate::session::Transaction;
use crate::{Error, Lease, Session};

/// A cash flow as questions see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFlow {
    pub id: EventId,
    pub account: AccountId,
    pub kind: FlowKind,
    pub occurred_at: Timestamp,
    pub wallet: String,
    pub asset: Asset,
    /// Positive into the wallet.
    pub amount: Decimal,
    /// `None` while no price is known.
    pub value_usd: Option<Usd>,
}

/// Stores flows under a lease. The same record again changes nothing; another body takes the venue's
/// later figures, and a price once known is not lost. Returns those that are new or changed.
pub(crate) async fn add(tx: &mut Transaction, lease: &Lease, flows: &[CashFlow]) -> Result<Vec<Uuid>, Error> {
    if flows.is_empty() {
        return Ok(Vec::new());
    }
    let changed = sqlx::query_scalar(
        "INSERT INTO cash_flows AS c (workspace_id, account_id, flow_id, kind, occurred_at, wallet, asset, amount,
                                      value_usd, stream, native_id, raw)
         SELECT DISTINCT ON (r.flow_id) $1, $2, r.flow_id, r.kind, r.occurred_at, r.wallet, r.asset, r.amount,
                r.value_usd, r.stream, r.native_id, r.raw::json
         FROM unnest($3::uuid[], $4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::numeric[], $9::numeric[],
                     $10::text[], $11::text[], $12::text[]) WITH ORDINALITY
              AS r(flow_id, kind, occurred_at, wallet, asset, amount, value_usd, stream, native_id, raw, n)
         ORDER BY r.flow_id, r.n DESC
         ON CONFLICT (workspace_id, flow_id) DO UPDATE
         SET kind = excluded.kind, wallet = excluded.wallet, asset = excluded.asset, amount = excluded.amount,
             value_usd = CASE WHEN excluded.value_usd IS NULL AND (c.asset, c.amount) = (excluded.asset, excluded.amount)
                              THEN c.value_usd ELSE excluded.value_usd END,
             recorded_at = now(), raw = excluded.raw
         WHERE (c.kind, c.wallet, c.asset, c.amount) IS DISTINCT FROM
               (excluded.kind, excluded.wallet, excluded.asset, excluded.amount)
            OR (c.value_usd IS NULL AND excluded.value_usd IS NOT NULL)
         RETURNING c.flow_id",
    )
    .bind(lease.workspace.0)
    .bind(lease.account.0)
    .bind(flows.iter().map(|f| f.id(lease.account).uuid()).collect::<Vec<_>>())
    .bind(flows.iter().map(|f| f.kind.as_str()).collect::<Vec<_>>())
    .bind(flows.iter().map(|f| f.occurred_at.utc()).collect::<Vec<_>>())
    .bind(flows.iter().map(|f| f.wallet).collect::<Vec<_>>())
    .bind(flows.iter().map(|f| f.asset.as_str()).collect::<Vec<_>>())
    .bind(flows.iter().map(|f| f.amount).collect::<Vec<_>>())
    .bind(flows.iter().map(|f| f.value_usd.map(|v| v.0)).collect::<Vec<_>>())
    .bind(flows.iter().map(|f| f.stream).collect::<Vec<_>>())
    .bind(flows.iter().map(|f| crate::ingest::printable(&f.native_id)).collect::<Vec<_>>())
    .bind(flows.iter().map(|f| f.raw.as_str()).collect::<Vec<_>>())
    .fetch_all(tx.connection())
    .await?;
    Ok(changed)
}

/// Says which batch stored or changed the flows.
pub(crate) async fn note_batch(tx: &mut Transaction, lease: &Lease, flows: &[Uuid], batch: i64) -> Result<(), Error> {
    sqlx::query("UPDATE cash_flows SET batch_id = $3 WHERE workspace_id = $1 AND flow_id = ANY ($2)")
        .bind(lease.workspace.0)
        .bind(flows)
        .bind(batch)
        .execute(tx.connection())
        .await?;
    Ok(())
}

impl Session<'_> {
    /// Flows of these accounts in the window, newest first, before `cursor` when there is one.
    pub async fn cash_flows(
        &mut self,
        accounts: &[AccountId],
        window: Window,
        cursor: Option<EventId>,
        limit: i64,
    ) -> Result<Vec<StoredFlow>, Error> {
        let ids: Vec<Uuid> = accounts.iter().map(|a| a.0).collect();
        let end = EventId::first_at(window.to.millis().saturating_add(1));
        let workspace = self.workspace();
        let rows = sqlx::query(
            "SELECT f.* FROM unnest($2::uuid[]) k CROSS JOIN LATERAL (
                SELECT c.flow_id, c.account_id, c.kind, c.occurred_at, c.wallet, c.asset, c.amount, c.value_usd
                FROM cash_flows c
                WHERE c.workspace_id = $1 AND c.account_id = k AND c.flow_id >= $3 AND c.flow_id < $4
                ORDER BY c.flow_id DESC LIMIT $5
             ) f ORDER BY f.flow_id DESC LIMIT $5",
        )
        .bind(workspace)
        .bind(ids)
        .bind(EventId::first_at(window.from.millis()).uuid())
        .bind(cursor.map_or(end, |cursor| cursor.min(end)).uuid())
        .bind(limit)
        .fetch_all(self.connection())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(StoredFlow {
                    id: EventId::from_uuid(row.col("flow_id")?),
                    account: AccountId(row.col("account_id")?),
                    kind: row.parsed("kind")?,
                    occurred_at: row.at("occurred_at")?,
                    wallet: row.col("wallet")?,
                    asset: Asset::new(&row.col::<String>("asset")?),
                    amount: row.col("amount")?,
                    value_usd: row.maybe_usd("value_usd")?,
                })
            })
            .collect()
    }
}
