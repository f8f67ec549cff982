//! The JSON-RPC 2.0 envelope, nothing of ours.
//!
//! Members are kept as they were written and read only where they are needed: an id is echoed byte
//! for byte, however large its integer, and deep nesting costs nothing before somebody looks.

use std::collections::BTreeMap;
use std::fmt;

use codash_domain::text::clean;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::error::Fault;

/// The most messages that one batch may hold.
pub const MAX_BATCH: usize = 50;

/// What a POST carries.
#[derive(Debug)]
pub enum Body<'a> {
    One(&'a RawValue),
    Batch(Vec<&'a RawValue>),
}

/// Reads the body as far as telling one message from several.
pub fn body(bytes: &[u8]) -> Result<Body<'_>, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::unreadable())?;
    let raw: &RawValue = serde_json::from_str(text).map_err(|_| Fault::unreadable())?;
    if !raw.get().starts_with('[') {
        return Ok(Body::One(raw));
    }
    let members: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|_| Fault::unreadable())?;
    match members.len() {
        0 => Err(Fault::invalid_envelope("a batch holds at least one message")),
        n if n > MAX_BATCH => Err(Fault::invalid_envelope(format!("a batch holds at most {MAX_BATCH} messages"))),
        _ => Ok(Body::Batch(members)),
    }
}

/// One message, by kind.
#[derive(Debug)]
pub enum Message<'a> {
    /// Has an id: is owed an answer.
    Request(Request<'a>),
    /// Has none: is heard, and never answered.
    Notification,
    /// Answers a request that this server never sends: is heard, and nothing follows.
    Response,
}

#[derive(Debug)]
pub struct Request<'a> {
    pub id: &'a RawValue,
    pub method: String,
    pub params: Members<'a>,
}

/// A message that cannot be acted on, with its id where that much was readable.
#[derive(Debug)]
pub struct Refused<'a> {
    pub id: Option<&'a RawValue>,
    pub fault: Fault,
}

/// Reads one message.
pub fn message(raw: &RawValue) -> Result<Message<'_>, Refused<'_>> {
    let members = Members::read(raw)
        .map_err(|reason| Refused { id: None, fault: Fault::invalid_envelope(format!("a message {reason}")) })?;
    let id = members.get("id");
    let known = id.filter(|id| is_id(id));
    classify(&members, id, known).map_err(|fault| Refused { id: known, fault })
}

fn classify<'a>(
    members: &Members<'a>,
    id: Option<&'a RawValue>,
    known: Option<&'a RawValue>,
) -> Result<Message<'a>, Fault> {
    if members.text("jsonrpc").as_deref() != Some("2.0") {
        return Err(Fault::invalid_envelope("jsonrpc must be the string \"2.0\""));
    }
    if id.is_some() && known.is_none() {
        return Err(Fault::invalid_envelope("id must be a string or an integer"));
    }
    let Some(method) = members.get("method") else {
        let answers = members.get("result").is_some() != members.get("error").is_some();
        return if answers { Ok(Message::Response) } else { Err(Fault::invalid_envelope("method is missing")) };
    };
    let method = text_of(method).ok_or_else(|| Fault::invalid_envelope("method must be a string"))?;
    let params = params(members.get("params"))?;
    match known {
        Some(id) => Ok(Message::Request(Request { id, method, params })),
        None => Ok(Message::Notification),
    }
}

/// By position, parameters are JSON-RPC but mean nothing here; anything else is not even that.
fn params(raw: Option<&RawValue>) -> Result<Members<'_>, Fault> {
    let Some(raw) = raw else { return Ok(Members::default()) };
    if raw.get().starts_with('[') {
        return Err(Fault::invalid_params("params must be an object, not an array"));
    }
    if !raw.get().starts_with('{') {
        return Err(Fault::invalid_envelope("params must be an object"));
    }
    Members::read(raw).map_err(|reason| Fault::invalid_params(format!("params {reason}")))
}

/// A string or an integer, as it is written: `1.0` and `1e0` are not integers here, `null` is not absence.
fn is_id(raw: &RawValue) -> bool {
    let text = raw.get();
    if text.starts_with('"') {
        return text_of(raw).is_some();
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn text_of(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// The members of a JSON object, each as it was written. A name that comes twice is refused: two
/// readers of such an object could see two different messages.
#[derive(Debug, Default)]
pub struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    /// The reason completes the sentence "X …".
    pub fn read(raw: &'a RawValue) -> Result<Self, String> {
        if !raw.get().starts_with('{') {
            return Err("must be an object".into());
        }
        serde_json::from_str(raw.get()).map_err(|e| format!("cannot be read: {}", clean(&e.to_string(), 128)))
    }

    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied()
    }

    /// The member, when it is there and a string.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(text_of)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor).map(Members)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = BTreeMap<String, &'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            let shown = clean(&name, 32);
            if members.insert(name, value).is_some() {
                return Err(M::Error::custom(format_args!("{shown:?} is there twice")));
            }
        }
        Ok(members)
    }
}

/// The answer to one request: a result or an error. An error that belongs to no request has no id.
#[derive(Debug, Serialize)]
pub struct Reply<'a, R> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<R>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Fault>,
}

impl<'a, R> Reply<'a, R> {
    pub fn new(id: Option<&'a RawValue>, outcome: Result<R, Fault>) -> Self {
        let (result, error) = match outcome {
            Ok(result) => (Some(result), None),
            Err(fault) => (None, Some(fault)),
        };
        Self { jsonrpc: "2.0", id, result, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Message<'_>, Refused<'_>> {
        match body(text.as_bytes()).unwrap() {
            Body::One(raw) => message(raw),
            Body::Batch(_) => panic!("a batch"),
        }
    }

    fn code(text: &str) -> i32 {
        match body(text.as_bytes()) {
            Err(fault) => fault.code,
            Ok(Body::One(raw)) => message(raw).unwrap_err().fault.code,
            Ok(Body::Batch(_)) => panic!("a batch"),
        }
    }

    #[test]
    fn ids_come_back_byte_for_byte() {
        for id in [r#""a b""#, r#""\u00e9\n""#, "0", "-7", "123456789012345678901234567890", r#""""#] {
            let text = format!(r#" {{"jsonrpc":"2.0","id": {id} ,"method":"ping"}} "#);
            let Message::Request(request) = one(&text).unwrap() else { panic!("no request") };
            assert_eq!(request.id.get(), id);
            let reply = serde_json::to_string(&Reply::new(Some(request.id), Ok(true))).unwrap();
            assert_eq!(reply, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":true}}"#));
        }
    }

    #[test]
    fn an_id_is_a_string_or_an_integer_and_never_null() {
        for id in ["null", "1.5", "1.0", "1e3", "true", "{}", "[]", r#""\ud800""#] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            let refused = one(&text).unwrap_err();
            assert_eq!((refused.fault.code, refused.id.is_none()), (-32600, true), "{id}");
        }
    }

    #[test]
    fn a_message_without_an_id_is_a_notification() {
        let text = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert!(matches!(one(text).unwrap(), Message::Notification));
    }

    #[test]
    fn an_answer_of_the_client_is_told_from_a_request() {
        for text in
            [r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#]
        {
            assert!(matches!(one(text).unwrap(), Message::Response));
        }
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":1}"#), -32600);
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#), -32600);
    }

    #[test]
    fn what_is_not_json_is_a_parse_error() {
        for text in ["", " ", "{", "nonsense", r#"{"jsonrpc":"2.0"} trailing"#, "{'a':1}", "\u{feff}{}", "[1,]", "NaN"]
        {
            assert_eq!(code(text), -32700, "{text}");
        }
        assert_eq!(body(b"\"\xff\"").unwrap_err().code, -32700);
    }

    #[test]
    fn what_is_json_and_no_message_is_an_invalid_envelope() {
        for text in [
            "1",
            "null",
            r#""ping""#,
            "{}",
            r#"{"id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","me\u0074hod":"tools/list"}"#,
        ] {
            assert_eq!(code(text), -32600, "{text}");
        }
    }

    #[test]
    fn an_invalid_envelope_with_a_readable_id_is_answered_under_it() {
        let refused = one(r#"{"jsonrpc":"1.0","id":"x","method":"ping"}"#).unwrap_err();
        assert_eq!(refused.id.unwrap().get(), r#""x""#);
    }

    #[test]
    fn parameters_by_position_or_twice_are_invalid_parameters() {
        for params in ["[]", r#"{"name":"a","name":"b"}"#] {
            assert_eq!(code(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{params}}}"#)), -32602);
        }
    }

    #[test]
    fn a_batch_has_one_to_fifty_messages() {
        let many = |n: usize| format!("[{}]", vec!["1"; n].join(","));
        assert!(matches!(body(many(50).as_bytes()), Ok(Body::Batch(all)) if all.len() == 50));
        assert_eq!(body(many(51).as_bytes()).unwrap_err().code, -32600);
        assert_eq!(body(b" [ ] ").unwrap_err().code, -32600);
    }

    #[test]
    fn deep_nesting_neither_overflows_nor_hangs() {
        let deep = "[".repeat(100_000);
        assert_eq!(body(deep.as_bytes()).unwrap_err().code, -32700);
        let closed = format!("{deep}{}", "]".repeat(100_000));
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":{closed}}},"x":{closed}}}"#);
        assert!(matches!(one(&text).unwrap(), Message::Request(_)));
        assert_eq!(code(&format!(r#"{{"jsonrpc":"2.0","id":{closed},"method":"ping"}}"#)), -32600);
    }

    #[test]
    fn many_members_are_read_in_time() {
        let many: Vec<String> = (0..40_000).map(|i| format!(r#""{i}":1"#)).collect();
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping",{}}}"#, many.join(","));
        assert!(matches!(one(&text).unwrap(), Message::Request(_)));
    }
}
