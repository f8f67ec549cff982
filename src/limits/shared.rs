//! Sliding windows in a Redis or Valkey that several processes share.
//!
//! One script, one round trip a take, Redis's own clock. A call that fails or is late breaks the
//! connection off for all: until it is made anew, which is tried each second beside the requests, every
//! take is the process's own to decide at once. The alarm is one line of the log when an outage begins,
//! one when it ends, and `limits` in `/health/*` meanwhile.

use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, Script};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{Standing, Taken};

/// See the script's head. Its fifth argument is for tests: nothing here gives it.
pub const SCRIPT: &str = include_str!("window.lua");

/// For connecting, and for the question whether Redis is still there.
const PROBE: Duration = Duration::from_secs(1);
/// Between two probes, and between two tries to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// Where the windows are.
#[derive(Clone)]
pub struct SharedSettings {
    client: Client,
    patience: Duration,
}

impl SharedSettings {
    /// Reads `redis://[USER:PASSWORD@]HOST:PORT[/DATABASE]`, `rediss://` for TLS; `None` for anything else.
    /// A take that takes longer than `patience` is decided here.
    pub fn parse(url: &str, patience: Duration) -> Option<Self> {
        Some(Self { client: Client::open(url).ok()?, patience })
    }
}

impl fmt::Debug for SharedSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSettings(…)")
    }
}

/// What is asked of a window.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    pub limit: u32,
    /// Requests that are to be accepted, all or none.
    pub n: u32,
    pub span: Duration,
    /// Requests that this process knows to be in the window, whatever Redis forgot.
    pub held: u32,
}

/// The connection, as the last who used it left it.
#[derive(Clone)]
enum Link {
    /// Not tried yet.
    New,
    /// Numbered, so that an answer of an old connection says nothing about a new one.
    Up(MultiplexedConnection, u64),
    Down,
}

/// The windows of every process of a deployment.
pub struct Shared {
    link: watch::Sender<Link>,
    script: Script,
    /// Names say nothing to who reads them, and those of two deployments never meet.
    secret: [u8; 32],
    patience: Duration,
    _keeper: AbortOnDropHandle<()>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("is_up", &self.is_up()).finish_non_exhaustive()
    }
}

impl Shared {
    /// Begins to connect; an unreachable Redis is an alarm and no refusal.
    pub fn start(settings: &SharedSettings, secret: [u8; 32]) -> Self {
        let (link, script) = (watch::Sender::new(Link::New), Script::new(SCRIPT));
        let keeper = Keeper {
            client: settings.client.clone(),
            link: link.clone(),
            script: script.clone(),
            probe: name(&secret, "probe", 0),
            patience: settings.patience,
        };
        let _keeper = AbortOnDropHandle::new(tokio::spawn(keeper.keep()));
        Self { link, script, secret, patience: settings.patience, _keeper }
    }

    /// Until the first try to connect came to an end.
    pub async fn settle(&self) {
        let mut link = self.link.subscribe();
        // The sender is ours: it cannot be gone.
        drop(link.wait_for(|link| !matches!(link, Link::New)).await);
    }

    pub fn is_up(&self) -> bool {
        matches!(*self.link.borrow(), Link::Up(..))
    }

    /// `None` when Redis has not decided: it is away, failed, or was late.
    pub async fn take(&self, window: &str, subject: u128, ask: Ask) -> Option<Taken> {
        let Link::Up(mut connection, number) = self.link.borrow().clone() else { return None };
        let name = name(&self.secret, window, subject);
        match within(self.patience, call(&mut connection, &self.script, &name, ask)).await {
            Ok(taken) => Some(taken),
            Err(fault) => {
                went_down(&self.link, Some(number), &fault);
                None
            }
        }
    }
}

/// Who connects, and looks after the connection.
struct Keeper {
    client: Client,
    link: watch::Sender<Link>,
    script: Script,
    probe: String,
    patience: Duration,
}

impl Keeper {
    async fn keep(self) {
        for number in 1_u64.. {
            match self.connect().await {
                Ok(connection) => {
                    self.came_up(connection.clone(), number);
                    self.watch(connection, number).await;
                }
                Err(fault) => went_down(&self.link, None, &fault),
            }
            sleep(PAUSE).await;
        }
    }

    /// A connection over which a window was counted, in the time that a request would wait: a server that
    /// takes no writes, or its time, is as good as away.
    async fn connect(&self) -> Result<MultiplexedConnection, Fault> {
        // Only `rediss` needs it, and another part of the process may have installed one already.
        drop(rustls::crypto::ring::default_provider().install_default());
        // The bounds on time are ours, and hold for a whole take.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let open = async {
            let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            self.script.load_async(&mut connection).await?;
            Ok(connection)
        };
        let mut connection = within(PROBE, open).await?;
        within(self.patience, self.ask(&mut connection)).await?;
        Ok(connection)
    }

    /// A take like any other, of a window that is gone in a moment.
    async fn ask(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let ask = Ask { limit: u32::MAX, n: 1, span: Duration::from_millis(1), held: 0 };
        call(connection, &self.script, &self.probe, ask).await.map(drop)
    }

    fn came_up(&self, connection: MultiplexedConnection, number: u64) {
        match self.link.send_replace(Link::Up(connection, number)) {
            Link::New => tracing::info!("the limits are counted in Redis"),
            _ => tracing::info!("Redis answers again: the limits hold over all processes"),
        }
    }

    /// Returns when the connection is given up, by us or by who used it.
    async fn watch(&self, mut connection: MultiplexedConnection, number: u64) {
        let mut link = self.link.subscribe();
        loop {
            tokio::select! {
                _ = link.wait_for(|link| !matches!(link, Link::Up(..))) => return,
                () = sleep(PAUSE) => {}
            }
            if let Err(fault) = within(PROBE, self.ask(&mut connection)).await {
                return went_down(&self.link, Some(number), &fault);
            }
        }
    }
}

/// The alarm, once an outage. `number` is the connection's that failed; `None` when there was none to lose.
fn went_down(link: &watch::Sender<Link>, number: Option<u64>, fault: &Fault) {
    let is_news = link.send_if_modified(|link| {
        let is_news = match link {
            Link::New => number.is_none(),
            Link::Up(_, up) => number == Some(*up),
            Link::Down => false,
        };
        if is_news {
            *link = Link::Down;
        }
        is_news
    });
    if is_news {
        tracing::error!(error = %fault, "Redis does not answer: each process counts the limits for itself");
    }
}

/// Why Redis has not decided.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
    #[error("{0}")]
    Failed(RedisError),
}

async fn within<T>(patience: Duration, done: impl Future<Output = Result<T, RedisError>>) -> Result<T, Fault> {
    timeout(patience, done).await.map_err(|_| Fault::Late(patience))?.map_err(Fault::Failed)
}

/// One round trip; two more when Redis has not seen the script since it started.
async fn call(
    connection: &mut MultiplexedConnection,
    script: &Script,
    name: &str,
    ask: Ask,
) -> Result<Taken, RedisError> {
    let span = u64::try_from(ask.span.as_micros()).unwrap_or(u64::MAX);
    let mut invocation = script.key(name);
    invocation.arg(ask.limit).arg(ask.n).arg(span).arg(ask.held);
    let (accepted, remaining, reset, wait): (u8, u32, u64, u64) = invocation.invoke_async(connection).await?;
    let standing = Standing { limit: ask.limit, remaining, reset: Duration::from_micros(reset) };
    Ok(Taken { standing, refused: (accepted == 0).then(|| Duration::from_micros(wait)) })
}

/// A window's name: nobody can tell from it whose it is.
fn name(secret: &[u8; 32], window: &str, subject: u128) -> String {
    let digest = Sha256::new().chain_update(secret).chain_update(subject.to_be_bytes()).chain_update(window).finalize();
    format!("codash:limit:{window}:{}", hex::encode(&digest[..16]))
}
