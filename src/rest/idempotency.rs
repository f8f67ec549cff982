//! `Idempotency-Key`: a creation that is asked for twice happens once.
//!
//! The same key with the same request is answered with what the first created, for a day; with another
//! request it is refused. A request that fails creates nothing and leaves its key free. Not for
//! `/api/agents/register`: its answer is a secret, which is kept nowhere.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use codash_store::idempotency::{Begun, Keep};
use serde::Serialize;
use serde::de::DeserializeOwned;
use validator::Validate;

use super::error::ApiError;
use super::extract;
use super::versions::tagged;
use crate::app::App;
use crate::auth::Caller;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const LONGEST_KEY: usize = 255;

/// The body of a request that creates, and the key that makes it one of a kind.
#[derive(Debug)]
pub struct Creating<T> {
    pub wanted: T,
    pub once: Option<Once>,
}

/// A request under a key. `Debug` does not show the body.
pub struct Once {
    key: String,
    route: String,
    body: axum::body::Bytes,
}

impl std::fmt::Debug for Once {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Once({} {})", self.route, self.key)
    }
}

impl<T: DeserializeOwned + Validate, S: Send + Sync> FromRequest<S> for Creating<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let route = format!("{} {}", request.method(), request.uri().path());
        let key = key(request.headers())?;
        let (is_json, body) = extract::body(request, state).await?;
        if !is_json {
            return Err(ApiError::unsupported_media_type("the body must be application/json"));
        }
        Ok(Self { wanted: extract::read(&body)?, once: key.map(|key| Once { key, route, body }) })
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(KEY).iter();
    let Some(first) = values.next() else { return Ok(None) };
    let text = first.to_str().unwrap_or_default().trim();
    let is_good = (1..=LONGEST_KEY).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if !is_good || values.next().is_some() {
        let message = "Idempotency-Key must be sent once, as 1 to 255 visible ASCII characters without spaces";
        return Err(ApiError::invalid_request(message));
    }
    Ok(Some(text.to_owned()))
}

/// The first request under its key.
#[derive(Debug)]
pub struct Attempt {
    key: String,
    number: i64,
}

impl Attempt {
    pub fn keep<'a, T>(&'a self, reply: &'a (dyn Fn(&T) -> String + Send + Sync)) -> Keep<'a, T> {
        Keep { key: &self.key, attempt: self.number, reply }
    }
}

/// How a request goes on.
#[derive(Debug)]
pub enum Start {
    /// Create; under a key, keep the answer.
    Go(Option<Attempt>),
    /// It was done before, with this answer.
    Answered(Response),
}

pub async fn begin(app: &App, caller: &Caller, once: Option<Once>) -> Result<Start, ApiError> {
    let Some(Once { key, route, body }) = once else { return Ok(Start::Go(None)) };
    match app.store.begin_once(caller.grant.workspace, &key, &[route.as_bytes(), &body]).await? {
        Begun::Fresh { attempt } => Ok(Start::Go(Some(Attempt { key, number: attempt }))),
        Begun::Answered { reply } => Ok(Start::Answered(replayed(reply))),
        Begun::Other => Err(ApiError::new(
            StatusCode::CONFLICT,
            "idempotency_conflict",
            "this Idempotency-Key was used for another request: send a new key for a new request",
        )),
        Begun::Running => Err(ApiError::new(
            StatusCode::CONFLICT,
            "idempotency_in_progress",
            "the first request with this Idempotency-Key is not answered yet: send it again in a moment",
        )
        .with_retry_after(Duration::from_secs(2))),
    }
}

/// The answer, after a failed attempt has given its key free.
pub async fn settle(
    app: &App,
    caller: &Caller,
    attempt: Option<Attempt>,
    made: Result<Response, ApiError>,
) -> Result<Response, ApiError> {
    if let Some(attempt) = attempt.filter(|_| made.is_err())
        && let Err(error) = app.store.forget_once(caller.grant.workspace, &attempt.key, attempt.number).await
    {
        // Then it is free in a minute.
        tracing::warn!(error = %error, "an idempotency key was not given free");
    }
    made
}

/// A body as kept and as sent.
pub fn text<T: Serialize>(answer: &T) -> String {
    serde_json::to_string(answer).unwrap_or_default()
}

/// Everything that is created begins at version 1.
fn replayed(reply: String) -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let response = (StatusCode::CREATED, [kind, (REPLAYED, HeaderValue::from_static("true"))], reply).into_response();
    tagged(1, response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_sent_once_and_can_be_read() {
        let of = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(KEY, line.parse().unwrap());
            }
            key(&headers)
        };
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&["a-1"]).unwrap().as_deref(), Some("a-1"));
        for bad in [&[""][..], &["two words"], &["a", "a"], &[&"x".repeat(256)]] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }
}
