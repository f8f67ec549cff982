//! `codash paper-exchange`: the simulated exchange by itself, for the collector, for ccxt, and for
//! whoever wants to compare. The exchange is `workers/paper-exchange`; here it gets its flags, real
//! time and an end.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use codash_domain::{Clock, SystemClock, Timestamp};
use codash_paper_exchange::{PaperServer, PaperSettings, RealTime, Speed, StartError};
use tokio_util::sync::CancellationToken;

/// Where it listens when nobody says otherwise and nobody else does.
pub const USUAL_PORT: u16 = 9001;
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// Run a simulated exchange that speaks Binance's HTTP API: play money, made-up markets.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "See docs/paper-exchange.md.")]
pub struct PaperArgs {
    /// The same seed, origin, accounts and symbols are the same history
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Port [default: 9001, or a free one when that is taken]
    #[arg(long, value_name = "P")]
    port: Option<u16>,
    /// 1 is as fast as life, 60 a minute a second; `hand` stands still until told
    #[arg(long, value_name = "X", default_value = "1")]
    speed: Speed,
    /// Accounts that trade by themselves; acct-paper, for people, is one more
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=200))]
    accounts: u16,
    /// Coins, each with a spot market and a perpetual
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(3..=200))]
    symbols: u16,
    /// How much has happened already when it starts
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u16).range(0..=3650))]
    days: u16,
    /// When history begins, such as 2026-08-01T00:00:00Z, floored to the hour [default: --days ago]
    #[arg(long, value_name = "INSTANT")]
    origin: Option<Timestamp>,
    /// Keep what people do in this file; the next start with it is the same exchange
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Any other address lets others trade the play money, and warns
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// A further `Host` name to answer to, such as the name of a container
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
}

impl PaperArgs {
    fn settings(&self) -> PaperSettings {
        PaperSettings {
            seed: self.seed,
            accounts: self.accounts.into(),
            symbols: self.symbols.into(),
            history: DAY * u32::from(self.days),
            origin: self.origin.map(Timestamp::millis),
            bind: self.bind,
            hosts: self.hosts.clone(),
            speed: self.speed,
            journal: self.journal.clone(),
            ..PaperSettings::default()
        }
    }
}

/// Runs until told to stop.
pub async fn run(args: &PaperArgs, stop: CancellationToken) -> Result<(), StartError> {
    let paper = tokio::select! {
        paper = start(args.settings(), args.port, USUAL_PORT) => paper?,
        () = stop.cancelled() => return Ok(()),
    };
    print(&directions(&paper, args));
    stop.cancelled().await;
    paper.stop().await;
    print("stopped\n");
    Ok(())
}

/// Starts at the port that was asked for; where none was, at the usual one, or at any when that is taken.
pub async fn start(mut settings: PaperSettings, asked: Option<u16>, usual: u16) -> Result<PaperServer, StartError> {
    settings.port = asked.unwrap_or(usual);
    match PaperServer::start(settings.clone(), real_time()).await {
        Err(StartError::Bind { source, .. }) if asked.is_none() && source.kind() == std::io::ErrorKind::AddrInUse => {
            PaperServer::start(PaperSettings { port: 0, ..settings }, real_time()).await
        }
        outcome => outcome,
    }
}

/// The machine's clock, as the exchange takes it.
fn real_time() -> RealTime {
    Arc::new(|| SystemClock.now().millis())
}

/// Where it is, what it is, and who has an account.
fn directions(paper: &PaperServer, args: &PaperArgs) -> String {
    let url = paper.url();
    let mut text = format!(
        "\nThe paper exchange is ready at {url}\n\n\
         It is simulated: markets, accounts and money are made up, and the keys open nothing else.\n\
         Seed {}, {} symbols, time {}.\n\n",
        args.seed,
        args.symbols,
        match args.speed {
            Speed::Hand => "by hand (POST /clock)".to_owned(),
            Speed::REAL => "as fast as life".to_owned(),
            Speed::Permille(_) => "at the speed asked for".to_owned(),
        },
    );
    for account in paper.accounts() {
        text.push_str(&format!(
            "{}\n  read   {} {}\n  trade  {} {}\n",
            account.name, account.read_key, account.read_secret, account.trade_key, account.trade_secret,
        ));
    }
    text.push_str(&format!(
        "\nEach line is a key and its secret. acct-paper is yours to trade; the others trade by themselves.\n\
         Codash takes a read key, with venue \"paper\". What it should find: {url}/truth?account=acct-01\n\
         More: {url}/ and docs/paper-exchange.md. Ctrl-C stops it.\n",
    ));
    text
}

/// A terminal that went away is no reason to fail.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}
