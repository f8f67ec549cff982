//! What MCP answers when it does not answer: JSON-RPC errors, and questions that break a rule.

use std::borrow::Cow;

use axum::http::StatusCode;
use codash_analytics::input::Invalid;
use codash_domain::Scope;
use serde::Serialize;
use serde_json::{Value, json};

use super::era::{self, Era};

/// A JSON-RPC error, and the HTTP status that it travels with.
///
/// What a method has to say travels with 200 (clients hide the error behind any other status); only
/// a message that could not be understood, or a header that contradicts it, is an HTTP error.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fault {
    pub code: i32,
    pub message: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    #[serde(skip)]
    pub status: StatusCode,
}

impl Fault {
    fn new(code: i32, status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), data: None, status }
    }

    fn with(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// The body is not JSON.
    pub fn unreadable() -> Self {
        Self::new(-32700, StatusCode::BAD_REQUEST, "the body is not readable JSON")
    }

    /// JSON, but no JSON-RPC 2.0 message of this protocol.
    pub fn invalid_envelope(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(-32600, StatusCode::BAD_REQUEST, message)
    }

    /// The era without a handshake says this with 404; before it, the error alone says it.
    pub fn unknown_method(method: &str, era: Era) -> Self {
        let status = if era == Era::Modern { StatusCode::NOT_FOUND } else { StatusCode::OK };
        let method = codash_domain::text::clean(method, 64);
        Self::new(-32601, status, format!("unsupported MCP method {method:?}"))
    }

    pub fn invalid_params(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(-32602, StatusCode::OK, message)
    }

    /// A parameter of the method itself, by its path.
    pub fn invalid_param(path: &str, reason: &str) -> Self {
        Self::invalid_params(format!("invalid params: {path}: {reason}"))
            .with(json!({ "path": path, "reason": reason }))
    }

    /// `params._meta` lacks what every request without a handshake must carry.
    pub fn invalid_meta(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(-32602, StatusCode::BAD_REQUEST, message)
    }

    /// Arguments that do not fit the tool's schema: the first fault in front, all of them behind it.
    pub fn invalid_arguments(tool: &str, faults: &[Invalid]) -> Self {
        let Some(first) = faults.first() else {
            return Self::invalid_params(format!("the arguments of {tool} are not valid"));
        };
        let place = if first.path.is_empty() { String::new() } else { format!("{}: ", first.path) };
        Self::invalid_params(format!("invalid arguments for {tool}: {place}{}", first.reason))
            .with(json!({ "path": first.path, "reason": first.reason, "errors": faults }))
    }

    /// `allowed` are the tools that the caller's key opens.
    pub fn unknown_tool(name: &str, allowed: &[&str]) -> Self {
        let name = codash_domain::text::clean(name, 64);
        Self::invalid_params(format!("no tool is called {name:?}"))
            .with(json!({ "path": "name", "reason": "no tool has this name", "allowed": allowed }))
    }

    pub fn missing_scope(tool: &str, scope: Scope) -> Self {
        Self::new(-32001, StatusCode::OK, format!("this API key lacks the scope {scope} that {tool} requires"))
            .with(json!({ "requiredScope": scope }))
    }

    /// There are no resources, so none is ever found. The code changed with the era.
    pub fn unknown_resource(uri: &str, era: Era) -> Self {
        let code = if era == Era::Modern { -32602 } else { -32002 };
        Self::new(code, StatusCode::OK, "resource not found").with(json!({ "uri": uri }))
    }

    pub fn header_mismatch(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(-32020, StatusCode::BAD_REQUEST, message)
    }

    pub fn unsupported_version(requested: &str) -> Self {
        let requested = codash_domain::text::clean(requested, 64);
        Self::new(-32022, StatusCode::BAD_REQUEST, "unsupported protocol version")
            .with(json!({ "supported": era::SUPPORTED, "requested": requested }))
    }

    /// Something broke on our side. What, is in the log under this request id, never in the answer.
    pub fn internal(request_id: Option<&str>) -> Self {
        let fault = Self::new(-32603, StatusCode::OK, "internal error");
        match request_id {
            Some(id) => fault.with(json!({ "requestId": id })),
            None => fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_the_arguments_is_named_and_the_first_stands_in_front() {
        let faults = [
            Invalid { path: "days".into(), reason: "must be between 1 and 365".into() },
            Invalid { path: "limit".into(), reason: "must be at most 2000".into() },
        ];
        let fault = Fault::invalid_arguments("get_pnl_by_symbol", &faults);
        let data = fault.data.unwrap();
        assert_eq!((fault.code, fault.status), (-32602, StatusCode::OK));
        assert_eq!(data["path"], "days");
        assert_eq!(data["reason"], "must be between 1 and 365");
        assert_eq!(data["errors"][1]["path"], "limit");
    }

    #[test]
    fn a_wrong_parameter_is_named_as_a_wrong_argument_is() {
        let fault = Fault::invalid_param("uri", "must be a string");
        assert_eq!(fault.data.unwrap(), json!({ "path": "uri", "reason": "must be a string" }));
    }

    #[test]
    fn a_missing_scope_says_which() {
        let fault = Fault::missing_scope("get_trade_events", Scope::ReadRaw);
        assert_eq!(fault.code, -32001);
        assert_eq!(fault.data.unwrap(), json!({ "requiredScope": "workspace:read:raw" }));
    }

    #[test]
    fn names_from_strangers_are_cleaned_before_they_are_repeated() {
        let fault = Fault::unknown_tool("drop\u{202E}\u{0} table", &["list_accounts"]);
        assert_eq!(fault.message, "no tool is called \"drop table\"");
        assert!(Fault::unknown_method(&"x".repeat(10_000), Era::Handshake).message.len() < 200);
    }

    #[test]
    fn the_status_is_not_part_of_the_error() {
        let text = serde_json::to_string(&Fault::unreadable()).unwrap();
        assert_eq!(text, r#"{"code":-32700,"message":"the body is not readable JSON"}"#);
    }
}
