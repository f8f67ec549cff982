//! Runs: the question is asked with the rights of the automation's key, and the answer is kept.

use std::time::Duration;

use codash_store::Error;
use codash_store::automations::Claim;
use codash_store::automations::runs::{Outcome, Run};
use tokio::time::timeout;

use crate::{NotAnswered, Worker, unless_lost};

/// A run that a worker could not end so often is given up: it may be what kills them.
const MOST_ATTEMPTS: i32 = 5;
/// For an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// An answer is kept in its run and sent as it is; what is larger is an export's business.
const LARGEST_RESULT: usize = 256 * 1024;

/// Handles one run. False when none is due.
pub async fn step(worker: &Worker) -> Result<bool, Error> {
    let Some(claim) = worker.store.claim_due_run(&worker.holder, worker.lease).await? else { return Ok(false) };
    let run = match worker.store.claimed_run(&claim).await {
        Ok(run) => run,
        Err(Error::Fenced) => return Ok(true),
        Err(error) => return Err(error),
    };
    let found = worker.store.automations(claim.workspace, Some(run.automation)).await?;
    // Deleted meanwhile: the run went with it.
    let Some(automation) = found.into_iter().next() else { return Ok(true) };
    let key = automation.definition.key;
    if run.attempts > MOST_ATTEMPTS {
        let outcome = Outcome::Failed(format!("given up after {MOST_ATTEMPTS} attempts"));
        return unless_lost(worker.store.finish_run(&claim, key, &outcome, None).await);
    }
    let grant = match worker.grant(claim.workspace, key, worker.clock.now()).await? {
        Ok(grant) => grant,
        Err(reason) => {
            let outcome = Outcome::Failed(reason.into());
            return unless_lost(worker.store.finish_run(&claim, key, &outcome, Some(reason)).await);
        }
    };
    let asked = timeout(PATIENCE, worker.answer(&grant, &automation.definition.task)).await;
    let outcome = match asked {
        Ok(Ok(answer)) if answer.get().len() > LARGEST_RESULT => Outcome::Failed(format!(
            "the answer is larger than {} KiB: ask for less, or for an export",
            LARGEST_RESULT / 1024
        )),
        Ok(Ok(answer)) => Outcome::Succeeded(answer.get().to_owned()),
        Ok(Err(NotAnswered::Refused(reason))) => Outcome::Failed(reason),
        Ok(Err(NotAnswered::Store(error))) => return put_off(worker, &claim, &run, &error).await,
        Err(_) => Outcome::Failed(format!("there was no answer within {} seconds", PATIENCE.as_secs())),
    };
    unless_lost(worker.store.finish_run(&claim, key, &outcome, None).await)
}

/// A failure on our side is tried again: after 10, 20, 40, 80 seconds.
async fn put_off(worker: &Worker, claim: &Claim, run: &Run, error: &Error) -> Result<bool, Error> {
    tracing::warn!(run.id = %run.id, error.chain = crate::chain(error), "a run is put off");
    let pause = Duration::from_secs(5 << run.attempts.clamp(1, MOST_ATTEMPTS));
    unless_lost(worker.store.put_run_off(claim, pause, "the database gave no answer: it is tried again").await)
}
