//! Compression of answers, for who asks for it with `Accept-Encoding`.
//!
//! Compressing a secret together with text that an attacker chooses can tell the secret by the length
//! (BREACH). Nothing here lends itself to it: keys travel in headers that no foreign page can make a
//! browser send, and the one answer that holds a fresh secret is marked [`Uncompressed`]. So are files:
//! exports have `gzip=true`, and their digests and trailers are of the bytes sent.

use axum::http::{HeaderMap, header};
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

fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ["application/json", "application/yaml", "text/"].iter().any(|text| kind.starts_with(text))
}
