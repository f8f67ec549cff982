//! What can go wrong with a venue, in the classes that decide what happens next.
//!
//! A reason is for an operator to read: it never holds a key, a signature, an address or a URL.

use std::time::Duration;

use codash_domain::text::clean;

/// How a venue, or the way to it, failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VenueError {
    /// Nothing is wrong with the account: ask again, not before `after` when the venue said so.
    #[error("try again later: {reason}")]
    Retry { after: Option<Duration>, reason: String },
    /// The venue refuses this machine. Every account on that host pauses.
    #[error("the venue refuses this machine for {} s: {reason}", after.as_secs())]
    Banned { after: Duration, reason: String },
    /// The credentials are not accepted and will not be.
    #[error("the venue refuses the key: {reason}")]
    KeyRefused { reason: String },
    /// The credentials are good, but not for this feature.
    #[error("the key lacks a permission: {reason}")]
    PermissionMissing { reason: String },
    /// The envelope of a reply is not the one we know. Single bad records are not this.
    #[error("the reply of {endpoint} cannot be read: {reason}")]
    Unreadable { endpoint: String, reason: String },
    /// The venue does not go back so far any more.
    #[error("the venue no longer tells of that time: {reason}")]
    Expired { reason: String },
    /// Our own signer refused: the endpoint is not on the list of reads.
    #[error("{endpoint} is not on the list of read endpoints")]
    NotListed { endpoint: String },
}

impl VenueError {
    /// A failure that time may heal.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { after: None, reason: reason.into() }
    }

    /// A reply that is not what the documents describe.
    pub fn unreadable(endpoint: &str, reason: impl AsRef<str>) -> Self {
        Self::Unreadable { endpoint: endpoint.into(), reason: clean(reason.as_ref(), 300) }
    }

    /// True when the same request may succeed later without anyone's doing.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Retry { .. } | Self::Banned { .. })
    }

    /// The class in one word, for logs and tools.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Retry { .. } => "retry",
            Self::Banned { .. } => "banned",
            Self::KeyRefused { .. } => "key_refused",
            Self::PermissionMissing { .. } => "permission_missing",
            Self::Unreadable { .. } => "unreadable",
            Self::Expired { .. } => "expired",
            Self::NotListed { .. } => "not_listed",
        }
    }
}
