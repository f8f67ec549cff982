//! Settings: typed, from the environment (`CODASH_*`) and flags, refused with every fault at once.
//!
//! To add one: a field, a line in [`Config::from_source`], a line in [`SETTINGS`]. Secrets are wrapped
//! as soon as they are read, and no fault repeats a value.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use axum::http::Uri;
use codash_automations::guard::Reach;
use codash_collector::venues::Endpoints;
use codash_collector::venues::registry::REGISTRY;
use codash_store::{MasterKeys, StoreConfig};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use tracing_subscriber::EnvFilter;

use crate::app::AppConfig;
use crate::limits::LimitSettings;
use crate::limits::shared::SharedSettings;
use crate::telemetry::{LogFormat, LogSettings};

/// Every setting that is read; another `CODASH_` name is taken for a slip of the pen.
pub const SETTINGS: [(&str, &str); 28] = [
    ("CODASH_ALLOWED_ORIGINS", "origins of other sites whose pages may call us, separated by commas"),
    ("CODASH_AUDIT_RETENTION_DAYS", "how long the audit is kept, in days; 30 at least (400)"),
    ("CODASH_DATABASE_POOL", "connections for questions"),
    ("CODASH_DATABASE_URL", "postgres://USER:PASSWORD@HOST:PORT/DATABASE (required)"),
    (
        "CODASH_EGRESS",
        "names the address that requests leave from; processes that share one count venue limits together (default)",
    ),
    (
        "CODASH_HSTS_SECONDS",
        "Strict-Transport-Security of this many seconds; CODASH_PUBLIC_URL must be https (0: none)",
    ),
    ("CODASH_LIMIT_CREDENTIALS_PER_MINUTE", "requests with a credential, a minute and address (300)"),
    ("CODASH_LIMIT_LOGINS_PER_MINUTE", "attempts to log in, sign up or refresh, a minute and address (20)"),
    ("CODASH_LIMIT_READS_PER_KEY_MAX", "the highest limit that a single key may be given (the limit of all keys)"),
    ("CODASH_LIMIT_READS_PER_MINUTE", "authenticated requests, a minute and key (100)"),
    ("CODASH_LIMIT_REGISTRATIONS_PER_HOUR", "new workspaces, an hour and address (20)"),
    ("CODASH_LISTEN", "address and port (127.0.0.1:8080)"),
    ("CODASH_LOG", "what is logged, such as info or codash=debug (info)"),
    ("CODASH_LOG_FORMAT", "text or json (text)"),
    ("CODASH_LOST_MASTER_KEYS", "ids of master keys that are lost for good: start without what they wrap"),
    ("CODASH_MASTER_KEYS", "ID:BASE64 of 32 bytes; the current one first, older ones behind commas"),
    ("CODASH_MASTER_KEY_FILE", "a file that holds them instead (one of the two is required)"),
    ("CODASH_MAX_BODY_BYTES", "largest request body (262144)"),
    ("CODASH_MAX_CONNECTIONS", "client connections open at once (4096)"),
    ("CODASH_OTLP_ENDPOINT", "where traces go, OTLP over HTTP; none when unset"),
    ("CODASH_PUBLIC_URL", "where clients reach the service, such as https://api.example.com"),
    ("CODASH_REDIS_TIMEOUT_MS", "a request waits no longer for Redis: the process then counts for itself (250)"),
    (
        "CODASH_REDIS_URL",
        "redis://[USER:PASSWORD@]HOST:PORT[/DATABASE], rediss:// for TLS; API processes share limits there (none)",
    ),
    ("CODASH_REQUEST_DEADLINE_MS", "after this a request is answered 504 (10000)"),
    ("CODASH_TEST_DATABASE_URL", "tests only: a PostgreSQL to use instead of starting one"),
    ("CODASH_TEST_REDIS_URL", "tests only: a Redis or Valkey to use instead of starting one"),
    ("CODASH_TRUSTED_PROXIES", "networks whose X-Forwarded-For is believed, separated by commas"),
    ("CODASH_WEBHOOKS_LOCAL", "true: webhooks may go to this machine, and by http; for trials only (false)"),
];

/// The address of each venue's host is a setting too.
fn all_settings() -> impl Iterator<Item = (&'static str, &'static str)> {
    let hosts = REGISTRY.iter().flat_map(|venue| venue.hosts.iter().map(|host| (host.setting, host.usual)));
    SETTINGS.into_iter().chain(hosts)
}

/// The settings, for `--help`.
pub fn help() -> String {
    let lines: Vec<String> = all_settings().map(|(name, meaning)| format!("  {name:<36}{meaning}")).collect();
    format!("Settings, from the environment:\n{}", lines.join("\n"))
}

/// Where a setting's text comes from.
pub type Source<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What a long-running process is told.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: SocketAddr,
    pub app: AppConfig,
    pub store: StoreConfig,
    /// Ids of master keys that nobody has any longer.
    pub lost_master_keys: Vec<String>,
    pub endpoints: Endpoints,
    /// Names the address that requests to venues leave from.
    pub egress: String,
    pub log: LogSettings,
}

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings cannot be used:")?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// The process's environment: the one place where it is read.
#[expect(clippy::disallowed_methods, reason = "settings are read here and nowhere else")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Names in the environment that look like settings and are none.
pub fn unknown_names(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut unknown: Vec<String> =
        names.filter(|name| name.starts_with("CODASH_") && !all_settings().any(|(known, _)| known == name)).collect();
    unknown.sort();
    unknown
}

impl Config {
    /// Reads every setting, or says everything that is wrong with them.
    pub fn from_source(source: Source<'_>) -> Result<Self, Faults> {
        let mut reading = Reading { source, faults: Vec::new() };
        let app = reading.app();
        let config = Self {
            listen: reading.or(
                "CODASH_LISTEN",
                "an address and port such as 127.0.0.1:8080",
                SocketAddr::from(([127, 0, 0, 1], 8080)),
            ),
            store: reading.store(app.deadline),
            lost_master_keys: reading.list("CODASH_LOST_MASTER_KEYS", "ids", |id| Some(id.to_owned())),
            endpoints: reading.endpoints(),
            egress: reading.text("CODASH_EGRESS").unwrap_or_else(|| "default".into()),
            log: reading.log(LogSettings::default()),
            app,
        };
        if reading.faults.is_empty() { Ok(config) } else { Err(Faults(reading.faults)) }
    }

    /// The settings of a tool that only speaks to the database. It seals nothing, so keys are optional.
    pub fn store_from_source(source: Source<'_>) -> Result<StoreConfig, Faults> {
        let mut reading = Reading { source, faults: Vec::new() };
        let url = reading.database_url();
        if reading.faults.is_empty() {
            let master_keys = reading.master_keys().unwrap_or_else(|| MasterKeys::generate("unset", [0; 32]));
            return Ok(store_config(url, master_keys, 2, Duration::from_secs(60)));
        }
        Err(Faults(reading.faults))
    }

    /// The settings of a tool that opens and seals: keys must be there.
    pub fn sealing_store_from_source(source: Source<'_>) -> Result<StoreConfig, Faults> {
        let mut reading = Reading { source, faults: Vec::new() };
        let url = reading.database_url();
        let master_keys = reading.must_have_master_keys();
        if reading.faults.is_empty() {
            return Ok(store_config(url, master_keys, 2, Duration::from_secs(60)));
        }
        Err(Faults(reading.faults))
    }

    /// Logging alone, with another default filter.
    pub fn log_from_source(source: Source<'_>, default_filter: &str) -> Result<LogSettings, Faults> {
        let mut reading = Reading { source, faults: Vec::new() };
        let log = reading.log(LogSettings { filter: default_filter.into(), ..LogSettings::default() });
        if reading.faults.is_empty() { Ok(log) } else { Err(Faults(reading.faults)) }
    }
}

/// PostgreSQL gives up shortly before the request does, so that the answer can say so.
fn store_config(url: SecretString, master_keys: MasterKeys, pool: u32, deadline: Duration) -> StoreConfig {
    StoreConfig {
        url,
        max_connections: pool,
        statement_timeout: deadline.saturating_sub(Duration::from_secs(1)).max(deadline * 9 / 10),
        acquire_timeout: (deadline / 2).min(Duration::from_millis(1500)),
        master_keys,
    }
}

/// Reads on after a fault, so that all of them are told.
struct Reading<'a> {
    source: Source<'a>,
    faults: Vec<String>,
}

impl Reading<'_> {
    /// An empty setting is an absent one.
    fn text(&self, name: &str) -> Option<String> {
        (self.source)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn fault(&mut self, name: &str, wanted: &str) {
        self.faults.push(format!("{name}: expected {wanted}"));
    }

    fn or<T: FromStr>(&mut self, name: &str, wanted: &str, default: T) -> T {
        let Some(text) = self.text(name) else { return default };
        text.parse().unwrap_or_else(|_| {
            self.fault(name, wanted);
            default
        })
    }

    fn number<T: FromStr + PartialOrd + fmt::Display + Copy>(&mut self, name: &str, default: T, min: T, max: T) -> T {
        let wanted = format!("a whole number from {min} to {max}");
        let value = self.or(name, &wanted, default);
        if value < min || value > max {
            self.fault(name, &wanted);
        }
        value
    }

    fn list<T>(&mut self, name: &str, wanted: &str, read: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let text = self.text(name).unwrap_or_default();
        let parts: Vec<Option<T>> = text.split(',').map(str::trim).filter(|p| !p.is_empty()).map(read).collect();
        if parts.iter().any(Option::is_none) {
            self.fault(name, wanted);
        }
        parts.into_iter().flatten().collect()
    }

    fn app(&mut self) -> AppConfig {
        let usual = AppConfig::default();
        let public_url = self.public_url();
        AppConfig {
            hsts_seconds: self.hsts(public_url.as_deref()),
            limits: self.limits(),
            shared_limits: self.shared_limits(),
            deadline: Duration::from_millis(self.number("CODASH_REQUEST_DEADLINE_MS", 10_000, 100, 300_000)),
            max_body: self.number("CODASH_MAX_BODY_BYTES", usual.max_body, 1024, 64 * 1024 * 1024),
            max_connections: self.number("CODASH_MAX_CONNECTIONS", usual.max_connections, 1, 1_000_000),
            origins: self.list("CODASH_ALLOWED_ORIGINS", "origins such as https://app.example.com", origin),
            trusted_proxies: self.list("CODASH_TRUSTED_PROXIES", "networks such as 10.0.0.0/8", network),
            public_url,
            body_deadline: usual.body_deadline,
            audit_retention_days: self.number("CODASH_AUDIT_RETENTION_DAYS", usual.audit_retention_days, 30, 36_500),
            webhooks: match self.or("CODASH_WEBHOOKS_LOCAL", "true or false", false) {
                true => Reach::Local,
                false => Reach::Public,
            },
        }
    }

    fn limits(&mut self) -> LimitSettings {
        let usual = LimitSettings::default();
        let mut limit = |name: &str, default: u32| self.number(name, default, 1, 1_000_000);
        let reads_per_minute = limit("CODASH_LIMIT_READS_PER_MINUTE", usual.reads_per_minute);
        LimitSettings {
            reads_per_minute,
            reads_per_key_max: limit("CODASH_LIMIT_READS_PER_KEY_MAX", reads_per_minute.max(1)),
            logins_per_minute: limit("CODASH_LIMIT_LOGINS_PER_MINUTE", usual.logins_per_minute),
            credentials_per_minute: limit("CODASH_LIMIT_CREDENTIALS_PER_MINUTE", usual.credentials_per_minute),
            registrations_per_hour: limit("CODASH_LIMIT_REGISTRATIONS_PER_HOUR", usual.registrations_per_hour),
            minute: usual.minute,
        }
    }

    fn shared_limits(&mut self) -> Option<SharedSettings> {
        let patience = self.number("CODASH_REDIS_TIMEOUT_MS", 250, 1, 60_000);
        let name = "CODASH_REDIS_URL";
        let url = SecretString::from(self.text(name)?);
        let settings = SharedSettings::parse(url.expose_secret(), Duration::from_millis(patience));
        if settings.is_none() {
            self.fault(name, "redis://[USER:PASSWORD@]HOST:PORT[/DATABASE], or rediss:// for TLS");
        }
        settings
    }

    /// A browser that is promised TLS where there is none is locked out for as long.
    fn hsts(&mut self, public_url: Option<&str>) -> u32 {
        let name = "CODASH_HSTS_SECONDS";
        let seconds = self.number(name, 0, 0, 63_072_000);
        if seconds > 0 && !public_url.is_some_and(|url| url.starts_with("https://")) {
            self.fault(name, "CODASH_PUBLIC_URL to be an https address");
        }
        seconds
    }

    fn public_url(&mut self) -> Option<String> {
        let text = self.text("CODASH_PUBLIC_URL")?;
        let url = origin(&text);
        if url.is_none() {
            self.fault("CODASH_PUBLIC_URL", "an address without a path, such as https://api.example.com");
        }
        url
    }

    fn store(&mut self, deadline: Duration) -> StoreConfig {
        let url = self.database_url();
        let pool = self.number("CODASH_DATABASE_POOL", 16, 1, 1000);
        let master_keys = self.must_have_master_keys();
        store_config(url, master_keys, pool, deadline)
    }

    fn must_have_master_keys(&mut self) -> MasterKeys {
        self.master_keys().unwrap_or_else(|| {
            if !self.faults.iter().any(|fault| fault.contains("CODASH_MASTER_KEY")) {
                self.fault("CODASH_MASTER_KEYS", "ID:BASE64 of 32 bytes, here or in the file CODASH_MASTER_KEY_FILE");
            }
            MasterKeys::generate("unset", [0; 32])
        })
    }

    fn database_url(&mut self) -> SecretString {
        let url = SecretString::from(self.text("CODASH_DATABASE_URL").unwrap_or_default());
        let text = url.expose_secret();
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            self.fault("CODASH_DATABASE_URL", "postgres://USER:PASSWORD@HOST:PORT/DATABASE");
        }
        url
    }

    /// `None` when neither setting is there, and when one is but cannot be read.
    fn master_keys(&mut self) -> Option<MasterKeys> {
        let text: SecretString = match (self.text("CODASH_MASTER_KEYS"), self.text("CODASH_MASTER_KEY_FILE")) {
            (Some(_), Some(_)) => {
                self.faults.push("CODASH_MASTER_KEYS and CODASH_MASTER_KEY_FILE: set one, not both".into());
                return None;
            }
            (Some(text), None) => text.into(),
            (None, Some(path)) => match std::fs::read_to_string(path) {
                Ok(text) => text.into(),
                Err(error) => {
                    self.faults.push(format!("CODASH_MASTER_KEY_FILE: cannot be read ({})", error.kind()));
                    return None;
                }
            },
            (None, None) => return None,
        };
        let keys = MasterKeys::parse(text.expose_secret());
        if let Err(reason) = &keys {
            self.faults.push(format!("CODASH_MASTER_KEYS or CODASH_MASTER_KEY_FILE: {reason}"));
        }
        keys.ok()
    }

    fn endpoints(&mut self) -> Endpoints {
        let hosts = REGISTRY.iter().flat_map(|venue| venue.hosts);
        hosts.fold(Endpoints::default(), |endpoints, host| match self.text(host.setting).map(|text| base_url(&text)) {
            Some(Some(base)) => endpoints.with(host, base),
            Some(None) => {
                self.fault(host.setting, "an http or https address");
                endpoints
            }
            None => endpoints,
        })
    }

    fn log(&mut self, usual: LogSettings) -> LogSettings {
        let filter = self.text("CODASH_LOG").unwrap_or(usual.filter);
        if EnvFilter::try_new(&filter).is_err() {
            self.fault("CODASH_LOG", "a filter such as info or info,codash_store=debug");
        }
        let format = match self.text("CODASH_LOG_FORMAT").as_deref() {
            None => usual.format,
            Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(_) => {
                self.fault("CODASH_LOG_FORMAT", "text or json");
                usual.format
            }
        };
        LogSettings { filter, format, otlp_endpoint: self.otlp_endpoint() }
    }

    fn otlp_endpoint(&mut self) -> Option<String> {
        let name =
            ["CODASH_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"].into_iter().find(|n| self.text(n).is_some())?;
        let url = self.text(name).and_then(|text| base_url(&text));
        if url.is_none() {
            self.fault(name, "an http or https address such as http://127.0.0.1:4318");
        }
        url
    }
}

/// An address with scheme and host, without a slash at the end, a query or a password.
fn base_url(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let is_plain = uri.query().is_none() && !uri.authority()?.as_str().contains('@') && !uri.host()?.is_empty();
    (is_http && is_plain).then(|| text.trim_end_matches('/').to_owned())
}

/// `scheme://host[:port]` as a browser writes it.
fn origin(text: &str) -> Option<String> {
    let url = base_url(text)?;
    let uri: Uri = url.parse().ok()?;
    if !matches!(uri.path(), "" | "/") {
        return None;
    }
    let (scheme, host) = (uri.scheme_str()?.to_ascii_lowercase(), uri.host()?.to_ascii_lowercase());
    let usual = if scheme == "https" { 443 } else { 80 };
    match uri.port_u16() {
        Some(port) if port != usual => Some(format!("{scheme}://{host}:{port}")),
        _ => Some(format!("{scheme}://{host}")),
    }
}

/// A network, or a single address.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const KEYS: &str = "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn read(settings: &[(&str, &str)]) -> Result<Config, Faults> {
        let map: HashMap<&str, &str> = settings.iter().copied().collect();
        Config::from_source(&|name| map.get(name).map(ToString::to_string))
    }

    const LEAST: [(&str, &str); 2] = [("CODASH_DATABASE_URL", "postgres://u:p@h/d"), ("CODASH_MASTER_KEYS", KEYS)];

    fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
        LEAST.iter().chain(more).copied().collect()
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let config = read(&LEAST).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        let limits = config.app.limits;
        assert_eq!((limits.reads_per_minute, limits.credentials_per_minute), (100, 300));
        assert_eq!(config.app.deadline, Duration::from_secs(10));
        assert_eq!(config.app.max_body, 262_144);
        assert_eq!(config.store.statement_timeout, Duration::from_secs(9));
        assert_eq!(config.endpoints, Endpoints::default());
        assert_eq!(config.log, LogSettings::default());
    }

    #[test]
    fn every_fault_is_told_at_once_and_no_value_is_repeated() {
        let Faults(faults) = read(&[
            ("CODASH_DATABASE_URL", "mysql://root:hunter2@h/d"),
            ("CODASH_MASTER_KEYS", "hunter2"),
            ("CODASH_LISTEN", "8080"),
            ("CODASH_LIMIT_READS_PER_MINUTE", "0"),
            ("CODASH_REQUEST_DEADLINE_MS", "soon"),
            ("CODASH_ALLOWED_ORIGINS", "https://a.example, *"),
            ("CODASH_TRUSTED_PROXIES", "10.0.0.0/8, everyone"),
            ("CODASH_PUBLIC_URL", "https://a.example/path"),
            ("CODASH_LOG_FORMAT", "xml"),
            ("CODASH_VENUE_HYPERLIQUID_URL", "ftp://h"),
            ("CODASH_OTLP_ENDPOINT", "4318"),
            ("CODASH_REDIS_URL", "http://user:hunter2@h:6379"),
        ])
        .unwrap_err();
        let text = Faults(faults.clone()).to_string();
        assert_eq!(faults.len(), 12, "{text}");
        assert!(!text.contains("hunter2"));
        assert_eq!(read(&[]).unwrap_err().0.len(), 2);
    }

    #[test]
    fn secrets_do_not_show_in_debug() {
        let shown = format!("{:?}", read(&LEAST).unwrap());
        assert!(!shown.contains("u:p@h") && !shown.contains("AAAA"), "{shown}");
    }

    #[test]
    fn the_redis_that_processes_share_shows_no_password() {
        let config = read(&with(&[("CODASH_REDIS_URL", "rediss://codash:hunter2@redis.example:6380/2")])).unwrap();
        assert!(config.app.shared_limits.is_some() && !format!("{config:?}").contains("hunter2"));
        assert!(read(&LEAST).unwrap().app.shared_limits.is_none());
        for wrong in ["redis.example:6379", "redis://", "redis://h:6379/first", "postgres://h"] {
            let Faults(faults) = read(&[LEAST[0], LEAST[1], ("CODASH_REDIS_URL", wrong)]).unwrap_err();
            let said = "CODASH_REDIS_URL: expected redis://[USER:PASSWORD@]HOST:PORT[/DATABASE], or rediss:// for TLS";
            assert_eq!(faults, [said], "{wrong}");
        }
    }

    #[test]
    fn tls_is_promised_only_where_clients_are_told_to_come_by_it() {
        let with =
            |url: &str| read(&[LEAST[0], LEAST[1], ("CODASH_HSTS_SECONDS", "86400"), ("CODASH_PUBLIC_URL", url)]);
        assert_eq!(with("https://api.example.com").unwrap().app.hsts().unwrap(), "max-age=86400");
        for url in ["http://api.example.com", ""] {
            let Faults(faults) = with(url).unwrap_err();
            assert_eq!(faults, ["CODASH_HSTS_SECONDS: expected CODASH_PUBLIC_URL to be an https address"]);
        }
        assert_eq!(read(&LEAST).unwrap().app.hsts(), None);
    }

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        let config = read(&with(&[
            ("CODASH_ALLOWED_ORIGINS", "https://App.Example.com:443/, http://localhost:3000"),
            ("CODASH_PUBLIC_URL", "https://api.example.com/"),
        ]))
        .unwrap();
        assert_eq!(config.app.origins, ["https://app.example.com", "http://localhost:3000"]);
        assert_eq!(config.app.public_url.as_deref(), Some("https://api.example.com"));
    }

    #[test]
    fn an_empty_setting_is_an_absent_one_and_a_bare_address_a_network() {
        let config =
            read(&with(&[("CODASH_LISTEN", " "), ("CODASH_TRUSTED_PROXIES", "10.1.2.3,2001:db8::/32")])).unwrap();
        assert_eq!(config.listen.port(), 8080);
        assert_eq!(config.app.trusted_proxies[0].to_string(), "10.1.2.3/32");
    }

    #[test]
    fn master_keys_come_from_one_place() {
        let both = with(&[("CODASH_MASTER_KEY_FILE", "/nowhere")]);
        assert!(read(&both).unwrap_err().to_string().contains("not both"));
        let missing = [("CODASH_DATABASE_URL", "postgres://h/d"), ("CODASH_MASTER_KEY_FILE", "/nowhere/key")];
        assert_eq!(read(&missing).unwrap_err().0.len(), 1);
    }

    #[test]
    fn a_name_that_is_no_setting_is_noticed() {
        let names = ["CODASH_LISTEN", "CODASH_LIMIT_READ_PER_MINUTE", "PATH"].map(String::from);
        assert_eq!(unknown_names(names.into_iter()), ["CODASH_LIMIT_READ_PER_MINUTE"]);
    }

    #[test]
    fn the_list_of_names_is_whole_and_sorted() {
        assert!(SETTINGS.is_sorted());
        let asked = std::cell::RefCell::new(Vec::new());
        let _ = Config::from_source(&|name| {
            asked.borrow_mut().push(name.to_owned());
            None
        });
        let asked = asked.into_inner();
        for name in asked.iter().filter(|n| n.starts_with("CODASH_")) {
            assert!(all_settings().any(|(known, _)| known == name), "{name}");
        }
        for (name, _) in all_settings().filter(|(n, _)| !n.starts_with("CODASH_TEST_")) {
            assert!(asked.iter().any(|a| a == name), "{name}");
        }
    }
}
