//! Reading bodies: strictly, with the place of every fault. The one use of `validator` in REST.

use std::borrow::Cow;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use codash_analytics::input;
use codash_domain::text;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use validator::{Validate, ValidationError};

use super::error::ApiError;

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
        read_pairs(&pairs(parts)?, &input::input_schema::<T>()).map(Self)
    }
}

/// Of a route that takes no arguments in its query string: any is refused.
pub type NoParams = Params<codash_analytics::list_accounts::Query>;

/// The names and values of the query string, in its order.
pub fn pairs(parts: &Parts) -> Result<Vec<(String, String)>, ApiError> {
    axum::extract::Query::try_from_uri(&parts.uri)
        .map(|axum::extract::Query(pairs)| pairs)
        .map_err(|_| ApiError::invalid_request("the query string cannot be read"))
}

/// Names and values as what `schema`, which is that of `T`, says of them.
pub fn read_pairs<T: DeserializeOwned + Validate>(pairs: &[(String, String)], schema: &Value) -> Result<T, ApiError> {
    only_known(pairs, schema)?;
    let arguments = arguments(pairs, schema)?;
    input::read(&arguments).map_err(|faults| ApiError::invalid_fields(&faults))
}

/// Refuses a name that the route does not know: ignored, a misspelt filter would answer more than was asked.
fn only_known(pairs: &[(String, String)], schema: &Value) -> Result<(), ApiError> {
    let known: Vec<&str> =
        schema["properties"].as_object().into_iter().flat_map(|names| names.keys()).map(String::as_str).collect();
    let Some((unknown, _)) = pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) else { return Ok(()) };
    let unknown = text::clean(unknown, 64);
    let reason = match nearest(&unknown, &known) {
        Some(name) => format!("is no parameter of this route: did you mean {name}?"),
        None if known.is_empty() => "is no parameter of this route: it takes none".to_owned(),
        None => format!("is no parameter of this route: it takes {}", known.join(", ")),
    };
    Err(ApiError::invalid_field(&unknown, reason))
}

/// The known name that takes the fewest changes of a letter, when at most half of it would change.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['_', '-'], "");
    let name = plain(name);
    let (changes, best) = known.iter().map(|k| (changes(&name, &plain(k)), *k)).min()?;
    (changes <= plain(best).chars().count() / 2).then_some(best)
}

/// How many letters to add, drop or swap to make one word the other.
fn changes(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (above, y) in row.iter_mut().skip(1).zip(&b) {
            let swapped = diagonal + usize::from(x != *y);
            diagonal = *above;
            left = swapped.min(left + 1).min(diagonal + 1);
            *above = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Texts as values of the types that the schema names; what does not fit stays a text, and is refused
/// with its place.
fn arguments(pairs: &[(String, String)], schema: &Value) -> Result<Value, ApiError> {
    let mut arguments = serde_json::Map::new();
    for (name, text) in pairs {
        let wanted = &schema["properties"][name.as_str()]["type"];
        if wanted == "array" {
            let items = text.split(',').filter(|item| !item.is_empty()).map(Value::from);
            let list = arguments.entry(name.clone()).or_insert_with(|| Value::Array(vec![]));
            list.as_array_mut().into_iter().for_each(|list| list.extend(items.clone()));
            continue;
        }
        let value = match wanted.as_str() {
            Some("integer" | "number" | "boolean") => {
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
    let value = serde_json::from_slice(bytes).map_err(|e| {
        ApiError::invalid_request(format!("the body is not readable JSON (line {}, column {})", e.line(), e.column()))
    })?;
    input::read(&value).map_err(|faults| ApiError::invalid_fields(&faults))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// A name as people see it.
pub const LONGEST_NAME: usize = 100;

/// Validator: 1 to 100 characters that can be seen. Use with [`text::clean`], which drops the others.
pub fn visible_name(name: &str) -> Result<(), ValidationError> {
    let cleaned = text::clean(name, usize::MAX);
    match cleaned.chars().count() {
        0 => Err(fault("must hold at least one visible character")),
        n if n > LONGEST_NAME => Err(fault("must be at most 100 characters")),
        _ => Ok(()),
    }
}

/// A validation error in our words.
pub fn fault(message: &'static str) -> ValidationError {
    ValidationError::new("invalid").with_message(Cow::Borrowed(message))
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use serde::Deserialize;
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
        assert!(refused("[]")["error"].is_string());
        assert!(refused(&"[".repeat(100_000))["error"].is_string());
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
    fn an_unknown_parameter_is_answered_with_the_nearest_name() {
        let known = ["accountId", "accountIds", "from", "to", "limit", "symbols"];
        for (wrong, meant) in [
            ("account_id", Some("accountId")),
            ("accountid", Some("accountId")),
            ("symbol", Some("symbols")),
            ("form", Some("from")),
            ("Limit", Some("limit")),
            ("page", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, &known), meant, "{wrong}");
        }
        assert_eq!((changes("kitten", "sitting"), changes("", "ab"), changes("ab", "")), (3, 2, 2));
    }

    #[test]
    fn a_name_is_measured_by_what_is_seen_of_it() {
        assert!(visible_name("Main Binance").is_ok());
        assert!(visible_name("\u{200B}\u{202E}").is_err());
        assert!(visible_name(&"é".repeat(100)).is_ok());
        assert!(visible_name(&"é".repeat(101)).is_err());
    }
}
