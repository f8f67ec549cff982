//! `ETag` and `If-None-Match`, where it pays: reads whose bytes stay the same until something changes.
//!
//! Most answers say `asOf` now, so no two of them are the same bytes; a tag on those would be work for
//! nothing, and a tag that left `asOf` out would have an old moment taken for a new one.

use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::error::ApiError;

/// Reads without a moment of their own.
pub const STABLE: [&str; 6] = ["/api/accounts", "/api/venues", "/openapi.yaml", "/openapi.json", "/docs", "/llms.txt"];

/// A layer: tags what is stable, and answers 304 to who has it already.
pub async fn answer(request: Request, next: Next) -> Response {
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    let path = request.extensions().get::<MatchedPath>();
    if !is_read || !path.is_some_and(|path| STABLE.contains(&path.as_str())) {
        return next.run(request).await;
    }
    let known = known(request.headers());
    let response = next.run(request).await;
    if response.status() != StatusCode::OK || response.headers().contains_key(header::ETAG) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, usize::MAX).await else { return ApiError::internal().into_response() };
    // Weak: compression may change the bytes on their way, not what they say.
    let tag = format!("W/\"{}\"", hex::encode(&Sha256::digest(&bytes)[..12]));
    let is_known = is_known(&known, &tag);
    if let Ok(tag) = HeaderValue::try_from(tag) {
        parts.headers.insert(header::ETAG, tag);
    }
    let again = HeaderValue::from_static("private, no-cache");
    parts.headers.entry(header::CACHE_CONTROL).or_insert(again);
    if is_known {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// The lines of `If-None-Match`.
pub fn known(headers: &HeaderMap) -> Vec<String> {
    headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok()).map(Into::into).collect()
}

/// True when one of the tags is ours; as `If-None-Match` compares, weak and strong are the same.
pub fn is_known(known: &[String], tag: &str) -> bool {
    let plain = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    known.iter().flat_map(|line| line.split(',')).any(|one| one.trim() == "*" || plain(one) == plain(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_the_tags_will_do_weak_or_strong() {
        let known = |line: &str| is_known(&[line.to_owned()], "W/\"a\"");
        for line in ["\"a\"", "W/\"a\"", "\"x\", W/\"a\"", " * "] {
            assert!(known(line), "{line}");
        }
        for line in ["", "a", "\"A\"", "\"ab\"", "\"x\",\"y\""] {
            assert!(!known(line), "{line}");
        }
    }
}
