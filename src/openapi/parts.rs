//! The pieces that entries of `paths()` are made of.

use codash_analytics::input::{input_schema, output_schema};
use codash_collector::venues::Needs;
use codash_collector::venues::registry::REGISTRY;
use codash_domain::Scope;
use codash_store::exports::Table;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use crate::rest::{Success, accounts};

/// A question behind a key, asked with query parameters and answered in the success envelope.
pub fn question<Q: JsonSchema, A: JsonSchema>(id: &str, summary: &str, description: String, answer: &str) -> Value {
    json!({ "get": {
        "operationId": id,
        "summary": summary,
        "description": description,
        "parameters": parameters::<Q>(),
        "responses": guarded::<Success<A>>("200", answer, &["400"]),
    }})
}

/// What a question with a default window says of it.
pub fn echoed(days: u32) -> String {
    format!("window is the one taken: the last {days} days when neither from nor days is given (window.defaulted).")
}

pub fn echoed_days(days: u32) -> String {
    format!("A bound may be a day in UTC, such as 2026-04-13. In the answer {}", echoed(days))
}

pub fn more(needed: Scope, more: &str) -> String {
    format!("{} {more}", scope(needed))
}

/// The table's name before the other parameters.
pub fn of_table(parameters: Value) -> Value {
    let names = Table::ALL.map(Table::as_str);
    let table =
        json!({ "name": "table", "in": "path", "required": true, "schema": { "type": "string", "enum": names } });
    let others = parameters.as_array().cloned().unwrap_or_default();
    std::iter::once(table).chain(others).collect()
}

pub fn export_file() -> Value {
    let text = json!({ "schema": { "type": "string" } });
    let mut headers = export_headers();
    headers["Content-Disposition"] = json!({ "description": "The file's name.", "schema": { "type": "string" } });
    json!({
        "description": "The file",
        "headers": headers,
        "content": {
            "text/csv": text,
            "application/jsonl": text,
            "application/json": { "schema": { "type": "object" } },
            "application/gzip": { "schema": { "type": "string", "format": "binary" } },
        },
    })
}

pub fn not_modified() -> Value {
    json!({ "description": "The file with the tag of If-None-Match is still the same", "headers": export_headers() })
}

fn export_headers() -> Value {
    let mut headers = rate_header_refs();
    headers["X-Export-Watermark"] =
        json!({ "description": "Pass it as afterWatermark next time.", "schema": { "type": "integer" } });
    headers["X-Export-Schema"] = json!({ "description": "Changes with the columns.", "schema": { "type": "string" } });
    headers["ETag"] = json!({
        "description": "Of the bytes, for the tables that take afterWatermark.", "schema": { "type": "string" },
    });
    headers
}

pub fn scope(scope: Scope) -> String {
    format!("Needs the scope {scope}.")
}

pub fn body<Q: JsonSchema>() -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": asked::<Q>() } } })
}

/// The body of `POST /api/accounts`: which fields go with which venue.
pub fn attach_body() -> Value {
    let mut body = body::<accounts::Attach>();
    let venues = |needs: Needs| -> Value {
        REGISTRY.iter().filter(|venue| venue.needs == needs).map(|venue| json!(venue.venue)).collect()
    };
    let without = |names: &[&str]| -> Value {
        json!({ "anyOf": names.iter().map(|name| json!({ "required": [name] })).collect::<Vec<_>>() })
    };
    body["content"]["application/json"]["schema"]["oneOf"] = json!([
        {
            "properties": { "venue": { "enum": venues(Needs::KeyAndSecret) } },
            "required": ["apiKey", "apiSecret"],
            "not": without(&["passphrase", "walletAddress", "address"]),
        },
        {
            "properties": { "venue": { "enum": venues(Needs::KeySecretAndPassphrase) } },
            "required": ["apiKey", "apiSecret", "passphrase"],
            "not": without(&["walletAddress", "address"]),
        },
        {
            "properties": { "venue": { "enum": venues(Needs::Address) } },
            "oneOf": [{ "required": ["walletAddress"] }, { "required": ["address"] }],
            "not": without(&["apiKey", "apiSecret", "passphrase"]),
        },
    ]);
    body
}

/// The arguments of a question, with what holds for every text: no NUL, and in lists 1 to 128 characters
/// (`select::short_strings`).
fn asked<Q: JsonSchema>() -> Value {
    let mut schema = input_schema::<Q>();
    for argument in schema["properties"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        let is_open = |text: &Value| {
            text["type"] == "string"
                && ["enum", "pattern", "format", "anyOf"].iter().all(|rule| text.get(rule).is_none())
        };
        if is_open(argument) {
            argument["pattern"] = NO_NUL.into();
        }
        if argument.get("items").is_some_and(is_open) {
            argument["items"] = json!({ "type": "string", "minLength": 1, "maxLength": 128, "pattern": NO_NUL });
        }
    }
    schema
}

const NO_NUL: &str = r"^[^\u0000]*$";

/// A question's arguments as query parameters.
pub fn parameters<Q: JsonSchema>() -> Value {
    let schema = asked::<Q>();
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        let description = schema.as_object_mut().and_then(|members| members.shift_remove("description"));
        let mut parameter = json!({ "name": name, "in": "query", "description": description, "schema": schema });
        if schema["type"] == "array" {
            if parameter["schema"]["items"]["pattern"] == NO_NUL {
                // In a query string a comma ends an item, however it is encoded.
                parameter["schema"]["items"]["pattern"] = r"^[^\u0000,]*$".into();
            }
            parameter["style"] = "form".into();
            parameter["explode"] = false.into();
        }
        parameter
    };
    schema["properties"].as_object().into_iter().flatten().map(parameter).collect()
}

pub fn answer<A: JsonSchema>(description: &str, headers: &[&str]) -> Value {
    let mut answer = json!({ "description": description });
    if !headers.is_empty() {
        answer["headers"] = rate_header_refs();
    }
    answer["content"] = json!({ "application/json": { "schema": output_schema::<A>() } });
    answer
}

/// [`answer`], of a route behind a key.
pub fn keyed_answer<A: JsonSchema>(description: &str) -> Value {
    answer::<A>(description, &RATE_HEADERS.map(|(name, _)| name))
}

/// The responses of a route behind a key.
pub fn guarded<A: JsonSchema>(status: &str, description: &str, more: &[&'static str]) -> Value {
    let mut errors = vec!["401", "403", "429", "500", "504"];
    errors.extend(more);
    errors.sort_unstable();
    with_errors(&[(status, keyed_answer::<A>(description))], &errors)
}

pub fn with_errors(answers: &[(&str, Value)], errors: &[&str]) -> Value {
    let mut responses = Map::new();
    for (status, answer) in answers {
        responses.insert((*status).into(), answer.clone());
    }
    for status in errors {
        responses.insert((*status).into(), json!({ "$ref": format!("#/components/responses/{status}") }));
    }
    responses.into()
}

const RATE_HEADERS: [(&str, &str); 3] = [
    ("X-RateLimit-Limit", "Requests that are accepted in any 60 seconds with this key."),
    ("X-RateLimit-Remaining", "Requests that would be accepted now."),
    ("X-RateLimit-Reset", "Seconds from now until the next used place becomes free."),
];

pub fn headers() -> Value {
    let header = |(name, description): (&str, &str)| {
        (name.to_owned(), json!({ "description": description, "schema": { "type": "integer", "minimum": 0 } }))
    };
    let request_id = json!({
        "description": "The request's id: the caller's own x-request-id when it is 1 to 64 letters, digits, dots, \
            dashes or underscores, else one of ours.",
        "schema": { "type": "string" },
    });
    let all = RATE_HEADERS.into_iter().map(header);
    all.chain([("X-Request-Id".to_owned(), request_id)]).collect::<Map<_, _>>().into()
}

pub fn rate_header_refs() -> Value {
    let header = |(name, _): (&str, &str)| (name.to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    RATE_HEADERS.into_iter().map(header).collect::<Map<_, _>>().into()
}
