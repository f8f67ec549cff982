//! Compression of answers, for who asks for it with `Accept-Encoding`.
//!
//! Compressing a secret together with text that an attacker chooses can tell the secret by the length
//! (BREACH). Nothing here lends itself to it: keys travel in headers that no foreign page can make a
//! browser send, and the one answer that holds a fresh secret is marked [`Uncompressed`]. So are files:
//! exports have `gzip=true`, and their digests and trailers are of the bytes sent.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use tower_http::compression::predicate::{Predicate, SizeAbove};
use tower_http::compression::{CompressionLayer, CompressionLevel};

/// Below this a packet is not saved.
const LEAST: u64 = 1024;

/// Marks an answer that goes out as it is.
#[derive(Debug, Clone, Copy)]
pub struct Uncompressed;

/// A layer around everything: errors are compressed as well as answers.
pub fn layer() -> CompressionLayer<impl Predicate> {
    let is_text = |_, _, headers: &HeaderMap, extensions: &axum::http::Extensions| {
        extensions.get::<Uncompressed>().is_none() && is_text(headers)
    };
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(SizeAbove::new(LEAST).and(is_text))
}

/// Who refuses plain answers too gets them nevertheless (RFC 9110, 12.5.3 leaves that to us): the layer
/// would let the work be done and then call it a 406.
pub async fn plain_at_worst(mut request: Request, next: Next) -> Response {
    let headers = request.headers_mut();
    if headers.contains_key(header::ACCEPT_ENCODING) {
        match acceptable(headers) {
            Some(kept) => drop(headers.insert(header::ACCEPT_ENCODING, kept)),
            None => drop(headers.remove(header::ACCEPT_ENCODING)),
        }
    }
    next.run(request).await
}

/// `Accept-Encoding` without what refuses plain answers.
fn acceptable(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    let parts = lines.flat_map(|line| line.split(',')).map(str::trim);
    let kept: Vec<&str> = parts.filter(|part| !part.is_empty() && !refuses_plain(part)).collect();
    HeaderValue::from_str(&kept.join(", ")).ok().filter(|_| !kept.is_empty())
}

fn refuses_plain(part: &str) -> bool {
    let Some((coding, weight)) = part.split_once(';') else { return false };
    let is_plain = ["*", "identity"].iter().any(|name| coding.trim().eq_ignore_ascii_case(name));
    let weight = weight.trim();
    let digits = weight.strip_prefix("q=").or_else(|| weight.strip_prefix("Q=")).unwrap_or_default();
    is_plain && !digits.is_empty() && digits.bytes().all(|b| b == b'0' || b == b'.')
}

fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ["application/json", "application/yaml", "text/"].iter().any(|text| kind.starts_with(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_refuse_a_plain_answer() {
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(line));
            }
            acceptable(&headers).map(|kept| kept.to_str().unwrap().to_owned())
        };
        for lines in [&["*;q=0"][..], &["identity;q=0"], &["* ; q=0.000", "Identity;Q=0."], &[""]] {
            assert_eq!(of(lines), None, "{lines:?}");
        }
        assert_eq!(of(&["gzip, *;q=0", "br;q=0.5"]).as_deref(), Some("gzip, br;q=0.5"));
        assert_eq!(of(&["*;q=0.1, identity;q=1"]).as_deref(), Some("*;q=0.1, identity;q=1"));
    }
}
