//! `codash keys rotate-master`, `master-status` and `new-master`: how the operator turns master keys.
//! The steps for a fleet are in docs/master-keys.md.
#![expect(clippy::print_stdout, reason = "a command's answer is its standard output")]

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use clap::Args;
use codash_domain::{Clock, Timestamp, WorkspaceId};
use codash_store::audit::By;
use codash_store::rotation::{After, Failed, MasterKeyUse};
use codash_store::{Error, Store};
use futures::StreamExt;

/// Workspaces that are looked for, and renewed, at once.
const WORKSPACES: i32 = 2000;
const AT_ONCE: usize = 2;
/// Passes over what another run, or a writer, held meanwhile.
const PASSES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(200);
/// How long what a master key signed (cursors, repeated requests) is good for.
const SIGNED: TimeDelta = TimeDelta::days(1);
const SHOWN_FAILURES: usize = 20;

#[derive(Debug, Args)]
pub struct RotateArgs {
    /// Change nothing: say what is to be done.
    #[arg(long)]
    pub dry_run: bool,
    /// Give every workspace a new data key as well, and seal its secrets again with it: after a leak.
    #[arg(long)]
    pub data_keys: bool,
    /// Data keys that one statement wraps anew.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub batch: i32,
}

/// What a rotation did, and what it left.
#[derive(Debug, Default)]
pub struct Outcome {
    pub rewrapped: u64,
    /// Workspaces with a new data key.
    pub renewed: u64,
    /// Secrets sealed again.
    pub resealed: u64,
    pub failed: Vec<Failed>,
}

/// Turns everything to the current master key. Safe to call again, at once or after a kill.
pub async fn rotate(
    store: &Store,
    clock: &dyn Clock,
    args: &RotateArgs,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Outcome, Error> {
    let mut outcome = Outcome::default();
    rewrap(store, args.batch, &mut outcome, say).await?;
    if args.data_keys {
        renew(store, clock, &mut outcome, say).await?;
    }
    tracing::info!(
        rewrapped = outcome.rewrapped,
        renewed = outcome.renewed,
        resealed = outcome.resealed,
        failed = outcome.failed.len(),
        "master keys were rotated"
    );
    Ok(outcome)
}

async fn rewrap(store: &Store, batch: i32, outcome: &mut Outcome, say: &(dyn Fn(&str) + Sync)) -> Result<(), Error> {
    for _ in 0..PASSES {
        let (mut after, mut seen, mut done, mut failed) = (After::default(), 0, 0, Vec::new());
        loop {
            let step = store.rewrap_some(after, batch).await?;
            (seen, done) = (seen + u64::try_from(step.seen).unwrap_or(u64::MAX), done + step.done);
            outcome.rewrapped += step.done;
            failed.extend(step.failed);
            match step.next {
                Some(next) => after = next,
                None => break,
            }
            say(&format!("data keys wrapped anew: {}", outcome.rewrapped));
        }
        // What was neither wrapped nor found broken, another run was at.
        let is_through = seen == done + u64::try_from(failed.len()).unwrap_or(u64::MAX);
        if is_through {
            outcome.failed.extend(failed);
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn renew(
    store: &Store,
    clock: &dyn Clock,
    outcome: &mut Outcome,
    say: &(dyn Fn(&str) + Sync),
) -> Result<(), Error> {
    for _ in 0..PASSES {
        let (mut after, mut seen, mut failed) = (None, 0, Vec::new());
        loop {
            let workspaces = store.workspaces_to_renew(after, WORKSPACES).await?;
            let Some(last) = workspaces.last() else { break };
            (after, seen) = (Some(*last), seen + workspaces.len());
            let each = workspaces.into_iter().map(|workspace| renew_one(store, clock, workspace));
            let mut each = futures::stream::iter(each).buffer_unordered(AT_ONCE);
            while let Some(renewed) = each.next().await {
                let renewed = renewed?;
                outcome.renewed += u64::from(renewed.is_new);
                outcome.resealed += renewed.resealed;
                failed.extend(renewed.failed);
            }
            say(&format!("data keys renewed: {}, secrets sealed again: {}", outcome.renewed, outcome.resealed));
        }
        let broken: std::collections::HashSet<WorkspaceId> = failed.iter().map(|f| f.workspace).collect();
        if seen == broken.len() {
            outcome.failed.extend(failed);
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn renew_one(
    store: &Store,
    clock: &dyn Clock,
    workspace: WorkspaceId,
) -> Result<codash_store::rotation::Renewed, Error> {
    let mut renewed = codash_store::rotation::Renewed::default();
    match store.renew_workspace(workspace, &By::operator(clock.now())).await {
        // Somebody was at it: the next pass comes by.
        Err(Error::NotFound | Error::Timeout | Error::Serialization) => {}
        Err(error @ (Error::Sealed(_) | Error::UnknownMasterKey { .. })) => {
            renewed.failed.push(Failed { workspace, what: "data_keys".into(), error });
        }
        done => renewed = done?,
    }
    Ok(renewed)
}

/// How the master keys stand, one a line: id, state, what it wraps, what was made under it.
pub struct Standing {
    pub keys: Vec<MasterKeyUse>,
    pub now: Timestamp,
}

impl Standing {
    pub async fn read(store: &Store, clock: &dyn Clock) -> Result<Self, Error> {
        Ok(Self { keys: store.master_keys_in_use().await?, now: clock.now() })
    }

    /// Nothing stored needs another master key than the current one.
    pub fn is_turned(&self) -> bool {
        self.others().all(|key| key.wraps == 0)
    }

    /// No data key was made under another master key.
    pub fn is_renewed(&self) -> bool {
        self.others().all(|key| key.made == 0)
    }

    pub fn is_anything_missing(&self) -> bool {
        self.keys.iter().any(|key| !key.is_configured && key.wraps > 0)
    }

    /// What to do next, for people.
    pub fn advice(&self) -> Vec<String> {
        let turned_at = self.keys.iter().filter(|key| key.is_current).find_map(|key| key.rewrapped_at);
        let removable = turned_at.map(|at| at.plus(SIGNED));
        let mut lines = Vec::new();
        for key in self.others() {
            let id = printable(&key.id);
            if key.wraps > 0 && !key.is_configured {
                lines.push(format!(
                    "{id}: needed, and not configured here: put it back into the list of every process, behind the first"
                ));
            } else if key.wraps > 0 {
                lines.push(format!("{id}: still needed: run codash keys rotate-master"));
            } else if key.is_configured {
                lines.push(match removable {
                    Some(at) if at <= self.now => format!("{id}: nothing needs it: it can leave every list"),
                    Some(at) => format!("{id}: nothing stored needs it; cursors may until {at}: remove it then"),
                    None => {
                        format!("{id}: nothing stored needs it; remove it a day after it was last the first of a list")
                    }
                });
            }
            if key.made > 0 {
                lines.push(format!(
                    "{id}: {} data keys were made while it was current: if it leaked, run codash keys rotate-master \
                     --data-keys",
                    key.made
                ));
            }
        }
        lines
    }

    fn others(&self) -> impl Iterator<Item = &MasterKeyUse> {
        self.keys.iter().filter(|key| !key.is_current)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.keys.iter().try_for_each(|key| {
            let state = match (key.is_current, key.is_configured) {
                (true, _) => "current",
                (false, true) => "configured",
                (false, false) => "missing",
            };
            writeln!(f, "{}\t{state}\twraps {}\tmade {}", printable(&key.id), key.wraps, key.made)
        })
    }
}

/// `keys rotate-master`: counts to standard output, the rest to standard error. Fails unless everything
/// is the current key's.
pub async fn rotate_and_tell(
    store: &Store,
    clock: &dyn Clock,
    args: &RotateArgs,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut failed = Vec::new();
    if !args.dry_run {
        failed = rotate(store, clock, args, &|line| eprintln!("{line}")).await?.failed;
    }
    let standing = Standing::read(store, clock).await?;
    print!("{standing}");
    failures(&failed).iter().chain(&standing.advice()).for_each(|line| eprintln!("{line}"));
    let is_done = standing.is_turned() && (standing.is_renewed() || !args.data_keys) && failed.is_empty();
    match args.dry_run || is_done {
        true => Ok(()),
        false => Err("not everything is under the current master key: see above, and run this again".into()),
    }
}

/// `keys master-status`. Fails when a key that is needed is missing.
pub async fn tell_status(store: &Store, clock: &dyn Clock) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let standing = Standing::read(store, clock).await?;
    print!("{standing}");
    standing.advice().iter().for_each(|line| eprintln!("{line}"));
    match standing.is_anything_missing() {
        true => Err("a master key is missing".into()),
        false => Ok(()),
    }
}

/// Failures, the first of them by name.
fn failures(failed: &[Failed]) -> Vec<String> {
    let more = failed.len().saturating_sub(SHOWN_FAILURES);
    let mut lines: Vec<String> = failed.iter().take(SHOWN_FAILURES).map(ToString::to_string).collect();
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

/// Refuses to start where a secret could not be opened later, but for those that are lost anyway.
pub async fn must_have_all(store: &Store, lost: &[String]) -> Result<(), String> {
    let missing = store.missing_master_keys().await.map_err(|error| crate::rest::error::chain(&error))?;
    let ids: Vec<String> = missing.iter().filter(|id| !lost.contains(id)).map(|id| printable(id)).collect();
    if ids.is_empty() {
        return Ok(());
    }
    Err(format!(
        "stored secrets need master keys that CODASH_MASTER_KEYS (or its file) does not hold: {}. Put them back \
         behind the current one; codash keys rotate-master makes them superfluous (docs/master-keys.md)",
        ids.join(", ")
    ))
}

/// A fresh master key as `CODASH_MASTER_KEYS` wants it.
pub fn fresh(id: &str, bits: [u8; 32]) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if id.is_empty() || id.len() > 64 || !id.chars().all(is_plain) {
        return Err("a master key's id is 1 to 64 letters, digits, dots, hyphens and underscores".into());
    }
    Ok(format!("{id}:{}", STANDARD.encode(bits)))
}

/// An id is whatever somebody configured once.
fn printable(id: &str) -> String {
    codash_domain::text::clean(id, 64)
}
