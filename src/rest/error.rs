//! The contract's error envelope: `{"success":false,"error","code","details","requestId"}`.
//!
//! An [`ApiError`] travels inside its response to the outermost layer (`src/server.rs`), which adds
//! the request id and logs the cause of a 5xx once. No message here repeats a secret or a cause.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use codash_analytics::input::Invalid;
use codash_domain::{AccountId, Role, Scope};
use serde_json::{Value, json};

use crate::catalogue;
use crate::limits::Standing;

/// What a client with a static key is told beside a 401. It names no `resource_metadata`: there is no
/// authorization server to go to.
const CHALLENGE: &str = r#"Bearer realm="codash", error="invalid_token""#;

/// An answer that is not the one asked for. Boxed: errors are rare, and results pass by value.
#[derive(Clone)]
pub struct ApiError(Box<Inner>);

#[derive(Clone)]
struct Inner {
    status: StatusCode,
    /// Stable, for programs.
    code: &'static str,
    /// For people.
    message: Cow<'static, str>,
    /// Which field, what is allowed.
    details: Option<Value>,
    /// Whole seconds after which the same request may succeed.
    retry_after: Option<u64>,
    /// How a known key stands, when that is why.
    standing: Option<Standing>,
    /// For the log alone.
    cause: Option<Arc<dyn StdError + Send + Sync>>,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            status,
            code,
            message: message.into(),
            details: None,
            retry_after: None,
            standing: None,
            cause: None,
        }))
    }

    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.0.details = Some(details);
        self
    }

    /// Rounded up to whole seconds: a retry at that moment is never early.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        let whole = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        self.0.retry_after = Some(whole.max(1));
        self
    }

    #[must_use]
    pub fn with_standing(mut self, standing: Standing) -> Self {
        self.0.standing = Some(standing);
        self
    }

    #[must_use]
    pub fn caused_by(mut self, cause: impl StdError + Send + Sync + 'static) -> Self {
        self.0.cause = Some(Arc::new(cause));
        self
    }

    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    pub fn code(&self) -> &'static str {
        self.0.code
    }

    pub fn missing_credential() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "missing_credential",
            "this route needs an API key: send Authorization: Bearer kv_live_… or x-api-key: kv_live_…",
        )
    }

    /// One answer for malformed, unknown and revoked keys, and for login tokens.
    pub fn invalid_credential() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_credential", "the API key is not valid")
    }

    pub fn expired_credential() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "expired_credential", "the API key has expired")
    }

    pub fn address_not_allowed() -> Self {
        Self::new(StatusCode::FORBIDDEN, "address_not_allowed", "the API key may not be used from this address")
    }

    pub fn origin_not_allowed() -> Self {
        Self::new(StatusCode::FORBIDDEN, "origin_not_allowed", "requests from this Origin are not allowed")
    }

    pub fn insufficient_scope(required: Scope) -> Self {
        Self::new(StatusCode::FORBIDDEN, "insufficient_scope", format!("the API key lacks the scope {required}"))
            .with_details(json!({ "requiredScope": required }))
    }

    pub fn insufficient_role(required: Role) -> Self {
        Self::new(StatusCode::FORBIDDEN, "insufficient_role", format!("your role here is below {required}"))
            .with_details(json!({ "requiredRole": required }))
    }

    /// The contract's 405 for routes that are for people.
    pub fn key_not_accepted() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "api_key_not_accepted",
            "this route does not accept API keys: log in at POST /api/auth/login and send the access token",
        )
    }

    pub fn login_not_accepted() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "login_not_accepted",
            "this route is for API keys: send Authorization: Bearer kv_live_… of the key that it is about",
        )
    }

    pub fn rate_limited(what: &'static str, after: Duration) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too many requests: wait, then retry")
            .with_retry_after(after);
        let seconds = error.0.retry_after;
        error.with_details(json!({ "limit": what, "retryAfterSeconds": seconds }))
    }

    pub fn deadline_exceeded() -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded", "the request took longer than the server allows")
    }

    /// Nothing was found out; a change may have been made or not.
    pub fn database_lost() -> Self {
        let message = "the database was lost on the way: read what a change was about, then retry once";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded", message)
    }

    pub fn payload_too_large(max: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", format!("the body is larger than {max} bytes"))
            .with_details(json!({ "maxBytes": max }))
    }

    pub fn unsupported_media_type(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here")
    }

    /// `allowed` is a list in words; empty when it is not known.
    pub fn method_not_allowed(allowed: &str) -> Self {
        let message = match allowed {
            "" => Cow::Borrowed("this route does not answer this method"),
            allowed => Cow::Owned(format!("this route does not answer this method: it answers {allowed}")),
        };
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    pub fn invalid_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// Every fault of a body, with its place.
    pub fn invalid_fields(faults: &[Invalid]) -> Self {
        let message = match faults.first() {
            Some(Invalid { path, reason }) if !path.is_empty() => format!("{path}: {reason}"),
            Some(Invalid { reason, .. }) => reason.clone(),
            None => "the request is not valid".into(),
        };
        Self::invalid_request(message).with_details(json!({ "errors": faults }))
    }

    /// A single fault of a body.
    pub fn invalid_field(path: &str, reason: impl Into<String>) -> Self {
        Self::invalid_fields(&[Invalid { path: path.into(), reason: reason.into() }])
    }

    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// Somebody else's write came between.
    fn stale(version: i64) -> Self {
        let message = "it was changed meanwhile: read it again, and send the ETag of what you read as If-Match";
        Self::new(StatusCode::PRECONDITION_FAILED, "version_conflict", message)
            .with_details(json!({ "version": version }))
    }

    fn removed(account: AccountId) -> Self {
        let message = format!(
            "account {account} was removed, and its history kept: bring it back with PUT /api/accounts/{account}/credentials, \
             or erase its history with DELETE /api/accounts/{account}?history=delete"
        );
        Self::new(StatusCode::CONFLICT, "account_removed", message).with_details(json!({ "accountId": account }))
    }

    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something failed on our side: retry once")
    }

    /// The envelope for an error status that a library answered with no body of ours.
    pub fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::not_found(),
            StatusCode::METHOD_NOT_ALLOWED => Self::method_not_allowed(""),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::unsupported_media_type("the body must be application/json"),
            StatusCode::UNPROCESSABLE_ENTITY => Self::invalid_request("the request is not valid"),
            status if status.is_server_error() => Self::internal(),
            status => Self::new(status, "invalid_request", status.canonical_reason().unwrap_or("the request failed")),
        }
    }

    /// The body, with the id that log lines carry.
    pub fn envelope(&self, request_id: Option<&str>) -> Value {
        let mut body = json!({ "success": false, "error": self.0.message, "code": self.0.code });
        if let Some(details) = &self.0.details {
            body["details"] = details.clone();
        }
        if let Some(id) = request_id {
            body["requestId"] = id.into();
        }
        body
    }

    /// Says why, with every cause, in one line; only for what is ours to mend.
    pub fn log(&self) {
        if !self.0.status.is_server_error() {
            return;
        }
        let chain = self.0.cause.as_deref().map(|cause| chain(cause)).unwrap_or_default();
        tracing::error!(error.code = self.0.code, error.chain = chain, "the request failed");
    }
}

/// An error and its causes, joined by colons. `Display` never repeats its source in this workspace.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiError({} {})", self.0.status.as_u16(), self.0.code)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.0.status, axum::Json(self.envelope(None))).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(standing) = self.0.standing {
            standing.write(headers);
        }
        if self.0.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<codash_store::Error> for ApiError {
    fn from(error: codash_store::Error) -> Self {
        match error {
            codash_store::Error::Timeout => Self::deadline_exceeded().caused_by(error),
            codash_store::Error::Lost(_) => Self::database_lost().caused_by(error),
            codash_store::Error::Conflict { .. } => Self::conflict("this exists already"),
            codash_store::Error::NotFound => Self::not_found(),
            codash_store::Error::Stale { version } => Self::stale(version),
            codash_store::Error::Unfit(unfit) => Self::invalid_request(unfit.to_string()),
            codash_store::Error::NotWholly => Self::new(
                StatusCode::FORBIDDEN,
                "portfolio_not_allowed",
                "the API key is limited to certain accounts, and this would change groups that others may be in: use a \
                 key without an account allowlist",
            ),
            codash_store::Error::Removed { account } => Self::removed(account),
            codash_store::Error::Paused => Self::new(
                StatusCode::CONFLICT,
                "account_paused",
                "the account is paused: resume it first, with isActive true",
            ),
            codash_store::Error::AnotherAccount => Self::new(
                StatusCode::CONFLICT,
                "another_account",
                "these credentials are of another account: attach it as one of its own with POST /api/accounts",
            ),
            _ => Self::internal().caused_by(error),
        }
    }
}

impl From<codash_analytics::Error> for ApiError {
    fn from(error: codash_analytics::Error) -> Self {
        match error {
            codash_analytics::Error::Rule(rule) => {
                Self::new(catalogue::status(rule.code), rule.code, rule.message).with_details(rule.details)
            }
            codash_analytics::Error::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_written_as_the_contract_says() {
        let body = ApiError::insufficient_scope(Scope::ReadRaw).envelope(Some("r1"));
        assert_eq!(
            body.to_string(),
            r#"{"success":false,"error":"the API key lacks the scope workspace:read:raw","code":"insufficient_scope","details":{"requiredScope":"workspace:read:raw"},"requestId":"r1"}"#
        );
    }

    #[test]
    fn retry_after_is_whole_seconds_and_never_early() {
        for (millis, seconds) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (59_999, "60")] {
            let response = ApiError::rate_limited("reads", Duration::from_millis(millis)).into_response();
            assert_eq!(response.headers()[header::RETRY_AFTER], seconds);
        }
    }

    #[test]
    fn a_cause_is_logged_and_never_shown() {
        let cause = codash_store::Error::Corrupt { column: "scopes", detail: "secret".into() };
        let error = ApiError::from(cause);
        assert_eq!(error.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!error.envelope(None).to_string().contains("secret"));
        assert!(!format!("{error:?}").contains("secret"));
    }

    #[test]
    fn a_database_that_is_away_is_a_504_whatever_broke() {
        let lost = codash_store::Error::Lost(Box::new(std::io::Error::other("secret")));
        for away in [codash_store::Error::Timeout, lost] {
            let error = ApiError::from(away);
            assert_eq!((error.status(), error.code()), (StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded"));
            assert!(!error.envelope(None).to_string().contains("secret"));
        }
    }

    #[test]
    fn every_401_carries_the_challenge() {
        for error in [ApiError::missing_credential(), ApiError::invalid_credential(), ApiError::expired_credential()] {
            assert_eq!(error.into_response().headers()[header::WWW_AUTHENTICATE], CHALLENGE);
        }
    }

    #[test]
    fn the_first_fault_is_the_message_and_all_are_listed() {
        let faults = [
            Invalid { path: "name".into(), reason: "is empty".into() },
            Invalid { path: "venue".into(), reason: "x".into() },
        ];
        let body = ApiError::invalid_fields(&faults).envelope(None);
        assert_eq!(body["error"], "name: is empty");
        assert_eq!(body["details"]["errors"][1]["path"], "venue");
    }
}
