//! The automations' part of the contract.

use codash_analytics::input::output_schema;
use codash_automations::deliver::Event;
use codash_domain::Scope;
use serde_json::{Map, Value, json};

use super::{answer, body, guarded, more, parameters, scope, with_errors};
use crate::rest::Success;
use crate::rest::automations::wire::{
    AutomationAnswer, Automations, ChangeAutomation, ChangeWebhook, Deliveries, DeliveryLog, NewAutomation, NewWebhook,
    PageQuery, Queued, Removed, Runs, WebhookAnswer, Webhooks,
};

const NEEDED: Scope = Scope::WriteAutomations;
const WRITES: [&str; 5] = ["400", "408", "409", "413", "415"];

pub(super) fn paths() -> Value {
    let mut paths = automations();
    if let (Value::Object(all), Value::Object(more)) = (&mut paths, webhooks()) {
        all.extend(more);
    }
    paths
}

fn automations() -> Value {
    json!({
        "/api/automations": {
            "get": {
                "operationId": "listAutomations",
                "summary": "List the automations that this key may know of",
                "description": more(NEEDED, "A key with an account allowlist sees those whose keys see no other account."),
                "responses": guarded::<Success<Automations>>("200", "In the order in which they were made", &["400"]),
            },
            "post": {
                "operationId": "createAutomation",
                "summary": "Ask a question on a schedule, on a condition or on a trigger",
                "description": more(NEEDED, "The automation acts with the rights of this key, and pauses when the key \
                    is revoked or expires; the key must hold the scope of the question. A trigger's path and secret are \
                    shown once."),
                "requestBody": body::<NewAutomation>(),
                "responses": guarded::<Success<AutomationAnswer>>("201", "The automation", &WRITES),
            },
        },
        "/api/automations/{id}": {
            "get": {
                "operationId": "getAutomation",
                "summary": "One automation",
                "description": scope(NEEDED),
                "parameters": [id()],
                "responses": guarded::<Success<AutomationAnswer>>("200", "The automation", &["404"]),
            },
            "patch": {
                "operationId": "changeAutomation",
                "summary": "Change, pause or resume an automation",
                "description": more(NEEDED, "From now on it acts with the rights of this key."),
                "parameters": [id()],
                "requestBody": body::<ChangeAutomation>(),
                "responses": guarded::<Success<AutomationAnswer>>("200", "The automation",
                    &["400", "404", "408", "409", "413", "415"]),
            },
            "delete": {
                "operationId": "deleteAutomation",
                "summary": "Remove an automation with its runs and the messages under way",
                "description": scope(NEEDED),
                "parameters": [id()],
                "responses": guarded::<Success<Removed>>("200", "It is gone", &["404"]),
            },
        },
        "/api/automations/{id}/run": { "post": {
            "operationId": "runAutomation",
            "summary": "Run an automation now",
            "description": more(NEEDED, "The header idempotency-key names the request: the same one is the same run."),
            "parameters": [id()],
            "responses": guarded::<Success<Queued>>("202", "The run is queued, or was", &["400", "404", "409"]),
        }},
        "/api/automations/{id}/runs": { "get": {
            "operationId": "listRuns",
            "summary": "Runs of an automation, newest first, with results and deliveries",
            "description": more(NEEDED, "A result is shown to keys that could have asked the question."),
            "parameters": with_id(parameters::<PageQuery>()),
            "responses": guarded::<Success<Runs>>("200", "A page of runs", &["400", "404"]),
        }},
        "/api/automations/trigger/{token}": { "post": {
            "operationId": "triggerAutomation",
            "summary": "Run an automation from outside",
            "description": "Public: the token is the key. Limited per address. The header webhook-id (or \
                idempotency-key) names the request: the same one is the same run. Where the automation wants signatures: \
                webhook-id, webhook-timestamp and webhook-signature of Standard Webhooks. The body is signed, and not read.",
            "security": [],
            "parameters": [{ "name": "token", "in": "path", "required": true, "schema": { "type": "string" } }],
            "responses": with_errors(&[("202", answer::<Success<Queued>>("The run is queued, or was", &[]))],
                &["400", "401", "404", "408", "409", "413", "429", "500", "504"]),
        }},
    })
}

fn webhooks() -> Value {
    json!({
        "/api/automations/webhooks": {
            "get": {
                "operationId": "listWebhooks",
                "summary": "List the webhooks that this key may know of",
                "description": scope(NEEDED),
                "responses": guarded::<Success<Webhooks>>("200", "In the order in which they were made", &["400"]),
            },
            "post": {
                "operationId": "createWebhook",
                "summary": "Add an address that results are sent to",
                "description": more(NEEDED, "Messages are signed as Standard Webhooks has it, with the secret that is \
                    shown once."),
                "requestBody": body::<NewWebhook>(),
                "responses": guarded::<Success<WebhookAnswer>>("201", "The webhook and its secret", &WRITES),
            },
        },
        "/api/automations/webhooks/{id}": {
            "patch": {
                "operationId": "changeWebhook",
                "summary": "Rotate a webhook's secret, disable it, or take messages again",
                "description": scope(NEEDED),
                "parameters": [id()],
                "requestBody": body::<ChangeWebhook>(),
                "responses": guarded::<Success<WebhookAnswer>>("200", "The webhook", &["400", "404", "408", "413", "415"]),
            },
            "delete": {
                "operationId": "deleteWebhook",
                "summary": "Remove a webhook with its deliveries",
                "description": scope(NEEDED),
                "parameters": [id()],
                "responses": guarded::<Success<Removed>>("200", "It is gone", &["404"]),
            },
        },
        "/api/automations/webhooks/{id}/deliveries": { "get": {
            "operationId": "listDeliveries",
            "summary": "Messages to a webhook, newest first",
            "description": scope(NEEDED),
            "parameters": with_id(parameters::<PageQuery>()),
            "responses": guarded::<Success<Deliveries>>("200", "A page of deliveries", &["400", "404"]),
        }},
        "/api/automations/deliveries/{id}": { "get": {
            "operationId": "getDelivery",
            "summary": "A message and the log of its tries",
            "description": scope(NEEDED),
            "parameters": [id()],
            "responses": guarded::<Success<DeliveryLog>>("200", "The delivery", &["404"]),
        }},
        "/api/automations/deliveries/{id}/redeliver": { "post": {
            "operationId": "redeliver",
            "summary": "Send a message again, under the same id",
            "description": scope(NEEDED),
            "parameters": [id()],
            "responses": guarded::<Success<DeliveryLog>>("202", "It is pending", &["404", "409"]),
        }},
    })
}

/// What is sent to webhooks: the `webhooks` of the document, by the `type` of the message.
pub(super) fn messages() -> Value {
    json!({
        "automation.run.succeeded": message("succeeded", "A run has a result", ("error", "result")),
        "automation.run.failed": message("failed", "A run failed, and says why", ("result", "error")),
    })
}

/// A message about runs that end in a state; of the two members one is null then, one is not.
fn message(state: &str, summary: &str, (null, there): (&str, &str)) -> Value {
    let mut schema = output_schema::<Event<'_>>();
    schema["properties"]["type"] = json!({ "const": format!("automation.run.{state}") });
    schema["properties"]["timestamp"] = of_value(&schema["properties"]["timestamp"]);
    let data = &mut schema["properties"]["data"]["properties"];
    data["state"] = json!({ "const": state });
    data[null] = json!({ "type": "null" });
    data[there] = of_value(&data[there]);
    // Every member is written, whatever its value.
    for place in ["", "/properties/data"] {
        if let Some(object) = schema.pointer_mut(place) {
            object["required"] = object["properties"].as_object().into_iter().flat_map(Map::keys).cloned().collect();
        }
    }
    let header = |name: &str, description: &str| json!({ "name": name, "in": "header", "required": true, "description": description, "schema": { "type": "string" } });
    json!({ "post": {
        "operationId": format!("automationRun{}{}", state[..1].to_uppercase(), &state[1..]),
        "summary": summary,
        "description": "Signed as Standard Webhooks has it. Sent to the automation's webhooks, tried again for three \
            days with the same id and body, and never by a redirect. Verify the signature over id, timestamp and the \
            body's bytes before reading it, refuse a timestamp older than five minutes, and drop an id that came before.",
        "tags": ["Automations"],
        "security": [],
        "parameters": [
            header("webhook-id", "Names the message: the same at every try."),
            header("webhook-timestamp", "When this try was signed, in seconds since 1970."),
            header("webhook-signature", "One or, while a secret rotates, two signatures, separated by a space: v1, \
                and base64 of HMAC-SHA256 over id.timestamp.body, with the bytes that follow whsec_ in base64."),
        ],
        "requestBody": { "required": true, "content": { "application/json": { "schema": schema } } },
        "responses": {
            "2XX": { "description": "Taken. The answer's body is kept up to 20 KiB for the log of deliveries." },
            "410": { "description": "The webhook is disabled: nothing more is sent to it." },
            "default": { "description": "Not taken, redirects included: tried again later, or as Retry-After asks." },
        },
    }})
}

/// The schema of a value that may be null, where it is not.
fn of_value(nullable: &Value) -> Value {
    let mut schema = nullable["anyOf"][0].clone();
    if let Some(description) = nullable.get("description") {
        schema["description"] = description.clone();
    }
    schema
}

fn id() -> Value {
    json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "string", "format": "uuid" } })
}

fn with_id(parameters: Value) -> Value {
    std::iter::once(id()).chain(parameters.as_array().cloned().unwrap_or_default()).collect()
}
