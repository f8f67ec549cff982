//! Which events changed after they were first stored, counted by account, reason and day.

use codash_domain::cover::DAY;
use codash_domain::{AccountId, EventId, Timestamp, Window};

use crate::events::account_ids;
use crate::row::Columns;
use crate::{Error, Session};

/// Changes of one reason to the events of one account and one day in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestatedDay {
    pub account: AccountId,
    /// restated, classified, priced or superseded.
    pub reason: String,
    pub change_count: i64,
    /// The times of the first and the last event that changed.
    pub first: Timestamp,
    pub last: Timestamp,
    /// When the last of the changes was recorded.
    pub recorded_at: Timestamp,
}

impl Session<'_> {
    /// Changes to events of these accounts and this window, oldest day first, at most `limit` groups.
    pub async fn restated_days(
        &mut self,
        accounts: &[AccountId],
        window: Window,
        limit: i64,
    ) -> Result<Vec<RestatedDay>, Error> {
        let (from, to) = window.millis();
        let workspace = self.workspace();
        // An id begins with the 48 bits of its time; an event that was taken back has no row to ask.
        let rows = sqlx::query(
            "SELECT account_id, reason, count(*) AS change_count, min(millis) AS first, max(millis) AS last,
                    max(recorded_at) AS recorded_at
             FROM (
                SELECT b.account_id, r.reason, r.recorded_at,
                       ('x' || left(replace(r.event_id::text, '-', ''), 12))::bit(48)::bigint AS millis
                FROM restatements r JOIN batches b ON b.workspace_id = r.workspace_id AND b.batch_id = r.batch_id
                WHERE r.workspace_id = $1 AND r.event_id >= $2 AND r.event_id < $3 AND b.account_id = ANY ($4)
             ) r
             GROUP BY account_id, reason, millis / $5 ORDER BY first, account_id, reason LIMIT $6",
        )
        .bind(workspace)
        .bind(EventId::first_at(from).uuid())
        .bind(EventId::first_at(to).uuid())
        .bind(account_ids(Some(accounts)))
        .bind(DAY)
        .bind(limit)
        .fetch_all(self.connection())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(RestatedDay {
                    account: AccountId(row.col("account_id")?),
                    reason: row.col("reason")?,
                    change_count: row.col("change_count")?,
                    first: Timestamp::nearest(row.col("first")?),
                    last: Timestamp::nearest(row.col("last")?),
                    recorded_at: row.at("recorded_at")?,
                })
            })
            .collect()
    }
}
