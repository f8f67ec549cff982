//! `codash dev`: everything in one process, on a PostgreSQL of its own, with something to look at.
//!
//! Up: cluster › schema › paper exchange › API › workspace › collector › ready file. Down, in order:
//! API, collector, paper exchange, PostgreSQL. The next start finds all it needs in the data
//! [`folder`]; after `kill -9` too, as PostgreSQL goes with us (see [`postgres`]).

mod demo;
mod folder;
pub mod golden;
mod paper;
pub mod postgres;
pub mod replay;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use codash_analytics::CursorKey;
use codash_automations::Worker;
use codash_collector::http::{Http, Shared};
use codash_collector::venues::{Endpoints, Venues};
use codash_domain::{Clock, SystemClock};
use codash_paper_exchange::PaperServer;
use codash_store::Store;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::automate;
use crate::config::{Config, environment};
use crate::master_keys;
use crate::server;
use demo::Api;
use folder::{Folder, Workspace};
use postgres::{Cluster, Options};

const USUAL_PORT: u16 = 8080;
const DATABASE: &str = "codash";

/// How often an account is looked at while the demo runs: its NAV should move while one watches.
const DEMO_EVERY: Duration = Duration::from_secs(5);

/// Run everything in one process, on a PostgreSQL of its own, with a demo workspace.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DevArgs {
    /// Port of the API on 127.0.0.1 [default: 8080, or a free one when that is taken]
    #[arg(long)]
    pub port: Option<u16>,
    /// Where the data is kept [default: $XDG_DATA_HOME/codash or ~/.local/share/codash]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Keep nothing: a temporary folder, removed at the end
    #[arg(long, conflicts_with = "data_dir")]
    pub ephemeral: bool,
    /// Nothing simulated: an empty workspace, for accounts of your own
    #[arg(long)]
    pub no_demo: bool,
    /// A fixed world in which every answer is a constant (docs/golden/README.md); keeps nothing
    #[arg(long, conflicts_with_all = ["data_dir", "no_demo"])]
    pub golden: bool,
    /// Port of the paper exchange on 127.0.0.1 [default: where it was, else 9001, or a free one when taken]
    #[arg(long, value_name = "PORT", conflicts_with = "no_demo")]
    pub paper_port: Option<u16>,
    /// Write url, apiKey, workspaceId, databaseUrl, paperExchangeUrl, paperKey and paperSecret here as
    /// JSON once everything answers
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// Why `codash dev` cannot run. Each message says what to do where something can be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    #[error(transparent)]
    Settings(#[from] crate::config::Faults),
    #[error("{0}")]
    Venue(#[from] codash_collector::error::VenueError),
    #[error("{error}{}", causes(.error))]
    Store {
        #[from]
        error: codash_store::Error,
    },
    #[error("{0}")]
    Other(String),
}

/// What lies behind an error, which its own words do not repeat.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    text
}

/// Runs until Ctrl-C or SIGTERM, then stops everything in order. A second signal ends it at once.
pub async fn run(args: DevArgs) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut signals = Signals::listen()?;
    let folder = match &args.data_dir {
        _ if args.ephemeral || args.golden => Folder::ephemeral()?,
        Some(path) => Folder::open(path)?,
        None => Folder::open(&folder::usual()?)?,
    };
    // What an earlier run left there is not true yet.
    remove_ready_file(args.ready_file.as_deref());
    let outcome = on_a_cluster(&folder, &args, &mut signals).await;
    remove_ready_file(args.ready_file.as_deref());
    folder.close();
    outcome?;
    say("stopped");
    Ok(())
}

async fn on_a_cluster(folder: &Folder, args: &DevArgs, signals: &mut Signals) -> Result<(), Error> {
    let options = if folder.is_ephemeral() { Options::throwaway() } else { Options::durable(&folder.path) };
    // A busy port is the commonest fault: told before anything is made.
    let listener = listen(args.port).await?;
    let cluster = tokio::select! {
        cluster = Cluster::start(&options, &say) => cluster?,
        () = signals.next() => return Ok(()),
    };
    let started = tokio::select! {
        started = Dev::start(&cluster, listener, folder, args) => Some(started),
        () = signals.next() => None,
    };
    let (dev, outcome) = match started {
        Some(Ok(dev)) => {
            let outcome = dev.until_told(&cluster, args, signals).await;
            (Some(dev), outcome)
        }
        Some(Err(error)) => (None, Err(error)),
        None => (None, Ok(())),
    };
    say("stopping (again to stop at once)");
    let stopped = async {
        if let Some(dev) = dev {
            dev.stop().await;
        }
        cluster.stop().await;
    };
    tokio::select! {
        () = stopped => {}
        () = signals.next() => {
            remove_ready_file(args.ready_file.as_deref());
            // PostgreSQL goes by itself when our end of its pipe closes.
            std::process::exit(130);
        }
    }
    outcome
}

/// Everything that runs.
struct Dev {
    store: Store,
    paper: Option<PaperServer>,
    api: Running,
    /// None once it has done its work, where time stands still.
    collector: Option<Running>,
    /// None where time stands still.
    automations: Option<Running>,
    url: String,
    workspace: Workspace,
    data: String,
}

/// A task and the word that stops it.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn stop(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "a part of the process had failed");
        }
    }
}

impl Drop for Running {
    /// A start that was given up leaves nothing behind.
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}

impl Dev {
    async fn start(cluster: &Cluster, listener: TcpListener, folder: &Folder, args: &DevArgs) -> Result<Self, Error> {
        let url = format!("http://{}", listener.local_addr().map_err(|error| Error::Other(error.to_string()))?);
        say("bringing the schema up to date");
        codash_store::admin::create_database(&cluster.url("postgres"), DATABASE).await?;
        codash_store::migrate(&cluster.url(DATABASE)).await?;

        let clock: Arc<dyn Clock> = if args.golden { Arc::new(golden::clock()) } else { Arc::new(SystemClock) };
        let paper = start_paper(folder, args, clock.as_ref()).await?;
        let mut config = settings(&cluster.url(DATABASE), folder)?;
        config.endpoints = match &paper {
            // Nobody outside knows what time it is there.
            Some(paper) if args.golden => Endpoints::all_at(&paper.url()),
            Some(paper) => paper::reached_by(config.endpoints, paper),
            None => config.endpoints,
        };
        let store = Store::connect(config.store.clone()).await?;
        master_keys::must_have_all(&store, &config.lost_master_keys).await.map_err(Error::Other)?;
        let http = Http::sharing(Shared { store: store.clone(), egress: "dev".into() })?;
        let venues = Venues { http, endpoints: config.endpoints.clone(), clock: Arc::clone(&clock) };
        let cursor_key = match args.golden {
            true => golden::cursor_key(),
            false => CursorKey::new(config.store.master_keys.derive("cursor")),
        };
        let worker = automate::worker(store.clone(), &config.app, cursor_key.clone(), Arc::clone(&clock));
        let worker = worker.map_err(Error::Other)?;
        let app = App::build(store.clone(), venues.clone(), cursor_key, clock, config.app);
        let api = serve(app, listener);

        let workspace = match &paper {
            Some(paper) if args.golden => golden::workspace(&store, &venues, paper).await?,
            _ => workspace(folder, &store, &Api::at(&url)?, paper.as_ref()).await?,
        };
        let collector = Some(collect(store.clone(), venues, paper.is_some()));
        let automations = (!args.golden).then(|| run_automations(worker));
        let data = folder.path.display().to_string();
        let mut dev = Self { store, paper, api, collector, automations, url, workspace, data };
        dev.wait_for_data(args.golden).await?;
        Ok(dev)
    }

    async fn wait_for_data(&mut self, golden: bool) -> Result<(), Error> {
        let grant = demo::grant_of(&self.store, &self.workspace.api_key).await?;
        if let (Some(_), Some(grant)) = (&self.paper, &grant) {
            let is_whole = demo::collected(&self.store, grant, &say).await?;
            if golden {
                if !is_whole {
                    return Err(Error::Other("the golden accounts were not collected in time: try again".into()));
                }
                // Time stands still: there is nothing more to read.
                if let Some(collector) = self.collector.take() {
                    collector.stop().await;
                }
            } else if !is_whole {
                say("some history is still on its way; /api/status tells how far it is");
            }
        }
        Api::at(&self.url)?.answers(&self.workspace.api_key).await
    }

    /// Tells where to go next, then waits for a signal, or for a part to fail.
    async fn until_told(&self, cluster: &Cluster, args: &DevArgs, signals: &mut Signals) -> Result<(), Error> {
        if let Some(path) = &args.ready_file {
            self.write_ready_file(cluster, path)?;
        }
        print(&self.directions());
        tokio::select! {
            () = signals.next() => Ok(()),
            () = cluster.ended() => {
                let log = cluster.home().join("server.log");
                Err(Error::Other(format!("PostgreSQL ended by itself; its log is {}", log.display())))
            }
            () = self.api.stop.cancelled() => Err(Error::Other("the API ended by itself".into())),
        }
    }

    async fn stop(self) {
        self.api.stop().await;
        if let Some(collector) = self.collector {
            collector.stop().await;
        }
        if let Some(automations) = self.automations {
            automations.stop().await;
        }
        if let Some(paper) = self.paper {
            paper.stop().await;
        }
        self.store.close().await;
    }

    /// Whole or not at all, and for its owner alone: it holds a key.
    fn write_ready_file(&self, cluster: &Cluster, path: &Path) -> Result<(), Error> {
        let trader = self.paper.as_ref().map(paper::for_people).transpose()?;
        let ready = json!({
            "url": self.url,
            "apiKey": self.workspace.api_key,
            "workspaceId": self.workspace.workspace_id,
            "databaseUrl": cluster.url(DATABASE).expose_secret(),
            "paperExchangeUrl": self.paper.as_ref().map(PaperServer::url),
            "paperKey": trader.map(|account| &account.trade_key),
            "paperSecret": trader.map(|account| &account.trade_secret),
        });
        postgres::write_private(path, &ready.to_string()).map_err(folder::fault("cannot write", path))
    }

    fn directions(&self) -> String {
        let (url, key) = (&self.url, &self.workspace.api_key);
        let config = json!({ "mcpServers": { "co-dash": {
            "type": "http", "url": format!("{url}/mcp"), "headers": { "Authorization": format!("Bearer {key}") },
        } } });
        let config = serde_json::to_string_pretty(&config).unwrap_or_default();
        let curls = curls(url, key).join("\n\n");
        format!(
            "\nCodash is ready.\n\n  \
             URL        {url}\n  \
             API key    {key}\n  \
             Workspace  {}\n  \
             Data       {}\n  \
             Accounts   {}\n  \
             Automations {url}/api/automations: questions on a schedule (docs/automations.md)\n\n\
             For an MCP client's configuration:\n\n{config}\n\n\
             To try at once:\n\n{curls}\n\n\
             Ctrl-C stops everything.\n",
            self.workspace.workspace_id,
            self.data,
            self.about_the_accounts(),
        )
    }

    fn about_the_accounts(&self) -> String {
        let Some((paper, trader)) = self.paper.as_ref().and_then(|paper| Some((paper, paper::for_people(paper).ok()?)))
        else {
            return "none: attach accounts with POST /api/accounts".into();
        };
        let url = paper.url();
        let lines = [
            "simulated: markets, accounts and money are made up, at a paper exchange of this process".into(),
            format!("Exchange {url} (speaks Binance's API; what is true there: {url}/truth?account=acct-01)"),
            "Trade on it with ccxt (docs/paper-exchange.md) and see it here, with this key and secret:".into(),
            trader.trade_key.clone(),
            trader.trade_secret.clone(),
        ];
        lines.join("\n             ")
    }
}

/// Three requests that work as printed.
fn curls(url: &str, key: &str) -> [String; 3] {
    let tool = |name: &str, arguments: serde_json::Value| {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": name, "arguments": arguments } });
        format!("curl -sS {url}/mcp -H 'authorization: Bearer {key}' -H 'content-type: application/json' -d '{call}'")
    };
    [
        tool("list_accounts", json!({})),
        tool("get_pnl_by_symbol", json!({ "days": 30 })),
        format!("curl -sS {url}/api/accounts -H 'x-api-key: {key}'"),
    ]
}

/// The wanted port; where none was named, 8080 or any that is free.
async fn listen(port: Option<u16>) -> Result<TcpListener, Error> {
    let bind = |port| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    match (bind(port.unwrap_or(USUAL_PORT)).await, port) {
        (Ok(listener), _) => Ok(listener),
        (Err(error), Some(port)) => Err(Error::Other(format!("port {port} cannot be used: {error}"))),
        (Err(_), None) => {
            say(&format!("port {USUAL_PORT} is taken: using a free one"));
            bind(0).await.map_err(|error| Error::Other(format!("there is no free port: {error}")))
        }
    }
}

/// The exchange that the demo's accounts are at, unless nothing simulated is wanted.
async fn start_paper(folder: &Folder, args: &DevArgs, clock: &dyn Clock) -> Result<Option<PaperServer>, Error> {
    let has_demo = folder.paper()?.is_some();
    if args.no_demo && !has_demo {
        return Ok(None);
    }
    if args.no_demo {
        say("this folder has the demo accounts of an earlier run: they stay, and so does their paper exchange");
    }
    say("making ninety days of a paper exchange");
    let paper = match args.golden {
        true => golden::exchange(args.paper_port).await?,
        false => paper::of_folder(folder, args.paper_port, clock.now()).await?,
    };
    say(&format!("the paper exchange is at {}", paper.url()));
    Ok(Some(paper))
}

/// The environment's settings, but for those that this command decides.
fn settings(url: &SecretString, folder: &Folder) -> Result<Config, Error> {
    let master_keys = folder.master_keys()?;
    let decided = |name: &str| match name {
        "CODASH_DATABASE_URL" => Some(url.expose_secret().to_owned()),
        "CODASH_MASTER_KEYS" => Some(master_keys.expose_secret().to_owned()),
        "CODASH_MASTER_KEY_FILE" | "CODASH_LISTEN" => None,
        _ => environment(name),
    };
    Ok(Config::from_source(&decided)?)
}

/// The workspace of an earlier run, or a new one; with the demo's accounts where there is a demo.
async fn workspace(folder: &Folder, store: &Store, api: &Api, paper: Option<&PaperServer>) -> Result<Workspace, Error> {
    if folder.has_replayed_demo() {
        if let Some(old) = folder.workspace()?
            && let Some(grant) = demo::grant_of(store, &old.api_key).await?
        {
            demo::retire_replayed(store, &grant).await?;
        }
        let aside = folder.set_replayed_demo_aside()?;
        say("this folder has a demo of an earlier version, whose accounts were replayed: they are read no more");
        say(&format!("its workspace still answers to its key, now in {}; here comes a new one", aside.display()));
    }
    let known = match folder.workspace()? {
        Some(known) => demo::grant_of(store, &known.api_key).await?.map(|_| known),
        None => None,
    };
    let workspace = match known {
        Some(known) => known,
        None => {
            say("registering a workspace");
            let name = if paper.is_some() { "Demo (paper exchange)" } else { "My workspace" };
            let made = api.register(name).await?;
            folder.keep_workspace(&made)?;
            api.example_automation(&made.api_key).await?;
            made
        }
    };
    if let Some(paper) = paper {
        api.attach(&workspace.api_key, paper.accounts()).await?;
    }
    Ok(workspace)
}

fn serve(app: App, listener: TcpListener) -> Running {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let task = tokio::spawn(async move {
        if let Err(error) = server::serve(app.clone(), listener, stopped.clone()).await {
            tracing::error!(%error, "the API failed");
        }
        app.audit.close().await;
        stopped.cancel();
    });
    Running { stop, task }
}

fn collect(store: Store, venues: Venues, is_demo: bool) -> Running {
    let stop = CancellationToken::new();
    // No other collector works here, and the next run should not wait for a killed one's lease.
    let mut settings = codash_collector::Settings { lease: Duration::from_secs(5), ..Default::default() };
    if is_demo {
        settings.every = DEMO_EVERY;
    }
    let task = tokio::spawn(codash_collector::run(store, venues, settings, stop.clone()));
    Running { stop, task }
}

fn run_automations(worker: Worker) -> Running {
    let stop = CancellationToken::new();
    let task = tokio::spawn(codash_automations::run(worker, stop.clone()));
    Running { stop, task }
}

/// Ctrl-C and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn remove_ready_file(path: Option<&Path>) {
    let Some(path) = path else { return };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, "the ready file was not removed");
        }
        _ => {}
    }
}

/// A line of progress.
fn say(line: &str) {
    print(&format!("codash dev: {line}\n"));
}

/// A terminal that went away is no reason to fail.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_requests_hold_no_quote_that_a_shell_would_end_at() {
        for line in curls("http://127.0.0.1:8080", "kv_live_x") {
            assert_eq!(line.matches('\'').count() % 2, 0);
            assert!(!line.contains('\n'));
        }
    }
}
