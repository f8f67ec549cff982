//! NAV and exposure: the newest of each account, and the last of every hour.

use codash_domain::cover::HOUR;
use codash_domain::{AccountId, Timestamp, Usd, Window};
use sqlx::postgres::PgRow;
use sqlx::postgres::types::PgInterval;

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
    /// When the account was removed, if it was: it counts in no hour that ends later.
    pub removed_at: Option<Timestamp>,
}

/// NAV of accounts together at the hour of a span in which it was farthest below its peak.
#[derive(Debug, Clone)]
pub struct NavLow {
    /// The start of the span.
    pub at: Timestamp,
    pub nav_usd: Usd,
    /// The highest until then, since the window began.
    pub peak_usd: Usd,
}

/// Spans of so many hours, counted from 1970 on.
fn span(hours: u32) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::from(hours) * HOUR * 1000 }
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
            "SELECT s.*, a.removed_at FROM unnest($2::uuid[]) k
             JOIN accounts a ON a.workspace_id = $1 AND a.account_id = k CROSS JOIN LATERAL (
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
        rows.iter().map(nav_hour).collect()
    }

    /// The last hour of each span of `hours` of these accounts, named by the span's start; as
    /// [`Session::nav_hours`] each account is preceded by its last hour before, named `before`. A removed account
    /// counts in no span that ends after its removal: `removed_at` is moved so that it says so of an hour.
    pub async fn nav_spans(
        &mut self,
        accounts: &[AccountId],
        window: Window,
        hours: u32,
        before: Timestamp,
    ) -> Result<Vec<NavHour>, Error> {
        let workspace = self.workspace();
        let rows = sqlx::query(
            "SELECT s.*, a.removed_at - $5 + interval '1 hour' AS removed_at FROM unnest($2::uuid[]) k
             JOIN accounts a ON a.workspace_id = $1 AND a.account_id = k CROSS JOIN LATERAL (
                (SELECT account_id, $6::timestamptz AS hour, nav_usd, long_usd, short_usd FROM nav_hours
                 WHERE workspace_id = $1 AND account_id = k AND hour < $3 ORDER BY nav_hours.hour DESC LIMIT 1)
                UNION ALL
                (SELECT DISTINCT ON (span) account_id, date_bin($5, hour, timestamptz '1970-01-01 00:00:00+00') AS span,
                        nav_usd, long_usd, short_usd
                 FROM nav_hours WHERE workspace_id = $1 AND account_id = k AND hour >= $3 AND hour <= $4
                 ORDER BY span, hour DESC)
             ) s ORDER BY s.hour",
        )
        .bind(workspace)
        .bind(account_ids(Some(accounts)))
        .bind(window.from.utc())
        .bind(window.to.utc())
        .bind(span(hours))
        .bind(before.utc())
        .fetch_all(self.connection())
        .await?;
        rows.iter().map(nav_hour).collect()
    }

    /// How far NAV of these accounts together lay below its highest since `window.from`: of each span of
    /// `hours` the deepest hour, in time order. An account without an hour counts with its last before.
    pub async fn nav_lows(&mut self, accounts: &[AccountId], window: Window, hours: u32) -> Result<Vec<NavLow>, Error> {
        let workspace = self.workspace();
        // What each account changed by from hour to hour, added up, is what all are worth.
        let rows = sqlx::query(
            "WITH known AS (
                SELECT k AS account_id, h.hour, h.nav_usd, 1 AS present
                FROM unnest($2::uuid[]) k JOIN accounts a ON a.workspace_id = $1 AND a.account_id = k
                CROSS JOIN LATERAL (
                    (SELECT hour, nav_usd FROM nav_hours
                     WHERE workspace_id = $1 AND account_id = k AND hour < $3 ORDER BY hour DESC LIMIT 1)
                    UNION ALL
                    (SELECT hour, nav_usd FROM nav_hours
                     WHERE workspace_id = $1 AND account_id = k AND hour >= $3 AND hour <= $4)
                ) h
                WHERE a.removed_at IS NULL OR h.hour + interval '1 hour' <= a.removed_at
                UNION ALL
                SELECT account_id, date_bin('1 hour', removed_at, timestamptz '1970-01-01 00:00:00+00'), 0, 0
                FROM accounts WHERE workspace_id = $1 AND account_id = ANY ($2) AND removed_at <= $4
             ), changes AS (
                SELECT hour, nav_usd - coalesce(lag(nav_usd) OVER w, 0) AS change,
                       present - coalesce(lag(present) OVER w, 0) AS joined
                FROM known WINDOW w AS (PARTITION BY account_id ORDER BY hour)
             ), totals AS (
                SELECT hour, sum(sum(change)) OVER (ORDER BY hour) AS nav_usd, sum(sum(joined)) OVER (ORDER BY hour) AS present
                FROM changes GROUP BY hour
             ), peaks AS (
                SELECT hour, nav_usd, max(nav_usd) OVER (ORDER BY hour) AS peak_usd FROM totals
                WHERE hour >= $3 AND present > 0
             )
             SELECT DISTINCT ON (span) date_bin($5, hour, timestamptz '1970-01-01 00:00:00+00') AS span, nav_usd, peak_usd
             FROM peaks ORDER BY span, nav_usd - peak_usd, hour",
        )
        .bind(workspace)
        .bind(account_ids(Some(accounts)))
        .bind(window.from.utc())
        .bind(window.to.utc())
        .bind(span(hours))
        .fetch_all(self.connection())
        .await?;
        rows.iter()
            .map(|row| Ok(NavLow { at: row.at("span")?, nav_usd: row.usd("nav_usd")?, peak_usd: row.usd("peak_usd")? }))
            .collect()
    }
}

fn nav_hour(row: &PgRow) -> Result<NavHour, Error> {
    Ok(NavHour {
        account: AccountId(row.col("account_id")?),
        hour: row.at("hour")?,
        nav_usd: row.usd("nav_usd")?,
        sides: row.maybe_usd("long_usd")?.zip(row.maybe_usd("short_usd")?),
        removed_at: row.maybe_at("removed_at")?,
    })
}
