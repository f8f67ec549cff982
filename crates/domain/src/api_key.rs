//! API keys: `kv_live_`, 43 base62 digits of 256 random bits, 6 base62 digits of a CRC-32.
//!
//! The checksum lets a mistyped key be refused without a query. Only the SHA-256 is ever stored.

use std::fmt;

use sha2::{Digest, Sha256};

pub const PREFIX: &str = "kv_live_";
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BODY: usize = 43;
const CHECK: usize = 6;

/// The plaintext of a key. It has no `Display`, and its `Debug` shows nothing: call
/// [`ApiKey::reveal`] where the owner is shown it, once.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    pub fn from_random(bits: [u8; 32]) -> Self {
        let mut text = format!("{PREFIX}{}", base62(&bits, BODY));
        let check = base62(&crc32fast::hash(text.as_bytes()).to_be_bytes(), CHECK);
        text.push_str(&check);
        Self(text)
    }

    /// `None` when the shape or the checksum is wrong.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != PREFIX.len() + BODY + CHECK || !text.starts_with(PREFIX) || !text.is_ascii() {
            return None;
        }
        let (body, check) = text.split_at(PREFIX.len() + BODY);
        (base62(&crc32fast::hash(body.as_bytes()).to_be_bytes(), CHECK) == check).then(|| Self(text.into()))
    }

    /// SHA-256 of the key: what is stored and looked up.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The first characters, for owners to tell keys apart: `kv_live_` and 6 more.
    pub fn hint(&self) -> &str {
        &self.0[..PREFIX.len() + 6]
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// Big-endian bytes in base 62, left-padded with zeros to `width` digits.
fn base62(bytes: &[u8], width: usize) -> String {
    let mut digits = vec![0_u8; width];
    for &byte in bytes {
        let mut carry = u32::from(byte);
        for digit in digits.iter_mut().rev() {
            let value = u32::from(*digit) * 256 + carry;
            *digit = (value % 62) as u8;
            carry = value / 62;
        }
        debug_assert_eq!(carry, 0, "width holds the value");
    }
    digits.into_iter().map(|d| char::from(BASE62[usize::from(d)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_hides_itself() {
        let key = ApiKey::from_random([0xFF; 32]);
        assert_eq!(ApiKey::parse(key.reveal()), Some(key.clone()));
        assert_eq!(format!("{key:?}"), "ApiKey(…)");
    }

    #[test]
    fn one_wrong_character_is_always_refused() {
        let key = ApiKey::from_random(std::array::from_fn(|i| i as u8));
        for at in PREFIX.len()..key.reveal().len() {
            let mut bytes = key.reveal().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            assert_eq!(ApiKey::parse(std::str::from_utf8(&bytes).unwrap()), None);
        }
        assert_eq!(ApiKey::parse(&format!("{}x", key.reveal())), None);
    }
}
