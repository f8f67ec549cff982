//! The application: everything a handler needs, built the same way in `main` and in tests.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::HeaderValue;
use codash_analytics::{Ctx, CursorKey};
use codash_automations::guard::Reach;
use codash_collector::venues::Venues;
use codash_domain::Clock;
use codash_store::Store;
use ipnet::IpNet;

use crate::audit::Recorder;
use crate::auth::Caller;
use crate::limits::shared::SharedSettings;
use crate::limits::{LimitSettings, Limits};
use crate::login::Passwords;
use crate::rest::error::ApiError;
use crate::rest::exports::Places;

/// What an operator may set about the doorway. The defaults are the documented ones.
#[derive(Debug, Clone)]
pub struct AppConfig {
    pub limits: LimitSettings,
    /// The Redis in which several processes count together.
    pub shared_limits: Option<SharedSettings>,
    /// From the first byte of a request to its answer, without the time its body takes to arrive.
    pub deadline: Duration,
    /// For the whole body to arrive.
    pub body_deadline: Duration,
    pub max_body: usize,
    /// Connections open at once; further ones wait to be accepted.
    pub max_connections: usize,
    /// Origins of other sites whose pages may call us, such as `https://app.example.com`.
    pub origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Where clients reach us, such as `https://api.example.com`; an allowed origin too.
    pub public_url: Option<String>,
    /// For how long browsers shall reach us over TLS alone; 0 promises nothing.
    pub hsts_seconds: u32,
    /// How long the audit is kept.
    pub audit_retention_days: u32,
    /// How far webhooks reach.
    pub webhooks: Reach,
}

impl Default for AppConfig {
    fn default() -> Self {
        Self {
            limits: LimitSettings::default(),
            shared_limits: None,
            deadline: Duration::from_secs(10),
            body_deadline: Duration::from_secs(30),
            max_body: 256 * 1024,
            max_connections: 4096,
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            public_url: None,
            hsts_seconds: 0,
            audit_retention_days: 400,
            webhooks: Reach::Public,
        }
    }
}

/// Bytes from the operating system: the one place where ids and keys come from.
pub fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// Cheap to clone: one allocation is shared by every request.
#[derive(Debug, Clone)]
pub struct App(Arc<Parts>);

/// See [`App`].
#[derive(Debug)]
pub struct Parts {
    pub store: Store,
    pub venues: Venues,
    pub cursor_key: CursorKey,
    pub clock: Arc<dyn Clock>,
    pub limits: Limits,
    pub exports: Places,
    pub audit: Recorder,
    pub passwords: Passwords,
    pub config: AppConfig,
    stopping: AtomicBool,
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// Call it inside the runtime: the audit's writer and the keeper of the shared limits start here.
    pub fn build(
        store: Store,
        venues: Venues,
        cursor_key: CursorKey,
        clock: Arc<dyn Clock>,
        config: AppConfig,
    ) -> Self {
        let limits = Limits::new(config.limits, config.shared_limits.as_ref(), *store.derived_keys("limits").signing());
        let exports = Places::new(store.question_connections());
        let audit = Recorder::start(store.clone(), Arc::clone(&clock), config.audit_retention_days);
        let passwords = Passwords::default();
        let stopping = AtomicBool::new(false);
        Self(Arc::new(Parts { store, venues, cursor_key, clock, limits, exports, audit, passwords, config, stopping }))
    }

    /// See [`random`].
    pub fn random<const N: usize>(&self) -> Result<[u8; N], ApiError> {
        random().map_err(|error| ApiError::internal().caused_by(error))
    }

    /// A question's context, as this caller may ask it now.
    pub fn ctx<'a>(&'a self, caller: &'a Caller) -> Ctx<'a> {
        Ctx { store: &self.store, grant: &caller.grant, cursor_key: &self.cursor_key, now: self.clock.now() }
    }

    /// From now on `/health/ready` says no.
    pub fn begin_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

impl AppConfig {
    /// `Strict-Transport-Security`, when it is promised.
    pub fn hsts(&self) -> Option<HeaderValue> {
        let seconds = (self.hsts_seconds > 0).then_some(self.hsts_seconds)?;
        HeaderValue::try_from(format!("max-age={seconds}")).ok()
    }

    /// True for an `Origin` whose pages may call us: our own, and those that the operator lists.
    /// The `Host` header proves nothing, a page that rebinds its name sends its own.
    pub fn allows_origin(&self, origin: &str, local: SocketAddr) -> bool {
        let origin = origin.to_ascii_lowercase();
        let is_listed = self.public_url.iter().chain(&self.origins).any(|allowed| *allowed == origin);
        is_listed || is_loopback_origin(&origin, local.port())
    }
}

/// A page of this machine, at the port that the request came in on.
fn is_loopback_origin(origin: &str, port: u16) -> bool {
    ["127.0.0.1", "localhost", "[::1]"]
        .iter()
        .any(|host| origin == format!("http://{host}:{port}") || (port == 80 && origin == format!("http://{host}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_and_own_origins_are_allowed() {
        let config = AppConfig {
            origins: vec!["https://app.example.com".into()],
            public_url: Some("https://api.example.com".into()),
            ..AppConfig::default()
        };
        let allows = |origin: &str| config.allows_origin(origin, "127.0.0.1:8080".parse().unwrap());
        for good in [
            "https://app.example.com",
            "https://API.example.com",
            "http://127.0.0.1:8080",
            "http://localhost:8080",
            "http://[::1]:8080",
        ] {
            assert!(allows(good), "{good}");
        }
        for bad in [
            "null",
            "",
            "https://app.example.com.evil.test",
            "http://app.example.com",
            "http://localhost:8081",
            "https://localhost:8080",
            "http://evil.test:8080",
        ] {
            assert!(!allows(bad), "{bad}");
        }
    }
}
