//! Gate's labelled errors into classes.

use std::time::Duration;

use codash_domain::text::clean;
use serde::Deserialize;

use crate::error::VenueError;
use crate::venues::fault::VenueFault;

/// The window of Gate's limits.
pub const WINDOW: Duration = Duration::from_secs(10);

/// An error that Gate answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Our clock is off. One look at the server's clock and one retry may heal it.
    Clock {
        reason: String,
    },
    /// The signature is wrong. Final, unless a look at the clock heals it.
    Signature {
        reason: String,
    },
    TooMany {
        reason: String,
    },
    /// The question makes no sense, such as a market that there is not or a minute too long ago.
    BadQuestion {
        reason: String,
    },
    /// The account never had futures: there is nothing of it.
    NoFutures {
        reason: String,
    },
    Error(VenueError),
}

#[derive(Deserialize)]
struct Labelled {
    label: String,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    detail: Option<String>,
}

/// The error in a reply's body; `None` when it is none.
pub fn of_body(body: &str) -> Option<Fault> {
    let Labelled { label, message, detail } = serde_json::from_str(body).ok()?;
    let words = message.or(detail).unwrap_or_default();
    let reason = format!("{} {}", clean(&label, 60), clean(&words, 200));
    Some(match label.as_str() {
        "REQUEST_EXPIRED" => Fault::Clock { reason },
        "INVALID_SIGNATURE" => Fault::Signature { reason },
        "TOO_MANY_REQUESTS" | "TOO_FAST" => Fault::TooMany { reason },
        "USER_NOT_FOUND" => Fault::NoFutures { reason },
        "INVALID_PARAM_VALUE" | "INVALID_CURRENCY_PAIR" | "INVALID_CURRENCY" | "CONTRACT_NOT_FOUND" | "NOT_FOUND" => {
            Fault::BadQuestion { reason }
        }
        "INVALID_KEY" | "INVALID_CREDENTIALS" | "MISSING_REQUIRED_HEADER" | "IP_FORBIDDEN" | "ACCOUNT_LOCKED" => {
            Fault::Error(VenueError::KeyRefused { reason })
        }
        "FORBIDDEN" | "READ_ONLY" => Fault::Error(VenueError::PermissionMissing { reason }),
        // SERVER_ERROR, INTERNAL and TOO_BUSY pass by themselves; of the rest we cannot tell.
        _ => Fault::Error(VenueError::Retry { after: None, reason }),
    })
}

impl VenueFault for Fault {
    fn into_error(self) -> VenueError {
        match self {
            Self::Clock { reason } | Self::BadQuestion { reason } => VenueError::Retry { after: None, reason },
            Self::Signature { reason } => VenueError::KeyRefused { reason },
            Self::TooMany { reason } => VenueError::Retry { after: Some(WINDOW), reason },
            Self::NoFutures { reason } => VenueError::PermissionMissing { reason },
            Self::Error(error) => error,
        }
    }

    fn may_be_the_clock(&self) -> bool {
        matches!(self, Self::Clock { .. } | Self::Signature { .. })
    }

    fn class(&self) -> &'static str {
        match self {
            Self::Clock { .. } => "clock",
            other => other.clone().into_error().class(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_label_has_its_class() {
        let class = |label: &str| {
            let fault = of_body(&format!(r#"{{"label":"{label}","message":"x"}}"#)).unwrap();
            (fault.class(), fault.is_retryable())
        };
        for label in ["TOO_MANY_REQUESTS", "SERVER_ERROR", "INTERNAL", "INVALID_PARAM_VALUE", "NEW_LABEL"] {
            assert_eq!(class(label), ("retry", true), "{label}");
        }
        for label in ["INVALID_KEY", "INVALID_SIGNATURE", "IP_FORBIDDEN", "ACCOUNT_LOCKED"] {
            assert_eq!(class(label), ("key_refused", false), "{label}");
        }
        assert_eq!(class("REQUEST_EXPIRED"), ("clock", true));
        assert_eq!(class("FORBIDDEN"), ("permission_missing", false));
        for body in ["[]", "{}", r#"{"total":"1"}"#, "null", "<html>"] {
            assert_eq!(of_body(body), None, "{body}");
        }
    }
}
