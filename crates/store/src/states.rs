//! What an account holds now, and the NAV point that it makes.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use codash_domain::cover::HOUR;
use codash_domain::{Exposure, Snapshot, Timestamp, Usd};
use rust_decimal::Decimal;

use crate::session::Transaction;
use crate::{Error, Lease, Store, streams};

impl Store {
    /// Replaces balances and positions and adds the NAV point, in one transaction.
    pub async fn commit_snapshot(
        &self,
        lease: &Lease,
        snapshot: &Snapshot,
        new_streams: &[String],
    ) -> Result<(), Error> {
        let mut tx = self.fenced(lease).await?;
        replace_balances(&mut tx, lease, snapshot).await?;
        replace_positions(&mut tx, lease, snapshot).await?;
        streams::add(&mut tx, lease.workspace, lease.account, new_streams).await?;
        add_nav(&mut tx, lease, snapshot).await?;
        tx.commit().await
    }
}

async fn replace_balances(tx: &mut Transaction, lease: &Lease, snapshot: &Snapshot) -> Result<(), Error> {
    sqlx::query("DELETE FROM balances WHERE workspace_id = $1 AND account_id = $2")
        .bind(lease.workspace.0)
        .bind(lease.account.0)
        .execute(tx.connection())
        .await?;
    let rows = &snapshot.balances;
    // Two rows of one asset in one wallet are one balance.
    sqlx::query(
        "INSERT INTO balances (workspace_id, account_id, taken_at, wallet, asset, total, value_usd)
         SELECT $1, $2, $3, wallet, asset, sum(total), CASE WHEN count(*) = count(value) THEN sum(value) END
         FROM unnest($4::text[], $5::text[], $6::numeric[], $7::numeric[]) AS r(wallet, asset, total, value)
         GROUP BY wallet, asset",
    )
    .bind(lease.workspace.0)
    .bind(lease.account.0)
    .bind(snapshot.taken_at.utc())
    .bind(rows.iter().map(|b| b.wallet).collect::<Vec<_>>())
    .bind(rows.iter().map(|b| b.asset.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|b| b.total).collect::<Vec<_>>())
    .bind(rows.iter().map(|b| b.value_usd.map(|v| v.0)).collect::<Vec<_>>())
    .execute(tx.connection())
    .await?;
    Ok(())
}

async fn replace_positions(tx: &mut Transaction, lease: &Lease, snapshot: &Snapshot) -> Result<(), Error> {
    sqlx::query("DELETE FROM positions WHERE workspace_id = $1 AND account_id = $2")
        .bind(lease.workspace.0)
        .bind(lease.account.0)
        .execute(tx.connection())
        .await?;
    let rows = &snapshot.positions;
    sqlx::query(
        "INSERT INTO positions (workspace_id, account_id, taken_at, native_symbol, leg, symbol, qty, entry_price,
                                mark_price, notional_usd, unrealized_pnl_usd)
         SELECT $1, $2, $3, r.* FROM unnest($4::text[], $5::text[], $6::text[], $7::numeric[], $8::numeric[],
                                            $9::numeric[], $10::numeric[], $11::numeric[]) AS r",
    )
    .bind(lease.workspace.0)
    .bind(lease.account.0)
    .bind(snapshot.taken_at.utc())
    .bind(rows.iter().map(|p| p.native_symbol.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|p| p.leg).collect::<Vec<_>>())
    .bind(rows.iter().map(|p| p.symbol.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|p| p.qty.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|p| p.entry_price.map(|v| v.0)).collect::<Vec<_>>())
    .bind(rows.iter().map(|p| p.mark_price.map(|v| v.0)).collect::<Vec<_>>())
    .bind(rows.iter().map(|p| p.notional_usd.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|p| p.unrealized_pnl_usd.0).collect::<Vec<_>>())
    .execute(tx.connection())
    .await?;
    Ok(())
}

async fn add_nav(tx: &mut Transaction, lease: &Lease, snapshot: &Snapshot) -> Result<(), Error> {
    if unknown(tx, lease, &[snapshot.taken_at]).await?.is_empty() {
        return Ok(());
    }
    let version = next_version(tx, lease).await?;
    let exposure = Exposure::of(&snapshot.positions);
    sqlx::query(
        "INSERT INTO nav_snapshots (workspace_id, account_id, taken_at, nav_usd, long_usd, short_usd, futures_upnl_usd,
                                    btc_price_usd, eth_price_usd, unpriced_assets, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING",
    )
    .bind(lease.workspace.0)
    .bind(lease.account.0)
    .bind(snapshot.taken_at.utc())
    .bind(snapshot.nav_usd.0)
    .bind(exposure.long_usd.0)
    .bind(exposure.short_usd.0)
    .bind(exposure.futures_upnl_usd.0)
    .bind(snapshot.btc_price_usd.map(|v| v.0))
    .bind(snapshot.eth_price_usd.map(|v| v.0))
    .bind(snapshot.unpriced_assets.iter().map(|a| a.as_str().to_owned()).collect::<Vec<_>>())
    .bind(version)
    .execute(tx.connection())
    .await?;
    let point =
        NavPoint { at: snapshot.taken_at, nav: snapshot.nav_usd, sides: Some((exposure.long_usd, exposure.short_usd)) };
    keep_hours(tx, lease, &[point]).await
}

/// Those of the instants for which the account has no point: nothing new draws no version. The lease keeps
/// others from adding one meanwhile.
async fn unknown(tx: &mut Transaction, lease: &Lease, at: &[Timestamp]) -> Result<HashSet<DateTime<Utc>>, Error> {
    let unknown = sqlx::query_scalar(
        "SELECT r.at FROM unnest($3::timestamptz[]) AS r(at) WHERE NOT EXISTS (
            SELECT FROM nav_snapshots n WHERE n.workspace_id = $1 AND n.account_id = $2 AND n.taken_at = r.at)",
    );
    let bound = unknown.bind(lease.workspace.0).bind(lease.account.0);
    let times: Vec<DateTime<Utc>> = at.iter().map(|at| at.utc()).collect();
    Ok(bound.bind(times).fetch_all(tx.connection()).await?.into_iter().collect())
}

/// Draws the workspace's next NAV version: held until the commit, so that versions are in commit order.
async fn next_version(tx: &mut Transaction, lease: &Lease) -> Result<i64, Error> {
    let version = sqlx::query_scalar(
        "UPDATE workspaces SET nav_version = nav_version + 1 WHERE workspace_id = $1 RETURNING nav_version",
    );
    Ok(version.bind(lease.workspace.0).fetch_one(tx.connection()).await?)
}

struct NavPoint {
    at: Timestamp,
    nav: Usd,
    sides: Option<(Usd, Usd)>,
}

/// Equity that the venue states for past instants: no exposure is known of them.
pub(crate) async fn add_nav_history(
    tx: &mut Transaction,
    lease: &Lease,
    points: &[(Timestamp, Usd)],
) -> Result<(), Error> {
    let times: Vec<Timestamp> = points.iter().map(|(at, _)| *at).collect();
    let new = unknown(tx, lease, &times).await?;
    let points: Vec<&(Timestamp, Usd)> = points.iter().filter(|(at, _)| new.contains(&at.utc())).collect();
    if points.is_empty() {
        return Ok(());
    }
    let version = next_version(tx, lease).await?;
    sqlx::query(
        "INSERT INTO nav_snapshots (workspace_id, account_id, taken_at, nav_usd, version)
         SELECT $1, $2, r.*, $5 FROM unnest($3::timestamptz[], $4::numeric[]) AS r ON CONFLICT DO NOTHING",
    )
    .bind(lease.workspace.0)
    .bind(lease.account.0)
    .bind(points.iter().map(|(at, _)| at.utc()).collect::<Vec<_>>())
    .bind(points.iter().map(|(_, nav)| nav.0).collect::<Vec<_>>())
    .bind(version)
    .execute(tx.connection())
    .await?;
    let points: Vec<NavPoint> = points.iter().map(|&&(at, nav)| NavPoint { at, nav, sides: None }).collect();
    keep_hours(tx, lease, &points).await
}

/// Keeps the last point of every hour. Arrival order does not matter.
async fn keep_hours(tx: &mut Transaction, lease: &Lease, points: &[NavPoint]) -> Result<(), Error> {
    let sides = |pick: fn((Usd, Usd)) -> Usd| -> Vec<Option<Decimal>> {
        points.iter().map(|p| p.sides.map(|s| pick(s).0)).collect()
    };
    sqlx::query(
        "INSERT INTO nav_hours AS h (workspace_id, account_id, hour, taken_at, nav_usd, long_usd, short_usd)
         SELECT DISTINCT ON (hour) $1, $2, r.hour, r.taken_at, r.nav, r.long, r.short
         FROM unnest($3::timestamptz[], $4::timestamptz[], $5::numeric[], $6::numeric[], $7::numeric[])
              AS r(hour, taken_at, nav, long, short)
         ORDER BY hour, taken_at DESC
         ON CONFLICT (workspace_id, account_id, hour) DO UPDATE
         SET taken_at = excluded.taken_at, nav_usd = excluded.nav_usd, long_usd = excluded.long_usd, short_usd = excluded.short_usd
         WHERE excluded.taken_at > h.taken_at",
    )
    .bind(lease.workspace.0)
    .bind(lease.account.0)
    .bind(points.iter().map(|p| p.at.floor_to(HOUR).utc()).collect::<Vec<_>>())
    .bind(points.iter().map(|p| p.at.utc()).collect::<Vec<_>>())
    .bind(points.iter().map(|p| p.nav.0).collect::<Vec<_>>())
    .bind(sides(|s| s.0))
    .bind(sides(|s| s.1))
    .execute(tx.connection())
    .await?;
    Ok(())
}
