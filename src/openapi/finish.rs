//! What every operation has, added once: tags, the scope and the error codes for programs, the errors
//! that any request may meet, the headers of every answer.

use codash_domain::Scope;
use serde_json::{Map, Value, json};

use crate::catalogue::{self, CATALOGUE, Entry, Of};
use crate::rest::conditional::STABLE;

/// Families, by how their paths begin; the first that fits. A new family is a line here.
const FAMILIES: [(&str, &str, &str); 17] = [
    ("/api/agents/", "Registration", "A workspace and its first key."),
    ("/api/accounts", "Accounts", "Exchange accounts and wallets: what is read."),
    ("/api/status", "Accounts", ""),
    ("/api/venues", "Accounts", ""),
    ("/api/portfolios", "Portfolios", "Groups of accounts, as a tree."),
    ("/api/portfolio", "Portfolio", "Worth and exposure, now and through time."),
    ("/api/metrics", "Portfolio", ""),
    ("/api/pnl-analysis/", "PnL analysis", "PnL of a window, summed up, grouped and pivoted."),
    ("/api/forensics/", "Forensics", "The postmortem: what happened, when, at what risk."),
    ("/api/export/", "Exports", "Whole tables as files."),
    ("/api/grafana/", "Grafana", "The datasets of the dashboards."),
    ("/api/auth/", "People", "Logins of people, and who owns the workspace."),
    ("/api/owners", "People", ""),
    ("/api/keys", "Keys", "API keys: for people all of them, for a key itself and what it made."),
    ("/api/audit", "Keys", ""),
    ("/api/settings/", "Settings", "Keys of AI providers."),
    ("/api/automations", "Automations", "Scheduled runs."),
];
const OTHER_FAMILIES: [(&str, &str, &str); 3] = [
    ("/api/", "Events", "Fills, canonical events, cash flows and their sums."),
    ("/mcp", "MCP", "The same questions as tools for agents."),
    ("/health/", "Health", "For load balancers."),
];

/// Errors that any request may meet, and those of any request with a key.
const COMMON: [&str; 9] = ["400", "403", "408", "413", "414", "415", "431", "500", "504"];
const KEYED: [&str; 2] = ["401", "429"];

/// Completes the document.
pub fn finish(document: &mut Value) {
    let mut tags = Vec::new();
    for (path, operations) in document["paths"].as_object_mut().into_iter().flatten() {
        let (_, tag, about) = family(path);
        if !tags.iter().any(|known: &Value| known["name"] == *tag) {
            tags.push(json!({ "name": tag, "description": about }));
        }
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            complete(path, method, tag, operation);
        }
    }
    document["tags"] = tags.into();
}

fn family(path: &str) -> &'static (&'static str, &'static str, &'static str) {
    let unknown = &OTHER_FAMILIES[0];
    FAMILIES.iter().chain(&OTHER_FAMILIES).find(|(start, ..)| path.starts_with(start)).unwrap_or(unknown)
}

fn complete(path: &str, method: &str, tag: &str, operation: &mut Value) {
    operation["tags"] = json!([tag]);
    let is_keyed = operation.get("security").is_none();
    if let Some(scope) = scope(operation) {
        operation["x-required-scope"] = scope.into();
    }
    if method == "get" && STABLE.contains(&path) {
        operation["responses"]["304"] =
            json!({ "description": "Unchanged since the answer whose ETag came with If-None-Match" });
        operation["responses"]["200"]["headers"]["ETag"] =
            json!({ "description": "Send it as If-None-Match next time.", "schema": { "type": "string" } });
    }
    let mut responses: Vec<(String, Value)> =
        operation["responses"].as_object().cloned().unwrap_or_default().into_iter().collect();
    for status in COMMON.iter().chain(KEYED.iter().filter(|_| is_keyed)) {
        if !responses.iter().any(|(known, _)| known == status) {
            responses.push(((*status).into(), json!({ "$ref": format!("#/components/responses/{status}") })));
        }
    }
    responses.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (_, response) in responses.iter_mut().filter(|(_, response)| response.get("$ref").is_none()) {
        response["headers"]["X-Request-Id"] = json!({ "$ref": "#/components/headers/X-Request-Id" });
    }
    let codes = codes(path, operation, &responses);
    operation["responses"] = responses.into_iter().collect::<Map<_, _>>().into();
    operation["x-error-codes"] = codes;
}

/// As the description says it, in the words of `parts::scope`.
fn scope(operation: &Value) -> Option<&'static str> {
    let (_, after) = operation["description"].as_str()?.split_once("Needs the scope ")?;
    let word = after.split(|c: char| c.is_whitespace() || c == '.').next()?;
    Scope::ALL.into_iter().map(|scope| scope.as_str()).find(|scope| *scope == word)
}

/// The codes that an operation may answer, by status.
fn codes(path: &str, operation: &Value, responses: &[(String, Value)]) -> Value {
    let takes = |name: &str| {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let fields = &operation["requestBody"]["content"]["application/json"]["schema"]["properties"];
        parameters.into_iter().any(|parameter| parameter["name"] == name) || fields.get(name).is_some()
    };
    let applies = |entry: &&Entry| match entry.of {
        Of::All => true,
        Of::Keyed => operation.get("security").is_none(),
        Of::Scoped => operation.get("x-required-scope").is_some(),
        Of::Argument(name) => takes(name),
        Of::Path(start) => path.starts_with(start),
        Of::Body => operation.get("requestBody").is_some(),
        Of::None => false,
    };
    let mut codes = Map::new();
    for (status, _) in responses {
        let known = |entry: &&Entry| entry.status.to_string() == *status;
        let here: Vec<&str> = CATALOGUE.iter().filter(known).filter(applies).map(|entry| entry.code).collect();
        if !here.is_empty() {
            codes.insert(status.clone(), here.into());
        }
    }
    codes.into()
}

const ERRORS: [(&str, &str); 15] = [
    ("400", "Invalid query string or request body"),
    ("401", "Missing, invalid, revoked, or expired API key"),
    ("403", "Blocked by scope, IP allowlist, account visibility, or Origin"),
    ("404", "Resource not found"),
    ("405", "The route does not answer this method: see Allow"),
    ("408", "The request body took too long to arrive"),
    ("409", "It exists already, or is not in a state for this"),
    ("412", "It was changed meanwhile: read it again"),
    ("413", "The request body is too large"),
    ("414", "The address is longer than 32 KiB"),
    ("415", "The request body is not JSON, or compressed"),
    ("429", "Rate limit exceeded: wait as long as Retry-After says"),
    ("431", "The headers are larger than 64 KiB"),
    ("500", "Internal server error: retry once"),
    ("504", "The request, or the venue it needed, exceeded the deadline"),
];

/// The responses that operations refer to.
pub fn errors() -> Value {
    let error = |(status, description): (&str, &str)| {
        let mut headers = json!({ "X-Request-Id": { "$ref": "#/components/headers/X-Request-Id" } });
        let text = json!({ "schema": { "type": "string" } });
        let seconds = json!({ "description": "Whole seconds.", "schema": { "type": "integer", "minimum": 1 } });
        match status {
            "401" => headers["WWW-Authenticate"] = text,
            "405" => headers["Allow"] = text,
            "409" | "429" | "504" => headers["Retry-After"] = seconds,
            _ => {}
        }
        let codes: Vec<&str> =
            CATALOGUE.iter().filter(|entry| entry.status.to_string() == status).map(|entry| entry.code).collect();
        let response = json!({
            "description": format!("{description}. Codes: {}.", codes.join(", ")),
            "headers": headers,
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
        });
        (status.to_owned(), response)
    };
    ERRORS.into_iter().map(error).collect::<Map<_, _>>().into()
}

/// The envelope of every error.
pub fn error_schema() -> Value {
    let codes: Vec<&str> = CATALOGUE.iter().map(|entry| entry.code).collect();
    json!({
        "type": "object",
        "required": ["success", "error", "code", "requestId"],
        "properties": {
            "success": { "const": false },
            "error": { "type": "string", "description": "For people." },
            "code": { "type": "string", "enum": codes, "description": "Stable, for programs." },
            "details": { "type": "object", "description": "Which field, what is allowed." },
            "requestId": { "type": "string", "description": "As in the header x-request-id." },
        },
        "x-codes": catalogue::as_json(),
    })
}

#[cfg(test)]
mod tests {
    use crate::openapi::document;

    #[test]
    fn every_operation_says_its_family_its_scope_and_its_codes() {
        // Of people, by their role, and of keys themselves.
        let unscoped = ["/api/auth/", "/api/owners", "/api/keys", "/api/audit"];
        let public = [
            "/api/automations/trigger/{token}",
            "/api/agents/register",
            "/api/venues",
            "/health/live",
            "/health/ready",
            "/mcp",
        ];
        for (path, operations) in document()["paths"].as_object().unwrap() {
            for operation in operations.as_object().unwrap().values() {
                assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{path}");
                let is_open = public.contains(&path.as_str()) || unscoped.iter().any(|start| path.starts_with(start));
                assert_eq!(operation.get("x-required-scope").is_none(), is_open, "{path}");
                assert!(operation["x-error-codes"]["400"].as_array().unwrap().contains(&"invalid_request".into()));
                assert!(operation["operationId"].is_string(), "{path}");
            }
        }
    }
}
