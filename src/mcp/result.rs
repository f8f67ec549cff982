//! What a successful method answers: built here and nowhere else, because the eras differ in it.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::era::Era;

/// How long a client may keep a list. A key's rights never change, so its lists change with a release.
const TTL_MILLIS: u32 = 300_000;

/// A result, member by member, each already JSON.
#[derive(Debug)]
pub struct Outcome {
    era: Era,
    cacheable: bool,
    members: Vec<(&'static str, Box<RawValue>)>,
}

impl Outcome {
    /// An answer to this request alone.
    pub fn of(era: Era, members: Vec<(&'static str, Box<RawValue>)>) -> Self {
        Self { era, cacheable: false, members }
    }

    /// An answer that this caller, and no other, may keep for a while.
    pub fn cacheable(era: Era, members: Vec<(&'static str, Box<RawValue>)>) -> Self {
        Self { era, cacheable: true, members }
    }

    /// A tool's answer: its JSON once as structure and once, the very same bytes, as text.
    pub fn of_tool(era: Era, structured: Box<RawValue>, is_error: bool) -> Self {
        let content = raw(&[Text { kind: "text", text: structured.get() }]);
        let members = vec![("content", content), ("structuredContent", structured), ("isError", raw(&is_error))];
        Self::of(era, members)
    }
}

#[derive(Serialize)]
struct Text<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: &'a str,
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.era == Era::Modern {
            map.serialize_entry("resultType", "complete")?;
        }
        for (name, value) in &self.members {
            map.serialize_entry(name, value)?;
        }
        if self.era == Era::Modern {
            if self.cacheable {
                map.serialize_entry("ttlMs", &TTL_MILLIS)?;
                map.serialize_entry("cacheScope", "private")?;
            }
            map.serialize_entry("_meta", &json!({ "io.modelcontextprotocol/serverInfo": server_info() }))?;
        }
        map.end()
    }
}

/// Who answers.
pub fn server_info() -> Value {
    json!({ "name": "codash", "title": "Codash", "version": env!("CARGO_PKG_VERSION") })
}

/// The value as JSON text. The types written here cannot fail to serialise.
pub fn raw<T: Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(outcome: &Outcome) -> String {
        serde_json::to_string(outcome).unwrap()
    }

    #[test]
    fn the_text_of_a_tool_result_is_its_structure_byte_for_byte() {
        let exact = r#"{"navUsd":1234567.8900000000000000001,"name":"a \"b\" é\n","n":1e5}"#;
        let outcome = Outcome::of_tool(Era::Handshake, RawValue::from_string(exact.into()).unwrap(), false);
        let written = text(&outcome);
        assert!(written.ends_with(&format!(r#""structuredContent":{exact},"isError":false}}"#)), "{written}");
        let parsed: Value = serde_json::from_str(&written).unwrap();
        assert_eq!(parsed["content"][0]["text"], exact);
        assert_eq!(parsed["content"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn the_handshake_era_adds_nothing() {
        assert_eq!(text(&Outcome::cacheable(Era::Handshake, vec![("tools", raw(&[0; 0]))])), r#"{"tools":[]}"#);
    }

    #[test]
    fn the_modern_era_says_complete_who_answers_and_how_long_it_holds() {
        let list: Value =
            serde_json::from_str(&text(&Outcome::cacheable(Era::Modern, vec![("tools", raw(&[0; 0]))]))).unwrap();
        assert_eq!(list["resultType"], "complete");
        assert_eq!(list["cacheScope"], "private");
        assert_eq!(list["ttlMs"], 300_000);
        assert_eq!(list["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "codash");
        let call: Value = serde_json::from_str(&text(&Outcome::of(Era::Modern, vec![]))).unwrap();
        assert!(call.get("ttlMs").is_none() && call.get("cacheScope").is_none());
    }
}
