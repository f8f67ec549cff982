//! Which Bitget endpoints may be asked, and how a request is signed.

use codash_domain::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use crate::error::VenueError;
use crate::venues::hmac;
use crate::venues::reads::{Listed, Read};
use crate::venues::wire::query;

/// Everything that is ever sent to Bitget: reads, all of them. The signer refuses the rest.
pub const READS: &[Read] = &[
    Read::get("/api/v2/public/time", "the server's clock"),
    Read::get("/api/v2/spot/account/info", "what the key may do"),
    Read::get("/api/v2/spot/account/assets", "spot balances"),
    Read::get("/api/v2/spot/account/bills", "deposits, withdrawals, transfers and rewards"),
    Read::get("/api/v2/spot/trade/fills", "spot fills"),
    Read::get("/api/v2/spot/public/symbols", "base and quote of spot markets"),
    Read::get("/api/v2/spot/market/tickers", "prices of now"),
    Read::get("/api/v2/spot/market/history-candles", "prices of past minutes"),
    Read::get("/api/v2/mix/account/accounts", "futures balances"),
    Read::get("/api/v2/mix/account/bill", "funding, transfers and other futures bills"),
    Read::get("/api/v2/mix/order/fill-history", "futures fills"),
    Read::get("/api/v2/mix/position/all-position", "futures positions"),
];

/// Requests a second that the venue grants a user at the endpoint.
pub fn per_second(path: &str) -> u32 {
    match path {
        "/api/v2/spot/account/info" => 1,
        "/api/v2/mix/position/all-position" => 5,
        _ => 10,
    }
}

/// Public endpoints take no signature.
pub fn is_public(path: &str) -> bool {
    path.contains("/public/") || path.contains("/market/")
}

/// Path and query, the parameters in the order of their names, as they are signed and sent.
pub fn path_and_query(read: Listed<'_>, params: &[(&str, String)]) -> String {
    let mut sorted = params.to_vec();
    sorted.sort();
    read.with_query(&query(&sorted))
}

/// The three secrets of a key.
pub struct Keys {
    pub key: String,
    pub secret: SecretString,
    pub passphrase: SecretString,
}

/// The headers of a signed read: what is signed is the instant, the method, and path and query.
pub fn headers(
    read: Listed<'_>,
    path_and_query: &str,
    now: Timestamp,
    keys: &Keys,
) -> Result<Vec<(&'static str, String)>, VenueError> {
    let instant = now.millis().to_string();
    let sign = hmac::sha256_base64(&keys.secret, &format!("{instant}{}{path_and_query}", read.method()))?;
    Ok(vec![
        ("access-key", keys.key.clone()),
        ("access-sign", sign),
        ("access-timestamp", instant),
        ("access-passphrase", keys.passphrase.expose_secret().to_owned()),
        ("locale", "en-US".into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calculated with Python's `hmac` from the same secret and text.
    #[test]
    fn a_signature_is_the_one_that_another_library_makes() {
        let read = Listed::new(READS, "GET", "/api/v2/mix/account/bill").unwrap();
        let path = path_and_query(read, &[("productType", "USDT-FUTURES".into()), ("limit", "100".into())]);
        assert_eq!(path, "/api/v2/mix/account/bill?limit=100&productType=USDT-FUTURES");
        let keys = Keys { key: "k".into(), secret: "the-secret".into(), passphrase: "the-phrase".into() };
        let now = Timestamp::from_millis(1_767_225_600_000).unwrap();
        let headers = headers(read, &path, now, &keys).unwrap();
        let header = |name| headers.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str());
        assert_eq!(header("access-sign"), Some("UEZGd2ojfXBdy21h5pXxRU9q1I/d51gXDS1wAiHEnzo="));
        assert_eq!(header("access-timestamp"), Some("1767225600000"));
        assert_eq!(header("access-passphrase"), Some("the-phrase"));
    }

    #[test]
    fn nothing_but_a_listed_read_can_be_signed_or_sent() {
        for (method, path) in [
            ("POST", "/api/v2/mix/order/place-order"),
            ("POST", "/api/v2/spot/wallet/withdrawal"),
            ("POST", "/api/v2/spot/wallet/transfer"),
            ("GET", "/api/v2/mix/order/detail"),
            ("POST", "/api/v2/spot/account/info"),
            ("GET", "/api/v2/spot/account/../wallet/withdrawal"),
        ] {
            assert!(Listed::new(READS, method, path).is_err(), "{method} {path}");
        }
        assert!(READS.iter().all(|read| read.method == "GET"));
    }
}
