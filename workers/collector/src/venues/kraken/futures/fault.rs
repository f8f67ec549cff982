//! Errors of Kraken Futures into classes, by the table of the venue notes. Most come with HTTP 200.

use std::time::Duration;

use codash_domain::text::clean;
use serde::Deserialize;

use crate::error::VenueError;

/// The longer of the two budgets refills over ten minutes.
pub const LIMIT_PAUSE: Duration = Duration::from_secs(60);

/// An error that Kraken Futures answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Refused for its nonce. One retry may heal it.
    Nonce {
        reason: String,
    },
    /// The key asked too much.
    TooMany {
        reason: String,
    },
    /// The user never opened a futures account: there is nothing to read, and nothing wrong.
    Inactive {
        reason: String,
    },
    Error(VenueError),
}

/// The error in a reply's body; `None` when it is none.
pub fn of_body(body: &str) -> Option<Fault> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        result: Option<String>,
        #[serde(default)]
        error: Option<String>,
        #[serde(default)]
        errors: Option<Vec<Listed>>,
        #[serde(default)]
        message: Option<String>,
    }
    #[derive(Deserialize)]
    struct Listed {
        #[serde(default, alias = "msg")]
        message: Option<String>,
    }
    let body: Body = serde_json::from_str(body).ok()?;
    let listed = body.errors.into_iter().flatten().find_map(|error| error.message);
    let word = body.error.filter(|word| !word.is_empty()).or(listed);
    match (word, body.result.as_deref()) {
        (None, Some("error")) => Some(of_word("", &body.message.unwrap_or_default())),
        (None, _) => None,
        (Some(word), _) => Some(of_word(&word, &body.message.unwrap_or_default())),
    }
}

fn of_word(word: &str, message: &str) -> Fault {
    let reason = clean(&format!("{word} {message}"), 200);
    match word {
        "authenticationError" | "AUTHENTICATION_ERROR" | "UNAUTHORIZED" | "Unauthorized" => {
            Fault::Error(VenueError::KeyRefused { reason })
        }
        "permissionDenied" | "insufficientPermissions" | "Forbidden" => {
            Fault::Error(VenueError::PermissionMissing { reason })
        }
        "apiLimitExceeded" => Fault::TooMany { reason },
        "nonceBelowThreshold" | "nonceDuplicate" => Fault::Nonce { reason },
        "accountInactive" => Fault::Inactive { reason },
        // "Unavailable" and "Server Error" pass by themselves; of the rest we cannot tell.
        _ => Fault::Error(VenueError::Retry { after: None, reason }),
    }
}

impl Fault {
    /// The error once every remedy has been tried.
    pub fn into_error(self) -> VenueError {
        match self {
            Self::Nonce { reason } => VenueError::Retry { after: None, reason },
            Self::TooMany { reason } => VenueError::Retry { after: Some(LIMIT_PAUSE), reason },
            Self::Inactive { reason } => VenueError::PermissionMissing { reason },
            Self::Error(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_has_its_class() {
        let class = |word: &str| {
            let error = of_body(&format!(r#"{{"result":"error","error":"{word}"}}"#)).unwrap().into_error();
            (error.class(), error.is_retryable())
        };
        assert_eq!(class("authenticationError"), ("key_refused", false));
        assert_eq!(class("accountInactive"), ("permission_missing", false));
        for word in ["apiLimitExceeded", "nonceBelowThreshold", "nonceDuplicate", "Unavailable", "neverHeardOf"] {
            assert_eq!(class(word), ("retry", true), "{word}");
        }
        let listed = of_body(r#"{"result":"error","errors":[{"code":1,"message":"apiLimitExceeded"}]}"#);
        assert!(matches!(listed, Some(Fault::TooMany { .. })));
        assert!(of_body(r#"{"result":"error"}"#).unwrap().into_error().is_retryable());
    }

    #[test]
    fn a_good_reply_is_no_error() {
        for body in [r#"{"result":"success","fills":[]}"#, r#"{"accountUid":"x","logs":[]}"#, "[]", "<html>"] {
            assert_eq!(of_body(body), None, "{body}");
        }
    }
}
