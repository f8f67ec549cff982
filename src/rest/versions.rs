//! Entity tags of what can be changed, and the `If-Match` that a change may carry.
//!
//! A tag is the version of what its owner can change: what the collector learns meanwhile does not
//! spoil it.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use codash_store::portfolios::Expected;

use super::error::ApiError;

/// The response with the entity tag of a version.
pub fn tagged(version: i64, mut response: Response) -> Response {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Which versions a change is meant for; any, without the header.
#[derive(Debug)]
pub struct IfMatch(pub Expected);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self(expected(&parts.headers)))
    }
}

/// A tag that is none of ours matches nothing, as any other that is not the present one.
fn expected(headers: &HeaderMap) -> Expected {
    let lines = headers.get_all(header::IF_MATCH);
    let mut tags = lines.iter().flat_map(|line| line.to_str().unwrap_or_default().split(',')).map(str::trim).peekable();
    if tags.peek().is_none() {
        return Expected::Any;
    }
    let mut versions = Vec::new();
    for tag in tags {
        if tag == "*" {
            return Expected::Any;
        }
        let bare = tag.strip_prefix("W/").unwrap_or(tag);
        versions.extend(bare.strip_prefix('"').and_then(|t| t.strip_suffix('"')).and_then(|t| t.parse::<i64>().ok()));
    }
    Expected::OneOf(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Expected {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::IF_MATCH, line.parse().unwrap());
        }
        expected(&headers)
    }

    #[test]
    fn tags_are_versions_and_what_is_no_tag_of_ours_matches_nothing() {
        assert_eq!(of(&[]), Expected::Any);
        assert_eq!(of(&["*"]), Expected::Any);
        assert_eq!(of(&["\"3\""]), Expected::OneOf(vec![3]));
        assert_eq!(of(&["\"3\", W/\"4\"", "\"5\""]), Expected::OneOf(vec![3, 4, 5]));
        for stranger in ["\"abc\"", "3", "", "\"99999999999999999999\""] {
            assert_eq!(of(&[stranger]), Expected::OneOf(vec![]), "{stranger}");
        }
    }
}
