//! Query strings as dashboards write them: variables of several values, variables of all values, variables
//! of none; and how the answer shall be spelled.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use codash_analytics::input::input_schema;
use codash_domain::text;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use validator::Validate;

use crate::rest::error::ApiError;
use crate::rest::extract::read_pairs;
use crate::rest::query;

/// How rows are spelled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Look {
    /// json (an array of flat objects) or csv (RFC 4180, with a header row).
    #[serde(default)]
    pub format: Format,
    /// iso (RFC 3339 in UTC) or ms (milliseconds since 1970).
    #[serde(default)]
    pub time_format: TimeFormat,
    /// long (one row for each point of each series) or wide (one row for each time, a column for each series
    /// of splitBy, of the measure that the dataset is named after). Without splitBy both are the same.
    #[serde(default)]
    pub layout: Layout,
    /// Of annotations: list, or text with commas between, as a table column needs it.
    #[serde(default)]
    pub tags_format: TagsFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Format {
    #[default]
    Json,
    Csv,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum TimeFormat {
    #[default]
    Iso,
    Ms,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Layout {
    #[default]
    Long,
    Wide,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum TagsFormat {
    #[default]
    List,
    Text,
}

/// A dataset's arguments, and the look of its rows.
#[derive(Debug)]
pub struct Asked<T>(pub T, pub Look);

impl<T: DeserializeOwned + Validate + JsonSchema, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let (schema, look_schema) = (input_schema::<T>(), input_schema::<Look>());
        let (looks, others): (Vec<_>, Vec<_>) = query::pairs(&parts.uri)?
            .into_iter()
            .partition(|(name, _)| look_schema["properties"].get(name.as_str()).is_some());
        let look = read_pairs(&habits(looks, &look_schema)?, &look_schema)?;
        Ok(Self(read_pairs(&habits(others, &schema)?, &schema)?, look))
    }
}

/// What a variable of several values holds when all are chosen.
const ALL: &str = "$__all";

/// What dashboards mean by what they send: nothing chosen and all chosen are no filter, and several values
/// come as `{a,b}`.
fn habits(pairs: Vec<(String, String)>, schema: &Value) -> Result<Vec<(String, String)>, ApiError> {
    let mut kept: Vec<(String, String)> = Vec::new();
    let mut unfiltered: Vec<String> = Vec::new();
    for (name, text) in pairs {
        let is_list = schema["properties"][name.as_str()]["type"] == "array";
        let text = match text.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
            Some(inner) if is_list => inner.to_owned(),
            _ => text,
        };
        if text.split(',').any(|item| item == ALL) {
            unfiltered.push(name);
            continue;
        }
        if text.split(',').any(|item| item.starts_with('$')) {
            let reason = format!(
                "holds {:?}, a variable that was not filled in: does the dashboard have it?",
                text::clean(&text, 64)
            );
            return Err(ApiError::invalid_field(&text::clean(&name, 64), reason));
        }
        // A name that the route does not know is told also when it is empty.
        if !text.is_empty() || schema["properties"].get(name.as_str()).is_none() {
            kept.push((name, text));
        }
    }
    kept.retain(|(name, _)| !unfiltered.contains(name));
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, ApiError> {
        let schema = json!({ "properties": { "symbols": { "type": "array" }, "from": { "type": "string" } } });
        habits(pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(), &schema)
    }

    #[test]
    fn nothing_chosen_and_all_chosen_are_no_filter() {
        assert!(kept(&[("symbols", ""), ("from", "")]).unwrap().is_empty());
        assert!(kept(&[("symbols", "$__all")]).unwrap().is_empty());
        assert!(kept(&[("symbols", "BTC-PERP"), ("symbols", "{ETH-PERP,$__all}")]).unwrap().is_empty());
    }

    #[test]
    fn several_values_come_in_braces() {
        let kept = kept(&[("symbols", "{BTC-PERP,ETH-PERP}"), ("from", "{0}")]).unwrap();
        assert_eq!(kept[0].1, "BTC-PERP,ETH-PERP");
        assert_eq!(kept[1].1, "{0}", "only lists have several values");
    }

    #[test]
    fn a_variable_that_was_not_filled_in_is_told_and_never_a_symbol() {
        for text in ["$symbol", "${symbol:csv}", "BTC-PERP,$symbol", "{$a,$b}"] {
            assert_eq!(kept(&[("symbols", text)]).unwrap_err().code(), "invalid_request", "{text}");
        }
        assert_eq!(kept(&[("form", "")]).unwrap().len(), 1, "a misspelt name is told later");
    }
}
