//! `GET /api/export/*`: whole tables as files, streamed while PostgreSQL reads them.
//!
//! A task of its own holds the snapshot and writes; the response takes what it writes, a few chunks
//! ahead at most. When the client goes, the response is dropped, the task ends, its connection closes
//! and PostgreSQL ends the query. A file that breaks off breaks its connection: no client can take
//! half a file for a whole one.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use codash_analytics::export::{self, Broken, CountQuery, Described, Format, Gone, Head, Manifest, Output, Query};
use codash_analytics::provenance::Coverage;
use codash_domain::{Scope, WorkspaceId};
use codash_store::exports::Table;
use hyper::body::Frame;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::Instrument;
use validator::Validate;

use super::conditional;
use super::error::{ApiError, chain};
use super::extract::Params;
use super::{Success, success};
use crate::app::App;
use crate::auth::Caller;
use crate::server::Uncompressed;

/// Chunks that wait for a slow client.
const AHEAD: usize = 4;
/// How long an answer waits for its first chunk: until then, what goes wrong is still a plain error.
const FIRST_CHUNK: Duration = Duration::from_secs(2);
const RETRY_AFTER: Duration = Duration::from_secs(5);

const WATERMARK: HeaderName = HeaderName::from_static("x-export-watermark");
const SCHEMA: HeaderName = HeaderName::from_static("x-export-schema");
/// Known at the end alone: trailers.
const ROWS: HeaderName = HeaderName::from_static("x-export-rows");
const SHA256: HeaderName = HeaderName::from_static("x-export-sha256");

/// No arguments: any is refused.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct NoQuery {}

pub async fn counts(State(app): State<App>, caller: Caller, Params(_): Params<NoQuery>) -> Result<Response, ApiError> {
    caller.require(Scope::ReadExports)?;
    Ok(success(StatusCode::OK, export::counts(&app.ctx(&caller)).await?))
}

pub async fn count(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Params(query): Params<CountQuery>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadExports)?;
    Ok(success(StatusCode::OK, export::count(&app.ctx(&caller), table(&name)?, query).await?))
}

/// The file.
pub async fn file(
    State(app): State<App>,
    caller: Caller,
    method: Method,
    headers: HeaderMap,
    Path(name): Path<String>,
    Params(query): Params<Query>,
) -> Result<Response, ApiError> {
    answer(app, caller, &method, &headers, &name, query, Wanted::File).await
}

/// What the file with these parameters would be: the same work, and none of the bytes.
pub async fn manifest(
    State(app): State<App>,
    caller: Caller,
    method: Method,
    headers: HeaderMap,
    Path(name): Path<String>,
    Params(query): Params<Query>,
) -> Result<Response, ApiError> {
    answer(app, caller, &method, &headers, &name, query, Wanted::Manifest).await
}

fn table(name: &str) -> Result<Table, ApiError> {
    Table::ALL.into_iter().find(|table| table.as_str() == name).ok_or_else(|| {
        let names = Table::ALL.map(Table::as_str);
        ApiError::new(StatusCode::NOT_FOUND, "unknown_table", format!("there are these tables: {}", names.join(", ")))
            .with_details(json!({ "allowed": names }))
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    File,
    Manifest,
}

async fn answer(
    app: App,
    caller: Caller,
    method: &Method,
    headers: &HeaderMap,
    name: &str,
    query: Query,
    wanted: Wanted,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadExports)?;
    let table = table(name)?;
    let place = app.exports.take(caller.grant.workspace)?;
    let (frames, taken) = mpsc::channel(AHEAD);
    let (announce, announced) = oneshot::channel();
    let job = Job {
        table,
        query,
        wanted,
        known: conditional::known(headers),
        head_only: *method == Method::HEAD,
        announce,
        frames,
        _place: place,
    };
    tokio::spawn(job.run(app, caller).in_current_span());
    let opened = announced.await.map_err(|_| ApiError::internal())??;
    let mut response = StatusCode::OK.into_response();
    describe(response.headers_mut(), &opened.head, wanted);
    response.extensions_mut().insert(Uncompressed);
    match opened.then {
        Then::Nothing => {}
        Then::NotModified => *response.status_mut() = StatusCode::NOT_MODIFIED,
        Then::Body => *response.body_mut() = Body::new(Frames::wait(taken).await?),
    }
    Ok(response)
}

fn describe(headers: &mut HeaderMap, head: &Head, wanted: Wanted) {
    let mut set = |name: HeaderName, value: String| {
        // Words and digits of ours.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    set(WATERMARK, head.watermark.to_string());
    set(SCHEMA, head.schema.clone());
    // Kept by its caller alone, and asked for again before it is used.
    let tag = entity_tag(head, wanted);
    set(header::CACHE_CONTROL, if tag.is_some() { "private, no-cache" } else { "private, no-store" }.into());
    if let Some(tag) = tag {
        set(header::ETAG, tag);
    }
    if wanted == Wanted::Manifest {
        return set(header::CONTENT_TYPE, "application/json".into());
    }
    set(header::CONTENT_TYPE, content_type(head).into());
    set(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", head.file_name()));
    set(header::TRAILER, format!("{ROWS}, {SHA256}"));
}

fn content_type(head: &Head) -> &'static str {
    match head.format {
        _ if head.gzip => "application/gzip",
        Format::Csv => "text/csv; charset=utf-8; header=present",
        Format::Json => "application/json",
        Format::Jsonl => "application/jsonl",
    }
}

/// Of files alone: how far a manifest's venues have been read changes without a version.
fn entity_tag(head: &Head, wanted: Wanted) -> Option<String> {
    let tag = head.tag.as_ref().filter(|_| wanted == Wanted::File)?;
    Some(format!("\"{tag}\""))
}

/// An export under way.
struct Job {
    table: Table,
    query: Query,
    wanted: Wanted,
    /// `If-None-Match`.
    known: Vec<String>,
    head_only: bool,
    announce: oneshot::Sender<Result<Opened, ApiError>>,
    frames: mpsc::Sender<Result<Frame<Bytes>, Broken>>,
    _place: Place,
}

/// What the head of the answer needs.
struct Opened {
    head: Head,
    then: Then,
}

enum Then {
    Body,
    Nothing,
    NotModified,
}

impl Job {
    async fn run(mut self, app: App, caller: Caller) {
        let ctx = app.ctx(&caller);
        let opened = tokio::select! {
            opened = export::open(&ctx, self.table, &self.query) => opened,
            () = self.announce.closed() => return,
        };
        let mut exporting = match opened {
            Ok(exporting) => exporting,
            Err(error) => return drop(self.announce.send(Err(error.into()))),
        };
        let head = exporting.head.clone();
        let coverage = match self.wanted {
            Wanted::File => Ok(None),
            Wanted::Manifest => exporting.coverage(ctx.now).await,
        };
        let coverage = match coverage {
            Ok(coverage) => coverage,
            Err(error) => return drop(self.announce.send(Err(error.into()))),
        };
        let tag = entity_tag(&head, self.wanted);
        let then = match tag {
            Some(tag) if conditional::is_known(&self.known, &tag) => Then::NotModified,
            _ if self.head_only => Then::Nothing,
            _ => Then::Body,
        };
        let is_streamed = matches!(then, Then::Body);
        drop(self.announce.send(Ok(Opened { head, then })));
        if !is_streamed {
            drop(exporting.finish().await);
            return;
        }
        tokio::select! {
            written = write(exporting, self.wanted, coverage, &self.frames) => {
                if let Err(broken) = written {
                    if let Broken::Store(error) = &broken {
                        tracing::error!(error.chain = chain(error), table = %self.table, "an export broke off");
                    }
                    drop(self.frames.send(Err(broken)).await);
                }
            }
            // Dropping what writes closes its database connection, which ends the query.
            () = self.frames.closed() => {}
        }
    }
}

async fn write(
    exporting: export::Exporting<'_>,
    wanted: Wanted,
    coverage: Option<Coverage>,
    frames: &mpsc::Sender<Result<Frame<Bytes>, Broken>>,
) -> Result<(), Broken> {
    let last = match wanted {
        Wanted::File => trailers(&exporting.write(&mut Streamed(frames)).await?),
        Wanted::Manifest => {
            let manifest = exporting.write(&mut Nowhere).await?;
            let answer = Success::of(Described { manifest, coverage });
            Frame::data(serde_json::to_vec(&answer).unwrap_or_default().into())
        }
    };
    frames.send(Ok(last)).await.map_err(|_| Gone.into())
}

fn trailers(manifest: &Manifest) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    trailers.insert(ROWS, manifest.rows.into());
    if let Ok(digest) = HeaderValue::from_str(&manifest.sha256) {
        trailers.insert(SHA256, digest);
    }
    Frame::trailers(trailers)
}

/// To the client.
struct Streamed<'a>(&'a mpsc::Sender<Result<Frame<Bytes>, Broken>>);

impl Output for Streamed<'_> {
    async fn chunk(&mut self, bytes: Vec<u8>) -> Result<(), Gone> {
        self.0.send(Ok(Frame::data(bytes.into()))).await.map_err(|_| Gone)
    }
}

/// For its digest alone.
struct Nowhere;

impl Output for Nowhere {
    async fn chunk(&mut self, _: Vec<u8>) -> Result<(), Gone> {
        // A place to be ended at.
        tokio::task::yield_now().await;
        Ok(())
    }
}

/// The body: what the task writes.
struct Frames {
    first: Option<Frame<Bytes>>,
    rest: mpsc::Receiver<Result<Frame<Bytes>, Broken>>,
}

impl Frames {
    /// Waits for the first of them, for a while.
    async fn wait(mut rest: mpsc::Receiver<Result<Frame<Bytes>, Broken>>) -> Result<Self, ApiError> {
        match timeout(FIRST_CHUNK, rest.recv()).await {
            Ok(Some(Ok(frame))) => Ok(Self { first: Some(frame), rest }),
            Ok(Some(Err(Broken::Store(error)))) => Err(error.into()),
            Ok(Some(Err(Broken::Gone(_))) | None) => Err(ApiError::internal()),
            Err(_) => Ok(Self { first: None, rest }),
        }
    }
}

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.first.take() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => self.rest.poll_recv(cx),
        }
    }
}

/// How many exports run at once: each holds a database connection for as long as its client reads.
#[derive(Debug, Clone)]
pub struct Places {
    most: usize,
    most_of_one: usize,
    taken: Arc<Mutex<HashMap<WorkspaceId, usize>>>,
}

/// Given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    workspace: WorkspaceId,
}

impl Places {
    /// Half of the connections, so that questions always find one; and no workspace takes all of it,
    /// unless that is one.
    pub fn new(connections: u32) -> Self {
        let most = usize::try_from(connections / 2).unwrap_or(1).max(1);
        Self { most, most_of_one: (most - 1).max(1), taken: Arc::default() }
    }

    fn take(&self, workspace: WorkspaceId) -> Result<Place, ApiError> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&workspace).copied().unwrap_or_default();
        if own >= self.most_of_one || taken.values().sum::<usize>() >= self.most {
            return Err(ApiError::rate_limited("exports at once", RETRY_AFTER));
        }
        taken.insert(workspace, own + 1);
        drop(taken);
        Ok(Place { places: self.clone(), workspace })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.workspace) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.workspace)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_leave_room_for_questions_and_for_other_workspaces() {
        let workspace = |n| WorkspaceId::from_random([n; 16]);
        let places = Places::new(8);
        let mut held: Vec<Place> = (0..3).map(|_| places.take(workspace(1)).unwrap()).collect();
        assert_eq!(places.take(workspace(1)).unwrap_err().code(), "rate_limited");
        held.push(places.take(workspace(2)).unwrap());
        assert!(places.take(workspace(3)).is_err(), "half of the connections");
        drop(held);
        assert!(places.take(workspace(3)).is_ok());
        assert!(places.taken.lock().unwrap().is_empty());
        let only = Places::new(1);
        let place = only.take(workspace(1)).unwrap();
        assert!(only.take(workspace(1)).is_err());
        drop(place);
        assert!(only.take(workspace(1)).is_ok());
    }
}
