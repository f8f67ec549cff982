//! Which Gate endpoints may be asked, and how a request is signed.

use codash_domain::Timestamp;
use secrecy::SecretString;
use sha2::{Digest, Sha512};

use crate::error::VenueError;
use crate::venues::hmac;
use crate::venues::reads::{Listed, Read};

/// Everything that is ever sent to Gate: reads, all of them. The signer refuses the rest.
pub const READS: &[Read] = &[
    Read::get("/api/v4/spot/time", "the server's clock"),
    Read::get("/api/v4/spot/tickers", "prices of now"),
    Read::get("/api/v4/spot/candlesticks", "prices of past minutes"),
    Read::get("/api/v4/futures/{settle}/contracts", "what a contract is"),
    Read::get("/api/v4/account/main_keys", "what the key may do"),
    Read::get("/api/v4/spot/accounts", "spot balances"),
    Read::get("/api/v4/spot/my_trades", "spot fills"),
    Read::get("/api/v4/wallet/deposits", "deposits"),
    Read::get("/api/v4/wallet/withdrawals", "withdrawals"),
    Read::get("/api/v4/futures/{settle}/accounts", "futures balances"),
    Read::get("/api/v4/futures/{settle}/positions", "futures positions"),
    Read::get("/api/v4/futures/{settle}/my_trades_timerange", "futures fills"),
    Read::get("/api/v4/futures/{settle}/account_book", "futures PnL, funding, rebates and transfers"),
    Read::get("/api/v4/futures/{settle}/liquidates", "liquidations"),
    Read::get("/api/v4/futures/{settle}/auto_deleverages", "ADL"),
];

/// The query as it goes over the wire. Nothing in it needs escaping.
pub fn query(params: &[(&str, String)]) -> String {
    params.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// The headers of a signed read.
pub fn headers(
    read: Listed<'_>,
    query: &str,
    now: Timestamp,
    key: &str,
    secret: &SecretString,
) -> Result<Vec<(&'static str, String)>, VenueError> {
    let at = (now.millis() / 1000).to_string();
    let no_body = hex::encode(Sha512::digest(b""));
    let payload = format!("{}\n{}\n{query}\n{no_body}\n{at}", read.method(), read.path());
    Ok(vec![("KEY", key.into()), ("Timestamp", at), ("SIGN", hmac::sha512_hex(secret, &payload)?)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calculated apart from this program: HMAC-SHA512 with the key `the-secret`.
    #[test]
    fn a_read_is_signed_with_its_prefix_and_the_hash_of_no_body() {
        let read = Listed::new(READS, "GET", "/api/v4/futures/usdt/account_book").unwrap();
        let query = query(&[("from", "1".into()), ("limit", "100".into())]);
        let now = Timestamp::from_millis(1_767_225_600_999).unwrap();
        let headers = headers(read, &query, now, "the-key", &"the-secret".into()).unwrap();
        assert_eq!(headers[1], ("Timestamp", "1767225600".to_owned()));
        assert_eq!(
            headers[2].1,
            "8c0c31335748217956ee1e3a3c97394dd71c96c7ad05be6d372dba85cc840ed9e31ba01f22529713b17831410e6045b292c5d75811e7d60cbb42afeb42ad4a5c"
        );
    }

    #[test]
    fn nothing_but_a_listed_read_can_be_signed_or_sent() {
        for (method, path) in [
            ("POST", "/api/v4/spot/orders"),
            ("GET", "/api/v4/spot/orders"),
            ("POST", "/api/v4/withdrawals"),
            ("POST", "/api/v4/wallet/transfers"),
            ("DELETE", "/api/v4/futures/usdt/orders"),
            ("GET", "/api/v4/futures/usdt/../accounts"),
        ] {
            assert!(Listed::new(READS, method, path).is_err(), "{method} {path}");
        }
        assert!(READS.iter().all(|read| read.method == "GET"));
    }
}
