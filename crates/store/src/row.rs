//! Rows to values: a bad one names its column.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use codash_domain::{Timestamp, Usd};
use rust_decimal::Decimal;
use sqlx::postgres::{PgRow, Postgres};
use sqlx::{Decode, Row, Type};

use crate::Error;

pub(crate) trait Columns {
    fn col<'r, T: Decode<'r, Postgres> + Type<Postgres>>(&'r self, column: &'static str) -> Result<T, Error>;

    fn parsed<T: FromStr>(&self, column: &'static str) -> Result<T, Error>
    where
        T::Err: std::fmt::Display,
    {
        let text: String = self.col(column)?;
        text.parse().map_err(|e: T::Err| Error::Corrupt { column, detail: e.to_string() })
    }

    fn maybe_parsed<T: FromStr>(&self, column: &'static str) -> Result<Option<T>, Error>
    where
        T::Err: std::fmt::Display,
    {
        let text: Option<String> = self.col(column)?;
        text.map(|text| text.parse().map_err(|e: T::Err| Error::Corrupt { column, detail: e.to_string() })).transpose()
    }

    fn at(&self, column: &'static str) -> Result<Timestamp, Error> {
        Ok(Timestamp::from_utc(self.col::<DateTime<Utc>>(column)?))
    }

    fn maybe_at(&self, column: &'static str) -> Result<Option<Timestamp>, Error> {
        Ok(self.col::<Option<DateTime<Utc>>>(column)?.map(Timestamp::from_utc))
    }

    fn usd(&self, column: &'static str) -> Result<Usd, Error> {
        Ok(Usd(self.col::<Decimal>(column)?))
    }

    fn maybe_usd(&self, column: &'static str) -> Result<Option<Usd>, Error> {
        Ok(self.col::<Option<Decimal>>(column)?.map(Usd))
    }
}

impl Columns for PgRow {
    fn col<'r, T: Decode<'r, Postgres> + Type<Postgres>>(&'r self, column: &'static str) -> Result<T, Error> {
        self.try_get(column).map_err(|e| Error::Corrupt { column, detail: e.to_string() })
    }
}
