//! Why the database gave no answer.

use std::error::Error as StdError;

use codash_domain::{AccountId, Unfit};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No free connection in time, or PostgreSQL ended the statement.
    #[error("the database did not answer in time")]
    Timeout,
    /// The connection broke, or PostgreSQL is stopping, starting or full. A change may have been made: what
    /// was lost can be the answer to its COMMIT.
    #[error("the connection to the database was lost")]
    Lost(#[source] Box<dyn StdError + Send + Sync>),
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
    /// Names the key alone: its bits are not here.
    #[error("the master key {id:?} is not among the configured ones, and a secret needs it")]
    UnknownMasterKey { id: String },
    #[error("the schema could not be brought up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the database failed")]
    Driver(#[source] Box<dyn StdError + Send + Sync>),
}

impl Error {
    /// The database gave no answer, whatever was asked: the same call may succeed soon.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Timeout | Self::Lost(_))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if is_lost(&error) {
            return Self::Lost(Box::new(error));
        }
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

/// The connection itself (class 08), or PostgreSQL stopping, crashed, starting, or out of connections. A
/// connection that ends while it is made is told as [`sqlx::Error::Protocol`].
fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(db) => db
            .code()
            .is_some_and(|code| code.starts_with("08") || ["57P01", "57P02", "57P03", "53300"].contains(&&*code)),
        _ => false,
    }
}
