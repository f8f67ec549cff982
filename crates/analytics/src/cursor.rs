//! Cursors: opaque, tamper-proof, bound to who asks and what was asked.
//!
//! A cursor holds the window (resolved once, on the first page) and the last id shown, signed together
//! with the key, the question, the visible accounts and the filters. It works nowhere else, survives a
//! restart, and holds nothing that its bearer has not seen.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use codash_domain::{EventId, Timestamp, Window};
use codash_store::Derived;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use std::fmt;

use crate::Rule;

const LENGTH: usize = 8 + 8 + 16;
const TAG: usize = 16;

/// The secret that signs cursors; the same on every instance. Those of other master keys are known too, so
/// that a cursor outlives a rotation.
#[derive(Clone)]
pub struct CursorKey(Derived);

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
    pub fn new(keys: impl Into<Derived>) -> Self {
        Self(keys.into())
    }

    /// `bound_to` names everything that must be the same on the next page.
    pub fn write(&self, position: &Position, bound_to: &str) -> String {
        let mut bytes = Vec::with_capacity(LENGTH + TAG);
        bytes.extend(position.window.from.millis().to_be_bytes());
        bytes.extend(position.window.to.millis().to_be_bytes());
        bytes.extend(position.before.uuid().as_bytes());
        let tag = mac(self.0.signing(), &bytes, bound_to).finalize().into_bytes();
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
        self.0.all().find(|key| mac(key, body, bound_to).verify_truncated_left(tag).is_ok())?;
        let millis = |range: std::ops::Range<usize>| -> Option<Timestamp> {
            Timestamp::from_millis(i64::from_be_bytes(body.get(range)?.try_into().ok()?))
        };
        let id: [u8; 16] = body.get(16..32)?.try_into().ok()?;
        Some(Position {
            window: Window { from: millis(0..8)?, to: millis(8..16)? },
            before: EventId::from_uuid(uuid::Uuid::from_bytes(id)),
        })
    }
}

fn mac(key: &[u8; 32], body: &[u8], bound_to: &str) -> Hmac<Sha256> {
    // HMAC pads a key to the block of 64 bytes with zeros.
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(&(bound_to.len() as u64).to_be_bytes());
    mac.update(bound_to.as_bytes());
    mac.update(body);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use codash_domain::AccountId;
    use codash_store::MasterKeys;

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
    fn a_cursor_outlives_a_rotation_for_as_long_as_its_key_is_in_the_list() {
        let list = |text: &str| CursorKey::new(MasterKeys::parse(text).unwrap().derive("cursor"));
        let (k1, k2) =
            ("k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "k2:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=");
        let [old, behind, front, new] = [list(k1), list(&format!("{k1},{k2}")), list(&format!("{k2},{k1}")), list(k2)];
        // Each process reads what those a step before and after it wrote.
        for (a, b) in [(&old, &behind), (&behind, &front), (&front, &new)] {
            for (writer, reader) in [(a, b), (b, a)] {
                assert_eq!(reader.read(&writer.write(&position(), "x"), "x").unwrap(), position());
            }
        }
        assert!(new.read(&old.write(&position(), "x"), "x").is_err(), "its key was taken away");
    }

    #[test]
    fn no_mutation_of_a_cursor_is_accepted() {
        let key = CursorKey::new([7; 32]);
        let text = key.write(&position(), "x");
        let mut tried = 0;
        let mut refuse = |changed: &str| {
            if changed != text {
                tried += 1;
                assert!(key.read(changed, "x").is_err(), "{changed}");
            }
        };
        let alphabet: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_', '=', 'é']).collect();
        for at in 0..text.len() {
            // Another character in its place, and one more before it.
            for c in &alphabet {
                refuse(&format!("{}{c}{}", &text[..at], &text[at + 1..]));
                refuse(&format!("{}{c}{}", &text[..at], &text[at..]));
            }
            // Parts of it, turned around, doubled, cut off.
            for other in at + 1..text.len() {
                let mut chars: Vec<char> = text.chars().collect();
                chars.swap(at, other);
                refuse(&chars.iter().collect::<String>());
                chars[at..=other].reverse();
                refuse(&chars.iter().collect::<String>());
                refuse(&text.replacen(&text[at..other], "", 1));
            }
            refuse(&text[at..]);
            refuse(&text[..at]);
        }
        for bad in ["AAAA", "not base64!", &format!("{text}{text}"), &format!("{text}="), &format!(" {text}")] {
            refuse(bad);
        }
        assert!(tried > 10_000, "{tried}");
    }

    #[test]
    fn every_bit_of_a_cursor_counts() {
        let key = CursorKey::new([7; 32]);
        let bytes = URL_SAFE_NO_PAD.decode(key.write(&position(), "x")).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(key.read(&URL_SAFE_NO_PAD.encode(changed), "x").is_err(), "{bit}");
        }
    }
}
