//! Automations at work: what is due is asked, what was asked is told.
//!
//! Three kinds of work, each claimed under a lease: [`schedule`] turns due times and conditions into
//! runs, [`runner`] asks their questions, [`deliver`] sends what came of it. Each step ends in one
//! transaction, so that a worker may be killed at any instant: what was not committed is done again
//! under the same ids. Several workers share the work out. [`guard`] decides which addresses may be
//! spoken to, [`sign`] is Standard Webhooks.

pub mod deliver;
pub mod guard;
pub mod runner;
pub mod schedule;
pub mod sender;
pub mod sign;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use codash_analytics::{Ctx, CursorKey};
use codash_domain::automation::Task;
use codash_domain::{Clock, Timestamp, WorkspaceId};
use codash_store::{Error, Grant, Store};
use futures::future::BoxFuture;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use sender::Sender;

/// Answers a task of an automation, with the rights of a grant. The catalogue's faces live in the
/// binary, which passes this in.
pub type Ask = Arc<dyn for<'a> Fn(&'a Ctx<'a>, &'a Task) -> Answering<'a> + Send + Sync>;
pub type Answering<'a> = BoxFuture<'a, Result<Box<RawValue>, NotAnswered>>;

/// Why a task has no answer.
#[derive(Debug, thiserror::Error)]
pub enum NotAnswered {
    /// It never will have, as it is: the reason says what to change.
    #[error("{0}")]
    Refused(String),
    #[error("the database gave no answer")]
    Store(#[from] Error),
}

/// Everything that a worker needs.
#[derive(Clone)]
pub struct Worker {
    pub store: Store,
    pub cursor_key: CursorKey,
    pub ask: Ask,
    pub sender: Sender,
    /// What "now" is to a question; leases and due times go by the database's clock.
    pub clock: Arc<dyn Clock>,
    /// Names this worker in the leases it holds.
    pub holder: String,
    /// Longer than any step may take: a run a minute, a try fifteen seconds.
    pub lease: Duration,
    /// Between looks for work when there is none.
    pub idle: Duration,
}

impl Worker {
    pub fn new(
        store: Store,
        cursor_key: CursorKey,
        ask: Ask,
        sender: Sender,
        clock: Arc<dyn Clock>,
        holder: String,
    ) -> Self {
        let (lease, idle) = (Duration::from_secs(120), Duration::from_secs(1));
        Self { store, cursor_key, ask, sender, clock, holder, lease, idle }
    }

    pub(crate) async fn answer(&self, grant: &Grant, task: &Task) -> Result<Box<RawValue>, NotAnswered> {
        let ctx = Ctx { store: &self.store, grant, cursor_key: &self.cursor_key, now: self.clock.now() };
        (self.ask)(&ctx, task).await
    }

    /// The rights that an automation acts with, or why there are none any longer.
    pub(crate) async fn grant(
        &self,
        workspace: WorkspaceId,
        key: codash_domain::KeyId,
        now: Timestamp,
    ) -> Result<Result<Grant, &'static str>, Error> {
        let grant = self.store.grant_of_key(workspace, key).await?;
        Ok(match grant {
            None => Err("the API key that it acts with was revoked: save it again with another key"),
            Some(grant) if grant.expires_at.is_some_and(|expiry| expiry <= now) => {
                Err("the API key that it acts with has expired: save it again with another key")
            }
            Some(grant) => Ok(grant),
        })
    }
}

/// Works until told to stop; what is under way then may end within ten seconds.
pub async fn run(worker: Worker, stop: CancellationToken) {
    let (worker, stop) = (&worker, &stop);
    let scheduling = work(worker, stop, "schedule", || schedule::step(worker));
    let running = || work(worker, stop, "run", || runner::step(worker));
    let delivering = || work(worker, stop, "deliver", || deliver::step(worker));
    tokio::join!(scheduling, running(), running(), delivering(), delivering(), delivering(), delivering());
}

/// One step after the other while there is work.
async fn work<F: Future<Output = Result<bool, Error>>>(
    worker: &Worker,
    stop: &CancellationToken,
    kind: &'static str,
    step: impl Fn() -> F,
) {
    let farewell = async {
        stop.cancelled().await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    };
    let mut farewell = std::pin::pin!(farewell);
    while !stop.is_cancelled() {
        let done = tokio::select! {
            done = step() => done,
            () = &mut farewell => return,
        };
        let pause = match done {
            Ok(true) => continue,
            Ok(false) => worker.idle,
            Err(error) => {
                tracing::warn!(work.kind = kind, error.chain = chain(&error), "a step failed");
                worker.idle * 5
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// An error and its causes, joined by colons.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A lost claim is another worker's work, not a failure.
pub(crate) fn unless_lost(done: Result<(), Error>) -> Result<bool, Error> {
    match done {
        Ok(()) | Err(Error::Fenced) => Ok(true),
        Err(error) => Err(error),
    }
}
