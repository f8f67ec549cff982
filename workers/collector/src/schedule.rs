//! Which account is due, and in which order its streams are read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use codash_domain::{AccountStatus, Event, Standing, Timestamp};
use codash_store::ingest::{PageWrite, Sweep};
use codash_store::streams::{Opened, StreamFault, StreamRow};
use codash_store::{Lease, Store};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::error::VenueError;
use crate::ingest::{credentials, page_write};
use crate::venues::{self, Attestation, StreamPlan, VenueAccount, Venues};

/// A key is attested again after this long.
const ATTEST_EVERY: chrono::TimeDelta = chrono::TimeDelta::hours(24);
/// A short sweep goes back this many of the pauses between two.
const SWEEP_PERIODS: i32 = 12;
const SHORTEST_SWEEP: chrono::TimeDelta = chrono::TimeDelta::hours(2);
/// A fill that other records speak of is looked for this often.
const MISSING_EVERY: chrono::TimeDelta = chrono::TimeDelta::minutes(1);
const MISSING_MARGIN: chrono::TimeDelta = chrono::TimeDelta::minutes(5);
const DEEP_SWEEP: chrono::TimeDelta = chrono::TimeDelta::days(7);
const DEEP_SWEEP_EVERY: chrono::TimeDelta = chrono::TimeDelta::hours(24);
/// Unpriced records that are looked at again in one turn.
const REPRICED_AT_ONCE: i64 = 500;
/// An account whose key is refused is tried again after this long: the owner may mend it at the venue.
const REFUSED_PAUSE: Duration = Duration::from_secs(3600);

/// How the collector works. One of these for each process.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Names this process in the leases.
    pub holder: String,
    /// A lease that is not renewed this long may be taken over.
    pub lease: Duration,
    /// Pause between two snapshots of an account.
    pub every: Duration,
    /// Accounts collected at once.
    pub at_once: usize,
    /// Pages read of an account before another gets its turn.
    pub pages_a_turn: usize,
    /// Pause when nothing is due.
    pub idle: Duration,
    /// Read streams whether or not their time has come. For tests.
    pub ignore_due: bool,
    /// Scales the pauses between two second readings of a stream: 0 reads again at every turn.
    pub sweep_scale: u32,
    /// Tenants with fewer events are read raw: their cells would hold one event each.
    pub roll_up_from: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            holder: format!("{}", std::process::id()),
            lease: Duration::from_secs(30),
            every: Duration::from_secs(60),
            at_once: 4,
            pages_a_turn: 200,
            idle: Duration::from_secs(1),
            ignore_due: false,
            sweep_scale: 1,
            roll_up_from: 20_000,
        }
    }
}

/// What a pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PassReport {
    pub accounts: u64,
    pub pages: u64,
    pub inserted: u64,
    pub restated: u64,
    /// Streams or accounts that could not be read this time.
    pub faults: u64,
}

/// Passes until told to stop; a pass under way is left at once, which loses nothing.
pub async fn run(store: Store, venues: Venues, settings: Settings, stop: CancellationToken) {
    let collect = || async {
        loop {
            match pass(&store, &venues, &settings).await {
                Ok(report) if report.accounts > 0 => {}
                Ok(_) => tokio::time::sleep(settings.idle).await,
                Err(error) => {
                    tracing::warn!(error = %error, "the pass stopped; the next one goes on from committed cursors");
                    tokio::time::sleep(settings.idle).await;
                }
            }
        }
    };
    let seal = async {
        loop {
            if let Err(error) = seal_all(&store, &settings, venues.clock.now()).await {
                tracing::warn!(error = %error, "sealing stopped; marked hours are read raw until the next time");
            }
            if let Err(error) = tidy(&store).await {
                tracing::warn!(error = %error, "tidying up stopped; it goes on the next time");
            }
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
    };
    tokio::select! {
        _ = futures::future::join_all((0..settings.at_once.max(1)).map(|_| collect())) => {}
        () = seal => {}
        () = stop.cancelled() => {}
    }
}

/// Seals the hours that wait, for every tenant dense enough.
pub async fn seal_all(store: &Store, settings: &Settings, until: Timestamp) -> Result<(), codash_store::Error> {
    for workspace in store.workspaces_to_seal(settings.roll_up_from).await? {
        loop {
            match store.seal(workspace, until).await {
                Ok(0) => break,
                Ok(marks) => tracing::info!(workspace.id = %workspace, marks.sealed = marks, "hours sealed"),
                // Another sealer was faster: what it left, the next round takes.
                Err(codash_store::Error::Serialization | codash_store::Error::Conflict { .. }) => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Erases what owners asked to have erased, and forgets idempotency keys of more than a day ago.
pub async fn tidy(store: &Store) -> Result<(), codash_store::Error> {
    for (workspace, account) in store.accounts_to_erase().await? {
        while !store.erase_some(workspace, account).await? {}
        tracing::info!(workspace.id = %workspace, account.id = %account, "an account was erased");
    }
    store.forget_idempotency_keys().await
}

/// Collects every account that is due now, one after the other.
pub async fn pass(store: &Store, venues: &Venues, settings: &Settings) -> Result<PassReport, codash_store::Error> {
    let mut report = PassReport::default();
    while let Some(lease) = store.claim_due_account(&settings.holder, settings.lease).await? {
        let span = tracing::info_span!("collect", workspace.id = %lease.workspace, account.id = %lease.account);
        report.accounts += 1;
        let turn = Turn { store, venues, settings, lease };
        match turn.collect(&mut report).instrument(span).await {
            Ok(pause) => store.release_lease(&lease, pause).await.or_else(tolerate_fenced)?,
            Err(codash_store::Error::Fenced) => {
                tracing::warn!(account.id = %lease.account, "another collector took over")
            }
            Err(error) => return Err(error),
        }
        if settings.ignore_due {
            break;
        }
    }
    Ok(report)
}

fn tolerate_fenced(error: codash_store::Error) -> Result<(), codash_store::Error> {
    if matches!(error, codash_store::Error::Fenced) { Ok(()) } else { Err(error) }
}

/// One account, from claim to release.
struct Turn<'a> {
    store: &'a Store,
    venues: &'a Venues,
    settings: &'a Settings,
    lease: Lease,
}

impl Turn<'_> {
    /// Reads what is due of the account and says when it is due again.
    async fn collect(&self, report: &mut PassReport) -> Result<Duration, codash_store::Error> {
        let opened = self.store.open_account(&self.lease).await?;
        if !opened.is_active {
            return Ok(REFUSED_PAUSE);
        }
        let venue = match venues::connect(self.venues, opened.venue, credentials(opened.credential.clone())) {
            Ok(venue) => venue,
            Err(fault) => return self.account_fault(&fault, report).await,
        };
        let attested = match self.attest(venue.as_ref(), &opened).await {
            Ok(attested) => attested,
            Err(fault) => return self.account_fault(&fault, report).await,
        };
        if attested.is_some() {
            // What the venue's streams are may have grown since the account was attached.
            self.store.add_streams(&self.lease, &venue.initial_streams()).await?;
        }
        let states = match self.snapshot(venue.as_ref()).await? {
            Err(fault @ (VenueError::Unreadable { .. } | VenueError::PermissionMissing { .. })) => Some(fault),
            Err(fault) => return self.account_fault(&fault, report).await,
            Ok(()) => None,
        };
        let waiting = match self.streams(&venue, report).await? {
            Ok(waiting) => waiting,
            Err(fault) => return self.account_fault(&fault, report).await,
        };
        let waiting = waiting || self.sweep(venue.as_ref(), report).await?;
        self.store.settle_held(&self.lease).await?;
        self.reprice(venue.as_ref(), report).await?;
        let (mut status, mut detail) = self.store.streams_standing(&self.lease).await?;
        if let Some(fault) = states {
            report.faults += 1;
            tracing::warn!(fault.class = fault.class(), fault = %fault, "no snapshot this time");
            (status, detail) = (AccountStatus::Degraded, Some(format!("balances and positions: {fault}")));
        }
        let now = self.venues.clock.now();
        self.store.account_checked(&self.lease, status, detail.as_deref(), now, attested.as_ref()).await?;
        Ok(if waiting { Duration::ZERO } else { self.settings.every })
    }

    /// Reads the key's rights when it is time.
    async fn attest(&self, venue: &dyn VenueAccount, opened: &Opened) -> Result<Option<Standing>, VenueError> {
        let now = self.venues.clock.now();
        let fresh = opened.attested_at.is_some_and(|at| at.plus(ATTEST_EVERY) > now);
        if fresh && opened.status != AccountStatus::Error {
            return Ok(None);
        }
        match venue.attest().await? {
            Attestation::Accepted(standing) => Ok(Some(standing)),
            Attestation::TooPowerful { rights } => Err(VenueError::KeyRefused {
                reason: format!("it may do more than read; remove these rights at the venue: {}", rights.join(", ")),
            }),
            Attestation::NotAnAccount { reason } => Err(VenueError::KeyRefused { reason }),
        }
    }

    async fn snapshot(&self, venue: &dyn VenueAccount) -> Result<Result<(), VenueError>, codash_store::Error> {
        match venue.snapshot().await {
            Ok((snapshot, new_streams)) => {
                self.store.commit_snapshot(&self.lease, &snapshot, &new_streams).await?;
                Ok(Ok(()))
            }
            Err(fault) => Ok(Err(fault)),
        }
    }

    /// Reads streams in their order until none is due, new ones included. True when pages still wait.
    async fn streams(
        &self,
        venue: &Arc<dyn VenueAccount>,
        report: &mut PassReport,
    ) -> Result<Result<bool, VenueError>, codash_store::Error> {
        let mut pages_left = self.settings.pages_a_turn;
        let mut seen: Vec<String> = Vec::new();
        loop {
            let mut due = self.due(venue.as_ref(), &seen).await?;
            if due.is_empty() {
                return Ok(Ok(false));
            }
            due.sort_by(|a, b| (a.0.order, &a.0.stream).cmp(&(b.0.order, &b.0.stream)));
            for (plan, row) in due {
                seen.push(plan.stream.clone());
                let span = tracing::info_span!("stream", stream.name = %plan.stream);
                match self.stream(venue.as_ref(), &plan, row, &mut pages_left, report).instrument(span).await? {
                    Ok(()) if pages_left == 0 => return Ok(Ok(true)),
                    Ok(()) => {}
                    Err(fault @ (VenueError::KeyRefused { .. } | VenueError::Banned { .. })) => return Ok(Err(fault)),
                    Err(_) => report.faults += 1,
                }
            }
        }
    }

    /// Reads streams that are up to date a second time when it is time. True when pages still wait.
    async fn sweep(&self, venue: &dyn VenueAccount, report: &mut PassReport) -> Result<bool, codash_store::Error> {
        let mut pages_left = self.settings.pages_a_turn;
        let now = self.venues.clock.now();
        for row in self.store.streams(&self.lease).await? {
            let Some(plan) = venue.plan(&row.stream).filter(|_| row.is_caught_up) else { continue };
            let Some(sweep) =
                next_sweep(venue, &plan, &row, now, venue.sweep_every(&row.stream) * self.settings.sweep_scale)
            else {
                continue;
            };
            let span = tracing::info_span!("sweep", stream.name = %plan.stream);
            let read = self.pages(venue, &plan, Place::Sweep(sweep), &mut pages_left, report);
            if let Err(fault) = read.instrument(span).await? {
                tracing::warn!(fault.class = fault.class(), fault = %fault, "the stream was not read again");
                report.faults += 1;
            }
            if pages_left == 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn due(
        &self,
        venue: &dyn VenueAccount,
        seen: &[String],
    ) -> Result<Vec<(StreamPlan, StreamRow)>, codash_store::Error> {
        let rows = self.store.streams(&self.lease).await?;
        let due = rows.into_iter().filter(|r| (r.due || self.settings.ignore_due) && !seen.contains(&r.stream));
        Ok(due.filter_map(|row| venue.plan(&row.stream).map(|plan| (plan, row))).collect())
    }

    /// Reads one stream to its present end.
    async fn stream(
        &self,
        venue: &dyn VenueAccount,
        plan: &StreamPlan,
        row: StreamRow,
        pages_left: &mut usize,
        report: &mut PassReport,
    ) -> Result<Result<(), VenueError>, codash_store::Error> {
        let read = self.pages(venue, plan, Place::Cursor(row.cursor), pages_left, report).await?;
        if let Err(fault) = &read {
            self.stream_fault(plan, fault, row.failures).await?;
        }
        Ok(read)
    }

    /// Reads on while there is more, a page a transaction.
    async fn pages(
        &self,
        venue: &dyn VenueAccount,
        plan: &StreamPlan,
        mut place: Place,
        pages_left: &mut usize,
        report: &mut PassReport,
    ) -> Result<Result<(), VenueError>, codash_store::Error> {
        while *pages_left > 0 {
            *pages_left -= 1;
            self.store.renew_lease(&self.lease, self.settings.lease).await?;
            let page = match venue.page(&plan.stream, place.cursor()).await {
                Ok(page) => page,
                Err(fault) => return Ok(Err(fault)),
            };
            let more = page.more;
            let write = PageWrite { sweep: place.sweep(), ..page_write(plan, page, self.venues.clock.now()) };
            let committed = self.store.commit_page(&self.lease, &write).await?;
            report.pages += 1;
            report.inserted += committed.inserted;
            report.restated += committed.restated;
            place.advance(write.cursor);
            if !more {
                break;
            }
        }
        Ok(Ok(()))
    }

    /// Looks again for prices that were missing, and fills them in.
    async fn reprice(&self, venue: &dyn VenueAccount, report: &mut PassReport) -> Result<(), codash_store::Error> {
        let mut streams: BTreeMap<String, Vec<Box<RawValue>>> = BTreeMap::new();
        for (stream, raw) in
            self.store.unpriced_records(&self.lease, REPRICED_AT_ONCE, self.settings.ignore_due).await?
        {
            streams.entry(stream).or_default().extend(RawValue::from_string(raw));
        }
        for (stream, records) in streams {
            match venue.reread(&stream, &records).await {
                Ok(parsed) => {
                    let events: Vec<Event> =
                        parsed.records.into_iter().map(|r| r.event).filter(|e| !e.unpriced).collect();
                    let flows: Vec<_> = parsed.cash_flows.into_iter().filter(|f| f.value_usd.is_some()).collect();
                    report.restated += self.store.commit_reread(&self.lease, &events, &flows).await?.restated;
                }
                Err(fault) => tracing::warn!(fault.class = fault.class(), fault = %fault, "prices are still missing"),
            }
        }
        Ok(())
    }

    async fn stream_fault(
        &self,
        plan: &StreamPlan,
        fault: &VenueError,
        failures: i32,
    ) -> Result<(), codash_store::Error> {
        tracing::warn!(fault.class = fault.class(), fault = %fault, "the stream was not read");
        let status = if fault.is_retryable() { "behind" } else { "degraded" };
        let detail = fault.to_string();
        let fault =
            StreamFault { stream: &plan.stream, status, detail: &detail, retry_after: pause_after(fault, failures) };
        self.store.stream_failed(&self.lease, &fault).await
    }

    /// A fault of the whole account: told to its owner when it is theirs to mend.
    async fn account_fault(
        &self,
        fault: &VenueError,
        report: &mut PassReport,
    ) -> Result<Duration, codash_store::Error> {
        report.faults += 1;
        tracing::warn!(fault.class = fault.class(), fault = %fault, "the account was not read");
        let now = self.venues.clock.now();
        let (status, pause) = match fault {
            VenueError::Retry { .. } | VenueError::Banned { .. } => return Ok(pause_after(fault, 0)),
            VenueError::KeyRefused { .. } => (AccountStatus::Error, REFUSED_PAUSE),
            _ => (AccountStatus::Degraded, Duration::from_secs(600)),
        };
        self.store.account_checked(&self.lease, status, Some(&fault.to_string()), now, None).await?;
        Ok(pause)
    }
}

/// Where pages are read from: a stream's end, or a place in what was read before.
enum Place {
    Cursor(Value),
    Sweep(Sweep),
}

impl Place {
    fn cursor(&self) -> &Value {
        match self {
            Self::Cursor(cursor) => cursor,
            Self::Sweep(sweep) => &sweep.cursor,
        }
    }

    fn sweep(&self) -> Option<Sweep> {
        match self {
            Self::Cursor(_) => None,
            Self::Sweep(sweep) => Some(sweep.clone()),
        }
    }

    fn advance(&mut self, to: Value) {
        match self {
            Self::Cursor(cursor) => *cursor = to,
            Self::Sweep(sweep) => sweep.cursor = to,
        }
    }
}

/// The sweep under way, or the one that is due: a week once a day, else a few of its own periods;
/// further back where records could not be read, a fill is known to be missing, or the owner asks for it.
fn next_sweep(
    venue: &dyn VenueAccount,
    plan: &StreamPlan,
    row: &StreamRow,
    now: Timestamp,
    every: Duration,
) -> Option<Sweep> {
    if let Some(sweep) = &row.sweep {
        return Some(sweep.clone());
    }
    let ago = |delta: chrono::TimeDelta| now.minus(delta);
    let is_due = |at: Option<Timestamp>, pause: chrono::TimeDelta| at.is_some_and(|at| at <= ago(pause));
    let every = chrono::TimeDelta::from_std(every).unwrap_or(chrono::TimeDelta::MAX);
    // A fill that must be there is looked for at once.
    let missing = row.missing_since.filter(|_| is_due(row.swept_at, every.min(MISSING_EVERY)));
    if missing.is_none() && row.resync_from.is_none() && !is_due(row.swept_at, every) {
        return None;
    }
    let deep = is_due(row.deep_swept_at, DEEP_SWEEP_EVERY);
    let mut from = if deep { ago(DEEP_SWEEP) } else { ago((every * SWEEP_PERIODS).max(SHORTEST_SWEEP)) };
    from = missing.map_or(from, |missing| missing.minus(MISSING_MARGIN).min(from));
    from = row.quarantined_since.map_or(from, |since| since.min(from));
    from = row.resync_from.map_or(from, |asked| asked.min(from));
    let oldest = plan.horizon.map(|(oldest, _)| oldest);
    // The venue's horizon moves on while we wait: of a record without a time, a day of doubt is allowed.
    let clears = oldest.is_none_or(|oldest| oldest <= from.plus(chrono::TimeDelta::days(1)));
    let cursor = venue.again(&plan.stream, oldest.map_or(from, |oldest| oldest.max(from)))?;
    Some(Sweep { cursor, from, started_at: now, deep, clears, asked: row.resync_from })
}

/// What the venue asked for, else a pause that doubles with each failure, a quarter of an hour at most.
fn pause_after(fault: &VenueError, failures: i32) -> Duration {
    let asked = match fault {
        VenueError::Retry { after, .. } => *after,
        VenueError::Banned { after, .. } => Some(*after),
        _ => None,
    };
    let doubling = Duration::from_secs(5 << failures.clamp(0, 8)).min(Duration::from_secs(900));
    asked.unwrap_or(doubling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_what_the_venue_asks_or_doubles_up_to_a_quarter_of_an_hour() {
        let asked = VenueError::Retry { after: Some(Duration::from_secs(7)), reason: String::new() };
        assert_eq!(pause_after(&asked, 5), Duration::from_secs(7));
        let silent = VenueError::retry("");
        assert_eq!(pause_after(&silent, 0), Duration::from_secs(5));
        assert_eq!(pause_after(&silent, 3), Duration::from_secs(40));
        assert_eq!(pause_after(&silent, 99), Duration::from_secs(900));
    }
}
