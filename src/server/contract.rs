//! The document as law: a route answers the methods and takes the parameters that the contract names.
//!
//! Here `OPTIONS` is answered, another method refused with what is allowed, and a query string refused
//! where none is taken. Routes with parameters refuse unknown ones by themselves (`rest::extract`).

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::openapi;
use crate::rest::error::ApiError;
use crate::rest::query;

/// What the contract says of a path.
#[derive(Debug)]
struct Known {
    /// As `Allow` lists them.
    allow: String,
    /// Methods that take no parameters.
    bare: Vec<String>,
}

/// Pages for people and documents: a link to them may carry what a campaign or a proxy added.
const PAGES: [&str; 5] = ["/", "/docs", "/llms.txt", "/openapi.json", "/openapi.yaml"];

fn table() -> &'static HashMap<String, Known> {
    static TABLE: LazyLock<HashMap<String, Known>> = LazyLock::new(|| {
        let pages = PAGES.map(|path| (path.to_owned(), Known { allow: "GET, HEAD, OPTIONS".into(), bare: vec![] }));
        let document = openapi::document();
        let paths = document["paths"].as_object().into_iter().flatten();
        paths.map(|(path, operations)| (path.clone(), known(operations))).chain(pages).collect()
    });
    &TABLE
}

fn known(operations: &Value) -> Known {
    let methods = || operations.as_object().into_iter().flatten();
    let mut allow = Vec::new();
    for (method, _) in methods() {
        allow.push(method.to_uppercase());
        if method == "get" {
            allow.push("HEAD".into());
        }
    }
    allow.push("OPTIONS".into());
    let takes_query = |operation: &Value| {
        operation["parameters"].as_array().is_some_and(|all| all.iter().any(|parameter| parameter["in"] == "query"))
    };
    let bare = methods().filter(|(_, operation)| !takes_query(operation)).map(|(method, _)| method.to_uppercase());
    Known { allow: allow.join(", "), bare: bare.collect() }
}

/// A layer around every route.
pub async fn hold(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let Some(known) = path.and_then(|path| table().get(path.as_str())) else { return next.run(request).await };
    match judge(known, &request) {
        Ok(Some(answer)) => answer,
        Ok(None) => next.run(request).await,
        Err(error) => with_allow(error.into_response(), known),
    }
}

fn judge(known: &Known, request: &Request) -> Result<Option<Response>, ApiError> {
    let method = request.method();
    if *method == Method::OPTIONS {
        return Ok(Some(with_allow(StatusCode::NO_CONTENT.into_response(), known)));
    }
    if !known.allow.split(", ").any(|allowed| allowed == method.as_str()) {
        let error = ApiError::method_not_allowed(&known.allow);
        return Err(error.with_details(json!({ "allowed": known.allow.split(", ").collect::<Vec<_>>() })));
    }
    let asked = if *method == Method::HEAD { "GET" } else { method.as_str() };
    if request.uri().query().is_some() && known.bare.iter().any(|method| method == asked) {
        query::only_known(&query::pairs(request.uri())?, &[])?;
    }
    Ok(None)
}

fn with_allow(mut response: Response, known: &Known) -> Response {
    let is_about_methods = [StatusCode::NO_CONTENT, StatusCode::METHOD_NOT_ALLOWED].contains(&response.status());
    if let (true, Ok(allow)) = (is_about_methods, HeaderValue::from_str(&known.allow)) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}
