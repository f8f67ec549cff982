//! OKX errors into classes, by the table of the venue notes.

use codash_domain::text::clean;
use serde::Deserialize;

use crate::error::VenueError;
use crate::venues::fault::VenueFault;
use crate::venues::wire::{Text, filled};

/// An error that OKX answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// 50102 and 50112: our clock is off. One look at the server's clock and one retry may heal it.
    Clock {
        reason: String,
    },
    /// 50113: the signature is wrong. Final, unless a look at the clock heals it.
    Signature {
        reason: String,
    },
    /// 50011 and 50061: more requests than the user or the address is granted.
    TooMany {
        reason: String,
    },
    /// 51001 and 51000: no such market, now or ever. Final for it, no fault of the account.
    NoSuchMarket {
        reason: String,
    },
    Error(VenueError),
}

/// The error in a reply's body; `None` when it is none. The code is a text, and `"0"` is good.
pub fn of_body(body: &str) -> Option<Fault> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default, deserialize_with = "filled")]
        code: Option<Text>,
        #[serde(default, deserialize_with = "filled")]
        msg: Option<Text>,
    }
    // A body that is no object of this kind is judged by whoever reads it.
    let Body { code, msg } = serde_json::from_str(body).ok()?;
    let code = code.filter(|code| code.0 != "0")?.0;
    let reason = format!("{} {}", clean(&code, 20), clean(&msg.unwrap_or_default().0, 200));
    Some(match code.as_str() {
        "50102" | "50112" => Fault::Clock { reason },
        "50113" => Fault::Signature { reason },
        "50011" | "50061" => Fault::TooMany { reason },
        "51000" | "51001" => Fault::NoSuchMarket { reason },
        // The key, its passphrase, its address list or its user; 50101 and 50119 also for a key of
        // another environment, such as demo trading or a regional host.
        "50100" | "50101" | "50103" | "50104" | "50105" | "50106" | "50107" | "50110" | "50111" | "50114" | "50119"
        | "50007" | "50008" => Fault::Error(VenueError::KeyRefused { reason }),
        "50030" | "50120" => Fault::Error(VenueError::PermissionMissing { reason }),
        // 50001, 50004, 50005, 50013 and 50026 pass by themselves; of the rest we cannot tell.
        _ => Fault::Error(VenueError::Retry { after: None, reason }),
    })
}

impl VenueFault for Fault {
    fn into_error(self) -> VenueError {
        match self {
            Self::Clock { reason } | Self::TooMany { reason } => VenueError::Retry { after: None, reason },
            Self::Signature { reason } => VenueError::KeyRefused { reason },
            Self::NoSuchMarket { reason } => VenueError::unreadable("the market", reason),
            Self::Error(error) => error,
        }
    }

    fn may_be_the_clock(&self) -> bool {
        matches!(self, Self::Clock { .. } | Self::Signature { .. })
    }

    fn class(&self) -> &'static str {
        match self {
            Self::Clock { .. } => "clock",
            Self::NoSuchMarket { .. } => "no_such_market",
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
            let fault = of_body(&format!(r#"{{"code":{code},"msg":"x","data":[]}}"#)).unwrap();
            (fault.class(), fault.is_retryable())
        };
        for code in ["50001", "50004", "50005", "50011", "50013", "50026", "50061", "1", "99999"] {
            assert_eq!(class(&format!("\"{code}\"")), ("retry", true), "{code}");
        }
        let refused =
            [50100, 50101, 50103, 50104, 50105, 50106, 50107, 50111, 50113, 50114, 50119, 50110, 50007, 50008];
        for code in refused {
            assert_eq!(class(&code.to_string()), ("key_refused", false), "{code}");
        }
        assert_eq!([class("50102"), class("50112")], [("clock", true); 2]);
        assert_eq!(class("50120"), ("permission_missing", false));
        assert_eq!(class("51001"), ("no_such_market", false));
    }

    #[test]
    fn a_good_reply_is_no_error() {
        for body in [r#"{"code":"0","msg":"","data":[]}"#, r#"{"code":0}"#, r#"{"data":[]}"#, "[]", "null", "<html>"] {
            assert_eq!(of_body(body), None, "{body}");
        }
    }
}
