//! Who is asking: the API key or the login of a request, the address it comes from, and what they may do.
//!
//! A handler that takes a [`Caller`] is authenticated; without one there is no workspace to ask for.
//! [`Person`] and [`KeyHolder`] are for the routes that only one kind may use. The whole router stands
//! behind [`authenticate`] except the short list in `src/server.rs`.

use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use codash_domain::{ApiKey, KeyId, LoginId, PersonId, Reach, Role, Scope};
use codash_store::Grant;
use codash_store::audit::{Actor, By, Entry, Outcome, Verb};
use ipnet::IpNet;
use sha2::{Digest, Sha256};
use tracing::Instrument;

use crate::app::App;
use crate::limits::{KeyHash, Usage};
use crate::login::{AccessClaims, read_access_token};
use crate::rest::error::ApiError;

/// The second header of the contract; it wins when both are sent.
const API_KEY: &str = "x-api-key";

/// A proven key or login, and where it is used from.
#[derive(Debug, Clone)]
pub struct Caller {
    pub grant: Grant,
    /// What its reads are counted under.
    pub key_hash: KeyHash,
    pub reads_per_minute: u32,
    /// How its reads stand, for the answer.
    pub usage: Usage,
    pub address: IpAddr,
    pub who: Who,
    /// As minted or accepted in front of us.
    pub request_id: Option<String>,
}

/// What kind of caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Key { depth: u8, reads_per_minute: Option<u32> },
    Person { id: PersonId, login: LoginId, role: Role },
}

impl Caller {
    /// 403 unless the key holds the scope.
    pub fn require(&self, scope: Scope) -> Result<(), ApiError> {
        if self.grant.scopes.allows(scope) { Ok(()) } else { Err(ApiError::insufficient_scope(scope)) }
    }

    /// 405 for a login: what goes on acting later acts with a key.
    pub fn require_key(&self) -> Result<(), ApiError> {
        match self.who {
            Who::Key { .. } => Ok(()),
            Who::Person { .. } => Err(ApiError::login_not_accepted()),
        }
    }

    /// For the audit.
    pub fn by(&self, app: &App) -> By {
        let actor = match self.who {
            Who::Key { .. } => Actor::Key(self.grant.key),
            Who::Person { id, .. } => Actor::Person(id),
        };
        By { actor, address: Some(self.address), request_id: self.request_id.clone(), at: app.clock.now() }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(ApiError::missing_credential)
    }
}

/// A caller who logged in. An API key gets the contract's 405.
#[derive(Debug, Clone)]
pub struct Person {
    pub id: PersonId,
    pub login: LoginId,
    pub role: Role,
    pub caller: Caller,
}

impl Person {
    /// 403 unless the person's role is at least this.
    pub fn require(&self, role: Role) -> Result<(), ApiError> {
        if self.role >= role { Ok(()) } else { Err(ApiError::insufficient_role(role)) }
    }
}

impl<S: Sync> FromRequestParts<S> for Person {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        match caller.who {
            Who::Person { id, login, role } => Ok(Self { id, login, role, caller }),
            Who::Key { .. } => Err(ApiError::key_not_accepted()),
        }
    }
}

/// A caller with an API key. A login gets 405.
#[derive(Debug, Clone)]
pub struct KeyHolder {
    pub key: KeyId,
    /// How many keys made each other before this one.
    pub depth: u8,
    pub reach: Reach,
    pub caller: Caller,
}

impl<S: Sync> FromRequestParts<S> for KeyHolder {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let Who::Key { depth, reads_per_minute } = caller.who else { return Err(ApiError::login_not_accepted()) };
        let grant = &caller.grant;
        let reach = Reach {
            scopes: grant.scopes.clone(),
            accounts: grant.accounts.clone(),
            addresses: grant.addresses.clone(),
            expires_at: grant.expires_at,
            reads_per_minute,
        };
        Ok(Self { key: grant.key, depth, reach, caller })
    }
}

/// Turns the credential of a request into a [`Caller`]. Everything that can be refused without a query
/// is; unknown and revoked keys, and tokens of logins that ended, get one and the same answer.
pub async fn authenticate(app: &App, headers: &HeaderMap, address: IpAddr) -> Result<Caller, ApiError> {
    let presented = presented(headers);
    if presented == Presented::Nothing {
        return Err(ApiError::missing_credential());
    }
    app.limits.take_credential(address).await?;
    let request_id = headers.get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let caller = match presented.key() {
        Some(key) => of_key(app, &key.hash(), address, request_id).await?,
        None => {
            // A token comes as a bearer's alone: the other header is for keys.
            let token = presented.login().filter(|_| !headers.contains_key(API_KEY));
            let claims = token.and_then(|token| claims(app, token));
            of_login(app, &claims.ok_or_else(ApiError::invalid_credential)?, address, request_id).await?
        }
    };
    admit(app, caller).await
}

async fn of_key(app: &App, hash: &[u8; 32], address: IpAddr, request_id: Option<String>) -> Result<Caller, ApiError> {
    let found = app.store.find_key(hash).await?.ok_or_else(ApiError::invalid_credential)?;
    Ok(Caller {
        grant: found.grant,
        key_hash: KeyHash(found.hash),
        reads_per_minute: app.config.limits.reads_of(found.reads_per_minute),
        usage: Usage::default(),
        address,
        who: Who::Key { depth: found.depth, reads_per_minute: found.reads_per_minute },
        request_id,
    })
}

fn claims(app: &App, token: &str) -> Option<AccessClaims> {
    read_access_token(&|purpose| app.store.derived_keys(purpose), token, app.clock.now())
}

async fn of_login(
    app: &App,
    claims: &AccessClaims,
    address: IpAddr,
    request_id: Option<String>,
) -> Result<Caller, ApiError> {
    let role = app.store.role_of_login(claims.sid, claims.sub, claims.ws, app.clock.now()).await?;
    let role = role.ok_or_else(ApiError::invalid_credential)?;
    let grant = Grant {
        workspace: claims.ws,
        key: KeyId(claims.sub.0),
        scopes: role.scopes(),
        accounts: None,
        addresses: Vec::new(),
        expires_at: None,
    };
    let window = Sha256::digest([claims.ws.0.as_bytes(), &claims.sub.0.as_bytes()[..]].concat());
    Ok(Caller {
        grant,
        key_hash: KeyHash(window.into()),
        reads_per_minute: app.config.limits.reads_per_minute,
        usage: Usage::default(),
        address,
        who: Who::Person { id: claims.sub, login: claims.sid, role },
        request_id,
    })
}

/// The rules of a genuine key: expiry, address, then its share of reads.
async fn admit(app: &App, caller: Caller) -> Result<Caller, ApiError> {
    let grant = &caller.grant;
    let span = tracing::Span::current();
    span.record("workspace.id", tracing::field::display(grant.workspace));
    span.record("key.id", tracing::field::display(grant.key));
    if grant.expires_at.is_some_and(|expiry| expiry <= app.clock.now()) {
        return Err(turned_away(app, &caller, ApiError::expired_credential()));
    }
    if !Reach::admits(&grant.addresses, caller.address) {
        return Err(turned_away(app, &caller, ApiError::address_not_allowed()));
    }
    app.limits.take_read(&caller, 1).await?;
    if matches!(caller.who, Who::Key { .. }) {
        note_use(app, &caller);
    }
    Ok(caller)
}

/// A genuine key that may not be used so: its owners learn of it.
fn turned_away(app: &App, caller: &Caller, error: ApiError) -> ApiError {
    let mut entry = Entry::done(caller.by(app), Verb::KeyRefuse, caller.grant.key.to_string());
    entry.outcome = Outcome::Refused;
    entry.code = Some(error.code().to_owned());
    app.audit.note(caller.grant.workspace, entry);
    error
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

impl<'a> Presented<'a> {
    /// Shape and checksum.
    fn key(self) -> Option<ApiKey> {
        match self {
            Self::One(text) => ApiKey::parse(text),
            Self::Nothing | Self::Unclear => None,
        }
    }

    /// A token that does not start as keys do is a login's.
    fn login(self) -> Option<&'a str> {
        match self {
            Self::One(text) if !text.starts_with(codash_domain::api_key::PREFIX) => Some(text),
            _ => None,
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
