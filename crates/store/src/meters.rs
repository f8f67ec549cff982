//! What all processes behind one egress address spend of the venues' budgets.

use std::time::Duration;

use sqlx::postgres::types::PgInterval;

use crate::row::Columns;
use crate::{Error, Store};

/// What became of a wish to spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spend {
    /// Taken: send now.
    Taken,
    /// Not taken: there will be room after this.
    Wait(Duration),
    /// Not taken: the venue asked for silence, and refuses this address when `banned`.
    Silent { after: Duration, banned: bool },
}

impl Store {
    /// Takes weight of a meter, if no more than `allowance` was taken in any `per` by anyone.
    pub async fn take_weight(&self, meter: &str, weight: u32, allowance: u32, per: Duration) -> Result<Spend, Error> {
        let row = sqlx::query("SELECT * FROM take_weight($1, $2, $3, $4)")
            .bind(meter)
            .bind(i64::from(weight))
            .bind(i64::from(allowance))
            .bind(interval(per))
            .fetch_one(&self.writes)
            .await?;
        let after = Duration::from_millis(row.col::<i64>("wait_ms")?.max(0).unsigned_abs());
        Ok(match row.col("silent")? {
            true => Spend::Silent { after, banned: row.col("banned")? },
            false if after.is_zero() => Spend::Taken,
            false => Spend::Wait(after),
        })
    }

    /// Notes what the venue itself counts, if it is more.
    pub async fn learn_weight(&self, meter: &str, used: u32, per: Duration) -> Result<(), Error> {
        sqlx::query("SELECT learn_weight($1, $2, $3)")
            .bind(meter)
            .bind(i64::from(used))
            .bind(interval(per))
            .execute(&self.writes)
            .await?;
        Ok(())
    }

    /// Nobody sends anything there for `after`. A longer silence is never made shorter.
    pub async fn silence(&self, meter: &str, after: Duration, banned: bool) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO venue_silences AS s (meter, until, banned) VALUES ($1, clock_timestamp() + $2, $3)
             ON CONFLICT (meter) DO UPDATE SET until = excluded.until, banned = excluded.banned
             WHERE excluded.until > s.until",
        )
        .bind(meter)
        .bind(interval(after))
        .bind(banned)
        .execute(&self.writes)
        .await?;
        Ok(())
    }
}

fn interval(of: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(of.as_micros()).unwrap_or(i64::MAX) }
}
