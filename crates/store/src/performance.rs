//! What returns are made of: worth by the hour, money that came or went, and how closed trades ended.

use std::collections::BTreeMap;

use codash_domain::returns::Valued;
use codash_domain::{AccountId, Asset, EventId, FlowKind, Timestamp, Usd, Window};
use futures::TryStreamExt;
use rust_decimal::Decimal;

use crate::events::account_ids;
use crate::row::Columns;
use crate::{Error, Session};

/// Money that moved, as returns see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    pub account: AccountId,
    pub kind: FlowKind,
    pub at: Timestamp,
    pub asset: Asset,
    /// Positive into the account.
    pub amount: Decimal,
    /// `None` while no price is known.
    pub value_usd: Option<Usd>,
}

/// How the closing fills of a day ended, after their fees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedTrades {
    /// `2026-05-15`, in UTC.
    pub day: String,
    pub won: i64,
    pub lost: i64,
    /// Won, lost and neither.
    pub count: i64,
}

impl Session<'_> {
    /// The last worth of every hour of each of these accounts up to `to`, ascending, preceded by the last one
    /// before `from`. Accounts that were never valued are not in it.
    pub async fn worth_by_hour(
        &mut self,
        accounts: &[AccountId],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<BTreeMap<AccountId, Vec<Valued>>, Error> {
        let workspace = self.workspace();
        let mut rows = sqlx::query(
            "SELECT s.* FROM unnest($2::uuid[]) k CROSS JOIN LATERAL (
                (SELECT account_id, taken_at, nav_usd, long_usd, short_usd FROM nav_hours
                 WHERE workspace_id = $1 AND account_id = k AND hour < $3 ORDER BY hour DESC LIMIT 1)
                UNION ALL
                (SELECT account_id, taken_at, nav_usd, long_usd, short_usd FROM nav_hours
                 WHERE workspace_id = $1 AND account_id = k AND hour >= $3 AND hour <= $4 ORDER BY hour)
             ) s ORDER BY s.account_id, s.taken_at",
        )
        .bind(workspace)
        .bind(account_ids(Some(accounts)))
        .bind(from.utc())
        .bind(to.utc())
        .fetch(self.connection());
        let mut all: BTreeMap<AccountId, Vec<Valued>> = BTreeMap::new();
        while let Some(row) = rows.try_next().await? {
            let valued = Valued {
                at: row.at("taken_at")?,
                nav_usd: row.usd("nav_usd")?,
                sides: row.maybe_usd("long_usd")?.zip(row.maybe_usd("short_usd")?),
            };
            all.entry(AccountId(row.col("account_id")?)).or_default().push(valued);
        }
        Ok(all)
    }

    /// Deposits, withdrawals, transfers and loans of these accounts in the window, oldest first. Conversions
    /// change what is held and are no movement.
    pub async fn movements(&mut self, accounts: &[AccountId], window: Window) -> Result<Vec<Movement>, Error> {
        let (from, to) = window.millis();
        let workspace = self.workspace();
        let rows = sqlx::query(
            "SELECT f.* FROM unnest($2::uuid[]) k CROSS JOIN LATERAL (
                SELECT c.flow_id, c.account_id, c.kind, c.occurred_at, c.asset, c.amount, c.value_usd
                FROM cash_flows c
                WHERE c.workspace_id = $1 AND c.account_id = k AND c.flow_id >= $3 AND c.flow_id < $4
                  AND c.kind IN ('deposit', 'withdrawal', 'transfer', 'loan')
             ) f ORDER BY f.flow_id",
        )
        .bind(workspace)
        .bind(account_ids(Some(accounts)))
        .bind(EventId::first_at(from).uuid())
        .bind(EventId::first_at(to).uuid())
        .fetch_all(self.connection())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Movement {
                    account: AccountId(row.col("account_id")?),
                    kind: row.parsed("kind")?,
                    at: row.at("occurred_at")?,
                    asset: Asset::new(&row.col::<String>("asset")?),
                    amount: row.col("amount")?,
                    value_usd: row.maybe_usd("value_usd")?,
                })
            })
            .collect()
    }

    /// Events of the window that realized a profit or a loss, by day. Read one by one: the caller bounds the
    /// window. `None` means every account.
    pub async fn closed_trades(
        &mut self,
        accounts: Option<&[AccountId]>,
        window: Window,
    ) -> Result<Vec<ClosedTrades>, Error> {
        let (from, to) = window.millis();
        let workspace = self.workspace();
        let rows = sqlx::query(
            "SELECT to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, count(*) AS count,
                    count(*) FILTER (WHERE net_pnl_impact_usd > 0) AS won,
                    count(*) FILTER (WHERE net_pnl_impact_usd < 0) AS lost
             FROM events
             WHERE workspace_id = $1 AND event_id >= $2 AND event_id < $3 AND ($4::uuid[] IS NULL OR account_id = ANY ($4))
               AND realized_pnl_usd <> 0 AND net_pnl_impact_usd IS NOT NULL
             GROUP BY day ORDER BY day",
        )
        .bind(workspace)
        .bind(EventId::first_at(from).uuid())
        .bind(EventId::first_at(to).uuid())
        .bind(account_ids(accounts))
        .fetch_all(self.connection())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(ClosedTrades {
                    day: row.col("day")?,
                    won: row.col("won")?,
                    lost: row.col("lost")?,
                    count: row.col("count")?,
                })
            })
            .collect()
    }
}
