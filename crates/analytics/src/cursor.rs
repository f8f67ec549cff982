//! Cursors: opaque, tamper-proof, bound to who asks and what was asked.
//!
//! A cursor holds the window (resolved once, on the first page) and the last id shown, signed together
//! with the key, the question, the visible accounts and the filters. It works nowhere else, survives a
//! restart, and holds nothing that its bearer has not seen.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use codash_domain::{EventId, Timestamp, Window};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use std::fmt;

use crate::Rule;

const LENGTH: usize = 8 + 8 + 16;
const TAG: usize = 16;

/// The secret that signs cursors; the same on every instance.
#[derive(Clone)]
pub struct CursorKey([u8; 32]);

impl fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CursorKey(…)")
    }
}

/// Where a listing goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub window: Window,
    pub before: EventId,
}

impl CursorKey {
    pub fn new(bits: [u8; 32]) -> Self {
        Self(bits)
    }

    /// `bound_to` names everything that must be the same on the next page.
    pub fn write(&self, position: &Position, bound_to: &str) -> String {
        let mut bytes = Vec::with_capacity(LENGTH + TAG);
        bytes.extend(position.window.from.millis().to_be_bytes());
        bytes.extend(position.window.to.millis().to_be_bytes());
        bytes.extend(position.before.uuid().as_bytes());
        let tag = self.mac(&bytes, bound_to).finalize().into_bytes();
        bytes.extend(&tag[..TAG]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Refuses a cursor that was changed, or that belongs to another key, question or filter.
    pub fn read(&self, text: &str, bound_to: &str) -> Result<Position, Rule> {
        self.open(text, bound_to).ok_or_else(|| {
            Rule::new(
                "invalid_cursor",
                "This cursor does not belong to this key, tool and set of filters. Pass nextCursor unchanged, with \
                 the same arguments as the call that returned it, or start again without a cursor.",
                json!({ "argument": "cursor" }),
            )
        })
    }

    fn open(&self, text: &str, bound_to: &str) -> Option<Position> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().filter(|b| b.len() == LENGTH + TAG)?;
        let (body, tag) = bytes.split_at(LENGTH);
        self.mac(body, bound_to).verify_truncated_left(tag).ok()?;
        let millis = |range: std::ops::Range<usize>| -> Option<Timestamp> {
            Timestamp::from_millis(i64::from_be_bytes(body.get(range)?.try_into().ok()?))
        };
        let id: [u8; 16] = body.get(16..32)?.try_into().ok()?;
        Some(Position {
            window: Window { from: millis(0..8)?, to: millis(8..16)? },
            before: EventId::from_uuid(uuid::Uuid::from_bytes(id)),
        })
    }

    fn mac(&self, body: &[u8], bound_to: &str) -> Hmac<Sha256> {
        // HMAC pads a key to the block of 64 bytes with zeros.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(&(bound_to.len() as u64).to_be_bytes());
        mac.update(bound_to.as_bytes());
        mac.update(body);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codash_domain::AccountId;

    fn position() -> Position {
        let at = |m| Timestamp::from_millis(m).unwrap();
        let before = EventId::derive(AccountId::from_random([1; 16]), "s", "n", at(5));
        Position { window: Window { from: at(1), to: at(9) }, before }
    }

    #[test]
    fn a_cursor_reads_back_only_where_it_was_written() {
        let key = CursorKey::new([7; 32]);
        let text = key.write(&position(), "key-a|trade_events|[]");
        assert_eq!(key.read(&text, "key-a|trade_events|[]").unwrap(), position());
        assert!(key.read(&text, "key-b|trade_events|[]").is_err());
        assert!(CursorKey::new([8; 32]).read(&text, "key-a|trade_events|[]").is_err());
    }

    #[test]
    fn no_mutation_of_a_cursor_is_accepted() {
        let key = CursorKey::new([7; 32]);
        let text = key.write(&position(), "x");
        for at in 0..text.len() {
            for c in ['A', 'b', '-', '=', 'é'] {
                let mut chars: Vec<char> = text.chars().collect();
                if chars[at] != c {
                    chars[at] = c;
                    assert!(key.read(&chars.into_iter().collect::<String>(), "x").is_err());
                }
            }
        }
        for bad in ["", "AAAA", "not base64!"] {
            assert!(key.read(bad, "x").is_err());
        }
    }
}
