//! The HMACs that requests are signed with, and names for keys.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256, Sha512};

use crate::error::VenueError;

/// Hex HMAC-SHA256 of exactly what is sent.
pub fn sha256_hex(secret: &SecretString, payload: &str) -> Result<String, VenueError> {
    of_text::<Hmac<Sha256>>(secret, payload).map(hex::encode)
}

/// Base64 HMAC-SHA256 of exactly what is sent.
pub fn sha256_base64(secret: &SecretString, payload: &str) -> Result<String, VenueError> {
    of_text::<Hmac<Sha256>>(secret, payload).map(|mac| STANDARD.encode(mac))
}

/// Hex HMAC-SHA512 of exactly what is sent.
pub fn sha512_hex(secret: &SecretString, payload: &str) -> Result<String, VenueError> {
    of_text::<Hmac<Sha512>>(secret, payload).map(hex::encode)
}

/// HMAC-SHA512 of these parts, one after the other.
pub fn sha512(key: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>, VenueError> {
    mac::<Hmac<Sha512>>(key, parts)
}

/// Names a key in meters and logs without showing it: 16 hex digits.
pub fn key_name(key: &str) -> String {
    let mut digest = hex::encode(Sha256::digest(key.as_bytes()));
    digest.truncate(16);
    digest
}

fn of_text<M: Mac + KeyInit>(secret: &SecretString, payload: &str) -> Result<Vec<u8>, VenueError> {
    mac::<M>(secret.expose_secret().as_bytes(), &[payload.as_bytes()])
}

fn mac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>, VenueError> {
    let mut mac = <M as KeyInit>::new_from_slice(key)
        .map_err(|_| VenueError::KeyRefused { reason: "the secret is no HMAC key".into() })?;
    parts.iter().for_each(|part| mac.update(part));
    Ok(mac.finalize().into_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn the_published_examples_give_the_published_codes() {
        let (secret, payload): (SecretString, _) = ("Jefe".into(), "what do ya want for nothing?");
        let sha256 = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(sha256_hex(&secret, payload).unwrap(), sha256);
        assert_eq!(sha256_base64(&secret, payload).unwrap(), STANDARD.encode(hex::decode(sha256).unwrap()));
        let sha512 = sha512_hex(&secret, payload).unwrap();
        assert!(sha512.starts_with("164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"));
        assert_eq!(super::sha512(b"Jefe", &[b"what do ya ", b"want for nothing?"]).map(hex::encode).unwrap(), sha512);
    }

    #[test]
    fn the_name_of_a_key_is_short_and_always_the_same() {
        assert_eq!(key_name("the-key"), key_name("the-key"));
        assert_eq!((key_name("").as_str(), key_name("the-key").len()), ("e3b0c44298fc1c14", 16));
    }
}
