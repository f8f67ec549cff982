//! Why the database gave no answer.

use std::error::Error as StdError;

use codash_domain::{AccountId, Unfit};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No free connection in time, or PostgreSQL ended the statement.
    #[error("the database did not answer in time")]
    Timeout,
    /// A rule of the schema was broken: the constraint says which.
    #[error("the database refused a duplicate ({constraint})")]
    Conflict { constraint: String },
    #[error("no such row")]
    NotFound,
    /// Another transaction was faster; the same call may succeed now.
    #[error("a concurrent transaction was faster")]
    Serialization,
    /// Another write came between: it has this version now.
    #[error("it was changed meanwhile and is at version {version}")]
    Stale { version: i64 },
    /// Groups that the tree of groups cannot hold so.
    #[error("the groups cannot be arranged so")]
    Unfit(#[source] Unfit),
    /// A key with an account allowlist would change what it does not wholly see.
    #[error("the key does not see everything that would change")]
    NotWholly,
    /// The account was removed, and what was asked needs one that is there.
    #[error("the account was removed")]
    Removed { account: AccountId },
    #[error("the account is paused")]
    Paused,
    /// The credential opens another account than the one that it is for.
    #[error("the credential is of another account")]
    AnotherAccount,
    /// The lease was taken over: whatever the caller read is stale.
    #[error("the lease on the account is lost")]
    Fenced,
    /// A stored value that the domain cannot hold.
    #[error("column {column} holds what the domain cannot: {detail}")]
    Corrupt { column: &'static str, detail: String },
    /// A secret that does not open, or no key for it.
    #[error("a sealed secret cannot be opened: {0}")]
    Sealed(&'static str),
    #[error("the schema could not be brought up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the database failed")]
    Driver(#[source] Box<dyn StdError + Send + Sync>),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolTimedOut => return Self::Timeout,
            sqlx::Error::Database(db) => match db.code().as_deref() {
                Some("57014" | "55P03" | "25P03") => return Self::Timeout,
                Some("40001" | "40P01") => return Self::Serialization,
                Some("23503") => return Self::NotFound,
                Some("23505") => {
                    return Self::Conflict { constraint: db.constraint().unwrap_or_default().to_owned() };
                }
                _ => {}
            },
            _ => {}
        }
        Self::Driver(Box::new(error))
    }
}
