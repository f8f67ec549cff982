//! Which OKX endpoints may be asked, what each may be asked how often, and how a request is signed.

use std::time::Duration;

use codash_domain::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use crate::error::VenueError;
use crate::venues::Credentials;
use crate::venues::hmac;
use crate::venues::reads::{Listed, Read};
use crate::venues::wire::query;

/// Everything that is ever sent to OKX: reads, all of them. The signer refuses the rest.
pub const READS: &[Read] = &[
    Read::get("/api/v5/public/time", "the server's clock"),
    Read::get("/api/v5/public/instruments", "what a contract is worth"),
    Read::get("/api/v5/market/tickers", "prices of now"),
    Read::get("/api/v5/market/candles", "prices of past minutes"),
    Read::get("/api/v5/market/history-candles", "prices of past minutes"),
    Read::get("/api/v5/account/config", "what the key may do"),
    Read::get("/api/v5/account/balance", "balances and equity of the trading account"),
    Read::get("/api/v5/account/positions", "positions"),
    Read::get("/api/v5/account/bills", "funding, interest and transfers of the last week"),
    Read::get("/api/v5/account/bills-archive", "funding, interest and transfers of the last three months"),
    Read::get("/api/v5/asset/balances", "balances of the funding account"),
    Read::get("/api/v5/asset/asset-valuation", "what the funding and earn accounts are worth"),
    Read::get("/api/v5/asset/deposit-history", "deposits"),
    Read::get("/api/v5/asset/withdrawal-history", "withdrawals"),
    Read::get("/api/v5/trade/fills", "fills of the last three days"),
    Read::get("/api/v5/trade/fills-history", "fills of the last three months"),
];

/// How often an endpoint may be asked: by one user where it is signed, else by one address.
pub fn allowance(path: &str) -> (u32, Duration) {
    let (budget, seconds) = match path {
        "/api/v5/trade/fills" => (60, 2),
        "/api/v5/market/candles" => (40, 2),
        "/api/v5/public/instruments" | "/api/v5/market/tickers" | "/api/v5/market/history-candles" => (20, 2),
        "/api/v5/account/bills" => (5, 1),
        "/api/v5/account/bills-archive" | "/api/v5/account/config" => (5, 2),
        "/api/v5/asset/asset-valuation" => (1, 1),
        path if path.starts_with("/api/v5/asset/") => (6, 1),
        _ => (10, 2),
    };
    (budget, Duration::from_secs(seconds))
}

/// The three secrets of an account.
pub struct Key {
    key: String,
    secret: SecretString,
    passphrase: SecretString,
    /// Names the key's meters without naming the key.
    pub digest: String,
}

impl Key {
    pub fn new(credentials: Credentials) -> Result<Self, VenueError> {
        let (key, secret, passphrase) = credentials.with_passphrase("okx")?;
        // The passphrase becomes a header as it is; what no header can hold is none.
        let text = passphrase.expose_secret();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Err(VenueError::KeyRefused { reason: "this is no passphrase of an API key".into() });
        }
        let digest = hmac::key_name(&key);
        Ok(Self { key, secret, passphrase, digest })
    }

    /// The headers of a signed read at the server's time.
    pub fn headers(
        &self,
        read: Listed<'_>,
        params: &[(&str, String)],
        now: Timestamp,
    ) -> Result<Vec<(&'static str, String)>, VenueError> {
        let payload = format!("{now}{}{}", read.method(), with_query(read, params));
        Ok(vec![
            ("OK-ACCESS-KEY", self.key.clone()),
            ("OK-ACCESS-SIGN", hmac::sha256_base64(&self.secret, &payload)?),
            ("OK-ACCESS-TIMESTAMP", now.to_string()),
            ("OK-ACCESS-PASSPHRASE", self.passphrase.expose_secret().to_owned()),
        ])
    }
}

/// Path and query, exactly as they are signed and sent.
pub fn with_query(read: Listed<'_>, params: &[(&str, String)]) -> String {
    read.with_query(&query(params))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request of OKX's own documentation, section "Signature", with its example secret; the
    /// digest was computed apart from this program, with Python's hmac.
    #[test]
    fn a_known_request_gives_the_known_signature() {
        let secret: SecretString = "22582BD0CFF14C41EDBF1AB98506286D".into();
        let payload = "2020-12-08T09:08:57.715ZGET/api/v5/account/balance?ccy=BTC";
        assert_eq!(hmac::sha256_base64(&secret, payload).unwrap(), "HiZhvSfMtWJA3uUIVXV3a/bSXNPCWvYFXoGCVS8V4zY=");
    }

    #[test]
    fn time_method_path_and_query_are_signed_as_they_are_sent() {
        let key = Key::new(Credentials::ApiKey {
            key: "k".into(),
            secret: "22582BD0CFF14C41EDBF1AB98506286D".into(),
            passphrase: Some("three secrets".into()),
        });
        let key = key.unwrap();
        let read = Listed::new(READS, "GET", "/api/v5/account/balance").unwrap();
        let now = "2020-12-08T09:08:57.715Z".parse().unwrap();
        let headers = key.headers(read, &[("ccy", "BTC".into())], now).unwrap();
        assert_eq!(headers[0], ("OK-ACCESS-KEY", "k".into()));
        assert_eq!(headers[1], ("OK-ACCESS-SIGN", "HiZhvSfMtWJA3uUIVXV3a/bSXNPCWvYFXoGCVS8V4zY=".into()));
        assert_eq!(headers[2], ("OK-ACCESS-TIMESTAMP", "2020-12-08T09:08:57.715Z".into()));
        assert_eq!(headers[3], ("OK-ACCESS-PASSPHRASE", "three secrets".into()));
        assert_eq!(
            with_query(read, &[("a", "BTC-USD_UM".into()), ("b", "x&y=1".into())]),
            "/api/v5/account/balance?a=BTC-USD_UM&b=x%26y%3D1"
        );
    }

    #[test]
    fn nothing_but_a_listed_read_can_be_signed_or_sent() {
        for (method, path) in [
            ("POST", "/api/v5/trade/order"),
            ("POST", "/api/v5/asset/transfer"),
            ("POST", "/api/v5/asset/withdrawal"),
            ("GET", "/api/v5/asset/withdrawal"),
            ("POST", "/api/v5/account/bills-history-archive"),
            ("POST", "/api/v5/account/set-leverage"),
            ("POST", "/api/v5/account/balance"),
            ("GET", "/api/v5/account/balance/../config"),
        ] {
            let refused = VenueError::NotListed { endpoint: format!("{method} {path}") };
            assert_eq!(Listed::new(READS, method, path), Err(refused));
        }
        assert!(READS.iter().all(|read| read.method == "GET"));
    }
}
