//! What is public and the same for everyone: the contract, the page about it, the page for agents.

use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::{docs, openapi};

/// Long enough to spare a client that asks often, short enough for a new release to be seen.
const KEPT: &str = "public, max-age=300";

pub async fn openapi_json() -> Response {
    document("application/json", openapi::json())
}

pub async fn openapi_yaml() -> Response {
    document("application/yaml", openapi::yaml())
}

pub async fn page() -> Response {
    let policy = [(header::CONTENT_SECURITY_POLICY, docs::content_security_policy())];
    (policy, document("text/html; charset=utf-8", docs::page())).into_response()
}

pub async fn llms() -> Response {
    document("text/plain; charset=utf-8", docs::llms_text())
}

fn document(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, KEPT)], text).into_response()
}
