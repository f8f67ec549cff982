//! Reading bodies: strictly, with the place of every fault. The one use of `validator` in REST.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use codash_analytics::input::{self, Invalid};
use codash_domain::text;
use codash_store::audit::{Actor, By};
use schemars::JsonSchema;
use serde::de::{self, DeserializeOwned, MapAccess};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use validator::{Validate, ValidationError};

use super::error::ApiError;
use super::query;
use crate::app::App;
use crate::server::ClientAddress;

/// A JSON body of a known shape: unknown names, wrong types and broken bounds are refused.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + Validate, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::unsupported_media_type("the body must be application/json"));
        }
        read(&body(request, state).await?.1).map(Self)
    }
}

/// Arguments in the query string, held to the same schema as a body. A list is written with commas, or
/// by repeating its name.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned + Validate + JsonSchema, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        read_pairs(&query::pairs(&parts.uri)?, &input::input_schema::<T>()).map(Self)
    }
}

/// Who knocks at a public route: an address and the request's id.
#[derive(Debug, Clone)]
pub struct Visitor {
    pub address: IpAddr,
    pub request_id: Option<String>,
}

impl Visitor {
    /// For the audit.
    pub fn by(&self, app: &App, actor: Actor) -> By {
        By { actor, address: Some(self.address), request_id: self.request_id.clone(), at: app.clock.now() }
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let ClientAddress(address) = *parts.extensions.get::<ClientAddress>().ok_or_else(ApiError::internal)?;
        let request_id = parts.headers.get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        Ok(Self { address, request_id })
    }
}

/// Of a route that takes no arguments in its query string: any is refused.
pub type NoParams = Params<codash_analytics::list_accounts::Query>;

/// Names and values as what `schema`, which is that of `T`, says of them.
pub fn read_pairs<T: DeserializeOwned + Validate>(pairs: &[(String, String)], schema: &Value) -> Result<T, ApiError> {
    let known: Vec<&str> =
        schema["properties"].as_object().into_iter().flat_map(|names| names.keys()).map(String::as_str).collect();
    query::only_known(pairs, &known)?;
    let arguments = arguments(pairs, schema)?;
    input::read(&arguments).map_err(|faults| ApiError::invalid_fields(&faults))
}

/// Texts as values of the types that the schema names; what does not fit stays a text, and is refused
/// with its place.
fn arguments(pairs: &[(String, String)], schema: &Value) -> Result<Value, ApiError> {
    let mut arguments = serde_json::Map::new();
    for (name, text) in pairs {
        let wanted = &schema["properties"][name.as_str()]["type"];
        if wanted == "array" {
            // Nothing at all is an empty list; nothing between two commas is a slip, and is refused with its place.
            let items = text.split(',').filter(|_| !text.is_empty()).map(Value::from);
            let list = arguments.entry(name.clone()).or_insert_with(|| Value::Array(vec![]));
            list.as_array_mut().into_iter().for_each(|list| list.extend(items.clone()));
            continue;
        }
        let value = match wanted.as_str() {
            Some("integer" | "number" | "boolean") if is_word(text) => {
                serde_json::from_str(text).unwrap_or_else(|_| text.clone().into())
            }
            _ => Value::from(text.clone()),
        };
        if arguments.insert(name.clone(), value).is_some() {
            return Err(ApiError::invalid_field(&text::clean(name, 64), "is given twice"));
        }
    }
    Ok(arguments.into())
}

/// What a number or a truth value is written with: no blanks, no quotes, no brackets.
fn is_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// A JSON body that may be left out, which is as good as an empty object.
#[derive(Debug)]
pub struct MaybeJson<T>(pub T);

impl<T: DeserializeOwned + Validate, S: Send + Sync> FromRequest<S> for MaybeJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (kind_is_json, bytes) = body(request, state).await?;
        if bytes.is_empty() {
            return read(b"{}").map(Self);
        }
        if !kind_is_json {
            return Err(ApiError::unsupported_media_type("the body must be application/json"));
        }
        read(&bytes).map(Self)
    }
}

/// The id in a path; what is none is not found.
pub fn id<T: std::str::FromStr>(text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|_| ApiError::not_found())
}

/// Whether the body says that it is JSON, and the body.
pub async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<(bool, Bytes), ApiError> {
    let is_json = is_json(request.headers());
    let bytes = Bytes::from_request(request, state).await;
    Ok((is_json, bytes.map_err(|_| ApiError::invalid_request("the body could not be read"))?))
}

/// A body as what it is to be, or its faults.
pub fn read<T: DeserializeOwned + Validate>(bytes: &[u8]) -> Result<T, ApiError> {
    if bytes.is_empty() {
        return Err(ApiError::invalid_request("the body is empty: send a JSON object"));
    }
    if bytes.starts_with(BYTE_ORDER_MARK) {
        return Err(ApiError::invalid_request("the body begins with a byte order mark: send UTF-8 without one"));
    }
    // The reader's words hold none of what was sent.
    let unreadable = |e| ApiError::invalid_request(format!("the body is not readable JSON: {e}"));
    let value: Value = serde_json::from_slice(bytes).map_err(unreadable)?;
    if !value.is_object() {
        // A list would be read as the fields in their order.
        return Err(ApiError::invalid_request("the body must be a JSON object"));
    }
    let plain = names_are_plain(serde_json::from_slice(bytes).map_err(unreadable)?, "");
    plain.map_err(|fault| ApiError::invalid_fields(&[fault]))?;
    input::read(&value).map_err(|faults| ApiError::invalid_fields(&faults))
}

const BYTE_ORDER_MARK: &[u8] = &[0xEF, 0xBB, 0xBF];

/// How the names begin by which our reader marks numbers and raw text inside itself: an object with such a
/// name is read as something else than it is written.
const READERS_OWN: &str = "$serde_json::private::";

/// Two readers of an object that holds a name twice could see two different objects, and ours must see
/// what is written. Call it with what was read once before: that bounds the depth.
pub fn names_are_plain(raw: &RawValue, path: &str) -> Result<(), Invalid> {
    let fault = |path: &str, reason: &str| Invalid { path: path.into(), reason: reason.into() };
    let inner: Vec<(String, &RawValue)> = match raw.get().as_bytes().first() {
        Some(b'{') => {
            let Members(members) = serde_json::from_str(raw.get()).map_err(|_| fault(path, "cannot be read"))?;
            let mut seen = HashSet::new();
            let dot = if path.is_empty() { "" } else { "." };
            let named = members.into_iter().map(|(name, raw)| {
                let path = format!("{path}{dot}{}", text::clean(&name, 64));
                if name.starts_with(READERS_OWN) {
                    return Err(fault(&path, "is no name of a field"));
                }
                if seen.insert(name) { Ok((path, raw)) } else { Err(fault(&path, "is there twice")) }
            });
            named.collect::<Result<_, _>>()?
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|_| fault(path, "cannot be read"))?;
            items.into_iter().enumerate().map(|(i, raw)| (format!("{path}[{i}]"), raw)).collect()
        }
        _ => return Ok(()),
    };
    inner.into_iter().try_for_each(|(path, raw)| names_are_plain(raw, &path))
}

/// The members of an object, in order and with repeated names.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> de::Visitor<'de> for Pairs {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members<'de>, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// A name as people see it.
pub const LONGEST_NAME: usize = 100;

/// Validator: 1 to 100 characters that can be seen. Use with [`text::clean`], which drops the others.
pub fn visible_name(name: &str) -> Result<(), ValidationError> {
    if text::clean(name, usize::MAX).is_empty() {
        return Err(fault("must hold at least one visible character"));
    }
    if name.chars().count() > LONGEST_NAME { Err(fault("must be at most 100 characters")) } else { Ok(()) }
}

/// A validation error in our words.
pub fn fault(message: &'static str) -> ValidationError {
    ValidationError::new("invalid").with_message(Cow::Borrowed(message))
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, Validate)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Probe {
        #[validate(custom(function = "visible_name"))]
        key_name: String,
    }

    fn refused(body: &str) -> serde_json::Value {
        let error = read::<Probe>(body.as_bytes()).unwrap_err();
        assert_eq!(error.status(), StatusCode::BAD_REQUEST);
        error.envelope(None)
    }

    #[test]
    fn a_body_is_read_whole_or_refused_with_the_place_of_the_fault() {
        assert_eq!(read::<Probe>(br#"{"keyName":"x"}"#).unwrap().key_name, "x");
        assert_eq!(refused(r#"{"keyName":7}"#)["details"]["errors"][0]["path"], "keyName");
        assert_eq!(refused(r#"{"keyName":" "}"#)["details"]["errors"][0]["path"], "keyName");
        assert!(refused(r#"{"keyName":"x","extra":1}"#)["error"].as_str().unwrap().contains("extra"));
        assert!(refused("{\"keyName\":\n").to_string().contains("line 2"));
        for other in ["[]", "[\"x\"]", "\"x\"", "7", "null"] {
            assert_eq!(refused(other)["error"], "the body must be a JSON object", "{other}");
        }
        assert!(refused(&"[".repeat(100_000))["error"].as_str().unwrap().contains("recursion"));
        assert!(refused("")["error"].as_str().unwrap().contains("empty"));
        assert!(refused("\u{FEFF}{}")["error"].as_str().unwrap().contains("byte order mark"));
        assert!(read::<Probe>(b"{\"keyName\":\"\xff\"}").is_err());
        assert!(read::<Probe>(br#"{"keyName":"\ud800"}"#).is_err());
    }

    #[test]
    fn a_name_that_comes_twice_is_refused_wherever_it_is() {
        for (body, path) in [
            (r#"{"keyName":"x","keyName":"y"}"#, "keyName"),
            (r#"{"keyName":"x","\u006beyName":"y"}"#, "keyName"),
            (r#"{"a":[1,{"b":{"c":1,"c":2}}]}"#, "a[1].b.c"),
        ] {
            assert_eq!(refused(body)["details"]["errors"][0], json!({ "path": path, "reason": "is there twice" }));
        }
        let alike = serde_json::from_str(r#"{"a":1,"A":{"a":[{"a":1},{"a":1}]}}"#).unwrap();
        assert!(names_are_plain(alike, "").is_ok());
    }

    #[test]
    fn nothing_is_read_as_something_else_than_it_is_written() {
        for (body, path) in [
            (r#"{"keyName":{"$serde_json::private::RawValue":"\"x\""}}"#, "keyName.$serde_json::private::RawValue"),
            (r#"{"$serde_json::private::RawValue":"{\"keyName\":\"x\"}"}"#, "$serde_json::private::RawValue"),
            (r#"{"keyName":[{"\u0024serde_json::private::Number":"1"}]}"#, "keyName[0].$serde_json::private::Number"),
        ] {
            assert_eq!(refused(body)["details"]["errors"][0]["path"], path, "{body}");
        }
        let schema = json!({ "properties": { "days": { "type": "integer" } } });
        for text in [r#"{"$serde_json::private::Number":"7"}"#, " 7", "7\n", "\"7\""] {
            let read = arguments(&[("days".into(), text.into())], &schema).unwrap();
            assert_eq!(read["days"], text, "left as a text, which is refused");
        }
        assert!(arguments(&[("days".into(), "7e0".into())], &schema).unwrap()["days"].is_number());
    }

    #[test]
    fn a_query_string_is_read_by_the_types_that_the_schema_names() {
        let schema = json!({ "properties": { "limit": { "type": "integer" }, "ids": { "type": "array" }, "to": { "type": "string" } } });
        let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let pairs = [pair("limit", "7"), pair("ids", "a,b"), pair("ids", "c"), pair("to", "9"), pair("x", "1")];
        let read = arguments(&pairs, &schema).unwrap();
        assert_eq!(read, json!({ "limit": 7, "ids": ["a", "b", "c"], "to": "9", "x": "1" }));
        assert_eq!(arguments(&[pair("limit", "many")], &schema).unwrap(), json!({ "limit": "many" }));
        assert!(arguments(&[pair("to", "1"), pair("to", "2")], &schema).is_err());
    }

    #[test]
    fn a_name_is_measured_by_what_is_seen_of_it() {
        assert!(visible_name("Main Binance").is_ok());
        assert!(visible_name("\u{200B}\u{202E}").is_err());
        assert!(visible_name(&"é".repeat(100)).is_ok());
        assert!(visible_name(&"é".repeat(101)).is_err());
    }
}
