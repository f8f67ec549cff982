//! Runs a paper exchange by itself: `cargo run -p codash-paper-exchange --example paper -- --port 9001`.
//!
//! For work on this crate; users run `codash paper-exchange`.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use codash_paper_exchange::{PaperServer, PaperSettings, RealTime};

#[expect(clippy::disallowed_methods, reason = "a program's edge: this is where real time comes in")]
fn real_time() -> RealTime {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let flags: BTreeMap<&str, &str> = words.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    let mut settings = PaperSettings { accounts: 5, symbols: 40, ..PaperSettings::default() };
    for (flag, value) in flags {
        match flag {
            "--seed" => settings.seed = value.parse()?,
            "--port" => settings.port = value.parse()?,
            "--speed" => settings.speed = value.parse()?,
            "--accounts" => settings.accounts = value.parse()?,
            "--symbols" => settings.symbols = value.parse()?,
            "--days" => settings.history = Duration::from_secs(value.parse::<u64>()? * 86_400),
            "--journal" => settings.journal = Some(value.into()),
            other => return Err(format!("no such flag: {other}").into()),
        }
    }
    let server = PaperServer::start(settings, real_time()).await?;
    writeln!(std::io::stdout(), "{}", server.url())?;
    tokio::signal::ctrl_c().await?;
    server.stop().await;
    Ok(())
}
