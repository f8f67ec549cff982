//! Examples that are true: what the golden workspace answers, kept in `docs/golden/examples.json`.

use std::sync::LazyLock;

use serde_json::{Value, json};

/// By `operationId`: `{"request": {"method", "path", "query"?, "body"?}, "status", "answer", "shortened"?}`. Written and
/// compared by `tests/it/examples.rs`.
fn all() -> &'static Value {
    static ALL: LazyLock<Value> =
        LazyLock::new(|| serde_json::from_str(include_str!("../../docs/golden/examples.json")).unwrap_or_default());
    &ALL
}

/// The example of an operation; null without one.
pub fn of(operation: &str) -> &'static Value {
    &all()[operation]
}

/// Puts each example beside what it is an example of.
pub fn add(document: &mut Value) {
    for operations in document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut()) {
        for operation in operations.as_object_mut().into_iter().flat_map(|operations| operations.values_mut()) {
            let example = operation["operationId"].as_str().and_then(|id| all().get(id)).cloned();
            if let Some(example) = example {
                show(operation, &example);
            }
        }
    }
}

fn show(operation: &mut Value, example: &Value) {
    let request = &example["request"];
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        let value = parameter["name"].as_str().and_then(|name| request["query"].get(name)).cloned();
        if let Some(value) = value {
            parameter["example"] = value;
        }
    }
    if let (Some(body), Some(content)) = (request.get("body"), json_of(operation.get_mut("requestBody"))) {
        content["example"] = body.clone();
    }
    let status = example["status"].to_string();
    if let (Some(answer), Some(content)) = (example.get("answer"), json_of(operation["responses"].get_mut(&status))) {
        let shortened = if example.get("shortened").is_some() { "; lists are cut to two items" } else { "" };
        let summary = format!("As the golden workspace answers{shortened}");
        content["examples"] = json!({ "golden": { "summary": summary, "value": answer } });
    }
}

fn json_of(holder: Option<&mut Value>) -> Option<&mut Value> {
    holder?.get_mut("content")?.get_mut("application/json")
}
