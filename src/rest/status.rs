//! `GET /api/status`: how the connection to each venue stands. The payload is at the top level.

use axum::Json;
use axum::extract::State;
use codash_domain::{AccountId, AccountStatus, Assurance, Scope, Timestamp, Venue};
use codash_store::accounts::{Connectivity, StreamState};
use schemars::JsonSchema;
use serde::Serialize;

use super::error::ApiError;
use crate::app::App;
use crate::auth::Caller;

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The worst of the accounts: connected, pending, degraded or error. Connected when there are none.
    pub status: AccountStatus,
    pub as_of: Timestamp,
    pub accounts: Vec<AccountState>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountState {
    pub account_id: AccountId,
    pub name: String,
    pub venue: Venue,
    pub is_active: bool,
    pub status: AccountStatus,
    /// What is wrong, when something is.
    pub detail: Option<String>,
    pub last_checked_at: Option<Timestamp>,
    /// What kind of account the venue says it is, such as wallet, vault, sub_account, unified.
    pub kind: Option<String>,
    /// How sure it is that the credentials can only read; the venue is asked again every 24 hours.
    pub assurance: Option<Assurance>,
    /// When the key ends at the venue, where the venue says so.
    pub key_expires_at: Option<Timestamp>,
    /// What of the account is not read at all.
    pub not_covered: Vec<String>,
    pub streams: Vec<Stream>,
}

/// One kind of record that is collected, and how far it has been read.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stream {
    pub stream: String,
    /// ok, behind (history is on its way), degraded (unreadable records) or error.
    pub status: String,
    pub covered_from: Option<Timestamp>,
    pub covered_to: Option<Timestamp>,
    pub last_read_at: Option<Timestamp>,
    /// Records that could not be read and are kept aside.
    pub quarantined: i64,
    pub detail: Option<String>,
}

pub async fn status(State(app): State<App>, caller: Caller) -> Result<Json<Status>, ApiError> {
    caller.require(Scope::ReadLive)?;
    let as_of = app.clock.now();
    let accounts = app.store.read(&caller.grant).connectivity().await?;
    Ok(Json(Status {
        status: worst(accounts.iter().map(|c| c.account.status)),
        as_of,
        accounts: accounts.into_iter().map(AccountState::from).collect(),
    }))
}

fn worst(all: impl Iterator<Item = AccountStatus>) -> AccountStatus {
    let badness = |status: &AccountStatus| match status {
        AccountStatus::Connected => 0,
        AccountStatus::Pending => 1,
        AccountStatus::Degraded => 2,
        AccountStatus::Error => 3,
    };
    all.max_by_key(badness).unwrap_or(AccountStatus::Connected)
}

impl From<Connectivity> for AccountState {
    fn from(row: Connectivity) -> Self {
        Self {
            account_id: row.account.id,
            name: row.account.name,
            venue: row.account.venue,
            is_active: row.account.is_active,
            not_covered: row.account.not_covered,
            kind: row.account.kind,
            assurance: row.account.assurance,
            key_expires_at: row.account.key_expires_at,
            status: row.account.status,
            detail: row.account.status_detail,
            last_checked_at: row.account.last_checked_at,
            streams: row.streams.into_iter().map(Stream::from).collect(),
        }
    }
}

impl From<StreamState> for Stream {
    fn from(row: StreamState) -> Self {
        Self {
            stream: row.stream,
            status: row.status,
            covered_from: row.covered_from,
            covered_to: row.covered_to,
            last_read_at: row.last_read_at,
            quarantined: row.quarantined,
            detail: row.detail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_is_as_bad_as_its_worst_part() {
        use AccountStatus::{Connected, Degraded, Error, Pending};
        assert_eq!(worst([Connected, Error, Pending].into_iter()), Error);
        assert_eq!(worst([Connected, Degraded, Pending].into_iter()), Degraded);
        assert_eq!(worst([Pending, Connected].into_iter()), Pending);
        assert_eq!(worst(std::iter::empty()), Connected);
    }
}
