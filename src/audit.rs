//! What was asked, by whom: noted beside the answer, written in batches.
//!
//! [`Recorder::note`] never waits and never fails a question. The queue is bounded; what finds no place
//! in it, or what the database would not take, is counted per workspace, logged as an error, and told
//! in the audit itself (`audit.gap`) as soon as writing works again. Changes do not come this way: they
//! record themselves in their own transaction, see `codash_store::audit`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use codash_domain::{Clock, WorkspaceId};
use codash_store::Store;
pub use codash_store::audit::Outcome as Ended;
use codash_store::audit::{Actor, By, Entry, Outcome, Verb};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::auth::Caller;
use crate::rest::error::ApiError;

/// Entries that wait to be written: some 4 MiB.
const QUEUE: usize = 8192;
const BATCH: usize = 1024;
/// How long a batch waits for company.
const LINGER: Duration = Duration::from_millis(100);
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
const PRUNE_MOST: i32 = 20_000;
/// Workspaces whose losses are counted apart; further ones only in the log.
const MOST_GAPS: usize = 10_000;

/// Where entries are noted.
#[derive(Debug)]
pub struct Recorder {
    queue: mpsc::Sender<(WorkspaceId, Entry)>,
    losses: Arc<Losses>,
    stop: CancellationToken,
    written: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

/// What could not be written, until it is told.
#[derive(Debug, Default)]
struct Losses {
    total: AtomicU64,
    untold: Mutex<HashMap<WorkspaceId, i64>>,
}

impl Recorder {
    /// Starts the writer on the current runtime.
    pub fn start(store: Store, clock: Arc<dyn Clock>, retention_days: u32) -> Self {
        let (queue, noted) = mpsc::channel(QUEUE);
        let (losses, stop) = (Arc::new(Losses::default()), CancellationToken::new());
        let writer = Writer { store, clock, retention_days, losses: Arc::clone(&losses), stop: stop.clone() };
        let written = Mutex::new(Some(tokio::spawn(writer.run(noted))));
        Self { queue, losses, stop, written }
    }

    /// Notes what was asked of a workspace.
    pub fn note(&self, workspace: WorkspaceId, entry: Entry) {
        if self.queue.try_send((workspace, entry)).is_err() {
            self.losses.add(workspace, 1);
        }
    }

    /// How many entries were lost since the start.
    pub fn lost(&self) -> u64 {
        self.losses.total.load(Ordering::Relaxed)
    }

    /// Writes what is noted, and ends the writer.
    pub async fn close(&self) {
        self.stop.cancel();
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(written) = written {
            drop(written.await);
        }
    }
}

impl Losses {
    fn add(&self, workspace: WorkspaceId, count: i64) {
        self.total.fetch_add(count.unsigned_abs(), Ordering::Relaxed);
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        if untold.len() < MOST_GAPS || untold.contains_key(&workspace) {
            *untold.entry(workspace).or_default() += count;
        }
    }

    fn take(&self) -> HashMap<WorkspaceId, i64> {
        std::mem::take(&mut *self.untold.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Writer {
    store: Store,
    clock: Arc<dyn Clock>,
    retention_days: u32,
    losses: Arc<Losses>,
    stop: CancellationToken,
}

impl Writer {
    async fn run(self, mut noted: mpsc::Receiver<(WorkspaceId, Entry)>) {
        let mut prune = interval(PRUNE_EVERY);
        // The first tick is at once, when there is more to do than clearing up.
        prune.tick().await;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                received = noted.recv_many(&mut batch, BATCH) => {
                    if received == 0 {
                        return;
                    }
                    sleep(LINGER).await;
                }
                () = self.stop.cancelled() => {
                    noted.close();
                    while noted.recv_many(&mut batch, BATCH).await > 0 {
                        self.write(&mut batch).await;
                    }
                    self.tell().await;
                    return;
                }
                _ = prune.tick() => self.prune().await,
            }
            while batch.len() < BATCH
                && let Ok(entry) = noted.try_recv()
            {
                batch.push(entry);
            }
            self.write(&mut batch).await;
            self.tell().await;
        }
    }

    async fn write(&self, batch: &mut Vec<(WorkspaceId, Entry)>) {
        let mut of_workspace: HashMap<WorkspaceId, Vec<Entry>> = HashMap::new();
        for (workspace, entry) in batch.drain(..) {
            of_workspace.entry(workspace).or_default().push(entry);
        }
        for (workspace, entries) in of_workspace {
            if let Err(error) = self.store.append_audit(workspace, &entries).await {
                tracing::error!(error = &error as &dyn std::error::Error, workspace.id = %workspace, entries = entries.len(), "the audit could not be written");
                self.losses.add(workspace, i64::try_from(entries.len()).unwrap_or(i64::MAX));
            }
        }
    }

    /// Says in the audit what is missing from it.
    async fn tell(&self) {
        for (workspace, count) in self.losses.take() {
            let by = By { actor: Actor::System, address: None, request_id: None, at: self.clock.now() };
            let mut entry = Entry::done(by, Verb::AuditGap, "requests");
            (entry.outcome, entry.row_count) = (Outcome::Failed, Some(count));
            match self.store.append_audit(workspace, &[entry]).await {
                Ok(()) => tracing::error!(workspace.id = %workspace, entries = count, "entries of the audit were lost"),
                // Counted again, and told later: the total has them already.
                Err(_) => {
                    let mut untold = self.losses.untold.lock().unwrap_or_else(PoisonError::into_inner);
                    *untold.entry(workspace).or_default() += count;
                }
            }
        }
    }

    async fn prune(&self) {
        match self.store.prune_audit(self.retention_days, PRUNE_MOST).await {
            Ok(0) => {}
            Ok(entries) => tracing::info!(entries, "the audit was pruned"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the audit could not be pruned");
            }
        }
    }
}

/// Around the REST routes: notes each request of a known caller, with what came of it.
pub async fn requests(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some(caller) = request.extensions().get::<Caller>().cloned() else { return next.run(request).await };
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let (target, verb) = (format!("{} {route}", parts.method), verb(&parts.method, route));
    // Already read by the doorway: one piece in memory.
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let line = parts.uri.path_and_query().map_or("/", |line| line.as_str());
    let arguments_hash = (verb == Verb::RequestRead).then(|| asked(line, &bytes));
    // Cut short by the deadline, it is noted all the same.
    let mut pending =
        Pending { app: &app, caller: &caller, started, entry: Some(Entry::done(caller.by(&app), verb, target)) };
    pending.set(|entry| entry.arguments_hash = arguments_hash);
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    let (response, row_count) = counted(response).await;
    let status = response.status();
    pending.set(|entry| {
        entry.row_count = row_count;
        entry.outcome = match status.as_u16() {
            500.. => Outcome::Failed,
            400.. => Outcome::Refused,
            _ => Outcome::Done,
        };
        let code = response.extensions().get::<ApiError>().map(ApiError::code);
        entry.code = (entry.outcome != Outcome::Done).then(|| code.map_or(status.as_str(), |code| code).to_owned());
    });
    pending.finish();
    response
}

/// An entry that is noted when its request ends, also when it is given up.
#[derive(Debug)]
pub struct Pending<'a> {
    app: &'a App,
    caller: &'a Caller,
    started: Instant,
    entry: Option<Entry>,
}

impl<'a> Pending<'a> {
    /// A tool call, with its arguments when they were looked at.
    pub fn tool(app: &'a App, caller: &'a Caller, name: &str, arguments: Option<&Value>) -> Self {
        let mut entry = Entry::done(caller.by(app), Verb::ToolCall, name);
        entry.arguments_hash = arguments.map(digest);
        Self { app, caller, started: Instant::now(), entry: Some(entry) }
    }

    pub fn set(&mut self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = &mut self.entry {
            change(entry);
        }
    }

    /// It was refused or failed, with this code.
    pub fn ended(&mut self, outcome: Outcome, code: &str) {
        self.set(|entry| {
            entry.outcome = outcome;
            entry.code = Some(code.to_owned());
        });
    }

    /// It has the outcome that was set last.
    pub fn finish(mut self) {
        self.note();
    }

    fn note(&mut self) {
        if let Some(mut entry) = self.entry.take() {
            entry.micros = i64::try_from(self.started.elapsed().as_micros()).ok();
            self.app.audit.note(self.caller.grant.workspace, entry);
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if self.entry.is_some() {
            self.ended(Outcome::Failed, "given_up");
            self.note();
        }
    }
}

/// A question may come as a POST.
fn verb(method: &Method, route: &str) -> Verb {
    let is_read = *method == Method::GET || *method == Method::HEAD || route == "/api/pnl-analysis/query";
    if is_read { Verb::RequestRead } else { Verb::RequestWrite }
}

/// The `count` that an answer in memory states; a stream is not looked at.
async fn counted(response: Response) -> (Response, Option<i64>) {
    if !response.status().is_success() || response.body().size_hint().exact().is_none() {
        return (response, None);
    }
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let rows = rows(&bytes);
    (Response::from_parts(parts, Body::from(bytes)), rows)
}

/// How many rows an answer says that it has: its first member, in the envelope or not.
pub fn rows(answer: &[u8]) -> Option<i64> {
    let answer = answer.strip_prefix(br#"{"success":true,"data":"#).unwrap_or(answer);
    let rest = answer.strip_prefix(br#"{"count":"#)?;
    let digits = rest.iter().take(18).take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()
}

/// SHA-256 of a REST question: path and query as sent, a line feed, the body. No path holds a line feed.
fn asked(line: &str, body: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(line).chain_update(b"\n").chain_update(body).finalize().into()
}

/// SHA-256 of compact JSON with sorted names: the same for the same members in any order.
pub fn digest(value: &Value) -> [u8; 32] {
    let mut text = String::new();
    write(value, &mut text);
    Sha256::digest(text.as_bytes()).into()
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (i, (name, member)) in members.into_iter().enumerate() {
                text.push_str(if i > 0 { "," } else { "" });
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write(member, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                text.push_str(if i > 0 { "," } else { "" });
                write(item, text);
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_members_does_not_change_a_digest_and_their_values_do() {
        let digest = |text: &str| digest(&serde_json::from_str(text).unwrap());
        assert_eq!(digest(r#"{"a":1,"b":{"c":2,"d":[1,2]}}"#), digest(r#"{"b":{"d":[1,2],"c":2},"a":1}"#));
        let all =
            [r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":"1"}"#, "{}", r#"{"a":[1]}"#, r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#];
        let digests: std::collections::HashSet<_> = all.iter().map(|text| digest(text)).collect();
        assert_eq!(digests.len(), all.len());
    }

    #[test]
    fn whoever_kept_the_arguments_can_recompute_the_digest() {
        let mut text = String::new();
        write(&json!({ "limit": 25, "days": 7, "symbols": ["BTC-PERP", "é\n"], "x": {} }), &mut text);
        assert_eq!(text, r#"{"days":7,"limit":25,"symbols":["BTC-PERP","é\n"],"x":{}}"#);
        let empty = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(hex::encode(digest(&json!({}))), empty);
        assert_eq!(asked("/api/x?a=1", b""), <[u8; 32]>::from(Sha256::digest(b"/api/x?a=1\n")));
    }

    #[test]
    fn rows_are_what_the_answer_states_first() {
        let cases = [
            (json!({ "success": true, "data": { "count": 25, "rows": [] } }).to_string(), Some(25)),
            (json!({ "count": 0 }).to_string(), Some(0)),
            (json!({ "success": true, "data": { "navUsd": 1 } }).to_string(), None),
            (r#"{"count":null}"#.to_owned(), None),
            (r#"{"count":"#.to_owned(), None),
            (String::new(), None),
        ];
        for (answer, expected) in cases {
            assert_eq!(rows(answer.as_bytes()), expected, "{answer}");
        }
    }

    #[test]
    fn a_post_is_a_change_unless_it_is_a_question() {
        assert_eq!(verb(&Method::GET, "/api/accounts"), Verb::RequestRead);
        assert_eq!(verb(&Method::POST, "/api/pnl-analysis/query"), Verb::RequestRead);
        assert_eq!(verb(&Method::POST, "/api/accounts"), Verb::RequestWrite);
        assert_eq!(verb(&Method::DELETE, "/api/keys/{id}"), Verb::RequestWrite);
    }
}
