//! Which Bybit endpoints may be asked, and how a request is signed.

use std::time::Duration;

use codash_domain::Timestamp;
use secrecy::SecretString;

use crate::error::VenueError;
use crate::venues::hmac;
use crate::venues::reads::{Listed, Read};
use crate::venues::wire::query_keeping;

/// Everything that is ever sent to Bybit: reads, all of them. The signer refuses the rest.
pub const READS: &[Read] = &[
    Read::get("/v5/market/time", "the server's clock"),
    Read::get("/v5/market/instruments-info", "base and quote of spot markets"),
    Read::get("/v5/market/tickers", "prices of now"),
    Read::get("/v5/market/kline", "prices of past minutes"),
    Read::get("/v5/user/query-api", "what the key may do"),
    Read::get("/v5/account/info", "the kind of account"),
    Read::get("/v5/account/wallet-balance", "equity and balances of the unified wallet"),
    Read::get("/v5/asset/transfer/query-account-coins-balance", "balances of the funding wallet"),
    Read::get("/v5/position/list", "positions"),
    Read::get("/v5/account/transaction-log", "derivative fills, funding, interest and transfers"),
    Read::get("/v5/execution/list", "spot fills, liquidations and ADL"),
    Read::get("/v5/asset/deposit/query-record", "deposits"),
    Read::get("/v5/asset/deposit/query-internal-record", "deposits from other Bybit users"),
    Read::get("/v5/asset/withdraw/query-record", "withdrawals"),
    Read::get("/v5/asset/transfer/query-inter-transfer-list", "transfers of the funding wallet"),
];

/// How late a request may arrive, in milliseconds.
const RECV_WINDOW: &str = "5000";

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// What the venue grants a user at an endpoint; `None` where only the address is metered.
pub fn granted(path: &str) -> Option<(u32, Duration)> {
    Some(match path {
        "/v5/user/query-api" => (10, SECOND),
        "/v5/account/transaction-log" => (25, SECOND),
        "/v5/asset/transfer/query-account-coins-balance" => (5, SECOND),
        "/v5/asset/deposit/query-record" => (100, MINUTE),
        "/v5/asset/withdraw/query-record" => (300, MINUTE),
        // The internal deposits' own limit is not published: the smallest of their family.
        "/v5/asset/transfer/query-inter-transfer-list" | "/v5/asset/deposit/query-internal-record" => (60, MINUTE),
        path if path.starts_with("/v5/market/") => return None,
        _ => (50, SECOND),
    })
}

/// Parameters as they go over the wire. What the venue gave out percent-encoded (its page cursors)
/// goes back as it came: a `%` is not encoded again.
pub fn query(params: &[(&str, String)]) -> String {
    query_keeping("%=:,/+", params)
}

/// Path and query of a read.
pub fn full_path(read: Listed<'_>, params: &[(&str, String)]) -> String {
    read.with_query(&query(params))
}

/// A request ready to go: path with query, and the headers that sign it.
pub struct Signed {
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
}

/// Signs a listed read at the server's time.
pub fn signed(
    read: Listed<'_>,
    params: &[(&str, String)],
    now: Timestamp,
    key: &str,
    secret: &SecretString,
) -> Result<Signed, VenueError> {
    let timestamp = now.millis().to_string();
    let signature = hmac::sha256_hex(secret, &format!("{timestamp}{key}{RECV_WINDOW}{}", query(params)))?;
    let headers = vec![
        ("X-BAPI-API-KEY", key.to_owned()),
        ("X-BAPI-TIMESTAMP", timestamp),
        ("X-BAPI-RECV-WINDOW", RECV_WINDOW.to_owned()),
        ("X-BAPI-SIGN", signature),
    ];
    Ok(Signed { path: full_path(read, params), headers })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request of the documents' "authentication" example with a key and a secret of ours; the
    /// expected signature comes from Python's `hmac`, independently of this code.
    #[test]
    fn a_known_request_gives_a_known_signature() {
        let read = Listed::new(READS, "GET", "/v5/account/transaction-log").unwrap();
        let params = [("accountType", "UNIFIED".to_owned()), ("cursor", "21963%3A1%2C14954%3A1".to_owned())];
        let now = Timestamp::from_millis(1_658_384_314_791).unwrap();
        let signed = signed(read, &params, now, "XXXXXXXXXX", &"a-secret-of-ours".into()).unwrap();
        assert_eq!(signed.path, "/v5/account/transaction-log?accountType=UNIFIED&cursor=21963%3A1%2C14954%3A1");
        let of = |name: &str| signed.headers.iter().find(|(known, _)| *known == name).unwrap().1.as_str();
        assert_eq!(of("X-BAPI-SIGN"), "e23ce6d73849c57fbaab7835608fe1fc133fc19bc982ac0a0eebd0b268411cad");
        assert_eq!((of("X-BAPI-TIMESTAMP"), of("X-BAPI-RECV-WINDOW")), ("1658384314791", "5000"));
    }

    #[test]
    fn a_cursor_goes_back_as_it_came_and_nothing_breaks_out_of_its_parameter() {
        let sent = |value: &str| query(&[("cursor", value.to_owned())]);
        assert_eq!(sent("page_token%3D39380%26"), "cursor=page_token%3D39380%26");
        assert_eq!(sent("eyJtaW5JRCI6MX0="), "cursor=eyJtaW5JRCI6MX0=");
        assert_eq!(sent("a&b #c"), "cursor=a%26b%20%23c");
    }

    #[test]
    fn nothing_but_a_listed_read_can_be_signed_or_sent() {
        for (method, path) in [
            ("POST", "/v5/order/create"),
            ("POST", "/v5/asset/withdraw/create"),
            ("POST", "/v5/asset/transfer/inter-transfer"),
            ("POST", "/v5/execution/list"),
            ("GET", "/v5/execution/list/../../order/create"),
            ("GET", "/v5/order/realtime"),
        ] {
            assert!(Listed::new(READS, method, path).is_err(), "{method} {path}");
        }
        assert!(READS.iter().all(|read| read.method == "GET"));
    }

    #[test]
    fn a_meter_does_not_name_the_key() {
        assert_eq!(hmac::key_name("the-key").len(), 16);
        assert_ne!(hmac::key_name("the-key"), hmac::key_name("another"));
    }
}
