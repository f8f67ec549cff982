//! What an API key opens.

use codash_domain::{AccountId, KeyId, Scopes, Timestamp, WorkspaceId};
use ipnet::IpNet;

/// A key's rights, as read from the database for one request. Holding one is being authenticated.
#[derive(Debug, Clone)]
pub struct Grant {
    pub workspace: WorkspaceId,
    pub key: KeyId,
    pub scopes: Scopes,
    /// `None`: every account of the workspace, also those attached later.
    pub accounts: Option<Vec<AccountId>>,
    /// Empty: from anywhere.
    pub addresses: Vec<IpNet>,
    pub expires_at: Option<Timestamp>,
}
