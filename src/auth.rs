//! Who is asking: the API key of a request, the address it comes from, and what both may do.
//!
//! A handler that takes a [`Caller`] is authenticated; without one there is no workspace to ask for.
//! The whole router stands behind [`authenticate`] except the short list in `src/server.rs`.

use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use codash_domain::{ApiKey, Scope};
use codash_store::Grant;
use ipnet::IpNet;
use tracing::Instrument;

use crate::app::App;
use crate::limits::KeyHash;
use crate::rest::error::ApiError;

/// The second header of the contract; it wins when both are sent.
const API_KEY: &str = "x-api-key";

/// A proven key, and where it is used from.
#[derive(Debug, Clone)]
pub struct Caller {
    pub grant: Grant,
    pub key_hash: KeyHash,
    pub address: IpAddr,
}

impl Caller {
    /// 403 unless the key holds the scope.
    pub fn require(&self, scope: Scope) -> Result<(), ApiError> {
        if self.grant.scopes.allows(scope) { Ok(()) } else { Err(ApiError::insufficient_scope(scope)) }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(ApiError::missing_credential)
    }
}

/// Turns the key of a request into a [`Caller`]. Everything that can be refused without a query is;
/// unknown and revoked keys get one and the same answer, after the same work.
pub async fn authenticate(app: &App, headers: &HeaderMap, address: IpAddr) -> Result<Caller, ApiError> {
    let presented = presented(headers);
    if presented == Presented::Nothing {
        return Err(ApiError::missing_credential());
    }
    app.limits.take_credential(address)?;
    let key = presented.key().ok_or_else(ApiError::invalid_credential)?;
    let hash = key.hash();
    let grant = app.store.find_grant(&hash).await?.ok_or_else(ApiError::invalid_credential)?;
    admit(app, Caller { grant, key_hash: KeyHash(hash), address })
}

/// The rules of a genuine key: expiry, address, then its share of reads.
fn admit(app: &App, caller: Caller) -> Result<Caller, ApiError> {
    let grant = &caller.grant;
    let span = tracing::Span::current();
    span.record("workspace.id", tracing::field::display(grant.workspace));
    span.record("key.id", tracing::field::display(grant.key));
    if grant.expires_at.is_some_and(|expiry| expiry <= app.clock.now()) {
        return Err(ApiError::expired_credential());
    }
    if !grant.addresses.is_empty() && !grant.addresses.iter().any(|net| net.contains(&caller.address)) {
        return Err(ApiError::address_not_allowed());
    }
    app.limits.take_read(&caller, 1)?;
    note_use(app, &caller);
    Ok(caller)
}

/// Beside the request: no answer waits for it or depends on it.
fn note_use(app: &App, caller: &Caller) {
    let (workspace, key) = (caller.grant.workspace, caller.grant.key);
    if app.limits.is_worth_noting(key) {
        let store = app.store.clone();
        tokio::spawn(async move { store.touch_key(workspace, key).await }.in_current_span());
    }
}

/// The credential as sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presented<'a> {
    Nothing,
    One(&'a str),
    /// Sent twice, in another scheme, or in bytes that no key has.
    Unclear,
}

impl Presented<'_> {
    /// Shape and checksum. A token that does not start with `kv_live_` is a login's; none exist yet.
    fn key(self) -> Option<ApiKey> {
        match self {
            Self::One(text) => ApiKey::parse(text),
            Self::Nothing | Self::Unclear => None,
        }
    }
}

fn presented(headers: &HeaderMap) -> Presented<'_> {
    if headers.contains_key(API_KEY) {
        return only_value(headers, API_KEY).map_or(Presented::Unclear, |text| Presented::One(text.trim()));
    }
    if !headers.contains_key(header::AUTHORIZATION) {
        return Presented::Nothing;
    }
    let Some((scheme, token)) = only_value(headers, header::AUTHORIZATION.as_str()).and_then(|v| v.split_once(' '))
    else {
        return Presented::Unclear;
    };
    if scheme.eq_ignore_ascii_case("bearer") { Presented::One(token.trim()) } else { Presented::Unclear }
}

fn only_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// The address that a request comes from. `X-Forwarded-For` is believed only from a trusted proxy,
/// and then its rightmost hop that is not one: everything left of that may be invented.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let mut address = peer.to_canonical();
    let lines: Vec<&str> = headers.get_all("x-forwarded-for").iter().map(|v| v.to_str().unwrap_or_default()).collect();
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        if !is_trusted(&address) {
            break;
        }
        // A hop that cannot be read ends the chain at the proxy that wrote it.
        let Some(next) = hop_address(hop.trim()) else { break };
        address = next;
    }
    address
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse::<IpAddr>().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|s| s.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn x_api_key_wins_over_authorization() {
        let both = headers(&[("authorization", "Bearer kv_live_b"), ("x-api-key", "kv_live_a")]);
        assert_eq!(presented(&both), Presented::One("kv_live_a"));
        let spoiled = headers(&[("authorization", "Bearer kv_live_b"), ("x-api-key", "")]);
        assert_eq!(presented(&spoiled), Presented::One(""));
        assert!(presented(&spoiled).key().is_none());
    }

    #[test]
    fn bearer_is_read_in_any_case_and_other_schemes_are_no_key() {
        for value in ["Bearer t", "bearer t", "BEARER  t "] {
            assert_eq!(presented(&headers(&[("authorization", value)])), Presented::One("t"), "{value}");
        }
        for value in ["Basic dDp0", "Bearer", "t"] {
            assert_eq!(presented(&headers(&[("authorization", value)])), Presented::Unclear, "{value}");
        }
        assert_eq!(presented(&HeaderMap::new()), Presented::Nothing);
    }

    #[test]
    fn a_header_sent_twice_is_no_key() {
        let mut twice = headers(&[("x-api-key", "kv_live_a")]);
        twice.append("x-api-key", HeaderValue::from_static("kv_live_b"));
        assert_eq!(presented(&twice), Presented::Unclear);
    }

    #[test]
    fn a_login_token_is_no_key() {
        assert!(Presented::One("eyJhbGciOiJFZERTQSJ9.e30.c2ln").key().is_none());
        let key = ApiKey::from_random([3; 32]);
        assert_eq!(Presented::One(key.reveal()).key(), Some(key.clone()));
    }

    fn from(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn a_stranger_cannot_choose_its_address() {
        assert_eq!(from("203.0.113.9", &["10.0.0.1"], &[]), "203.0.113.9");
        assert_eq!(from("203.0.113.9", &["10.0.0.1"], &["10.0.0.0/8"]), "203.0.113.9");
        assert_eq!(from("10.0.0.2", &["1.1.1.1, 198.51.100.7"], &["10.0.0.0/8"]), "198.51.100.7");
        assert_eq!(from("10.0.0.2", &["1.1.1.1", "198.51.100.7"], &["10.0.0.0/8"]), "198.51.100.7");
    }

    #[test]
    fn a_chain_of_trusted_proxies_is_followed_to_the_first_stranger() {
        let chain = ["6.6.6.6, 198.51.100.7:4711", "10.9.9.9"];
        assert_eq!(from("::ffff:10.0.0.2", &chain, &["10.0.0.0/8"]), "198.51.100.7");
        assert_eq!(from("10.0.0.2", &["[2001:db8::1]:443"], &["10.0.0.0/8"]), "2001:db8::1");
        assert_eq!(from("10.0.0.2", &["10.0.0.3"], &["10.0.0.0/8"]), "10.0.0.3");
    }

    #[test]
    fn an_unreadable_hop_ends_the_chain() {
        assert_eq!(from("10.0.0.2", &["198.51.100.7, unknown"], &["10.0.0.0/8"]), "10.0.0.2");
        assert_eq!(from("10.0.0.2", &[], &["10.0.0.0/8"]), "10.0.0.2");
    }
}
