//! `POST /mcp`: the question catalogue as tools for agents, over the Model Context Protocol.
//!
//! A thin layer of our own, stateless, one JSON answer to a POST: [`rpc`] reads the envelope, [`era`]
//! tells which revision speaks, [`methods`] answers what needs no data, [`tools`] asks the questions,
//! [`result`] and [`error`] write what comes of it. Authentication, `Origin`, limits, body size and
//! the methods other than POST are settled in front, in `src/server.rs`. `Accept` is not looked at.

mod era;
mod error;
mod methods;
mod result;
mod rpc;
pub(crate) mod tools;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use codash_analytics::{Ctx, Rule};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tracing::Instrument;

use crate::app::App;
use crate::audit::{self, Pending};
use crate::auth::Caller;
use crate::rest::error::ApiError;
use crate::rest::extract::names_are_plain;

use era::{Era, Headers};
use error::Fault;
use result::{Outcome, raw};
use rpc::{Body, Message, Refused, Reply, Request};
pub use tools::{About, all as tools};
use tools::{Tool, Unanswered};

/// Answers one POST.
pub async fn handler(State(app): State<App>, caller: Caller, headers: HeaderMap, body: Bytes) -> Response {
    if !is_json(&headers) {
        return ApiError::unsupported_media_type("the body must be application/json").into_response();
    }
    let call = Call { app: &app, caller: &caller, headers: Headers::of(&headers), request_id: request_id(&headers) };
    let answered = match rpc::body(&body) {
        Err(fault) => Ok(refusal(None, fault)),
        Ok(Body::One(raw)) => one(&call, raw).await,
        Ok(Body::Batch(members)) => batch(&call, &members).await,
    };
    answered.unwrap_or_else(IntoResponse::into_response)
}

/// What every message of a POST shares.
#[derive(Clone, Copy)]
struct Call<'a> {
    app: &'a App,
    caller: &'a Caller,
    headers: Headers<'a>,
    request_id: Option<&'a str>,
}

/// Why a request has no result: an error inside JSON-RPC, or one of the whole POST.
enum Stop {
    Fault(Fault),
    Http(ApiError),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

async fn one(call: &Call<'_>, raw: &RawValue) -> Result<Response, ApiError> {
    let request = match rpc::message(raw) {
        Ok(Message::Request(request)) => request,
        Ok(Message::Notification) => return Ok(unanswered(call.headers.accept_unanswered().map(drop))),
        Ok(Message::Response) => return Ok(unanswered(accept_response(call))),
        Err(Refused { id, fault }) => return Ok(refusal(id, fault)),
    };
    match answer(call, &request).await {
        Ok(outcome) => Ok(json_body(StatusCode::OK, &Reply::new(Some(request.id), Ok(outcome)))),
        Err(Stop::Fault(fault)) => Ok(refusal(Some(request.id), fault)),
        Err(Stop::Http(error)) => Err(error),
    }
}

/// Messages of a batch are answered in turn, so that a batch never holds more than one connection.
async fn batch(call: &Call<'_>, members: &[&RawValue]) -> Result<Response, ApiError> {
    if let Err(fault) = call.headers.accept_batch() {
        return Ok(refusal(None, fault));
    }
    // The POST itself was counted in front of us.
    let further = u32::try_from(members.len().saturating_sub(1)).unwrap_or(u32::MAX);
    call.app.limits.take_read(call.caller, further).await?;
    let mut replies = Vec::with_capacity(members.len());
    for raw in members {
        match rpc::message(raw) {
            Ok(Message::Request(request)) => match answer_in_batch(call, &request).await {
                Ok(outcome) => replies.push(Reply::new(Some(request.id), Ok(outcome))),
                Err(Stop::Fault(fault)) => replies.push(Reply::new(Some(request.id), Err(fault))),
                Err(Stop::Http(error)) => return Err(error),
            },
            Ok(Message::Notification | Message::Response) => {}
            Err(Refused { id, fault }) => replies.push(Reply::new(id, Err(fault))),
        }
    }
    if replies.is_empty() {
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    Ok(json_body(StatusCode::OK, &replies))
}

async fn answer_in_batch(call: &Call<'_>, request: &Request<'_>) -> Result<Outcome, Stop> {
    if request.method == "initialize" {
        return Err(Fault::invalid_envelope("initialize must not be part of a batch").into());
    }
    answer(call, request).await
}

async fn answer(call: &Call<'_>, request: &Request<'_>) -> Result<Outcome, Stop> {
    let era = call.headers.era(request)?;
    if request.method == "tools/call" {
        return call_tool(call, era, request).await;
    }
    Ok(methods::answer(era, request, &call.caller.grant.scopes)?)
}

async fn call_tool(call: &Call<'_>, era: Era, request: &Request<'_>) -> Result<Outcome, Stop> {
    let tool = wanted_tool(call, request)?;
    let arguments = arguments(tool, request)?;
    let ctx = Ctx {
        store: &call.app.store,
        grant: &call.caller.grant,
        cursor_key: &call.app.cursor_key,
        now: call.app.clock.now(),
    };
    let span = span(call, tool, request);
    let mut noted = Pending::tool(call.app, call.caller, tool.name, Some(&arguments));
    let answered = tool.ask(&ctx, &arguments).instrument(span.clone()).await;
    note(&mut noted, &answered);
    noted.finish();
    let _entered = span.enter();
    match answered {
        Ok(structured) => Ok(Outcome::of_tool(era, structured, false)),
        Err(Unanswered::Rule(rule)) => Ok(Outcome::of_tool(era, broken_rule(&rule), true)),
        Err(Unanswered::Arguments(faults)) => Err(Fault::invalid_arguments(tool.name, &faults).into()),
        Err(Unanswered::Store(error)) if error.is_away() => Err(Stop::Http(error.into())),
        Err(Unanswered::Store(error)) => Err(internal(call, &error)),
        Err(Unanswered::Unwritable(error)) => Err(internal(call, &error)),
    }
}

/// What the audit says of a call.
fn note(noted: &mut Pending<'_>, answered: &Result<Box<RawValue>, Unanswered>) {
    match answered {
        Ok(structured) => {
            let rows = audit::rows(structured.get().as_bytes());
            noted.set(|entry| entry.row_count = rows);
        }
        Err(Unanswered::Rule(rule)) => noted.ended(audit::Ended::Refused, rule.code),
        Err(Unanswered::Arguments(_)) => noted.ended(audit::Ended::Refused, "invalid_arguments"),
        Err(Unanswered::Store(error)) if error.is_away() => noted.ended(audit::Ended::Failed, "deadline_exceeded"),
        Err(Unanswered::Store(_) | Unanswered::Unwritable(_)) => noted.ended(audit::Ended::Failed, "internal"),
    }
}

/// The tool that is named, if this key may use it.
fn wanted_tool(call: &Call<'_>, request: &Request<'_>) -> Result<&'static Tool, Fault> {
    let name = request
        .params
        .text("name")
        .ok_or_else(|| Fault::invalid_param("name", "must be a string: the tool to call"))?;
    let tool =
        tools::find(&name).ok_or_else(|| Fault::unknown_tool(&name, &tools::names(&call.caller.grant.scopes)))?;
    if !call.caller.grant.scopes.allows(tool.scope) {
        let mut noted = Pending::tool(call.app, call.caller, tool.name, None);
        noted.ended(audit::Ended::Refused, "insufficient_scope");
        noted.finish();
        return Err(Fault::missing_scope(tool.name, tool.scope));
    }
    Ok(tool)
}

/// Absent arguments are none; anything but an object is refused before it is looked into.
fn arguments(tool: &Tool, request: &Request<'_>) -> Result<Value, Fault> {
    let Some(raw) = request.params.get("arguments") else { return Ok(json!({})) };
    let invalid = |reason: String| {
        Fault::invalid_arguments(tool.name, &[codash_analytics::input::Invalid { path: String::new(), reason }])
    };
    rpc::Members::read(raw).map_err(|reason| invalid(format!("arguments {reason}")))?;
    let arguments = serde_json::from_str(raw.get())
        .map_err(|_| invalid("arguments are nested too deeply or hold unreadable text".into()))?;
    names_are_plain(raw, "").map_err(|fault| Fault::invalid_arguments(tool.name, &[fault]))?;
    Ok(arguments)
}

/// Named after the tool; says who asked, never what was asked.
fn span(call: &Call<'_>, tool: &Tool, request: &Request<'_>) -> tracing::Span {
    tracing::info_span!(
        "mcp.tool",
        otel.name = %format_args!("mcp.{}", tool.name),
        mcp.tool = tool.name,
        workspace.id = %call.caller.grant.workspace,
        key.id = %call.caller.grant.key,
        mcp.traceparent = era::traceparent(request),
    )
}

/// A rule that the question breaks, in words for the agent and in a code for programs.
fn broken_rule(rule: &Rule) -> Box<RawValue> {
    raw(&json!({ "error": { "message": rule.message, "code": rule.code, "details": rule.details } }))
}

/// Logged here, once, with its causes; the caller learns the request id.
fn internal(call: &Call<'_>, error: &(dyn std::error::Error + 'static)) -> Stop {
    tracing::error!(error, "a tool failed");
    Fault::internal(call.request_id).into()
}

/// A server that never asks the client has no use for its answers; the modern era forbids them.
fn accept_response(call: &Call<'_>) -> Result<(), Fault> {
    match call.headers.accept_unanswered()? {
        Era::Handshake => Ok(()),
        Era::Modern => Err(Fault::invalid_envelope("a client posts requests and notifications, not responses")),
    }
}

fn unanswered(accepted: Result<(), Fault>) -> Response {
    match accepted {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(fault) => refusal(None, fault),
    }
}

fn refusal(id: Option<&RawValue>, fault: Fault) -> Response {
    json_body(fault.status, &Reply::<Outcome>::new(id, Err(fault)))
}

fn json_body<T: Serialize>(status: StatusCode, body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => (status, [(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "an answer could not be written");
            ApiError::internal().into_response()
        }
    }
}

/// As minted or accepted in front of us.
fn request_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-request-id").and_then(|value| value.to_str().ok())
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn typed(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))])
    }

    #[test]
    fn json_is_told_by_its_media_type_alone() {
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/json ;x=y"] {
            assert!(is_json(&typed(kind)), "{kind}");
        }
        for kind in
            ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "", "text/json; application/json"]
        {
            assert!(!is_json(&typed(kind)), "{kind}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn a_broken_rule_says_first_what_to_do() {
        let rule = Rule::new("invalid_window", "from is after to: swap them.", json!({ "from": "x" }));
        let text = broken_rule(&rule).get().to_owned();
        assert_eq!(
            text,
            r#"{"error":{"message":"from is after to: swap them.","code":"invalid_window","details":{"from":"x"}}}"#
        );
    }

    #[test]
    fn a_notification_is_accepted_without_a_word() {
        let response = unanswered(Ok(()));
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        assert!(response.headers().get(header::CONTENT_TYPE).is_none());
    }

    #[test]
    fn an_error_of_the_envelope_is_an_http_error_and_one_of_a_method_is_not() {
        assert_eq!(refusal(None, Fault::unreadable()).status(), StatusCode::BAD_REQUEST);
        assert_eq!(refusal(None, Fault::invalid_params("x")).status(), StatusCode::OK);
    }
}
