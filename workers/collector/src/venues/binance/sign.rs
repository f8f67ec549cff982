//! Which Binance endpoints may be asked, and how a request is signed.

use codash_domain::Timestamp;
use secrecy::SecretString;

use crate::error::VenueError;
use crate::venues::hmac;
use crate::venues::reads::{Listed, Read};
use crate::venues::wire::query;

/// Everything that is ever sent to Binance: reads, all of them. The signer refuses the rest.
pub const READS: &[Read] = &[
    Read::get("/api/v3/time", "the server's clock"),
    Read::get("/api/v3/exchangeInfo", "base and quote of spot markets"),
    Read::get("/api/v3/account", "spot balances"),
    Read::get("/api/v3/myTrades", "spot fills"),
    Read::get("/api/v3/ticker/price", "prices of now"),
    Read::get("/api/v3/klines", "prices of past minutes"),
    Read::get("/sapi/v1/account/apiRestrictions", "what the key may do"),
    Read::get("/sapi/v1/capital/deposit/hisrec", "deposits"),
    Read::get("/sapi/v1/capital/withdraw/history", "withdrawals"),
    Read::get("/sapi/v1/asset/transfer", "transfers between wallets"),
    Read::get("/sapi/v1/convert/tradeFlow", "conversions"),
    Read::get("/sapi/v1/asset/dribblet", "conversions of dust"),
    Read::get("/fapi/v1/time", "the server's clock"),
    Read::get("/fapi/v1/income", "funding, rebates and other futures income"),
    Read::get("/fapi/v1/userTrades", "futures fills"),
    Read::get("/fapi/v1/forceOrders", "liquidations and ADL"),
    Read::get("/fapi/v3/account", "futures balances"),
    Read::get("/fapi/v3/positionRisk", "futures positions"),
];

/// How late a request may arrive, in milliseconds.
const RECV_WINDOW: &str = "5000";

/// What the endpoint costs of the host's budget, as we ask it.
pub fn weight(path: &str) -> u32 {
    match path {
        "/api/v3/exchangeInfo" | "/api/v3/account" | "/api/v3/myTrades" => 20,
        "/api/v3/ticker/price" => 4,
        "/api/v3/klines" => 2,
        // Metered by account in truth, see `by_account`; the address pays its share.
        "/sapi/v1/convert/tradeFlow" => 30,
        "/sapi/v1/capital/withdraw/history" => 18,
        "/fapi/v1/income" => 30,
        // Without a symbol, as we ask.
        "/fapi/v1/forceOrders" => 50,
        "/fapi/v1/userTrades" | "/fapi/v3/account" | "/fapi/v3/positionRisk" => 5,
        _ => 1,
    }
}

/// Requests a minute that an account has of an endpoint that Binance meters so: 180000 a minute, of
/// which one takes 18000 or 3000.
pub fn by_account(path: &str) -> Option<u32> {
    match path {
        "/sapi/v1/capital/withdraw/history" => Some(10),
        "/sapi/v1/convert/tradeFlow" => Some(60),
        _ => None,
    }
}

/// Path and query of a public read.
pub fn public(read: Listed<'_>, params: &[(&str, String)]) -> String {
    read.with_query(&query(params))
}

/// Path and query of a signed read: the server's time, the window, and the signature last.
pub fn signed(
    read: Listed<'_>,
    params: &[(&str, String)],
    now: Timestamp,
    secret: &SecretString,
) -> Result<String, VenueError> {
    let mut params = params.to_vec();
    params.push(("recvWindow", RECV_WINDOW.into()));
    params.push(("timestamp", now.millis().to_string()));
    let payload = query(&params);
    let signature = hmac::sha256_hex(secret, &payload)?;
    Ok(read.with_query(&format!("{payload}&signature={signature}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> SecretString {
        "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j".into()
    }

    /// The example of Binance's own documentation, section "SIGNED endpoint examples".
    #[test]
    fn the_published_example_gives_the_published_signature() {
        let payload = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559";
        let published = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71";
        assert_eq!(hmac::sha256_hex(&secret(), payload).unwrap(), published);
    }

    #[test]
    fn text_is_encoded_before_it_is_signed() {
        let params = [("symbol", "１２".to_owned()), ("note", "a b&c".to_owned())];
        assert_eq!(query(&params), "symbol=%EF%BC%91%EF%BC%92&note=a%20b%26c");
    }

    #[test]
    fn the_signature_comes_last_and_covers_all_before_it() {
        let now = Timestamp::from_millis(1_499_827_319_559).unwrap();
        let path = signed(
            Listed::new(READS, "GET", "/api/v3/myTrades").unwrap(),
            &[("symbol", "LTCBTC".into())],
            now,
            &secret(),
        );
        let path = path.unwrap();
        let (payload, signed) = path.strip_prefix("/api/v3/myTrades?").unwrap().split_once("&signature=").unwrap();
        assert_eq!(payload, "symbol=LTCBTC&recvWindow=5000&timestamp=1499827319559");
        assert_eq!(signed, hmac::sha256_hex(&secret(), payload).unwrap());
    }

    #[test]
    fn nothing_but_a_listed_read_can_be_signed_or_sent() {
        for (method, path) in [
            ("POST", "/api/v3/order"),
            ("GET", "/api/v3/order"),
            ("DELETE", "/api/v3/openOrders"),
            ("POST", "/sapi/v1/capital/withdraw/apply"),
            ("POST", "/sapi/v1/asset/transfer"),
            ("POST", "/fapi/v1/order"),
            ("POST", "/fapi/v1/leverage"),
            ("POST", "/api/v3/account"),
            ("GET", "/api/v3/account/../order"),
        ] {
            let refused = VenueError::NotListed { endpoint: format!("{method} {path}") };
            assert_eq!(Listed::new(READS, method, path), Err(refused));
        }
        assert!(READS.iter().all(|read| read.method == "GET"));
    }
}
