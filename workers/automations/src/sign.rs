//! Standard Webhooks: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

const PREFIX: &str = "whsec_";
/// How far a signed request's clock may be off, as the libraries of Standard Webhooks have it.
const TOLERANCE_SECONDS: i64 = 300;

/// A new secret: `whsec_` and 32 random bytes.
pub fn secret(bits: [u8; 32]) -> SecretString {
    format!("{PREFIX}{}", STANDARD.encode(bits)).into()
}

/// The signatures of a message, one for each secret, in the form of the header `webhook-signature`.
pub fn signatures(secrets: &[SecretString], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signed: Vec<String> = secrets
        .iter()
        .filter_map(|secret| mac(secret, id, timestamp, body))
        .map(|mac| format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
        .collect();
    signed.join(" ")
}

/// True when one of the header's signatures is of this message, made within five minutes of `now`.
pub fn verifies(secret: &SecretString, id: &str, timestamp: &str, header: &str, body: &[u8], now: i64) -> bool {
    let Ok(timestamp) = timestamp.parse::<i64>() else { return false };
    if now.abs_diff(timestamp) > TOLERANCE_SECONDS.unsigned_abs() {
        return false;
    }
    let known = header.split(' ').filter_map(|one| one.strip_prefix("v1,")).filter_map(|one| STANDARD.decode(one).ok());
    // Compared in constant time by the library; few are looked at.
    known.take(8).any(|tag| mac(secret, id, timestamp, body).is_some_and(|mac| mac.verify_slice(&tag).is_ok()))
}

fn mac(secret: &SecretString, id: &str, timestamp: i64, body: &[u8]) -> Option<Hmac<Sha256>> {
    let key = STANDARD.decode(secret.expose_secret().strip_prefix(PREFIX)?).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification.
    #[test]
    fn the_specifications_own_example_comes_out() {
        let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = br#"{"test": 2432232314}"#;
        let header = signatures(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(header, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn either_secret_of_a_rotation_verifies_and_nothing_else_does() {
        let (old, new, other) = (secret([1; 32]), secret([2; 32]), secret([3; 32]));
        let header = signatures(&[new.clone(), old.clone()], "m", 1_000, b"body");
        for good in [&old, &new] {
            assert!(verifies(good, "m", "1000", &header, b"body", 1_300));
        }
        assert!(!verifies(&other, "m", "1000", &header, b"body", 1_000));
        assert!(!verifies(&new, "n", "1000", &header, b"body", 1_000));
        assert!(!verifies(&new, "m", "1001", &header, b"body", 1_000));
        assert!(!verifies(&new, "m", "1000", &header, b"Body", 1_000));
        assert!(!verifies(&new, "m", "1000", &header, b"body", 1_301));
        assert!(!verifies(&new, "m", "1000", &header, b"body", 699));
        for header in ["", "v1", "v1,", "v2,AAAA", "v1a,AAAA", "v1,%%%"] {
            assert!(!verifies(&new, "m", "1000", header, b"body", 1_000), "{header}");
        }
        assert!(!verifies(&new, "m", "x", &header, b"body", 1_000));
    }
}
