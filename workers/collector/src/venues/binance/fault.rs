//! Binance errors into classes, by the table of the venue notes.

use codash_domain::text::clean;
use serde::Deserialize;

use crate::error::VenueError;
use crate::venues::fault::VenueFault;

/// An error that Binance answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// -1021: our clock is off. One look at the server's clock and one retry may heal it.
    Clock {
        reason: String,
    },
    /// -1022: the signature is wrong. Final, unless a look at the clock heals it.
    Signature {
        reason: String,
    },
    /// -1121, -1122 and -1100: no such market, now or ever. Final for it, no fault of the account.
    NoSuchMarket {
        reason: String,
    },
    Error(VenueError),
}

#[derive(Deserialize)]
struct Body {
    code: i64,
    #[serde(default)]
    msg: String,
}

/// The error in a reply's body; `None` when it is none. Some good replies say `"code": 200`.
pub fn of_body(body: &str) -> Option<Fault> {
    let Body { code, msg } = serde_json::from_str(body).ok()?;
    if code >= 0 {
        return None;
    }
    let reason = format!("{code} {}", clean(&msg, 200));
    Some(match code {
        -1021 => Fault::Clock { reason },
        -1022 => Fault::Signature { reason },
        -1121 | -1122 | -1100 => Fault::NoSuchMarket { reason },
        // "Search window is restricted to recent N days only."
        -4166 => Fault::Error(VenueError::Expired { reason: clean(&msg, 200) }),
        -2014 | -2015 | -1002 => Fault::Error(VenueError::KeyRefused { reason }),
        // -1000, -1001, -1003, -1006, -1007, -1008, -1015 pass by themselves; of the rest we cannot tell.
        _ => Fault::Error(VenueError::Retry { after: None, reason }),
    })
}

impl VenueFault for Fault {
    fn into_error(self) -> VenueError {
        match self {
            Self::Clock { reason } => VenueError::Retry { after: None, reason },
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
        let class = |code: i64| {
            let fault = of_body(&format!(r#"{{"code":{code},"msg":"x"}}"#)).unwrap();
            (fault.class(), fault.is_retryable())
        };
        for code in [-1000, -1001, -1003, -1006, -1007, -1008, -1015, -9999] {
            assert_eq!(class(code), ("retry", true), "{code}");
        }
        for code in [-2014, -2015, -1022, -1002] {
            assert_eq!(class(code), ("key_refused", false), "{code}");
        }
        assert_eq!(class(-1021), ("clock", true));
        for code in [-1100, -1121, -1122] {
            assert_eq!(class(code), ("no_such_market", false), "{code}");
        }
    }

    #[test]
    fn a_good_reply_is_no_error() {
        for body in ["[]", r#"{"code":200,"msg":"","snapshotVos":[]}"#, r#"{"balances":[]}"#, "null", "<html>"] {
            assert_eq!(of_body(body), None, "{body}");
        }
    }
}
