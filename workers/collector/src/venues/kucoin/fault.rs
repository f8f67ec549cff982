//! KuCoin's envelope and its errors into classes, by the table of the venue notes.

use std::time::Duration;

use codash_domain::text::clean;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::VenueError;
use crate::venues::fault::VenueFault;
use crate::venues::wire::maybe_text;

/// How long a used-up pool takes to be full again, when KuCoin does not say.
pub const POOL_RESET: Duration = Duration::from_secs(30);

/// An error that KuCoin answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// 400002: our clock is off. One look at the server's clock and one retry may heal it.
    Clock {
        reason: String,
    },
    /// 400005: the signature is wrong. Final, unless a look at the clock heals it.
    Signature {
        reason: String,
    },
    /// 429000: a pool is used up.
    TooMany {
        reason: String,
    },
    /// 400100 and 900001: the question makes no sense, such as a market that there is not.
    BadQuestion {
        reason: String,
    },
    Error(VenueError),
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default, deserialize_with = "maybe_text")]
    code: Option<String>,
    #[serde(default, deserialize_with = "maybe_text")]
    msg: Option<String>,
    #[serde(default)]
    data: Option<Box<RawValue>>,
}

/// What is in the envelope; `None` when the reply is none of KuCoin's.
pub fn open(body: &str) -> Option<Result<Box<RawValue>, Fault>> {
    let Envelope { code: Some(code), msg, data } = serde_json::from_str(body).ok()? else { return None };
    // One sample of the documents says 200.
    if matches!(code.as_str(), "200000" | "200") {
        return data.map(Ok);
    }
    let reason = format!("{} {}", clean(&code, 20), clean(&msg.unwrap_or_default(), 200));
    Some(Err(match code.as_str() {
        "400002" => Fault::Clock { reason },
        "400005" => Fault::Signature { reason },
        "429000" => Fault::TooMany { reason },
        "400100" | "900001" => Fault::BadQuestion { reason },
        "400001" | "400003" | "400004" | "400006" | "411100" => Fault::Error(VenueError::KeyRefused { reason }),
        "400007" => Fault::Error(VenueError::PermissionMissing { reason }),
        // 500000 passes by itself; of the rest we cannot tell.
        _ => Fault::Error(VenueError::Retry { after: None, reason }),
    }))
}

impl VenueFault for Fault {
    fn into_error(self) -> VenueError {
        match self {
            Self::Clock { reason } | Self::BadQuestion { reason } => VenueError::Retry { after: None, reason },
            Self::Signature { reason } => VenueError::KeyRefused { reason },
            Self::TooMany { reason } => VenueError::Retry { after: Some(POOL_RESET), reason },
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
        let class = |code: &str| {
            let fault = open(&format!(r#"{{"code":"{code}","msg":"x"}}"#)).unwrap().unwrap_err();
            (fault.class(), fault.is_retryable())
        };
        for code in ["429000", "500000", "400100", "999999"] {
            assert_eq!(class(code), ("retry", true), "{code}");
        }
        for code in ["400001", "400003", "400004", "400005", "400006", "411100"] {
            assert_eq!(class(code), ("key_refused", false), "{code}");
        }
        assert_eq!(class("400002"), ("clock", true));
        assert_eq!(class("400007"), ("permission_missing", false));
    }

    #[test]
    fn a_good_reply_is_opened_and_a_strange_one_is_none() {
        assert_eq!(open(r#"{"code":"200000","data":[1]}"#).unwrap().unwrap().get(), "[1]");
        assert_eq!(open(r#"{"code":"200","success":true,"data":{}}"#).unwrap().unwrap().get(), "{}");
        for body in ["[]", "{}", "null", "<html>", r#"{"code":"200000"}"#] {
            assert!(open(body).is_none(), "{body}");
        }
    }
}
