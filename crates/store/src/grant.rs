//! What an API key, or a person who logged in, opens.

use codash_domain::{AccountId, KeyId, Scopes, Timestamp, WorkspaceId};
use ipnet::IpNet;

/// A key's rights, as read from the database for one request. Holding one is being authenticated.
#[derive(Debug, Clone)]
pub struct Grant {
    pub workspace: WorkspaceId,
    /// The key's id; a person's id for a person.
    pub key: KeyId,
    pub scopes: Scopes,
    /// `None`: every account of the workspace, also those attached later.
    pub accounts: Option<Vec<AccountId>>,
    /// Empty: from anywhere.
    pub addresses: Vec<IpNet>,
    pub expires_at: Option<Timestamp>,
}

/// A key that was proven: its rights, and how it stands among the others.
#[derive(Debug, Clone)]
pub struct FoundKey {
    pub grant: Grant,
    /// SHA-256 of the current secret, also when an older one was presented.
    pub hash: [u8; 32],
    pub parent: Option<KeyId>,
    pub depth: u8,
    /// The key's own limit.
    pub reads_per_minute: Option<u32>,
}
