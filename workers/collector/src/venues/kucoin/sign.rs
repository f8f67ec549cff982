//! Which KuCoin endpoints may be asked, what they cost, and how a request is signed.

use codash_domain::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use crate::error::VenueError;
use crate::venues::hmac;
use crate::venues::reads::{Listed, Read};

/// Everything that is ever sent to KuCoin: reads, all of them. The signer refuses the rest.
pub const READS: &[Read] = &[
    Read::get("/api/v1/timestamp", "the server's clock"),
    Read::get("/api/v1/market/allTickers", "prices of now"),
    Read::get("/api/v1/market/candles", "prices of past minutes"),
    Read::get("/api/v1/contracts/active", "what a futures lot is"),
    Read::get("/api/v1/user/api-key", "what the key may do"),
    Read::get("/api/v1/accounts", "main and trading balances"),
    Read::get("/api/v1/accounts/ledgers", "deposits, withdrawals and transfers of the main account"),
    Read::get("/api/v1/hf/accounts/ledgers", "transfers of the trading account, and which markets it traded"),
    Read::get("/api/v1/hf/fills", "spot fills"),
    Read::get("/api/v1/account-overview", "futures balances"),
    Read::get("/api/v1/positions", "futures positions"),
    Read::get("/api/v1/fills", "futures fills"),
    Read::get("/api/v1/history-positions", "PnL of closed futures positions"),
    Read::get("/api/v1/funding-history", "futures funding"),
    Read::get("/api/v1/transaction-history", "transfers of the futures account"),
];

/// Which of the account's budgets an endpoint is paid from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    Spot,
    Futures,
    Management,
    /// The light reads of the management pool.
    Ledgers,
    /// Of the address, not of the account.
    Public,
}

/// The pool of an endpoint and what it costs there.
pub fn cost(path: &str) -> (Pool, u32) {
    match path {
        "/api/v1/hf/fills" | "/api/v1/hf/accounts/ledgers" => (Pool::Spot, 2),
        "/api/v1/user/api-key" => (Pool::Management, 20),
        "/api/v1/accounts" => (Pool::Management, 5),
        "/api/v1/accounts/ledgers" | "/api/v1/transaction-history" => (Pool::Ledgers, 2),
        "/api/v1/account-overview" | "/api/v1/fills" | "/api/v1/funding-history" => (Pool::Futures, 5),
        "/api/v1/positions" | "/api/v1/history-positions" => (Pool::Futures, 2),
        "/api/v1/market/allTickers" => (Pool::Public, 15),
        _ => (Pool::Public, 3),
    }
}

/// Key, secret and passphrase.
pub struct Secrets {
    pub key: String,
    pub secret: SecretString,
    pub passphrase: SecretString,
}

/// Path and query as they go over the wire. Nothing in them needs escaping: KuCoin signs the
/// unescaped query.
pub fn full(read: Listed<'_>, params: &[(&str, String)]) -> String {
    let query: Vec<String> = params.iter().map(|(name, value)| format!("{name}={value}")).collect();
    read.with_query(&query.join("&"))
}

/// The headers of a signed read: the passphrase is signed too, as version 2 of the keys wants it.
pub fn headers(
    read: Listed<'_>,
    full: &str,
    now: Timestamp,
    secrets: &Secrets,
) -> Result<Vec<(&'static str, String)>, VenueError> {
    let at = now.millis().to_string();
    let payload = format!("{at}{}{full}", read.method());
    Ok(vec![
        ("KC-API-KEY", secrets.key.clone()),
        ("KC-API-SIGN", hmac::sha256_base64(&secrets.secret, &payload)?),
        ("KC-API-PASSPHRASE", hmac::sha256_base64(&secrets.secret, secrets.passphrase.expose_secret())?),
        ("KC-API-TIMESTAMP", at),
        ("KC-API-KEY-VERSION", "2".into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        Secrets { key: "the-key".into(), secret: "the-secret".into(), passphrase: "the-passphrase".into() }
    }

    /// Calculated apart from this program: HMAC-SHA256 with the key `the-secret`, then base64.
    #[test]
    fn a_read_and_the_passphrase_are_signed() {
        let read = Listed::new(READS, "GET", "/api/v1/hf/fills").unwrap();
        let full = full(read, &[("symbol", "BTC-USDT".into()), ("limit", "100".into())]);
        assert_eq!(full, "/api/v1/hf/fills?symbol=BTC-USDT&limit=100");
        let headers = headers(read, &full, Timestamp::from_millis(1_767_225_600_000).unwrap(), &secrets()).unwrap();
        let value = |name: &str| headers.iter().find(|(n, _)| *n == name).unwrap().1.as_str();
        assert_eq!(value("KC-API-SIGN"), "6hf2/WbLghZBftqeDHbFPptqTIV7bICLBvWwOPt1wbY=");
        assert_eq!(value("KC-API-PASSPHRASE"), "AVQMCS1S9zHyCb7aSU31lj49U5ZJnZPy21CBul7BdUM=");
        assert_eq!((value("KC-API-TIMESTAMP"), value("KC-API-KEY-VERSION")), ("1767225600000", "2"));
    }

    #[test]
    fn nothing_but_a_listed_read_can_be_signed_or_sent() {
        for (method, path) in [
            ("POST", "/api/v1/hf/orders"),
            ("POST", "/api/v1/fills"),
            ("GET", "/api/v1/orders"),
            ("DELETE", "/api/v1/orders"),
            ("POST", "/api/v3/accounts/universal-transfer"),
            ("POST", "/api/v3/withdrawals"),
            ("GET", "/api/v1/accounts/../orders"),
        ] {
            assert!(Listed::new(READS, method, path).is_err(), "{method} {path}");
        }
        assert!(READS.iter().all(|read| read.method == "GET"));
    }
}
