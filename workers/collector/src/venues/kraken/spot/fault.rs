//! Errors of Kraken spot into classes, by the table of the venue notes. They come with HTTP 200.

use std::time::Duration;

use codash_domain::text::clean;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::VenueError;

/// A lockout for too many wrong requests lasts a quarter of an hour.
pub const LOCKOUT: Duration = Duration::from_secs(15 * 60);
/// At the lowest tier the counter falls by ten in this time.
pub const COUNTER_PAUSE: Duration = Duration::from_secs(30);

/// An error that Kraken answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A nonce not above the last one. One retry with a larger one may heal it.
    Nonce {
        reason: String,
    },
    /// The key, or the address, asked too much.
    TooMany {
        reason: String,
        pause: Duration,
    },
    /// No such market. Final for it, no fault of the account.
    NoSuchMarket {
        reason: String,
    },
    Error(VenueError),
}

/// The error in a reply's body; `None` when it is none. Warnings (`W…`) are none.
pub fn of_body(body: &str) -> Option<Fault> {
    #[derive(Deserialize)]
    struct Body {
        error: Vec<String>,
    }
    let Body { error } = serde_json::from_str(body).ok()?;
    error.iter().find(|word| !word.starts_with('W')).map(|word| of_word(word))
}

fn of_word(word: &str) -> Fault {
    let reason = clean(word, 200);
    let begins = |names: &[&str]| names.iter().any(|name| word.starts_with(name));
    if begins(&["EAPI:Invalid key", "EAPI:Invalid signature", "EAuth:Account"]) {
        return Fault::Error(VenueError::KeyRefused { reason });
    }
    if begins(&["EGeneral:Permission denied"]) {
        return Fault::Error(VenueError::PermissionMissing { reason });
    }
    if begins(&["EAPI:Invalid nonce"]) {
        return Fault::Nonce { reason };
    }
    if begins(&["EGeneral:Temporary lockout"]) {
        return Fault::TooMany { reason, pause: LOCKOUT };
    }
    if begins(&["EAPI:Rate limit", "EGeneral:Too many", "EService:Throttled", "EAuth:Rate limit", "EAuth:Too many"]) {
        return Fault::TooMany { reason, pause: COUNTER_PAUSE };
    }
    if begins(&["EQuery:Unknown asset"]) {
        return Fault::NoSuchMarket { reason };
    }
    // EService and EGeneral:Internal error pass by themselves; of the rest we cannot tell.
    Fault::Error(VenueError::Retry { after: None, reason })
}

impl Fault {
    /// The error once every remedy has been tried.
    pub fn into_error(self) -> VenueError {
        match self {
            Self::Nonce { reason } => VenueError::Retry { after: None, reason },
            Self::TooMany { reason, pause } => VenueError::Retry { after: Some(pause), reason },
            Self::NoSuchMarket { reason } => VenueError::unreadable("the market", reason),
            Self::Error(error) => error,
        }
    }
}

/// What a good reply holds.
pub fn result<'a>(endpoint: &str, body: &'a str) -> Result<&'a RawValue, VenueError> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        result: &'a RawValue,
    }
    crate::venues::wire::read::<Body<'a>>(endpoint, body).map(|body| body.result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_has_its_class() {
        let class = |word: &str| {
            let error = of_body(&format!(r#"{{"error":["{word}"]}}"#)).unwrap().into_error();
            (error.class(), error.is_retryable())
        };
        for word in ["EAPI:Invalid key", "EAPI:Invalid signature", "EAuth:Account temporary disabled"] {
            assert_eq!(class(word), ("key_refused", false), "{word}");
        }
        assert_eq!(class("EGeneral:Permission denied"), ("permission_missing", false));
        for word in [
            "EAPI:Invalid nonce",
            "EAPI:Rate limit exceeded",
            "EService:Unavailable",
            "EService:Busy",
            "EGeneral:Internal error",
            "EGeneral:Temporary lockout",
            "EWhat:Never heard of",
        ] {
            assert_eq!(class(word), ("retry", true), "{word}");
        }
    }

    #[test]
    fn a_warning_and_a_good_reply_are_no_errors() {
        for body in [r#"{"error":[],"result":{}}"#, r#"{"error":["WGeneral:Old"],"result":{}}"#, "[]", "<html>"] {
            assert_eq!(of_body(body), None, "{body}");
        }
        assert!(result("x", r#"{"error":[]}"#).is_err());
    }
}
