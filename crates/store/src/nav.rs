//! NAV and exposure: the newest of each account, and the last of every hour.

use codash_domain::{AccountId, Timestamp, Usd};

use crate::events::account_ids;
use crate::row::Columns;
use crate::{Error, Session};

/// The newest snapshot of an account. Exposure is `None` where the venue stated equity alone.
#[derive(Debug, Clone)]
pub struct LatestNav {
    pub account: AccountId,
    pub taken_at: Timestamp,
    pub nav_usd: Usd,
    pub long_usd: Option<Usd>,
    pub short_usd: Option<Usd>,
    pub futures_upnl_usd: Option<Usd>,
    pub btc_price_usd: Option<Usd>,
    pub eth_price_usd: Option<Usd>,
    pub unpriced_assets: Vec<String>,
}

/// The last snapshot of an hour of an account.
#[derive(Debug, Clone)]
pub struct NavHour {
    pub account: AccountId,
    pub hour: Timestamp,
    pub nav_usd: Usd,
    pub sides: Option<(Usd, Usd)>,
}

impl Session<'_> {
    /// The newest snapshot of each of these accounts that has one.
    pub async fn latest_navs(&mut self, accounts: &[AccountId]) -> Result<Vec<LatestNav>, Error> {
        let workspace = self.workspace();
        let rows = sqlx::query(
            "SELECT s.* FROM unnest($2::uuid[]) k CROSS JOIN LATERAL (
                SELECT account_id, taken_at, nav_usd, long_usd, short_usd, futures_upnl_usd, btc_price_usd, eth_price_usd,
                       unpriced_assets
                FROM nav_snapshots WHERE workspace_id = $1 AND account_id = k ORDER BY taken_at DESC LIMIT 1
             ) s",
        )
        .bind(workspace)
        .bind(account_ids(Some(accounts)))
        .fetch_all(self.connection())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(LatestNav {
                    account: AccountId(row.col("account_id")?),
                    taken_at: row.at("taken_at")?,
                    nav_usd: row.usd("nav_usd")?,
                    long_usd: row.maybe_usd("long_usd")?,
                    short_usd: row.maybe_usd("short_usd")?,
                    futures_upnl_usd: row.maybe_usd("futures_upnl_usd")?,
                    btc_price_usd: row.maybe_usd("btc_price_usd")?,
                    eth_price_usd: row.maybe_usd("eth_price_usd")?,
                    unpriced_assets: row.col("unpriced_assets")?,
                })
            })
            .collect()
    }

    /// Hours of these accounts from `from` on, in time order, each account preceded by its last hour
    /// before (what it is carried forward from).
    pub async fn nav_hours(
        &mut self,
        accounts: &[AccountId],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<NavHour>, Error> {
        let workspace = self.workspace();
        let rows = sqlx::query(
            "SELECT s.* FROM unnest($2::uuid[]) k CROSS JOIN LATERAL (
                (SELECT account_id, hour, nav_usd, long_usd, short_usd FROM nav_hours
                 WHERE workspace_id = $1 AND account_id = k AND hour < $3 ORDER BY hour DESC LIMIT 1)
                UNION ALL
                (SELECT account_id, hour, nav_usd, long_usd, short_usd FROM nav_hours
                 WHERE workspace_id = $1 AND account_id = k AND hour >= $3 AND hour <= $4)
             ) s ORDER BY s.hour",
        )
        .bind(workspace)
        .bind(account_ids(Some(accounts)))
        .bind(from.utc())
        .bind(to.utc())
        .fetch_all(self.connection())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(NavHour {
                    account: AccountId(row.col("account_id")?),
                    hour: row.at("hour")?,
                    nav_usd: row.usd("nav_usd")?,
                    sides: row.maybe_usd("long_usd")?.zip(row.maybe_usd("short_usd")?),
                })
            })
            .collect()
    }
}
