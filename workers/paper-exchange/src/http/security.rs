//! Keys, signatures and timestamps, by Binance's rules.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::call::Call;
use super::clock::Clock;
use super::refused::Refused;
use crate::model::{AccountId, Millis, Rights};

/// What an endpoint asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Nothing.
    Public,
    /// A key and a signature.
    Read,
    /// A key that may trade.
    Trade,
}

/// A key that the exchange knows.
#[derive(Debug, Clone)]
pub struct Key {
    pub account: AccountId,
    pub account_name: String,
    pub rights: Rights,
    pub secret: String,
}

const LONGEST_WINDOW: Millis = 60_000;
const DEFAULT_WINDOW: Millis = 5000;
/// How far ahead of the server a stamp may be.
const AHEAD: Millis = 1000;

/// Whether a text could be a key at all.
pub fn is_key_shaped(key: &str) -> bool {
    key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Hex HMAC-SHA256 over query and body.
pub fn signature(secret: &str, payload: &[&str]) -> String {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    for part in payload {
        mac.update(part.as_bytes());
    }
    hex::encode(mac.finalize().into_bytes())
}

/// The text before a signature at its end, and the signature.
fn cut(text: &str) -> Option<(&str, &str)> {
    let (payload, last) = text.rsplit_once('&').unwrap_or(("", text));
    Some((payload, last.strip_prefix("signature=")?))
}

/// Refuses a request whose signature is not that of its query and body, exactly as sent.
pub fn check_signature(call: &Call, key: &Key) -> Result<(), Refused> {
    let wrong = || Refused::new(-1022, "Signature for this request is not valid.");
    if call.text("signature").is_none() {
        return Err(Refused::missing("signature"));
    }
    // Last in the body, or last in the query; anywhere else it is not found.
    let (query, body, sent) = match (cut(&call.body), cut(&call.query)) {
        (Some((body, sent)), _) => (call.query.as_str(), body, sent),
        (None, Some((query, sent))) => (query, call.body.as_str(), sent),
        (None, None) => return Err(wrong()),
    };
    if signature(&key.secret, &[query, body]).eq_ignore_ascii_case(sent) { Ok(()) } else { Err(wrong()) }
}

/// Refuses a request that is too old or from the future. `shown` is the time that the server shows.
pub fn check_timestamp(call: &Call, clock: &Clock, shown: Millis, real: Millis) -> Result<(), Refused> {
    let stamp = call.int("timestamp")?.ok_or_else(|| Refused::missing("timestamp"))?;
    let window = call.int("recvWindow")?.unwrap_or(DEFAULT_WINDOW);
    if !(0..=LONGEST_WINDOW).contains(&window) {
        return Err(Refused::new(-1131, "recvWindow must be less than 60000."));
    }
    if stamp >= shown.saturating_add(AHEAD).saturating_add(clock.slack(real)) {
        let message = "Timestamp for this request was 1000ms ahead of the server's time.";
        return Err(Refused::new(-1021, message));
    }
    if clock.real_lateness(stamp, shown) > window {
        return Err(Refused::new(-1021, "Timestamp for this request is outside of the recvWindow."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::settings::Speed;
    use super::*;

    const SECRET: &str = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j";
    const PAYLOAD: &str = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559";
    const PUBLISHED: &str = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71";

    fn key() -> Key {
        let account_name = "acct-01".to_owned();
        Key { account: AccountId(0), account_name, rights: Rights::Read, secret: SECRET.into() }
    }

    fn call(query: String, body: String) -> Call {
        Call::new("POST".into(), "/x".into(), query, body, None, IpAddr::from([127, 0, 0, 1]))
    }

    /// The example of Binance's own documentation.
    #[test]
    fn the_published_example_is_accepted_in_query_and_in_body() {
        let signed = format!("{PAYLOAD}&signature={PUBLISHED}");
        assert_eq!(check_signature(&call(signed.clone(), String::new()), &key()), Ok(()));
        assert_eq!(check_signature(&call(String::new(), signed), &key()), Ok(()));
        // The documentation's mixed example: query and body follow each other without a separator.
        let (query, body) = PAYLOAD.split_once("&quantity").unwrap();
        let mixed = signature(SECRET, &[query, &format!("quantity{body}")]);
        let split = call(query.into(), format!("quantity{body}&signature={mixed}"));
        assert_eq!(check_signature(&split, &key()), Ok(()));
    }

    #[test]
    fn a_signature_that_is_wrong_missing_or_not_last_is_refused() {
        let code = |query: String| check_signature(&call(query, String::new()), &key()).unwrap_err().code;
        assert_eq!(code(format!("{PAYLOAD}&signature=00")), -1022);
        assert_eq!(code(PAYLOAD.into()), -1102);
        assert_eq!(code(format!("signature={PUBLISHED}&{PAYLOAD}")), -1022);
    }

    #[test]
    fn a_stamp_is_accepted_up_to_a_second_ahead_and_a_window_late() {
        let clock = Clock::new(Speed::REAL, 100_000, 0);
        let code = |stamp: i64, more: &str| {
            let call = call(format!("timestamp={stamp}{more}"), String::new());
            check_timestamp(&call, &clock, 100_000, 0).err().map(|refused| refused.code)
        };
        assert_eq!(code(100_999, ""), None);
        assert_eq!(code(101_000, ""), Some(-1021));
        assert_eq!(code(95_000, ""), None);
        assert_eq!(code(94_999, ""), Some(-1021));
        assert_eq!(code(40_000, "&recvWindow=60000"), None);
        assert_eq!(code(40_000, "&recvWindow=60001"), Some(-1131));
    }
}
