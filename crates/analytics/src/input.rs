//! How arguments are read: strictly, exactly, with the place of every fault.

use codash_domain::Timestamp;
use codash_domain::money::parse_decimal;
use rust_decimal::prelude::ToPrimitive;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use validator::Validate;

use crate::select::Number;

/// Arguments that do not fit a question's schema.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Invalid {
    /// The argument, such as `accountIds[3]`; empty for the whole.
    pub path: String,
    pub reason: String,
}

/// Reads and validates a question's arguments. Faults of type and unknown names come one at a time
/// (the reader stops there), broken bounds all at once.
pub fn read<Q: DeserializeOwned + Validate>(arguments: &Value) -> Result<Q, Vec<Invalid>> {
    let query: Q = serde_path_to_error::deserialize(arguments).map_err(|e| {
        let path = e.path().to_string();
        vec![Invalid { path: if path == "." { String::new() } else { path }, reason: e.into_inner().to_string() }]
    })?;
    query.validate().map_err(|errors| {
        let mut all = Vec::new();
        collect(&errors, "", &mut all);
        all.sort_by(|a, b| a.path.cmp(&b.path));
        all
    })?;
    Ok(query)
}

fn collect(errors: &validator::ValidationErrors, prefix: &str, all: &mut Vec<Invalid>) {
    for (field, kind) in errors.errors() {
        let path = format!("{prefix}{}", camel(field));
        match kind {
            validator::ValidationErrorsKind::Field(faults) => {
                all.extend(faults.iter().map(|f| Invalid { path: path.clone(), reason: reason(f) }));
            }
            validator::ValidationErrorsKind::Struct(inner) => collect(inner, &format!("{path}."), all),
            validator::ValidationErrorsKind::List(items) => {
                for (i, inner) in items {
                    collect(inner, &format!("{path}[{i}]."), all);
                }
            }
        }
    }
}

fn reason(fault: &validator::ValidationError) -> String {
    if let Some(message) = &fault.message {
        return message.to_string();
    }
    let bound = |name: &str| fault.params.get(name).map(ToString::to_string);
    match (bound("min"), bound("max")) {
        (Some(min), Some(max)) => format!("must be between {min} and {max} ({})", fault.code),
        (None, Some(max)) => format!("must be at most {max} ({})", fault.code),
        (Some(min), None) => format!("must be at least {min} ({})", fault.code),
        (None, None) => format!("is not valid ({})", fault.code),
    }
}

fn camel(snake: &str) -> String {
    let mut up = false;
    snake
        .chars()
        .filter_map(|c| match c {
            '_' => {
                up = true;
                None
            }
            c if std::mem::take(&mut up) => Some(c.to_ascii_uppercase()),
            c => Some(c),
        })
        .collect()
}

/// An optional argument may be absent; an explicit `null` is a wrong type like any other.
pub fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A bound of a window: any RFC 3339 instant. One outside of 1970 to 9999 is held at that end, beyond
/// which no record can lie.
pub fn bound<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    Timestamp::nearest_to(&text).map(Some).map_err(D::Error::custom)
}

/// A JSON number without fraction, however written (`7`, `7.0`, `7e0`).
pub fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let number = serde_json::Number::deserialize(deserializer).map_err(|_| D::Error::custom("expected an integer"))?;
    let value = parse_decimal(number.as_str()).map_err(|_| D::Error::custom("the integer is out of range"))?;
    if !value.fract().is_zero() {
        return Err(D::Error::custom(format!("expected an integer, got {number}")));
    }
    value.to_i64().map(Some).ok_or_else(|| D::Error::custom("the integer is out of range"))
}

/// A JSON number, read exactly.
pub fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Number>, D::Error> {
    let number = serde_json::Number::deserialize(deserializer).map_err(|_| D::Error::custom("expected a number"))?;
    parse_decimal(number.as_str()).map(|d| Some(Number(d))).map_err(|_| D::Error::custom("the number is out of range"))
}

/// The JSON Schema (2020-12) of a question's arguments: closed, and optional never means null.
pub fn input_schema<Q: JsonSchema>() -> Value {
    let mut schema = generate::<Q>();
    strip_null(&mut schema);
    schema["additionalProperties"] = Value::Bool(false);
    if schema.get("properties").is_none() {
        schema["properties"] = Value::Object(serde_json::Map::new());
    }
    schema
}

/// The JSON Schema of an answer: open, so that fields may be added, and nullable fields written
/// `anyOf [T, null]`.
pub fn output_schema<A: JsonSchema>() -> Value {
    let mut schema = generate::<A>();
    any_of_null(&mut schema);
    schema
}

fn generate<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| {
        s.meta_schema = None;
        s.inline_subschemas = true;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(object) = schema.as_object_mut() {
        object.shift_remove("title");
        object.insert("type".into(), "object".into());
    }
    tidy(&mut schema);
    schema
}

/// Drops what only Rust cares about (integer formats, `default: null`) and writes a choice of words as
/// a plain `enum`, which every model vendor reads.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(words) = object.get("oneOf").and_then(Value::as_array).and_then(|o| words(o)) {
                object.shift_remove("oneOf");
                object.insert("type".into(), "string".into());
                object.insert("enum".into(), words);
            }
            if object
                .get("format")
                .and_then(Value::as_str)
                .is_some_and(|f| f.starts_with("int") || f.starts_with("uint"))
            {
                object.shift_remove("format");
            }
            if object.get("default").is_some_and(Value::is_null) {
                object.shift_remove("default");
            }
            object.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// The words of a `oneOf` that offers constants only.
fn words(options: &[Value]) -> Option<Value> {
    options.iter().map(|o| o.get("const").filter(|c| c.is_string()).cloned()).collect()
}

fn strip_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get("type") {
                let kept: Vec<&Value> = types.iter().filter(|t| *t != "null").collect();
                if let [only] = kept[..] {
                    let only = only.clone();
                    object.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(options)) = object.get("anyOf") {
                let kept: Vec<&Value> = options.iter().filter(|o| o["type"] != "null").collect();
                if let [Value::Object(only)] = kept[..] {
                    let only = only.clone();
                    object.shift_remove("anyOf");
                    object.extend(only);
                }
            }
            object.values_mut().for_each(strip_null);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_null),
        _ => {}
    }
}

fn any_of_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get("type").cloned() {
                let options: Vec<Value> = types
                    .into_iter()
                    .map(|t| {
                        let mut option = if t == "null" { serde_json::Map::new() } else { object.clone() };
                        option.shift_remove("description");
                        option.insert("type".into(), t);
                        Value::Object(option)
                    })
                    .collect();
                let description = object.get("description").cloned();
                object.clear();
                if let Some(description) = description {
                    object.insert("description".into(), description);
                }
                object.insert("anyOf".into(), Value::Array(options));
            }
            object.values_mut().for_each(any_of_null);
        }
        Value::Array(items) => items.iter_mut().for_each(any_of_null),
        _ => {}
    }
}
