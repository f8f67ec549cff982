//! Bitget errors into classes, by the table of the venue notes.

use codash_domain::text::clean;
use serde::Deserialize;

use crate::error::VenueError;
use crate::venues::fault::VenueFault;
use crate::venues::wire::{Text, filled};

/// An error that Bitget answered with.
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
    /// The venue's words for too many requests.
    TooMany {
        reason: String,
    },
    Error(VenueError),
}

#[derive(Deserialize)]
struct Body {
    code: Text,
    #[serde(default, deserialize_with = "filled")]
    msg: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    message: Option<String>,
}

/// The error in a reply's body; `None` when it is none.
pub fn of_body(body: &str) -> Option<Fault> {
    let Body { code, msg, message } = serde_json::from_str(body).ok()?;
    if code.0.bytes().all(|byte| byte == b'0') {
        return None;
    }
    let text = msg.or(message).unwrap_or_default();
    let reason = clean(format!("{code} {}", clean(&text, 200)).trim(), 220);
    Some(match code.0.as_str() {
        "40004" | "40005" | "40008" => Fault::Clock { reason },
        "40009" => Fault::Signature { reason },
        "40006" | "40010" | "40012" | "40018" | "40037" => Fault::Error(VenueError::KeyRefused { reason }),
        "40014" => Fault::Error(VenueError::PermissionMissing { reason }),
        "429" => Fault::TooMany { reason },
        // An account of the newer kind answers at other endpoints only.
        _ if text.to_ascii_lowercase().contains("unified") => Fault::Error(VenueError::PermissionMissing { reason }),
        _ => Fault::Error(VenueError::Retry { after: None, reason }),
    })
}

impl VenueFault for Fault {
    fn into_error(self) -> VenueError {
        match self {
            Self::Clock { reason } | Self::TooMany { reason } => VenueError::Retry { after: None, reason },
            Self::Signature { reason } => VenueError::KeyRefused { reason },
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
    fn each_code_has_its_class() {
        let class = |code: &str, msg: &str| {
            let fault = of_body(&format!(r#"{{"code":{code},"msg":"{msg}","data":null}}"#)).unwrap();
            (fault.class(), fault.is_retryable())
        };
        for code in [r#""40006""#, r#""40009""#, r#""40010""#, r#""40012""#, "40018", r#""40037""#] {
            assert_eq!(class(code, ""), ("key_refused", false), "{code}");
        }
        assert_eq!(class(r#""40014""#, ""), ("permission_missing", false));
        for code in [r#""40004""#, r#""40005""#, "40008"] {
            assert_eq!(class(code, ""), ("clock", true), "{code}");
        }
        assert_eq!(class(r#""429""#, "Too Many Requests"), ("retry", true));
        assert_eq!(class(r#""99999""#, "new"), ("retry", true));
        assert_eq!(class(r#""40085""#, "You are in Unified account mode"), ("permission_missing", false));
    }

    #[test]
    fn a_good_reply_is_no_error() {
        for body in [r#"{"code":"00000","data":[]}"#, r#"{"code":0}"#, "[]", "null", "<html>", r#"{"data":[]}"#] {
            assert_eq!(of_body(body), None, "{body}");
        }
    }
}
