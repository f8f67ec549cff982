//! Coinbase errors into classes, by the table of the venue notes.

use codash_domain::text::clean;
use serde::Deserialize;
use serde_json::Value;

use crate::error::VenueError;
use crate::venues::fault::VenueFault;

/// An error that Coinbase answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// 401: the token was not accepted. Final, unless a new one by the server's clock is.
    Token {
        reason: String,
    },
    /// 404: no such wallet, portfolio or market.
    Missing {
        reason: String,
    },
    Error(VenueError),
}

/// Both APIs' ways of saying what is wrong.
#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    message: Option<Value>,
    #[serde(default)]
    errors: Option<Vec<Value>>,
}

/// The word and the sentence in an error's body; `None` when it is none.
fn words(body: &str) -> Option<(String, String)> {
    // The text that comes with a 401, bare or as a recorded case holds it.
    if body.trim().trim_matches('"').eq_ignore_ascii_case("unauthorized") {
        return Some(("unauthorized".into(), String::new()));
    }
    let Body { error, message, errors } = serde_json::from_str(body).ok()?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    match (error, errors.as_deref()) {
        (Some(Value::String(word)), _) => Some((word, text(message.as_ref()))),
        (_, Some([first, ..])) => Some((text(first.get("id")), text(first.get("message")))),
        _ => None,
    }
}

/// The error in a reply's body; `None` when it is none.
pub fn of_body(body: &str) -> Option<Fault> {
    let (word, sentence) = words(body)?;
    let reason = clean(format!("{word} {sentence}").trim(), 200);
    Some(match word.to_ascii_lowercase().as_str() {
        "unauthorized"
        | "unauthenticated"
        | "authentication_error"
        | "invalid_token"
        | "expired_token"
        | "revoked_token" => Fault::Token { reason },
        "permission_denied" | "forbidden" | "invalid_scope" => Fault::Error(VenueError::PermissionMissing { reason }),
        "not_found" => Fault::Missing { reason },
        // Too many requests, a fault of theirs, or words that we do not know: time may heal them.
        _ => Fault::Error(VenueError::Retry { after: None, reason }),
    })
}

/// The error that a status alone means; `None` for a good one.
pub fn of_status(status: u16) -> Option<Fault> {
    let reason = format!("HTTP {status}");
    match status {
        200..=299 => None,
        401 => Some(Fault::Token { reason }),
        403 => Some(Fault::Error(VenueError::PermissionMissing { reason })),
        404 => Some(Fault::Missing { reason }),
        _ => Some(Fault::Error(VenueError::Retry { after: None, reason })),
    }
}

/// The error of a reply: by its status where that is plain, else in its own words.
pub fn of_reply(status: u16, body: &str) -> Option<Fault> {
    let by_status = of_status(status);
    match (&by_status, of_body(body)) {
        (None, None) => None,
        // An error that comes with a good status is one all the same.
        (None, Some(told)) => Some(told),
        (Some(Fault::Error(VenueError::Retry { .. })), Some(told)) => Some(told),
        (Some(Fault::Token { .. }), Some(told)) => Some(Fault::Token { reason: told.reason() }),
        (Some(Fault::Missing { .. }), Some(told)) => Some(Fault::Missing { reason: told.reason() }),
        (Some(_), Some(told)) => Some(Fault::Error(VenueError::PermissionMissing { reason: told.reason() })),
        (Some(_), None) => by_status,
    }
}

impl VenueFault for Fault {
    fn into_error(self) -> VenueError {
        match self {
            Self::Token { reason } => VenueError::KeyRefused { reason },
            Self::Missing { reason } => VenueError::unreadable("what was asked for", reason),
            Self::Error(error) => error,
        }
    }

    fn may_be_the_clock(&self) -> bool {
        matches!(self, Self::Token { .. })
    }

    fn class(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "not_found",
            other => other.clone().into_error().class(),
        }
    }

    fn reason(&self) -> String {
        match self {
            Self::Token { reason } | Self::Missing { reason } => reason.clone(),
            Self::Error(VenueError::PermissionMissing { reason } | VenueError::Retry { reason, .. }) => reason.clone(),
            Self::Error(error) => error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_has_its_class() {
        let class = |body: &str| of_body(body).map(|fault| (fault.class(), fault.is_retryable()));
        for body in [
            "Unauthorized",
            r#""Unauthorized""#,
            "Unauthorized\n",
            r#"{"error":"UNAUTHENTICATED","code":16,"message":"x"}"#,
            r#"{"errors":[{"id":"authentication_error","message":"invalid"}]}"#,
        ] {
            assert_eq!(class(body), Some(("key_refused", false)), "{body}");
        }
        assert_eq!(class(r#"{"error":"PERMISSION_DENIED","code":7}"#), Some(("permission_missing", false)));
        assert_eq!(class(r#"{"error":"NOT_FOUND","message":"portfolio"}"#), Some(("not_found", false)));
        for word in [r#"{"errors":[{"id":"rate_limit_exceeded"}]}"#, r#"{"error":"something new"}"#] {
            assert_eq!(class(word), Some(("retry", true)), "{word}");
        }
    }

    #[test]
    fn a_good_reply_is_no_error() {
        for body in ["[]", "null", r#"{"fills":[],"cursor":""}"#, r#"{"errors":[]}"#, r#"{"error":null}"#, "<html>"] {
            assert_eq!(of_body(body), None, "{body}");
            assert_eq!(of_reply(200, body), None, "{body}");
        }
        assert!(matches!(of_reply(401, "<html>"), Some(Fault::Token { .. })));
        assert!(matches!(of_reply(403, r#"{"error":"x"}"#), Some(Fault::Error(VenueError::PermissionMissing { .. }))));
        assert!(matches!(of_reply(400, "Unauthorized"), Some(Fault::Token { .. })));
        assert!(matches!(of_reply(400, ""), Some(Fault::Error(VenueError::Retry { .. }))));
    }
}
