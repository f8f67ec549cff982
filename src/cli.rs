//! The command line: what each subcommand needs, in the order it is needed.
//!
//! Answers go to standard output, everything else to standard error. Exit codes: 0 done, 1 failed,
//! 2 asked wrongly.
#![expect(clippy::print_stdout, reason = "a command's answer is its standard output")]

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use codash_analytics::CursorKey;
use codash_collector::http::{Http, Shared};
use codash_collector::parse_case::parse_case;
use codash_collector::venues::{Endpoints, Venues};
use codash_domain::{AccountId, ApiKey, Clock, KeyId, Scope, Scopes, SystemClock, Timestamp, WorkspaceId, text};
use codash_store::{KeyRow, NewKey, Store};
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

use crate::app::{App, random};
use crate::config::{self, Config, environment, unknown_names};
use crate::master_keys::RotateArgs;
use crate::rest::error::chain;
use crate::telemetry::{self, Telemetry};
use crate::{automate, dev, load, master_keys, openapi, paper, server};

type Failure = Box<dyn Error + Send + Sync>;

/// Read-only truth about a trading portfolio, served to AI agents and programs.
#[derive(Debug, Parser)]
#[command(name = "codash", version, after_long_help = config::help())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API: REST and MCP. Settings come from CODASH_* variables.
    #[command(after_help = config::help())]
    Serve(ServeArgs),
    /// Collect from the venues. Several may run; they share the accounts out.
    Collect,
    /// Run automations: schedules, conditions, triggers, webhooks. Several may run; they share the work out.
    Automate,
    /// Run everything in one process on a private PostgreSQL, with a demo workspace.
    Dev(dev::DevArgs),
    /// Run a simulated exchange that speaks Binance's HTTP API: play money, made-up markets.
    PaperExchange(paper::PaperArgs),
    /// Bring the database's schema up to date.
    Migrate,
    /// Print the REST contract.
    Openapi,
    /// Make, list and revoke API keys; rotate master keys.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Look into what a venue said.
    #[command(subcommand)]
    Venue(VenueCommand),
    /// Fill a workspace with made-up events, for trials and benchmarks.
    Load(load::LoadArgs),
}

/// Flags win over the variables of the same name.
#[derive(Debug, Args)]
struct ServeArgs {
    /// CODASH_LISTEN: address and port.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// CODASH_PUBLIC_URL: where clients reach the service.
    #[arg(long)]
    public_url: Option<String>,
    /// CODASH_LOG: a filter such as info.
    #[arg(long)]
    log: Option<String>,
    /// CODASH_LOG_FORMAT: text or json.
    #[arg(long)]
    log_format: Option<String>,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key and print it, once.
    Create(NewKeyArgs),
    /// List the keys of a workspace.
    List {
        #[arg(long)]
        workspace: WorkspaceId,
    },
    /// Revoke a key, at once.
    Revoke {
        #[arg(long)]
        workspace: WorkspaceId,
        /// The key's id, as `keys list` prints it.
        key: KeyId,
    },
    /// Wrap everything sealed anew under the first of CODASH_MASTER_KEYS; can be killed and run again.
    RotateMaster(RotateArgs),
    /// Say which master keys are needed, and which can go.
    MasterStatus,
    /// Print a fresh master key, for CODASH_MASTER_KEYS.
    NewMaster {
        /// Names the key: one that was never used before.
        #[arg(long)]
        id: String,
    },
}

#[derive(Debug, Args)]
struct NewKeyArgs {
    #[arg(long)]
    workspace: WorkspaceId,
    #[arg(long, default_value = "operator")]
    name: String,
    /// A scope such as workspace:read:summary; every scope when left out.
    #[arg(long = "scope", num_args = 1..)]
    scopes: Vec<Scope>,
    /// An instant such as 2027-01-01T00:00:00Z; never when left out.
    #[arg(long)]
    expires: Option<Timestamp>,
    /// A network such as 192.0.2.0/24; from anywhere when left out.
    #[arg(long = "ip", num_args = 1..)]
    addresses: Vec<IpNet>,
    /// An account id; every account when left out.
    #[arg(long = "account", num_args = 1..)]
    accounts: Vec<AccountId>,
}

#[derive(Debug, Subcommand)]
enum VenueCommand {
    /// Print what our parser makes of recorded replies, as JSON lines.
    Parse {
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// Reads the command line and runs it.
pub fn main() -> ExitCode {
    // clap ends the process itself: 2 for a wrong line, 0 for --help.
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(error.as_ref()),
    }
}

fn failed(error: &(dyn Error + 'static)) -> ExitCode {
    eprintln!("codash: {}", chain(error));
    ExitCode::FAILURE
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve(&args).await,
        Command::Collect => collect().await,
        Command::Automate => run_automations().await,
        Command::Dev(args) => run_dev(args).await,
        Command::PaperExchange(args) => run_paper(&args).await,
        Command::Migrate => migrate().await,
        Command::Openapi => {
            print!("{}", openapi::yaml());
            Ok(())
        }
        Command::Keys(command) => keys(command).await,
        Command::Venue(VenueCommand::Parse { files }) => parse_all(&files),
        Command::Load(args) => run_load(&args).await,
    }
}

async fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let (config, telemetry) = boot(&|name| args.text(name).or_else(|| environment(name)))?;
    let store = sealing_store(&config).await?;
    let cursor_key = CursorKey::new(config.store.master_keys.derive("cursor"));
    let venues = venues(&store, config.endpoints, config.egress)?;
    let app = App::build(store, venues, cursor_key, Arc::new(SystemClock), config.app);
    let listener = tokio::net::TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", config.listen))?;
    server::serve(app.clone(), listener, stop_signal()?).await?;
    app.audit.close().await;
    app.store.close().await;
    telemetry.shutdown().await;
    Ok(())
}

async fn collect() -> Result<(), Failure> {
    let (config, telemetry) = boot(&environment)?;
    let store = sealing_store(&config).await?;
    let venues = venues(&store, config.endpoints, config.egress)?;
    codash_collector::run(store.clone(), venues, codash_collector::Settings::default(), stop_signal()?).await;
    store.close().await;
    telemetry.shutdown().await;
    Ok(())
}

async fn run_automations() -> Result<(), Failure> {
    let (config, telemetry) = boot(&environment)?;
    let store = sealing_store(&config).await?;
    let cursor_key = CursorKey::new(config.store.master_keys.derive("cursor"));
    let worker = automate::worker(store.clone(), &config.app, cursor_key, Arc::new(SystemClock))?;
    codash_automations::run(worker, stop_signal()?).await;
    store.close().await;
    telemetry.shutdown().await;
    Ok(())
}

/// Progress is printed; the log speaks only of trouble, unless it is asked to say more.
async fn run_dev(args: dev::DevArgs) -> Result<(), Failure> {
    let telemetry = telemetry::init(&Config::log_from_source(&environment, "warn")?)?;
    let done = dev::run(args).await;
    telemetry.shutdown().await;
    done
}

async fn run_paper(args: &paper::PaperArgs) -> Result<(), Failure> {
    let telemetry = telemetry::init(&Config::log_from_source(&environment, "warn")?)?;
    let done = paper::run(args, stop_signal()?).await;
    telemetry.shutdown().await;
    Ok(done?)
}

async fn migrate() -> Result<(), Failure> {
    let config = Config::store_from_source(&environment)?;
    codash_store::migrate(&config.url).await?;
    eprintln!("the schema is up to date");
    Ok(())
}

impl ServeArgs {
    fn text(&self, name: &str) -> Option<String> {
        match name {
            "CODASH_LISTEN" => self.listen.map(|address| address.to_string()),
            "CODASH_PUBLIC_URL" => self.public_url.clone(),
            "CODASH_LOG" => self.log.clone(),
            "CODASH_LOG_FORMAT" => self.log_format.clone(),
            _ => None,
        }
    }
}

/// Settings, then telemetry.
fn boot(source: &dyn Fn(&str) -> Option<String>) -> Result<(Config, Telemetry), Failure> {
    let config = Config::from_source(source)?;
    let telemetry = telemetry::init(&config.log)?;
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in unknown_names(names) {
        tracing::warn!(name, "this variable is no setting");
    }
    Ok((config, telemetry))
}

/// For processes that open secrets: with every master key that these need, or not at all.
async fn sealing_store(config: &Config) -> Result<Store, Failure> {
    let store = Store::connect(config.store.clone()).await?;
    master_keys::must_have_all(&store, &config.lost_master_keys).await?;
    Ok(store)
}

fn venues(store: &Store, endpoints: Endpoints, egress: String) -> Result<Venues, Failure> {
    let http = Http::sharing(Shared { store: store.clone(), egress })?;
    Ok(Venues { http, endpoints, clock: Arc::new(SystemClock) })
}

/// Cancelled by Ctrl-C or SIGTERM; a second signal ends the process at once.
#[cfg(unix)]
fn stop_signal() -> Result<CancellationToken, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stopped.is_cancelled() {
                std::process::exit(1);
            }
            stopped.cancel();
        }
    });
    Ok(stop)
}

async fn keys(command: KeysCommand) -> Result<(), Failure> {
    let config = match &command {
        KeysCommand::NewMaster { id } => {
            println!("{}", master_keys::fresh(id, random()?)?);
            return Ok(());
        }
        KeysCommand::RotateMaster(_) | KeysCommand::MasterStatus => Config::sealing_store_from_source(&environment)?,
        _ => Config::store_from_source(&environment)?,
    };
    let store = Store::connect(config).await?;
    let done = match command {
        KeysCommand::RotateMaster(args) => run_rotation(&store, &args).await,
        KeysCommand::MasterStatus => master_keys::tell_status(&store, &SystemClock).await,
        KeysCommand::NewMaster { .. } => Ok(()),
        KeysCommand::Create(args) => create_key(&store, args).await,
        KeysCommand::List { workspace } => list_keys(&store, workspace).await,
        KeysCommand::Revoke { workspace, key } => revoke_key(&store, workspace, key).await,
    };
    store.close().await;
    done
}

async fn create_key(store: &Store, args: NewKeyArgs) -> Result<(), Failure> {
    let (key, key_id) = (ApiKey::from_random(random()?), KeyId::from_random(random()?));
    let name = text::clean(&args.name, crate::rest::extract::LONGEST_NAME);
    if name.is_empty() {
        return Err("the key's name must hold a visible character".into());
    }
    let new = NewKey {
        id: key_id,
        name,
        hash: key.hash(),
        hint: key.hint().to_owned(),
        scopes: if args.scopes.is_empty() { Scopes::full() } else { Scopes::new(args.scopes) },
        accounts: (!args.accounts.is_empty()).then(|| distinct(args.accounts)),
        addresses: args.addresses,
        expires_at: args.expires,
        created_at: SystemClock.now(),
    };
    store.create_key(args.workspace, &new).await.map_err(|error| match error {
        codash_store::Error::NotFound => Failure::from("there is no such workspace, or no such account in it"),
        error => error.into(),
    })?;
    eprintln!("key {key_id}, shown this once:");
    println!("{}", key.reveal());
    Ok(())
}

fn distinct(mut accounts: Vec<AccountId>) -> Vec<AccountId> {
    accounts.sort_unstable();
    accounts.dedup();
    accounts
}

async fn list_keys(store: &Store, workspace: WorkspaceId) -> Result<(), Failure> {
    for key in store.list_keys(workspace).await? {
        println!("{}", key_line(&key));
    }
    Ok(())
}

/// One key, tab-separated: id, hint, state, last use, scopes, addresses, accounts, name.
fn key_line(key: &KeyRow) -> String {
    let at = |instant: Option<Timestamp>| instant.map_or_else(|| "never".to_owned(), |t| t.to_string());
    let state = match (key.revoked_at, key.expires_at) {
        (Some(revoked), _) => format!("revoked {revoked}"),
        (None, expires) => format!("expires {}", at(expires)),
    };
    let join = |words: Vec<String>| if words.is_empty() { "any".to_owned() } else { words.join(",") };
    [
        key.id.to_string(),
        format!("{}…", key.hint),
        state,
        format!("used {}", at(key.last_used_at)),
        join(key.scopes.iter().map(|s| s.to_string()).collect()),
        join(key.addresses.iter().map(ToString::to_string).collect()),
        match &key.accounts {
            Some(none) if none.is_empty() => "none".to_owned(),
            accounts => join(accounts.iter().flatten().map(ToString::to_string).collect()),
        },
        key.name.clone(),
    ]
    .join("\t")
}

async fn revoke_key(store: &Store, workspace: WorkspaceId, key: KeyId) -> Result<(), Failure> {
    if !store.revoke_key(workspace, key).await? {
        return Err("there is no such key in this workspace, or it was revoked before".into());
    }
    eprintln!("revoked {key}");
    Ok(())
}

/// Logged as well: what an operator does to every tenant.
async fn run_rotation(store: &Store, args: &RotateArgs) -> Result<(), Failure> {
    let telemetry = telemetry::init(&Config::log_from_source(&environment, "info")?)?;
    let done = master_keys::rotate_and_tell(store, &SystemClock, args).await;
    telemetry.shutdown().await;
    done
}

async fn run_load(args: &load::LoadArgs) -> Result<(), Failure> {
    let store = Store::connect(Config::store_from_source(&environment)?).await?;
    let done = load::run(&store, args, SystemClock.now(), &|line| eprintln!("{line}")).await;
    store.close().await;
    done.map_err(|error| match error {
        codash_store::Error::NotFound => Failure::from("there is no such workspace"),
        error => error.into(),
    })
}

/// Every file is read, whatever is wrong with another.
fn parse_all(files: &[PathBuf]) -> Result<(), Failure> {
    let faults: Vec<String> = files.iter().filter_map(|file| parse(file).err()).map(|e| e.to_string()).collect();
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n").into()) }
}

fn parse(file: &Path) -> Result<(), Failure> {
    let shown = file.display();
    let case = std::fs::read_to_string(file).map_err(|error| format!("{shown}: {error}"))?;
    for line in parse_case(&case).map_err(|reason| format!("{shown}: {reason}"))? {
        println!("{line}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_narrow_key_is_asked_for_in_one_line() {
        let workspace = "00000000-0000-4000-8000-000000000001";
        let line = format!(
            "codash keys create --workspace {workspace} --scope workspace:read:summary workspace:read:live \
             --expires 2027-01-01T00:00:00Z --ip 192.0.2.0/24 --account {workspace}"
        );
        let Command::Keys(KeysCommand::Create(args)) = parsed(&line).unwrap().command else { panic!("keys create") };
        assert_eq!((args.scopes.len(), args.addresses.len(), args.accounts.len()), (2, 1, 1));
        assert!(parsed(&format!("codash keys create --workspace {workspace} --scope all")).is_err());
        assert!(parsed("codash keys create").is_err());
    }

    #[test]
    fn flags_win_over_the_environment() {
        let Command::Serve(args) = parsed("codash serve --listen 127.0.0.1:9 --log debug").unwrap().command else {
            panic!("serve")
        };
        assert_eq!(args.text("CODASH_LISTEN").as_deref(), Some("127.0.0.1:9"));
        assert_eq!(args.text("CODASH_LOG").as_deref(), Some("debug"));
        assert_eq!(args.text("CODASH_DATABASE_URL"), None);
    }

    #[test]
    fn a_wrong_line_is_exit_code_2() {
        assert_eq!(parsed("codash").unwrap_err().exit_code(), 2);
        assert_eq!(parsed("codash serve --listen nowhere").unwrap_err().exit_code(), 2);
        assert_eq!(parsed("codash paper-exchange --speed fast").unwrap_err().exit_code(), 2);
        assert_eq!(parsed("codash dev --golden --no-demo").unwrap_err().exit_code(), 2);
    }
}
