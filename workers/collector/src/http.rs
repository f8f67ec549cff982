//! The outbound client: reads only, paced, timed out, and silent about what it carries.
//!
//! Venues meter an egress address, not a key, so every account of the process shares one limiter
//! per host. A venue that says "not before" is not asked before.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use codash_store::meters::Spend;
use reqwest::header::HeaderMap;
use tokio::time::Instant;

use crate::error::VenueError;
use crate::meter::{Host, Silence};
use crate::pricing::PriceBook;

pub use crate::meter::{Shared, Target};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(20);
const LARGEST_BODY: usize = 32 * 1024 * 1024;
const MINUTE: Duration = Duration::from_secs(60);
/// A caller holds a lease: beyond this it is told to come back rather than kept waiting.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// Silence after a 429 that does not say how long.
const DEFAULT_SILENCE: Duration = Duration::from_secs(30);
/// Pause after a 403 of a firewall.
const FIREWALL_SILENCE: Duration = Duration::from_secs(60);
/// Silence after a 418 that does not say how long: the shortest ban that Binance documents.
const DEFAULT_BAN: Duration = Duration::from_secs(120);
/// No ban is longer than the three days that Binance documents; a larger number is a mistake.
const LONGEST_SILENCE: Duration = Duration::from_secs(3 * 24 * 3600);

/// One request. The path holds the query, exactly as it was signed.
pub struct Request<'a> {
    pub target: Target<'a>,
    pub path: String,
    /// Names and values; the values may be secret.
    pub headers: Vec<(&'static str, String)>,
    /// A body makes it a POST.
    pub body: Option<Body>,
    pub weight: u32,
    /// A meter that the venue keeps for the account or the endpoint, beside the host's.
    pub own_meter: Option<Target<'a>>,
}

/// What a POST carries.
pub enum Body {
    Json(String),
    Form(String),
}

/// A reply that the venue's own rules judge further.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Reply {
    /// A header that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        number(&self.headers, name)
    }

    /// The body of a good reply, where the venue's own words say nothing else.
    pub fn good(self) -> Result<String, VenueError> {
        match self.status {
            200..=299 => Ok(self.body),
            // The firewall, not the exchange: it has no words for why.
            403 => Err(VenueError::Retry { after: Some(FIREWALL_SILENCE), reason: "HTTP 403".into() }),
            status => Err(VenueError::retry(format!("HTTP {status} without a reason"))),
        }
    }
}

/// Address and meter.
type HostKey = (String, String);
type Kept = (Instant, Arc<dyn Any + Send + Sync>);

struct Inner {
    client: reqwest::Client,
    /// The meters of hosts that all processes behind one address share. `None`: this process is alone.
    shared: Option<Shared>,
    hosts: Mutex<HashMap<HostKey, Host>>,
    kept: Mutex<HashMap<String, Kept>>,
}

/// The client that all accounts share. Cloning is cheap and shares the limits.
#[derive(Clone)]
pub struct Http(Arc<Inner>);

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl Http {
    /// No redirects (a signed address must not wander) and no proxies (nothing of the environment
    /// may see a key).
    pub fn new() -> Result<Self, VenueError> {
        Self::build(None, TOTAL_TIMEOUT)
    }

    /// As [`Http::new`], counting together with every process that names the same egress address.
    pub fn sharing(shared: Shared) -> Result<Self, VenueError> {
        Self::build(Some(shared), TOTAL_TIMEOUT)
    }

    /// As [`Http::new`] or [`Http::sharing`], with little patience. For tests.
    pub fn impatient(shared: Option<Shared>, timeout: Duration) -> Result<Self, VenueError> {
        Self::build(shared, timeout)
    }

    fn build(shared: Option<Shared>, timeout: Duration) -> Result<Self, VenueError> {
        // Another part of the process may have installed one already; any will do.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            .user_agent("codash-collector")
            .build()
            .map_err(|error| VenueError::retry(format!("no outbound client: {}", kind(&error))))?;
        Ok(Self(Arc::new(Inner { client, shared, hosts: Mutex::default(), kept: Mutex::default() })))
    }

    /// Sends when the host's budget allows. Replies that mean "later" come back as errors.
    pub async fn send(&self, request: Request<'_>) -> Result<Reply, VenueError> {
        if let Some(own) = request.own_meter {
            self.wait_for(own, 1).await?;
        }
        self.wait_for(request.target, request.weight).await?;
        let url = format!("{}{}", request.target.base, request.path);
        let mut builder = match request.body {
            Some(Body::Json(body)) => self.0.client.post(url).header("content-type", "application/json").body(body),
            Some(Body::Form(body)) => {
                self.0.client.post(url).header("content-type", "application/x-www-form-urlencoded").body(body)
            }
            None => self.0.client.get(url),
        };
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        let response = builder.send().await.map_err(|error| VenueError::retry(kind(&error)))?;
        self.judge(request.target, response).await
    }

    /// Charges weight that only the reply showed, such as a price per row.
    pub async fn charge(&self, target: Target<'_>, weight: u32) {
        if weight == 0 {
            return;
        }
        self.with_host(target, |host| host.spent.push_back((Instant::now(), weight)));
        if let Some(shared) = self.shared(target) {
            let taken = shared.store.take_weight(&shared.meter(target), weight, u32::MAX, target.per).await;
            Shared::warn(taken.map(drop));
        }
    }

    /// A fact read once for all accounts (symbols, a clock's offset), if it is young enough.
    pub fn recall<T: Send + Sync + 'static>(&self, name: &str, oldest: Duration) -> Option<Arc<T>> {
        let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, fact) = kept.get(name)?;
        (at.elapsed() < oldest).then(|| Arc::clone(fact).downcast().ok())?
    }

    /// Keeps a fact under a name that begins with the host's address.
    pub fn keep<T: Send + Sync + 'static>(&self, name: String, fact: T) -> Arc<T> {
        let fact = Arc::new(fact);
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(name, (Instant::now(), Arc::clone(&fact) as Arc<dyn Any + Send + Sync>));
        fact
    }

    /// Closes of past minutes at a host: they never change, so every account shares them.
    pub fn minute_prices(&self, base: &str) -> Arc<Mutex<PriceBook>> {
        let name = format!("{base} minute prices");
        // Forgotten every hour, so that the book stays small.
        self.recall(&name, MINUTE * 60).unwrap_or_else(|| self.keep(name, Mutex::default()))
    }

    /// Where a meter is counted together with other processes, if it is.
    fn shared(&self, target: Target<'_>) -> Option<&Shared> {
        self.0.shared.as_ref().filter(|_| !target.is_own)
    }

    fn with_host<R>(&self, target: Target<'_>, act: impl FnOnce(&mut Host) -> R) -> R {
        let mut hosts = self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        act(hosts.entry((target.base.to_owned(), target.meter.to_owned())).or_default())
    }

    async fn wait_for(&self, target: Target<'_>, weight: u32) -> Result<(), VenueError> {
        let patience = Instant::now() + LONGEST_WAIT;
        let allowance = (target.budget * 4 / 5).max(1);
        loop {
            let now = Instant::now();
            let spend = match self.shared(target) {
                None => self.with_host(target, |host| match host.silence_error(now) {
                    Some(error) => Err(error),
                    None => Ok(host.take(weight, allowance, target.per, now)),
                })?,
                Some(shared) => {
                    self.with_host(target, |host| host.silence_error(now)).map_or(Ok(()), Err)?;
                    match shared.take(target, weight, allowance).await? {
                        Spend::Taken => Ok(()),
                        Spend::Wait(wait) => Err(wait),
                        Spend::Silent { after, banned } => return Err(self.silent(target, after, banned)),
                    }
                }
            };
            let Err(wait) = spend else { return Ok(()) };
            if now + wait > patience {
                return Err(VenueError::Retry {
                    after: Some(wait),
                    reason: "our share of the venue's budget is used".into(),
                });
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn judge(&self, target: Target<'_>, response: reqwest::Response) -> Result<Reply, VenueError> {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        if let Some(used) = number(&headers, "x-mbx-used-weight-1m") {
            self.learn(target, u32::try_from(used).unwrap_or(u32::MAX)).await;
        }
        let after = number(&headers, "retry-after").map(|seconds| Duration::from_secs(seconds).min(LONGEST_SILENCE));
        match status {
            429 => Err(self.silence(target, after.unwrap_or(DEFAULT_SILENCE), false).await),
            418 => Err(self.silence(target, after.unwrap_or(DEFAULT_BAN), true).await),
            500.. => Err(VenueError::Retry { after, reason: format!("HTTP {status}") }),
            300..=399 => Err(VenueError::retry(format!("HTTP {status}: a redirect, not followed"))),
            _ => Ok(Reply { status, headers, body: body_of(response).await? }),
        }
    }

    /// Counts what the venue itself counted: somebody else may share the address.
    async fn learn(&self, target: Target<'_>, used: u32) {
        match self.shared(target) {
            None => self.with_host(target, |host| host.learn(used, target.per, Instant::now())),
            // Far from the allowance nothing would change: a round trip a reply is saved.
            Some(shared) if used > target.budget / 2 => {
                Shared::warn(shared.store.learn_weight(&shared.meter(target), used, target.per).await);
            }
            Some(_) => {}
        }
    }

    /// Sends nothing more there for a while, and says so: what a venue asked for in words of its own.
    pub async fn silence(&self, target: Target<'_>, after: Duration, banned: bool) -> VenueError {
        tracing::warn!(
            host.base = target.base,
            silence.seconds = after.as_secs(),
            banned,
            "the venue asked for silence"
        );
        let error = self.silent(target, after, banned);
        if let Some(shared) = self.shared(target) {
            Shared::warn(shared.store.silence(&shared.meter(target), after, banned).await);
        }
        error
    }

    /// Remembers a silence in this process.
    fn silent(&self, target: Target<'_>, after: Duration, banned: bool) -> VenueError {
        self.with_host(target, |host| host.silence = Some(Silence { until: Instant::now() + after, banned }));
        match banned {
            true => VenueError::Banned { after, reason: "the venue refuses this address".into() },
            false => VenueError::Retry { after: Some(after), reason: "too many requests".into() },
        }
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

async fn body_of(mut response: reqwest::Response) -> Result<String, VenueError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| VenueError::retry(kind(&error)))? {
        if bytes.len() + chunk.len() > LARGEST_BODY {
            return Err(VenueError::retry("the reply is larger than 32 MiB"));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| VenueError::retry("the reply is no UTF-8 text"))
}

/// What went wrong, without the address: it holds a signature.
fn kind(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "could not connect"
    } else if error.is_body() || error.is_decode() {
        "the reply broke off"
    } else {
        "the request failed"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venues::mock::Mock;

    fn target(base: &str) -> Target<'_> {
        Target { base, meter: "m", budget: 1000, per: MINUTE, is_own: false }
    }

    fn get<'a>(base: &'a str, path: &str) -> Request<'a> {
        let headers = vec![("x-key", "secret".to_owned())];
        Request { target: target(base), path: path.into(), headers, body: None, weight: 1, own_meter: None }
    }

    #[tokio::test]
    async fn a_host_that_asks_for_silence_is_not_asked_again() {
        let mock = Mock::start(|_| (429, "retry-after: 40", String::new())).await;
        let http = Http::new().unwrap();
        let first = http.send(get(&mock.base, "/a")).await.unwrap_err();
        assert_eq!(
            first,
            VenueError::Retry { after: Some(Duration::from_secs(40)), reason: "too many requests".into() }
        );
        let second = http.clone().send(get(&mock.base, "/b")).await.unwrap_err();
        assert!(matches!(second, VenueError::Retry { after: Some(left), .. } if left > Duration::from_secs(30)));
        assert_eq!(mock.seen(), ["GET /a"]);
    }

    #[tokio::test]
    async fn a_ban_is_told_apart_and_redirects_and_faults_are_retried() {
        let mock = Mock::start(|request| match request.path.as_str() {
            "/teapot" => (418, "retry-after: 500", String::new()),
            "/moved" => (302, "location: /elsewhere", String::new()),
            "/broken" => (503, "", String::new()),
            _ => (400, "", "{}".into()),
        })
        .await;
        let http = Http::new().unwrap();
        assert!(http.send(get(&mock.base, "/moved")).await.unwrap_err().is_retryable());
        assert!(http.send(get(&mock.base, "/broken")).await.unwrap_err().is_retryable());
        assert_eq!(http.send(get(&mock.base, "/refused")).await.unwrap().status, 400);
        let banned = http.send(get(&mock.base, "/teapot")).await.unwrap_err();
        assert!(matches!(banned, VenueError::Banned { after, .. } if after.as_secs() == 500));
        assert!(matches!(http.send(get(&mock.base, "/a")).await.unwrap_err(), VenueError::Banned { .. }));
        assert_eq!(mock.seen(), ["GET /moved", "GET /broken", "GET /refused", "GET /teapot"]);
    }

    #[tokio::test]
    async fn an_error_never_shows_the_address() {
        let http = Http::new().unwrap();
        let error = http.send(get("http://127.0.0.1:1", "/x?signature=abc")).await.unwrap_err();
        assert!(!format!("{error} {error:?} {http:?}").contains("abc"));
        assert!(error.is_retryable());
    }

    #[tokio::test]
    async fn a_long_wait_is_handed_back_and_hosts_have_budgets_of_their_own() {
        let http = Http::new().unwrap();
        let host = target("http://127.0.0.1:1");
        http.wait_for(host, 800).await.unwrap();
        let refused = http.clone().wait_for(host, 1).await.unwrap_err();
        assert!(matches!(refused, VenueError::Retry { after: Some(wait), .. } if wait > LONGEST_WAIT));
        http.wait_for(Target { meter: "other", ..host }, 400).await.unwrap();
    }
}
