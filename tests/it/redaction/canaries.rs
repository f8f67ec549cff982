//! Secrets to look for, and the ways to find them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::tenants::random;

/// Texts that no log may hold.
#[derive(Default)]
pub struct Canaries(Vec<(String, String)>);

impl Canaries {
    /// A new secret.
    pub fn hatch(&mut self, what: &str) -> String {
        let text = format!("canary-{}-{}", what.replace(' ', "-"), hex::encode(random::<12>()));
        self.watch(what, &text);
        text
    }

    pub fn watch(&mut self, what: &str, text: &str) {
        assert!(text.len() >= 16, "{what} is too short to be told from chance: {text}");
        self.0.push((what.to_owned(), text.to_owned()));
    }

    /// A secret that an answer shows.
    pub fn shown(&mut self, reply: &Value, pointer: &str) -> String {
        let text = reply.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}: {reply}"));
        self.watch(pointer, text);
        text.to_owned()
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn assert_absent(&self, place: &str, text: &str) {
        let secrets = self.0.iter().flat_map(|(what, secret)| {
            forms(secret).into_iter().map(move |(form, needle)| (format!("{what}, {form}"), needle))
        });
        if let Some((what, line)) = find(text, &secrets.collect::<Vec<_>>()) {
            panic!("{place} holds {what}: {line}");
        }
    }
}

/// The first of many needles that a text holds, and where. One pass over the text for all of them.
fn find(text: &str, needles: &[(String, String)]) -> Option<(String, String)> {
    const BITS: u32 = 20;
    let slot = |start: &[u8]| {
        let start = u64::from_le_bytes(start.try_into().unwrap());
        usize::try_from(start.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - BITS)).unwrap()
    };
    let mut starts = vec![false; 1 << BITS];
    for (_, needle) in needles {
        starts[slot(&needle.as_bytes()[..8])] = true;
    }
    let bytes = text.as_bytes();
    let likely = bytes.windows(8).enumerate().filter(|(_, window)| starts[slot(window)]);
    for (at, _) in likely {
        if let Some((what, needle)) = needles.iter().find(|(_, needle)| bytes[at..].starts_with(needle.as_bytes())) {
            let line = text[..at].rsplit('\n').next().unwrap_or_default();
            return Some((what.clone(), format!("{line}<{} characters>", needle.len())));
        }
    }
    None
}

/// The ways in which a secret could stand in a log.
fn forms(secret: &str) -> Vec<(&'static str, String)> {
    let decimal = |bytes: &[u8]| bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let mut forms = vec![
        ("whole", secret.to_owned()),
        ("in hexadecimal", hex::encode(secret)),
        ("as numbers", decimal(&secret.as_bytes()[secret.len() - 12..])),
    ];
    // The first characters of a key are its hint, which owners see.
    let (first, second) = secret.split_at(secret.len() / 2);
    let halves = [("its first half", first), ("its second half", second)];
    forms.extend(halves.into_iter().filter(|(_, half)| half.len() >= 15).map(|(form, half)| (form, half.to_owned())));
    for before in 0..3 {
        // As part of something longer that is encoded: a header of credentials.
        let within = [&b"::"[..before], secret.as_bytes()].concat();
        for text in [STANDARD.encode(&within), URL_SAFE_NO_PAD.encode(&within)] {
            let inner = &text[4..text.len() - 4];
            forms.push(("in base64", inner.to_owned()));
        }
    }
    forms
}

#[test]
fn a_secret_is_found_in_every_form() {
    let mut canaries = Canaries::default();
    let secret = canaries.hatch("secret");
    let found = |text: &str| std::panic::catch_unwind(|| canaries.assert_absent("this", text)).is_err();
    assert!(!found("canary-secret") && !found("nothing"));
    for text in [
        format!("a {secret} b"),
        format!("Basic {}", STANDARD.encode(format!("user:{secret}"))),
        format!("Basic {}", STANDARD.encode(format!("us:{secret}"))),
        format!("{:?}", secret.as_bytes()),
        secret[..secret.len() / 2].to_owned(),
        secret[secret.len() / 2..].to_owned(),
        hex::encode(&secret),
    ] {
        assert!(found(&text), "{text}");
    }
}
