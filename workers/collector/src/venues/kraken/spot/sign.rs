//! Which Kraken spot endpoints may be asked, and how a request is signed.

use secrecy::SecretString;
use sha2::{Digest, Sha256};

use crate::error::VenueError;
use crate::venues::kraken::wire::{form, hmac};
use crate::venues::reads::{Listed, Read};

/// Everything that is ever sent to Kraken spot: reads, all of them. The signer refuses the rest.
pub const READS: &[Read] = &[
    Read::get("/0/public/Time", "the server's clock"),
    Read::get("/0/public/AssetPairs", "base and quote of markets"),
    Read::get("/0/public/Ticker", "prices of now"),
    Read::get("/0/public/Trades", "prices of past minutes"),
    Read::post("/0/private/GetApiKeyInfo", "what the key may do"),
    Read::post("/0/private/Balance", "balances"),
    Read::post("/0/private/TradeBalance", "equity"),
    Read::post("/0/private/OpenPositions", "margin positions"),
    Read::post("/0/private/TradesHistory", "fills"),
    Read::post("/0/private/Ledgers", "margin profits, financing, rewards, deposits and withdrawals"),
];

/// What the endpoint adds to the counter of the key.
pub fn cost(path: &str) -> u32 {
    match path {
        "/0/private/TradesHistory" | "/0/private/Ledgers" => 2,
        _ => 1,
    }
}

/// Path and query of a public read.
pub fn public(read: Listed<'_>, params: &[(&str, String)]) -> String {
    read.with_query(&form(params))
}

/// Body and signature of a private read. The nonce comes first, and the body is signed as it is sent.
pub fn private(
    read: Listed<'_>,
    params: &[(&str, String)],
    nonce: u64,
    secret: &SecretString,
) -> Result<(String, String), VenueError> {
    let body = form(&[&[("nonce", nonce.to_string())], params].concat());
    let signature = signature(read.path(), nonce, &body, secret)?;
    Ok((body, signature))
}

fn signature(path: &str, nonce: u64, body: &str, secret: &SecretString) -> Result<String, VenueError> {
    let digest = Sha256::new().chain_update(nonce.to_string()).chain_update(body).finalize();
    hmac(secret, &[path.as_bytes(), &digest])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Kraken's own documentation, "Spot REST authentication".
    #[test]
    fn the_published_example_gives_the_published_signature() {
        let secret = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg==".into();
        let body = "nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25";
        let published = "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ==";
        assert_eq!(signature("/0/private/AddOrder", 1_616_492_376_594, body, &secret).unwrap(), published);
    }

    #[test]
    fn the_nonce_comes_first_and_the_body_is_what_is_signed() {
        let secret: SecretString = "c2VjcmV0".into();
        let read = Listed::new(READS, "POST", "/0/private/Ledgers").unwrap();
        let (body, signed) = private(read, &[("ofs", "50".into())], 7, &secret).unwrap();
        assert_eq!(body, "nonce=7&ofs=50");
        assert_eq!(signed, signature("/0/private/Ledgers", 7, &body, &secret).unwrap());
    }

    #[test]
    fn nothing_but_a_listed_read_can_be_signed_or_sent() {
        for (method, path) in [
            ("POST", "/0/private/AddOrder"),
            ("POST", "/0/private/CancelAll"),
            ("POST", "/0/private/Withdraw"),
            ("POST", "/0/private/WalletTransfer"),
            ("POST", "/0/private/Earn/Allocate"),
            ("POST", "/0/private/CreateSubaccount"),
            ("GET", "/0/private/Balance"),
            ("POST", "/0/private/Balance/../AddOrder"),
        ] {
            let refused = VenueError::NotListed { endpoint: format!("{method} {path}") };
            assert_eq!(Listed::new(READS, method, path), Err(refused));
        }
        let is_public = |read: &Read| read.method == "GET" && read.path.starts_with("/0/public/");
        assert!(READS.iter().all(|read| is_public(read) || read.path.starts_with("/0/private/")));
    }
}
