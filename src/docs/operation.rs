//! One operation of the page: what it does, what it takes, an example, what it answers.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Operation, code, escape, table};
use crate::openapi;

/// Answers are nested; fields deeper than this are left to the schema.
const DEEPEST: usize = 6;

pub fn write(page: &mut String, operation: &Operation<'_>) {
    let Operation { path, method, value } = operation;
    let _ = writeln!(page, "<h3 id=\"{}\"><code>{method} {}</code></h3>", operation.id(), escape(path));
    let _ = writeln!(page, "<p>{}.</p>", escape(operation.text("summary")));
    if !operation.text("description").is_empty() {
        let _ = writeln!(page, "<p>{}</p>", escape(operation.text("description")));
    }
    let access = match (value.get("x-required-scope"), value.get("security")) {
        (Some(scope), _) => format!("Scope {}", code(scope.as_str().unwrap_or_default())),
        (None, Some(_)) => "Public: no key is needed".to_owned(),
        (None, None) => "Any key".to_owned(),
    };
    let _ = writeln!(page, "<p class=\"soft\">{access}.</p>");
    parameters(page, value);
    let body = &value["requestBody"]["content"]["application/json"]["schema"];
    if body.is_object() {
        fields(page, "Fields of the body", body);
    }
    example(page, operation);
    for (status, response) in value["responses"].as_object().into_iter().flatten() {
        let schema = &response["content"]["application/json"]["schema"];
        if status.starts_with('2') && schema.is_object() {
            fields(page, &format!("Fields of the answer ({status})"), schema);
        }
    }
    codes(page, value);
}

fn parameters(page: &mut String, value: &Value) {
    let rows: Vec<Vec<String>> = value["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|parameter| {
            let name = parameter["name"].as_str().unwrap_or_default();
            let place = parameter["in"].as_str().unwrap_or_default();
            let about = parameter["description"].as_str().unwrap_or_default();
            vec![code(name), place.into(), kind(&parameter["schema"]), escape(about)]
        })
        .collect();
    if !rows.is_empty() {
        let _ = writeln!(page, "{}", table(&["parameter", "in", "type", "meaning"], rows.into_iter()));
    }
}

fn fields(page: &mut String, title: &str, schema: &Value) {
    let mut rows = Vec::new();
    collect(schema, "", DEEPEST, &mut rows);
    if !rows.is_empty() {
        let table = table(&["field", "type", "meaning"], rows.into_iter());
        let _ = writeln!(page, "<details><summary>{}</summary>{table}</details>", escape(title));
    }
}

fn collect(schema: &Value, path: &str, depth: usize, rows: &mut Vec<Vec<String>>) {
    if depth == 0 {
        return;
    }
    for option in ["anyOf", "oneOf"].iter().flat_map(|word| schema[*word].as_array().into_iter().flatten()) {
        collect(option, path, depth, rows);
    }
    if schema["items"].is_object() {
        return collect(&schema["items"], &format!("{path}[]"), depth, rows);
    }
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let dot = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{dot}{name}");
        let optional = if required.contains(&name.as_str()) { "" } else { ", may be absent" };
        let about = field["description"].as_str().unwrap_or_default();
        rows.push(vec![code(&path), format!("{}{optional}", kind(field)), escape(about)]);
        collect(field, &path, depth - 1, rows);
    }
}

/// A type in words: `integer from 1 to 1000, default 100`.
fn kind(schema: &Value) -> String {
    let mut text = match &schema["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => {
            let options = ["anyOf", "oneOf"].iter().flat_map(|word| schema[*word].as_array().into_iter().flatten());
            let mut kinds: Vec<String> = options.map(kind).filter(|kind| !kind.is_empty()).collect();
            kinds.dedup();
            kinds.join(" or ")
        }
    };
    if let Some(format) = schema["format"].as_str().filter(|format| format.contains("date")) {
        text = format.into();
    }
    if schema["items"].is_object() {
        let _ = write!(text, " of {}", kind(&schema["items"]));
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words.iter().filter_map(Value::as_str).map(code).collect();
        let _ = write!(text, ": {}", words.join(", "));
    }
    for (word, said) in [("const", "always"), ("minimum", "from"), ("maximum", "to"), ("maxItems", "at most")] {
        if let Some(bound) = schema.get(word) {
            let _ = write!(text, " {said} {}", escape(&bound.to_string()));
        }
    }
    if let Some(default) = schema.get("default").filter(|default| !default.is_null()) {
        let _ = write!(text, ", default {}", code(&default.to_string()));
    }
    text
}

fn example(page: &mut String, operation: &Operation<'_>) {
    let example = openapi::example(operation.id());
    let request = &example["request"];
    if request.is_null() {
        return;
    }
    let _ = writeln!(page, "<pre>{}</pre>", escape(&curl(operation, request)));
    let note = if example.get("shortened").is_some() { ", lists cut to two items" } else { "" };
    let answer = serde_json::to_string_pretty(&example["answer"]).unwrap_or_default();
    let status = &example["status"];
    let _ = writeln!(
        page,
        "<details><summary>Answer {status}{note}, as the golden workspace gives it</summary><pre>{}</pre></details>",
        escape(&answer)
    );
}

fn curl(operation: &Operation<'_>, request: &Value) -> String {
    let mut url = format!("$CODASH_URL{}", request["path"].as_str().unwrap_or_default());
    for (n, (name, value)) in request["query"].as_object().into_iter().flatten().enumerate() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let _ = write!(url, "{}{name}={text}", if n == 0 { '?' } else { '&' });
    }
    let mut words = format!("curl -sS \"{url}\"");
    if !["GET", "POST"].contains(&operation.method) {
        let _ = write!(words, " -X {}", operation.method);
    }
    if operation.value.get("security").is_none() {
        words.push_str(" \\\n  -H \"authorization: Bearer $CODASH_KEY\"");
    }
    if let Some(body) = request.get("body") {
        let _ = write!(words, " \\\n  -H 'content-type: application/json' \\\n  -d '{body}'");
    }
    words
}

fn codes(page: &mut String, value: &Value) {
    let lists = value["x-error-codes"].as_object().into_iter().flatten();
    let words: Vec<String> = lists
        .map(|(status, codes)| {
            let codes: Vec<&str> = codes.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            format!("{status} {}", codes.join(", "))
        })
        .collect();
    let _ = writeln!(page, "<p class=\"soft\"><a href=\"#errors\">Errors</a>: {}.</p>", escape(&words.join(" · ")));
}
