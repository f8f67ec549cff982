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
pub struct MasterKeys {
    first: MasterKey,
    others: Vec<MasterKey>,
}

#[derive(Clone)]
struct MasterKey {
    id: String,
    bits: [u8; 32],
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl MasterKeys {
    /// Reads `id:base64(32 bytes)`, several separated by commas, the current one first. Two with one id,
    /// or with the same bits, are a slip that a rotation would suffer from: refused.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut keys: Vec<MasterKey> = Vec::new();
        for (i, part) in text.trim().split(',').enumerate() {
            let key = MasterKey::parse(part.trim())
                .ok_or_else(|| format!("master key {} is not ID:BASE64 of 32 bytes", i + 1))?;
            if let Some(twin) = keys.iter().position(|k| k.id == key.id || k.bits == key.bits) {
                return Err(format!("master keys {} and {} have the same id or the same bits", twin + 1, i + 1));
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or("there is no master key")?;
        Ok(Self { first, others: keys.collect() })
    }

    pub fn generate(id: &str, bits: [u8; 32]) -> Self {
        Self { first: MasterKey { id: id.to_owned(), bits }, others: Vec::new() }
    }

    /// The form that [`MasterKeys::parse`] reads.
    pub fn to_text(&self) -> SecretString {
        let parts: Vec<String> = self.all().map(|key| format!("{}:{}", key.id, STANDARD.encode(key.bits))).collect();
        parts.join(",").into()
    }

    /// The id of the key that wraps.
    pub fn current_id(&self) -> &str {
        &self.first.id
    }

    /// Every id, the current one first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.all().map(|key| key.id.as_str())
    }

    /// Keys for another purpose (cursor signatures): the current master key's signs, those of all verify.
    /// What was signed before a rotation stays good for as long as its master key is in the list.
    pub fn derive(&self, purpose: &str) -> Derived {
        Derived {
            signing: self.first.derive(purpose),
            others: self.others.iter().map(|key| key.derive(purpose)).collect(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.first).chain(&self.others)
    }

    pub(crate) fn current(&self) -> (&str, &[u8; 32]) {
        (&self.first.id, &self.first.bits)
    }

    pub(crate) fn by_id(&self, id: &str) -> Result<&[u8; 32], Error> {
        let found = self.all().find(|key| key.id == id);
        found.map(|key| &key.bits).ok_or_else(|| Error::UnknownMasterKey { id: id.to_owned() })
    }
}

impl MasterKey {
    fn parse(part: &str) -> Option<Self> {
        let (id, bits) = part.split_once(':')?;
        let bits = STANDARD.decode(bits).ok()?.try_into().ok()?;
        (!id.is_empty()).then(|| Self { id: id.to_owned(), bits })
    }

    fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"codash-derive-v1\0");
        hash.update(purpose.as_bytes());
        hash.update([0]);
        hash.update(self.bits);
        // Twice hashed, so that the result is no prefix state of another derivation.
        Sha256::digest(hash.finalize()).into()
    }
}

/// Keys for one purpose, one from each master key. What is made is made with the first; what comes back
/// is good if it was made with any.
#[derive(Clone)]
pub struct Derived {
    signing: [u8; 32],
    others: Vec<[u8; 32]>,
}

impl Derived {
    pub fn signing(&self) -> &[u8; 32] {
        &self.signing
    }

    /// Every key, the signing one first.
    pub fn all(&self) -> impl Iterator<Item = &[u8; 32]> {
        std::iter::once(&self.signing).chain(&self.others)
    }
}

impl From<[u8; 32]> for Derived {
    fn from(signing: [u8; 32]) -> Self {
        Self { signing, others: Vec::new() }
    }
}

impl fmt::Debug for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Derived(…)")
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
        assert_eq!(format!("{:?}", keys.derive("cursor")), "Derived(…)");
        let read = MasterKeys::parse(keys.to_text().expose_secret()).unwrap();
        assert_eq!(read.derive("cursor").signing(), keys.derive("cursor").signing());
        assert_ne!(keys.derive("cursor").signing(), keys.derive("other").signing());
        assert!(MasterKeys::parse("k1:short").is_err());
        assert!(MasterKeys::parse("").is_err());
    }

    #[test]
    fn two_keys_with_one_id_or_the_same_bits_are_refused_without_showing_them() {
        let text = |id: &str, bits: u8| MasterKeys::generate(id, [bits; 32]).to_text().expose_secret().to_owned();
        let list = |a: &str, b: &str| MasterKeys::parse(&format!("{a},{b}"));
        assert_eq!(list(&text("k1", 1), &text("k2", 2)).unwrap().ids().collect::<Vec<_>>(), ["k1", "k2"]);
        for (a, b) in [(text("k1", 1), text("k1", 2)), (text("k1", 1), text("k2", 1))] {
            let reason = list(&a, &b).unwrap_err();
            assert_eq!(reason, "master keys 1 and 2 have the same id or the same bits");
        }
    }

    #[test]
    fn what_a_key_signed_is_known_to_every_list_that_holds_it() {
        let one = |id: &str, bits: u8| MasterKeys::generate(id, [bits; 32]);
        let list = |a: &MasterKeys, b: &MasterKeys| {
            MasterKeys::parse(&format!("{},{}", a.to_text().expose_secret(), b.to_text().expose_secret())).unwrap()
        };
        let (old, new) = (one("k1", 1), one("k2", 2));
        let fleet = [old.clone(), list(&old, &new), list(&new, &old), new];
        for (signer, reader) in fleet.iter().zip(&fleet[1..]).chain(fleet[1..].iter().zip(&fleet)) {
            let (signed, known) = (signer.derive("cursor"), reader.derive("cursor"));
            assert!(known.all().any(|key| key == signed.signing()), "{signer:?} {reader:?}");
        }
        assert!(!fleet[3].derive("cursor").all().any(|key| key == fleet[0].derive("cursor").signing()));
    }
}
