//! Bybit errors into classes, by the table of the venue notes.

use codash_domain::text::clean;
use serde::Deserialize;

use crate::error::VenueError;
use crate::venues::fault::VenueFault;
use crate::venues::wire::Text;

/// An error that Bybit answered with, mostly under HTTP 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// 10002: our clock is off. One look at the server's clock and one retry may heal it.
    Clock {
        reason: String,
    },
    /// 10004: the signature is wrong. Final, unless a look at the clock heals it.
    Signature {
        reason: String,
    },
    /// 10001: what we asked makes no sense to the venue, such as a market that it does not have.
    Parameter {
        reason: String,
    },
    /// 10006: this user asked too often at this endpoint.
    TooMany {
        reason: String,
    },
    /// 10009 and 10018: this address is refused for a while.
    Address {
        reason: String,
    },
    Error(VenueError),
}

/// The error in a reply's body; `None` when it is none, or no reply of Bybit's.
pub fn of_body(body: &str) -> Option<Fault> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        ret_code: Text,
        #[serde(default)]
        ret_msg: Option<String>,
    }
    let Body { ret_code, ret_msg } = serde_json::from_str(body).ok()?;
    let code: i64 = ret_code.0.parse().ok()?;
    if code == 0 {
        return None;
    }
    // A refused signature is told with the text that was signed, key included: in brackets, cut off here.
    let said = ret_msg.unwrap_or_default();
    let said = said.split('[').next().unwrap_or_default();
    let reason = format!("{code} {}", clean(said, 200));
    Some(match code {
        10001 => Fault::Parameter { reason },
        10002 => Fault::Clock { reason },
        10004 => Fault::Signature { reason },
        10006 => Fault::TooMany { reason },
        10009 | 10018 => Fault::Address { reason },
        // Invalid, not logged in, banned, bound to other addresses, expired.
        10003 | 10007 | 10008 | 10010 | 33004 => Fault::Error(VenueError::KeyRefused { reason }),
        // No permission, closed to the user's region, not a unified account.
        10005 | 10024 | 10028 => Fault::Error(VenueError::PermissionMissing { reason }),
        // 10000, 10016 and 10429 pass by themselves; of the rest we cannot tell.
        _ => Fault::Error(VenueError::Retry { after: None, reason }),
    })
}

impl VenueFault for Fault {
    fn into_error(self) -> VenueError {
        match self {
            Self::Clock { reason } | Self::Parameter { reason } | Self::TooMany { reason } => VenueError::retry(reason),
            Self::Signature { reason } => VenueError::KeyRefused { reason },
            Self::Address { reason } => VenueError::Banned { after: super::BAN, reason },
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
        let class = |code: i64| {
            let fault = of_body(&format!(r#"{{"retCode":{code},"retMsg":"x","result":{{}}}}"#)).unwrap();
            (fault.class(), fault.is_retryable())
        };
        for code in [10000, 10001, 10006, 10016, 10429, 777_777] {
            assert_eq!(class(code), ("retry", true), "{code}");
        }
        for code in [10003, 10004, 10007, 10010, 33004] {
            assert_eq!(class(code), ("key_refused", false), "{code}");
        }
        for code in [10005, 10024, 10028] {
            assert_eq!(class(code), ("permission_missing", false), "{code}");
        }
        assert_eq!((class(10002), class(10018)), (("clock", true), ("banned", true)));
    }

    #[test]
    fn a_refused_signature_does_not_repeat_what_was_signed() {
        let body = r#"{"retCode":10004,"retMsg":"error sign! origin_string[1767225600000the-key5000a=b]"}"#;
        assert!(!of_body(body).unwrap().reason().contains("the-key"));
    }

    #[test]
    fn a_good_reply_is_no_error() {
        for body in [r#"{"retCode":0}"#, r#"{"retCode":"0","retMsg":"OK"}"#, "[]", "null", "<html>", "{}"] {
            assert_eq!(of_body(body), None, "{body}");
        }
    }
}
