//! Which Coinbase endpoints may be asked, and the token that each request carries.
//!
//! A token (JWT) is good for one method and path, and for two minutes.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use codash_domain::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde_json::json;

use super::der;
use crate::error::VenueError;
use crate::venues::reads::{Listed, Read};

/// Everything that is ever sent to Coinbase: reads, all of them. The signer refuses the rest.
pub const READS: &[Read] = &[
    Read::get("/api/v3/brokerage/time", "the server's clock"),
    Read::get("/api/v3/brokerage/key_permissions", "what the key may do"),
    Read::get("/api/v3/brokerage/accounts", "balances"),
    Read::get("/api/v3/brokerage/portfolios/{uuid}", "equity"),
    Read::get("/api/v3/brokerage/orders/historical/fills", "fills"),
    Read::get("/api/v3/brokerage/cfm/balance_summary", "balance of the US futures wallet"),
    Read::get("/api/v3/brokerage/cfm/positions", "positions in US futures"),
    Read::get("/api/v3/brokerage/intx/balances/{uuid}", "balances for perpetuals"),
    Read::get("/api/v3/brokerage/intx/positions/{uuid}", "positions in perpetuals"),
    Read::get("/api/v3/brokerage/market/products", "markets, contract sizes and prices of now"),
    Read::get("/api/v3/brokerage/market/products/{id}", "the size of an expired contract"),
    Read::get("/api/v3/brokerage/market/products/{id}/candles", "prices of past minutes"),
    Read::get("/v2/accounts", "which wallets there are"),
    Read::get("/v2/accounts/{id}/transactions", "deposits, withdrawals, conversions, rewards"),
];

/// The host that a token is good for, whatever address requests are sent to.
const HOST: &str = "api.coinbase.com";
const LIFETIME_SECONDS: i64 = 120;

/// Public endpoints take no token.
pub fn is_public(path: &str) -> bool {
    path == "/api/v3/brokerage/time" || path.starts_with("/api/v3/brokerage/market/")
}

/// The private key, as one of the two kinds that Coinbase makes.
pub enum Key {
    Es256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

fn refused(reason: &str) -> VenueError {
    VenueError::KeyRefused { reason: reason.into() }
}

impl Key {
    /// Reads the secret: an EC or PKCS#8 PEM, whose line breaks may be written `\n`, or 32 or 64
    /// bytes of Ed25519 in base64.
    pub fn read(secret: &SecretString) -> Result<Self, VenueError> {
        let text: SecretString = secret.expose_secret().replace("\\n", "\n").into();
        match pem_body(text.expose_secret().trim()) {
            Some(body) => Self::from_der(&base64_bytes(&body)?),
            None => Self::from_seed(&base64_bytes(text.expose_secret())?),
        }
    }

    fn from_der(bytes: &SecretSlice<u8>) -> Result<Self, VenueError> {
        match der::private_key(bytes.expose_secret()).ok_or_else(|| refused("the private key cannot be read"))? {
            der::PrivateKey::Ec { private, public } => {
                let (alg, rng) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
                EcdsaKeyPair::from_private_key_and_public_key(alg, private, public, &rng)
                    .map(Self::Es256)
                    .map_err(|_| refused("the private key is not one of the curve P-256"))
            }
            der::PrivateKey::Ed25519 { seed } => Self::from_seed_bytes(seed),
        }
    }

    fn from_seed(bytes: &SecretSlice<u8>) -> Result<Self, VenueError> {
        let bytes = bytes.expose_secret();
        match bytes.split_at_checked(32) {
            Some((seed, [])) => Self::from_seed_bytes(seed),
            Some((seed, public)) if public.len() == 32 => Ed25519KeyPair::from_seed_and_public_key(seed, public)
                .map(Self::Ed25519)
                .map_err(|_| refused("the two halves of the Ed25519 key do not belong together")),
            _ => Err(refused(
                "the secret is neither a PEM nor an Ed25519 key; keys of the older kind (HMAC) are not supported",
            )),
        }
    }

    fn from_seed_bytes(seed: &[u8]) -> Result<Self, VenueError> {
        let key = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| refused("this is no Ed25519 key"))?;
        Ok(Self::Ed25519(key))
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, VenueError> {
        match self {
            Self::Es256(key) => key
                .sign(&SystemRandom::new(), message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| VenueError::retry("no randomness to sign with")),
            Self::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }
}

/// What stands between the lines of a PEM that names a private key.
fn pem_body(text: &str) -> Option<String> {
    let rest = text.strip_prefix("-----BEGIN ")?;
    let (_, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    Some(body.into())
}

fn base64_bytes(text: &str) -> Result<SecretSlice<u8>, VenueError> {
    let plain: SecretString = text.split_ascii_whitespace().collect::<String>().into();
    let bytes = STANDARD.decode(plain.expose_secret()).map_err(|_| refused("the secret is no base64"))?;
    Ok(bytes.into())
}

/// True for the name of a key that Coinbase's developer platform makes.
pub fn is_key_name(name: &str) -> bool {
    match name.split('/').collect::<Vec<_>>().as_slice() {
        ["organizations", organization, "apiKeys", key] => !organization.is_empty() && !key.is_empty(),
        // Keys of the Ed25519 kind are also named by their id alone.
        [id] => id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'),
        _ => false,
    }
}

/// A nonce that was never used before.
pub fn nonce() -> Result<String, VenueError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| VenueError::retry("no randomness for a nonce"))?;
    Ok(hex::encode(bytes))
}

/// The token of one listed read. The query is not part of it.
pub fn token(read: Listed<'_>, name: &str, key: &Key, now: Timestamp, nonce: &str) -> Result<String, VenueError> {
    let seconds = now.millis().div_euclid(1000);
    let header = json!({ "alg": key.algorithm(), "kid": name, "nonce": nonce, "typ": "JWT" });
    let claims = json!({
        "sub": name,
        "iss": "cdp",
        "nbf": seconds,
        "exp": seconds + LIFETIME_SECONDS,
        "uri": format!("{} {HOST}{}", read.method(), read.path()),
    });
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&header), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes())?);
    Ok(format!("{message}.{signature}"))
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, KeyPair, UnparsedPublicKey};

    use super::*;

    const NAME: &str = "organizations/o-1/apiKeys/k-1";
    const PATH: &str = "/api/v3/brokerage/accounts";
    /// The first test vector of RFC 8032: published, and of no account.
    const SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
    const SEED_AND_PUBLIC: &str =
        "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2DXWpgBgrEKt9VL/tPJZAc6DuFy89qmIyWvAhpo9wdRGg==";

    fn listed() -> Listed<'static> {
        Listed::new(READS, "GET", PATH).unwrap()
    }

    fn now() -> Timestamp {
        Timestamp::from_millis(1_767_225_600_999).unwrap()
    }

    fn read(secret: &str) -> Result<Key, VenueError> {
        Key::read(&secret.to_owned().into())
    }

    fn pem(label: &str, der: &[u8]) -> String {
        let body = STANDARD.encode(der);
        let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    }

    /// Calculated with Python's `cryptography` from the same seed, header and claims.
    #[test]
    fn an_ed25519_token_is_the_one_that_another_library_makes() {
        let expected = "eyJhbGciOiJFZERTQSIsImtpZCI6Im9yZ2FuaXphdGlvbnMvby0xL2FwaUtleXMvay0xIiwibm9uY2UiOiIwMGZmIiwidHlwIjoiSldUIn0.eyJzdWIiOiJvcmdhbml6YXRpb25zL28tMS9hcGlLZXlzL2stMSIsImlzcyI6ImNkcCIsIm5iZiI6MTc2NzIyNTYwMCwiZXhwIjoxNzY3MjI1NzIwLCJ1cmkiOiJHRVQgYXBpLmNvaW5iYXNlLmNvbS9hcGkvdjMvYnJva2VyYWdlL2FjY291bnRzIn0.MB7THYjUNzRYNLYdPefN0wB0U36-rXrFDssT9qRenLR-OetzHFb4Rwntf86eEOY0sv1TWmeGba6MG_0fiMphCA";
        for secret in [SEED, SEED_AND_PUBLIC] {
            assert_eq!(token(listed(), NAME, &read(secret).unwrap(), now(), "00ff").unwrap(), expected);
        }
    }

    #[test]
    fn an_es256_token_verifies_whichever_way_the_key_is_written() {
        let rng = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &rng).unwrap();
        let public = pair.public_key().as_ref().to_vec();
        let in_pkcs8 = pem("PRIVATE KEY", pkcs8.as_ref());
        // RFC 5915: the structure inside the PKCS#8 one, which follows its header of 29 bytes.
        let in_sec1 = pem("EC PRIVATE KEY", &pkcs8.as_ref()[29..]);
        for secret in [in_sec1.replace('\n', "\\n"), in_pkcs8.replace('\n', "\r\n"), in_sec1, in_pkcs8] {
            let token = token(listed(), NAME, &read(&secret).unwrap(), now(), "00ff").unwrap();
            let (message, signature) = token.rsplit_once('.').unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let verifier = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &public);
            verifier.verify(message.as_bytes(), &signature).unwrap();
            let (header, claims) = message.split_once('.').unwrap();
            let part = |text| serde_json::from_slice::<serde_json::Value>(&URL_SAFE_NO_PAD.decode(text).unwrap());
            assert_eq!(part(header).unwrap(), json!({ "alg": "ES256", "kid": NAME, "nonce": "00ff", "typ": "JWT" }));
            let uri = format!("GET api.coinbase.com{PATH}");
            assert_eq!(
                part(claims).unwrap(),
                json!({ "sub": NAME, "iss": "cdp", "nbf": 1_767_225_600, "exp": 1_767_225_720, "uri": uri })
            );
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        let rng = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
        let cut = pem("PRIVATE KEY", &pkcs8.as_ref()[..80]);
        let mixed = SEED_AND_PUBLIC.replace("1gpgB", "1gpgC").replace("WpgBg", "WpgBh");
        for secret in ["", "hidden", "aGlkZGVu", "-----BEGIN hidden", &cut, &mixed, "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dF"]
        {
            let error = read(secret).err().unwrap();
            assert!(matches!(error, VenueError::KeyRefused { .. }), "{secret}");
            assert!(secret.is_empty() || !format!("{error:?}").contains(secret));
        }
        assert!(is_key_name(NAME) && is_key_name("01234567-89ab-cdef-0123-456789abcdef"));
        for name in ["", "aB3dE5gH7jK9mN1p", "organizations/o", "organizations//apiKeys/k", "x/o/apiKeys/k"] {
            assert!(!is_key_name(name), "{name}");
        }
        assert_ne!(nonce().unwrap(), nonce().unwrap());
    }

    #[test]
    fn nothing_but_a_listed_read_can_be_signed_or_sent() {
        for (method, path) in [
            ("POST", "/api/v3/brokerage/orders"),
            ("POST", "/api/v3/brokerage/orders/batch_cancel"),
            ("POST", "/api/v3/brokerage/convert/quote"),
            ("POST", "/api/v3/brokerage/portfolios/move_funds"),
            ("POST", "/api/v3/brokerage/intx/allocate"),
            ("POST", "/v2/accounts/a-1/transactions"),
            ("GET", "/v2/accounts/../transactions"),
            ("GET", "/v2/accounts/a-1/transactions?limit=100"),
            ("DELETE", "/api/v3/brokerage/portfolios/a-1"),
        ] {
            assert!(Listed::new(READS, method, path).is_err(), "{method} {path}");
        }
        assert!(READS.iter().all(|read| read.method == "GET"));
    }
}
