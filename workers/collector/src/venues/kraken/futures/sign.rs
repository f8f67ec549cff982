//! Which Kraken Futures endpoints may be asked, and how a request is signed.

use secrecy::SecretString;
use sha2::{Digest, Sha256};

use crate::error::VenueError;
use crate::venues::kraken::wire::{form, hmac};
use crate::venues::reads::{Listed, Read};

/// Everything that is ever sent to Kraken Futures: reads, all of them. The signer refuses the rest.
pub const READS: &[Read] = &[
    Read::get("/derivatives/api/v3/tickers", "marks, prices of now and the server's clock"),
    Read::get("/derivatives/api/v3/accounts", "balances and equity"),
    Read::get("/derivatives/api/v3/openpositions", "positions"),
    Read::get("/derivatives/api/v3/fills", "liquidations and ADL"),
    Read::get("/api/history/v3/account-log", "trades, funding, transfers and all other money"),
    Read::get("/api/auth/v1/api-keys/v3/check", "what the key may do"),
    Read::get("/api/charts/v1/spot/{symbol}/1m", "prices of past minutes"),
];

/// What the endpoint costs of the budget that it belongs to, as we ask it.
pub fn cost(path: &str) -> u32 {
    match path {
        "/derivatives/api/v3/accounts" | "/derivatives/api/v3/openpositions" | "/derivatives/api/v3/fills" => 2,
        // Up to a thousand entries.
        "/api/history/v3/account-log" => 3,
        _ => 1,
    }
}

/// Path and query.
pub fn full(read: Listed<'_>, params: &[(&str, String)]) -> String {
    read.with_query(&form(params))
}

/// Path and query of a private read, and its signature. There is no nonce: it is optional, and two
/// requests of one key would have to take turns.
pub fn private(
    read: Listed<'_>,
    params: &[(&str, String)],
    secret: &SecretString,
) -> Result<(String, String), VenueError> {
    let signature = signature(read.path(), &form(params), secret)?;
    Ok((full(read, params), signature))
}

fn signature(path: &str, query: &str, secret: &SecretString) -> Result<String, VenueError> {
    let signed = path.strip_prefix("/derivatives").unwrap_or(path);
    let digest = Sha256::new().chain_update(query).chain_update(signed).finalize();
    hmac(secret, &[&digest])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with hashlib and hmac of Python.
    #[test]
    fn the_signature_covers_query_and_path() {
        let secret: SecretString = "c2VjcmV0IG9mIHRoZSBmdXR1cmVzIGtleQ==".into();
        let path = "/derivatives/api/v3/fills";
        let query = "lastFillTime=2026-01-01T00:00:00.000Z";
        let computed = "4mNDH1eJu271dfbB0gvYOYsBkKFylgqwA76qSXH6X0VwAN9aBjJ7UzJ5l4m/UNCPKa+rN0hBCXElVnU0NSK0xQ==";
        assert_eq!(signature(path, query, &secret).unwrap(), computed);
        let read = Listed::new(READS, "GET", path).unwrap();
        let (full, signed) = private(read, &[("lastFillTime", "2026-01-01T00:00:00.000Z".into())], &secret).unwrap();
        assert_eq!((full, signed.as_str()), (format!("{path}?{query}"), computed));
        let computed = "BCZyKRBam+v3Jg/Y1dvaHSwtnRkiyOHhzDRdJoHujGr584dTSzXUvFNwIo+otp6ppzIO7l8Iyu/47HyjUsRDcw==";
        assert_eq!(signature("/api/history/v3/account-log", "from=1&sort=asc", &secret).unwrap(), computed);
    }

    #[test]
    fn nothing_but_a_listed_read_can_be_signed_or_sent() {
        for (method, path) in [
            ("POST", "/derivatives/api/v3/sendorder"),
            ("GET", "/derivatives/api/v3/sendorder"),
            ("POST", "/derivatives/api/v3/withdrawal"),
            ("POST", "/derivatives/api/v3/transfer"),
            ("PUT", "/derivatives/api/v3/leveragepreferences"),
            ("GET", "/api/charts/v1/spot/../1m"),
        ] {
            let refused = VenueError::NotListed { endpoint: format!("{method} {path}") };
            assert_eq!(Listed::new(READS, method, path), Err(refused));
        }
        assert!(READS.iter().all(|read| read.method == "GET"));
    }
}
