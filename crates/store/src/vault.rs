//! Sealed secrets: envelope encryption with XChaCha20-Poly1305.
//!
//! A data key per workspace seals venue credentials; master keys, which come from the environment or
//! a file and never reach PostgreSQL, wrap the data keys. What a ciphertext belongs to (table,
//! workspace, account) is bound in as associated data: moved elsewhere, it does not open.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::fmt;

use crate::Error;

const NONCE: usize = 24;

/// Master keys by id; the first wraps, all unwrap.
#[derive(Clone)]
pub struct MasterKeys(Vec<(String, [u8; 32])>);

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(id, _)| id)).finish()
    }
}

impl MasterKeys {
    /// Reads `id:base64(32 bytes)`, several separated by commas, the current one first.
    pub fn parse(text: &str) -> Result<Self, String> {
        let keys = text
            .trim()
            .split(',')
            .enumerate()
            .map(|(i, part)| {
                let fault = || format!("master key {} is not ID:BASE64 of 32 bytes", i + 1);
                let (id, bits) = part.trim().split_once(':').ok_or_else(fault)?;
                let bits: [u8; 32] = STANDARD.decode(bits).ok().and_then(|b| b.try_into().ok()).ok_or_else(fault)?;
                if id.is_empty() { Err(fault()) } else { Ok((id.to_owned(), bits)) }
            })
            .collect::<Result<Vec<_>, String>>()?;
        Ok(Self(keys))
    }

    pub fn generate(id: &str, bits: [u8; 32]) -> Self {
        Self(vec![(id.to_owned(), bits)])
    }

    /// The form that [`MasterKeys::parse`] reads.
    pub fn to_text(&self) -> SecretString {
        let parts: Vec<String> = self.0.iter().map(|(id, bits)| format!("{id}:{}", STANDARD.encode(bits))).collect();
        parts.join(",").into()
    }

    /// A key for another purpose (cursor signatures), derived from the **last** master key, which a
    /// rotation leaves in place until it is retired.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"codash-derive-v1\0");
        hash.update(purpose.as_bytes());
        hash.update([0]);
        if let Some((_, bits)) = self.0.last() {
            hash.update(bits);
        }
        // Twice hashed, so that the result is no prefix state of another derivation.
        Sha256::digest(hash.finalize()).into()
    }

    pub(crate) fn current(&self) -> Result<(&str, &[u8; 32]), Error> {
        self.0.first().map(|(id, bits)| (id.as_str(), bits)).ok_or(Error::Sealed("no master key is configured"))
    }

    pub(crate) fn by_id(&self, id: &str) -> Result<&[u8; 32], Error> {
        let found = self.0.iter().find(|(known, _)| known == id);
        found.map(|(_, bits)| bits).ok_or(Error::Sealed("the master key that wrapped it is not configured"))
    }
}

/// Nonce and ciphertext of `plain`, which opens only with the same key and the same `belongs_to`.
pub(crate) fn seal(key: &[u8; 32], nonce: [u8; NONCE], belongs_to: &str, plain: &[u8]) -> Result<Vec<u8>, Error> {
    let payload = Payload { msg: plain, aad: belongs_to.as_bytes() };
    let sealed = XChaCha20Poly1305::new(&Key::from(*key))
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| Error::Sealed("sealing failed"))?;
    Ok([&nonce[..], &sealed].concat())
}

pub(crate) fn open(key: &[u8; 32], belongs_to: &str, sealed: &[u8]) -> Result<Vec<u8>, Error> {
    let (nonce, text) = sealed.split_at_checked(NONCE).ok_or(Error::Sealed("it is too short"))?;
    let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| Error::Sealed("it is too short"))?;
    XChaCha20Poly1305::new(&Key::from(*key))
        .decrypt(&XNonce::from(nonce), Payload { msg: text, aad: belongs_to.as_bytes() })
        .map_err(|_| Error::Sealed("it was changed, moved, or sealed with another key"))
}

/// SHA-256 of what identifies a credential at its venue.
pub(crate) fn fingerprint(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

/// Plaintext credential as JSON, only for sealing.
pub(crate) fn credential_json(credential: &crate::Credential) -> Vec<u8> {
    let value = match credential {
        crate::Credential::ApiKey { key, secret, passphrase } => {
            let mut value = serde_json::json!({ "key": key, "secret": secret.expose_secret() });
            if let Some(passphrase) = passphrase {
                value["passphrase"] = passphrase.expose_secret().into();
            }
            value
        }
        crate::Credential::Wallet { address } => serde_json::json!({ "address": address }),
    };
    value.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ciphertext_opens_only_where_it_belongs_and_unchanged() {
        let key = [1; 32];
        let sealed = seal(&key, [2; NONCE], "account_secrets:a", b"secret").unwrap();
        assert_eq!(open(&key, "account_secrets:a", &sealed).unwrap(), b"secret");
        assert!(open(&key, "account_secrets:b", &sealed).is_err());
        assert!(open(&[3; 32], "account_secrets:a", &sealed).is_err());
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&key, "account_secrets:a", &changed).is_err());
        }
        assert!(open(&key, "account_secrets:a", b"short").is_err());
    }

    #[test]
    fn master_keys_hide_their_bits_and_read_back() {
        let keys = MasterKeys::generate("k1", [9; 32]);
        assert_eq!(format!("{keys:?}"), "[\"k1\"]");
        let read = MasterKeys::parse(keys.to_text().expose_secret()).unwrap();
        assert_eq!(read.derive("cursor"), keys.derive("cursor"));
        assert_ne!(keys.derive("cursor"), keys.derive("other"));
        assert!(MasterKeys::parse("k1:short").is_err());
    }
}
