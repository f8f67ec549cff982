//! One page of a stream, committed whole or not at all: events, marks, coverage, cursor, version.
//!
//! Idempotent by id. The same record again changes nothing; another body for a known id is a
//! restatement: the event takes the new figures and both bodies are kept. A fill becomes a forced
//! close when its order is known to be forced, whichever of the two arrives first.

use std::collections::{BTreeSet, HashMap};

use codash_domain::cover::HOUR;
use codash_domain::{AccountId, CashFlow, Event, EventId, EventType, Timestamp, Usd};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::row::Columns;
use crate::session::Transaction;
use crate::{Error, Lease, Store, cash_flows, coverage, states, streams};

/// A forced order: what its fills are.
#[derive(Debug, Clone)]
pub struct ForcedOrder {
    pub order_ref: String,
    pub event_type: EventType,
    pub occurred_at: Timestamp,
}

/// Money that a fill states too: an event only when that fill is not to be had.
#[derive(Debug, Clone)]
pub struct Held {
    pub event: Event,
    pub fill_stream: &'static str,
    pub fill_native_id: String,
    /// The stream, as coverage names it, that would hold the fill.
    pub fill_coverage: String,
}

/// A record that no parser understood.
#[derive(Debug, Clone)]
pub struct Quarantined {
    pub reason: String,
    pub raw: String,
    /// Between these it happened; `None` where that is not known.
    pub between: (Option<Timestamp>, Option<Timestamp>),
}

/// A second reading of a span that was read already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sweep {
    /// Where it goes on.
    pub cursor: Value,
    /// Where it began.
    pub from: Timestamp,
    pub started_at: Timestamp,
    /// A long one, which counts as a short one too.
    pub deep: bool,
    /// True when every record since `from` is met again: what could not be read and does not come back
    /// is forgotten.
    pub clears: bool,
    /// Its owner asked for it, with this start: [`crate::streams::StreamRow::resync_from`].
    #[serde(default)]
    pub asked: Option<Timestamp>,
}

/// Everything that one page of one stream becomes.
#[derive(Debug, Clone, Default)]
pub struct PageWrite {
    pub stream: String,
    pub events: Vec<Event>,
    pub forced_orders: Vec<ForcedOrder>,
    pub held: Vec<Held>,
    pub cash_flows: Vec<CashFlow>,
    pub quarantined: Vec<Quarantined>,
    pub nav_points: Vec<(Timestamp, Usd)>,
    pub new_streams: Vec<String>,
    pub cursor: Value,
    pub covered: Option<(Timestamp, Timestamp)>,
    /// Documented: kept as it was when the stream was first read.
    pub horizon: Option<(Timestamp, String)>,
    /// Found out: replaces the other.
    pub found_horizon: Option<(Timestamp, String)>,
    /// False while more pages wait.
    pub up_to_date: bool,
    /// Pause before the stream is read again.
    pub pause: std::time::Duration,
    pub read_at: Option<Timestamp>,
    /// The sweep that this page belongs to; the stream's own cursor stays where it is then.
    pub sweep: Option<Sweep>,
}

/// What a commit changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Committed {
    pub inserted: u64,
    pub restated: u64,
    pub quarantined: u64,
}

/// An event as its row holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct EventRow {
    event_id: Uuid,
    event_type: EventType,
    symbol: String,
    occurred_at: Timestamp,
    side: Option<String>,
    qty: Option<Usd>,
    price: Option<Usd>,
    notional_usd: Option<Usd>,
    realized_pnl_usd: Option<Usd>,
    fee_usd: Option<Usd>,
    funding_usd: Option<Usd>,
    unpriced: bool,
    fee_amount: Option<Usd>,
    fee_asset: Option<String>,
    stream: String,
    native_id: String,
    native_symbol: Option<String>,
    order_ref: Option<String>,
    venue_digest: Vec<u8>,
    raw: String,
}

impl EventRow {
    fn new(account: AccountId, event: &Event) -> Self {
        Self {
            event_id: event.id(account).uuid(),
            event_type: event.event_type,
            symbol: event.symbol.as_ref().map(|s| s.as_str().to_owned()).unwrap_or_default(),
            occurred_at: event.occurred_at,
            side: event.side.map(|s| s.as_str().to_owned()),
            qty: event.qty.map(|v| Usd(v.0)),
            price: event.price.map(|v| Usd(v.0)),
            notional_usd: event.notional_usd,
            realized_pnl_usd: event.realized_pnl_usd,
            fee_usd: event.fee_usd,
            funding_usd: event.funding_usd,
            unpriced: event.unpriced,
            fee_amount: event.fee.as_ref().map(|f| Usd(f.amount)),
            fee_asset: event.fee.as_ref().map(|f| f.asset.as_str().to_owned()),
            stream: event.stream.to_owned(),
            native_id: printable(&event.native_id),
            native_symbol: event.native_symbol.as_deref().map(printable),
            order_ref: event.order_ref.as_deref().map(printable),
            venue_digest: event.venue_digest()[..16].to_vec(),
            raw: event.raw.clone(),
        }
    }

    fn hour(&self) -> i64 {
        self.occurred_at.floor_to(HOUR).millis()
    }
}

impl Store {
    /// Commits one page under a lease. [`Error::Fenced`] when another collector has taken over.
    pub async fn commit_page(&self, lease: &Lease, page: &PageWrite) -> Result<Committed, Error> {
        let mut tx = self.fenced(lease).await?;
        let mut batch = Batch::new(lease, &page.stream);
        streams::add(&mut tx, lease.workspace, lease.account, &page.new_streams).await?;
        batch.forced_orders(&mut tx, &page.forced_orders).await?;
        let rows = page.events.iter().map(|e| EventRow::new(lease.account, e)).collect();
        batch.events(&mut tx, rows).await?;
        batch.hold(&mut tx, &page.held).await?;
        batch.cash_flows(&mut tx, &page.cash_flows).await?;
        quarantine(&mut tx, lease, page).await?;
        states::add_nav_history(&mut tx, lease, &page.nav_points).await?;
        if let Some(span) = page.covered {
            coverage::add(&mut tx, lease, &page.stream, span).await?;
        }
        match &page.sweep {
            Some(sweep) => advance_sweep(&mut tx, lease, page, sweep).await?,
            None => advance(&mut tx, lease, page).await?,
        }
        let committed = batch.finish(&mut tx).await?;
        tx.commit().await?;
        Ok(Committed { quarantined: page.quarantined.len() as u64, ..committed })
    }

    /// Records with an amount that is unknown for want of a price, newest first, by stream: once a
    /// minute while one of them is new (its minute was not over), else once an hour, or when told.
    pub async fn unpriced_records(
        &self,
        lease: &Lease,
        limit: i64,
        at_once: bool,
    ) -> Result<Vec<(String, String)>, Error> {
        let mut tx = self.fenced(lease).await?;
        let due = sqlx::query(
            "UPDATE accounts SET repriced_at = now() WHERE workspace_id = $1 AND account_id = $2
             AND ($3 OR repriced_at IS NULL OR repriced_at < now() - interval '1 hour'
                  OR repriced_at < now() - interval '1 minute' AND (
                     EXISTS (SELECT FROM events e JOIN batches b USING (workspace_id, batch_id)
                             WHERE e.workspace_id = $1 AND e.account_id = $2 AND e.unpriced
                               AND b.recorded_at > now() - interval '1 hour')
                     OR EXISTS (SELECT FROM cash_flows c WHERE c.workspace_id = $1 AND c.account_id = $2
                                AND c.value_usd IS NULL AND c.recorded_at > now() - interval '1 hour')))",
        )
        .bind(lease.workspace.0)
        .bind(lease.account.0)
        .bind(at_once)
        .execute(tx.connection())
        .await?;
        if due.rows_affected() == 0 {
            return tx.commit().await.map(|()| vec![]);
        }
        let rows = sqlx::query(
            "(SELECT stream, raw::text AS raw FROM events
              WHERE workspace_id = $1 AND account_id = $2 AND unpriced ORDER BY event_id DESC LIMIT $3)
             UNION
             (SELECT stream, raw::text FROM cash_flows
              WHERE workspace_id = $1 AND account_id = $2 AND value_usd IS NULL ORDER BY flow_id DESC LIMIT $3)",
        )
        .bind(lease.workspace.0)
        .bind(lease.account.0)
        .bind(limit)
        .fetch_all(tx.connection())
        .await?;
        tx.commit().await?;
        rows.iter().map(|row| Ok((row.col("stream")?, row.col("raw")?))).collect()
    }

    /// Commits records that were read again. Known figures stay; what was missing is filled in.
    pub async fn commit_reread(&self, lease: &Lease, events: &[Event], flows: &[CashFlow]) -> Result<Committed, Error> {
        let mut tx = self.fenced(lease).await?;
        let mut batch = Batch::new(lease, "reread");
        batch.cash_flows(&mut tx, flows).await?;
        batch.events(&mut tx, events.iter().map(|e| EventRow::new(lease.account, e)).collect()).await?;
        let committed = batch.finish(&mut tx).await?;
        tx.commit().await?;
        Ok(committed)
    }

    /// Turns held records into events where it is certain that their fill is not to be had: the
    /// stream that would hold it has been read past their time, and a second time an hour later.
    pub async fn settle_held(&self, lease: &Lease) -> Result<Committed, Error> {
        let mut tx = self.fenced(lease).await?;
        let mut batch = Batch::new(lease, "held");
        batch.drop_filled(&mut tx).await?;
        let rows = sqlx::query(
            "SELECT h.stream, h.native_id, h.event -> 'row' AS row FROM held_records h
             JOIN coverage c ON c.workspace_id = $1 AND c.account_id = $2 AND c.stream IN (h.fill_coverage, h.fill_stream)
              AND c.from_at <= h.occurred_at AND c.to_at >= h.occurred_at + interval '10 minutes'
             JOIN streams s ON s.workspace_id = $1 AND s.account_id = $2 AND s.stream = c.stream
              AND s.swept_at >= h.occurred_at + interval '1 hour'
             WHERE h.workspace_id = $1 AND h.account_id = $2 AND h.settled_event IS NULL",
        )
        .bind(lease.workspace.0)
        .bind(lease.account.0)
        .fetch_all(tx.connection())
        .await?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            let event = row.col::<sqlx::types::Json<EventRow>>("row")?.0;
            sqlx::query(
                "UPDATE held_records SET settled_event = $5
                 WHERE workspace_id = $1 AND account_id = $2 AND stream = $3 AND native_id = $4",
            )
            .bind(lease.workspace.0)
            .bind(lease.account.0)
            .bind(row.col::<String>("stream")?)
            .bind(row.col::<String>("native_id")?)
            .bind(event.event_id)
            .execute(tx.connection())
            .await?;
            events.push(event);
        }
        batch.events(&mut tx, events).await?;
        let committed = batch.finish(&mut tx).await?;
        tx.commit().await?;
        Ok(committed)
    }
}

/// What one transaction does to events. The batch row is made when the first row needs it, so an
/// overlap that brings nothing new leaves no trace.
struct Batch<'a> {
    lease: &'a Lease,
    stream: &'a str,
    id: Option<i64>,
    hours: BTreeSet<i64>,
    done: Committed,
    /// Events that turned out to be counted by another.
    removed: u64,
}

impl<'a> Batch<'a> {
    fn new(lease: &'a Lease, stream: &'a str) -> Self {
        Self { lease, stream, id: None, hours: BTreeSet::new(), done: Committed::default(), removed: 0 }
    }

    async fn id(&mut self, tx: &mut Transaction) -> Result<i64, Error> {
        if let Some(id) = self.id {
            return Ok(id);
        }
        let id = sqlx::query_scalar(
            "INSERT INTO batches (workspace_id, account_id, stream) VALUES ($1, $2, $3) RETURNING batch_id",
        )
        .bind(self.lease.workspace.0)
        .bind(self.lease.account.0)
        .bind(self.stream)
        .fetch_one(tx.connection())
        .await?;
        self.id = Some(id);
        Ok(id)
    }

    /// Stores cash flows; those that are new or changed are this batch's.
    async fn cash_flows(&mut self, tx: &mut Transaction, flows: &[CashFlow]) -> Result<(), Error> {
        let changed = cash_flows::add(tx, self.lease, flows).await?;
        if changed.is_empty() {
            return Ok(());
        }
        let batch = self.id(tx).await?;
        cash_flows::note_batch(tx, self.lease, &changed, batch).await
    }

    /// Stores forced orders and reclassifies fills that arrived before them.
    async fn forced_orders(&mut self, tx: &mut Transaction, orders: &[ForcedOrder]) -> Result<(), Error> {
        if orders.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO forced_orders (workspace_id, account_id, order_ref, event_type, occurred_at)
             SELECT DISTINCT ON (r.order_ref) $1, $2, r.* FROM unnest($3::text[], $4::text[], $5::timestamptz[])
                    AS r(order_ref, event_type, occurred_at)
             ON CONFLICT (workspace_id, account_id, order_ref) DO UPDATE SET event_type = excluded.event_type",
        )
        .bind(self.lease.workspace.0)
        .bind(self.lease.account.0)
        .bind(orders.iter().map(|o| o.order_ref.as_str()).collect::<Vec<_>>())
        .bind(orders.iter().map(|o| o.event_type.as_str()).collect::<Vec<_>>())
        .bind(orders.iter().map(|o| o.occurred_at.utc()).collect::<Vec<_>>())
        .execute(tx.connection())
        .await?;
        for order in orders {
            self.reclassify(tx, order).await?;
        }
        Ok(())
    }

    /// Fills of the order lie within an hour of it: ids hold the time, so this is a short range.
    async fn reclassify(&mut self, tx: &mut Transaction, order: &ForcedOrder) -> Result<(), Error> {
        let at = order.occurred_at.millis();
        let rows = sqlx::query(
            "SELECT event_id, occurred_at, event_type FROM events
             WHERE workspace_id = $1 AND account_id = $2 AND event_id >= $3 AND event_id < $4
               AND order_ref = $5 AND event_type = 'trade'",
        )
        .bind(self.lease.workspace.0)
        .bind(self.lease.account.0)
        .bind(EventId::first_at(at - HOUR).uuid())
        .bind(EventId::first_at(at + HOUR).uuid())
        .bind(&order.order_ref)
        .fetch_all(tx.connection())
        .await?;
        for row in rows {
            let id: Uuid = row.col("event_id")?;
            let before = json!({ "eventType": row.col::<String>("event_type")? });
            let after = json!({ "eventType": order.event_type.as_str(), "orderRef": order.order_ref });
            self.note_change(tx, id, "classified", &before, &after).await?;
            sqlx::query("UPDATE events SET event_type = $3, batch_id = $4 WHERE workspace_id = $1 AND event_id = $2")
                .bind(self.lease.workspace.0)
                .bind(id)
                .bind(order.event_type.as_str())
                .bind(self.id(tx).await?)
                .execute(tx.connection())
                .await?;
            self.hours.insert(row.at("occurred_at")?.floor_to(HOUR).millis());
        }
        Ok(())
    }

    async fn events(&mut self, tx: &mut Transaction, mut rows: Vec<EventRow>) -> Result<(), Error> {
        // A page may name a record twice; the last reading is the venue's latest word.
        let mut last: HashMap<Uuid, usize> = HashMap::new();
        for (i, row) in rows.iter().enumerate() {
            last.insert(row.event_id, i);
        }
        let mut i = 0;
        rows.retain(|row| {
            i += 1;
            last.get(&row.event_id) == Some(&(i - 1))
        });
        if rows.is_empty() {
            return Ok(());
        }
        self.classify(tx, &mut rows).await?;
        let known = self.stored(tx, &rows).await?;
        let (old, new): (Vec<EventRow>, Vec<EventRow>) =
            rows.into_iter().partition(|r| known.contains_key(&r.event_id));
        self.insert(tx, &new).await?;
        for row in old {
            if let Some(stored) = known.get(&row.event_id) {
                self.compare(tx, stored, row).await?;
            }
        }
        Ok(())
    }

    /// Gives fills of forced orders their type.
    async fn classify(&self, tx: &mut Transaction, rows: &mut [EventRow]) -> Result<(), Error> {
        let refs: Vec<&str> = rows.iter().filter_map(|r| r.order_ref.as_deref()).collect();
        if refs.is_empty() {
            return Ok(());
        }
        let orders = sqlx::query(
            "SELECT order_ref, event_type FROM forced_orders
             WHERE workspace_id = $1 AND account_id = $2 AND order_ref = ANY ($3)",
        )
        .bind(self.lease.workspace.0)
        .bind(self.lease.account.0)
        .bind(refs)
        .fetch_all(tx.connection())
        .await?;
        let mut types = HashMap::new();
        for order in &orders {
            types.insert(order.col::<String>("order_ref")?, order.parsed::<EventType>("event_type")?);
        }
        for row in rows {
            if let Some(forced) = row.order_ref.as_ref().and_then(|r| types.get(r))
                && row.event_type == EventType::Trade
            {
                row.event_type = *forced;
            }
        }
        Ok(())
    }

    /// What is stored under these ids already.
    async fn stored(&self, tx: &mut Transaction, rows: &[EventRow]) -> Result<HashMap<Uuid, Stored>, Error> {
        let found = sqlx::query(
            "SELECT event_id, event_type, venue_digest, notional_usd, realized_pnl_usd, fee_usd, funding_usd, unpriced,
                    side, qty, price, fee_amount, fee_asset, raw::text AS raw
             FROM events WHERE workspace_id = $1 AND event_id = ANY ($2)",
        )
        .bind(self.lease.workspace.0)
        .bind(rows.iter().map(|r| r.event_id).collect::<Vec<_>>())
        .fetch_all(tx.connection())
        .await?;
        found.iter().map(|row| Ok((row.col("event_id")?, Stored::read(row)?))).collect()
    }

    async fn insert(&mut self, tx: &mut Transaction, rows: &[EventRow]) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let batch = self.id(tx).await?;
        let numbers = |pick: fn(&EventRow) -> Option<Usd>| -> Vec<Option<Decimal>> {
            rows.iter().map(|r| pick(r).map(|v| v.0)).collect()
        };
        let texts = |pick: fn(&EventRow) -> Option<&str>| -> Vec<Option<&str>> { rows.iter().map(pick).collect() };
        let inserted = sqlx::query(INSERT_EVENTS)
            .bind(self.lease.workspace.0)
            .bind(self.lease.account.0)
            .bind(batch)
            .bind(rows.iter().map(|r| r.event_id).collect::<Vec<_>>())
            .bind(rows.iter().map(|r| r.event_type.as_str()).collect::<Vec<_>>())
            .bind(rows.iter().map(|r| r.symbol.as_str()).collect::<Vec<_>>())
            .bind(rows.iter().map(|r| r.occurred_at.utc()).collect::<Vec<_>>())
            .bind(texts(|r| r.side.as_deref()))
            .bind(numbers(|r| r.qty))
            .bind(numbers(|r| r.price))
            .bind(numbers(|r| r.notional_usd))
            .bind(numbers(|r| r.realized_pnl_usd))
            .bind(numbers(|r| r.fee_usd))
            .bind(numbers(|r| r.funding_usd))
            .bind(rows.iter().map(|r| r.unpriced).collect::<Vec<_>>())
            .bind(numbers(|r| r.fee_amount))
            .bind(texts(|r| r.fee_asset.as_deref()))
            .bind(rows.iter().map(|r| r.stream.as_str()).collect::<Vec<_>>())
            .bind(rows.iter().map(|r| r.native_id.as_str()).collect::<Vec<_>>())
            .bind(texts(|r| r.native_symbol.as_deref()))
            .bind(texts(|r| r.order_ref.as_deref()))
            .bind(rows.iter().map(|r| r.venue_digest.as_slice()).collect::<Vec<_>>())
            .bind(rows.iter().map(|r| r.raw.as_str()).collect::<Vec<_>>())
            .execute(tx.connection())
            .await?
            .rows_affected();
        self.done.inserted += inserted;
        self.hours.extend(rows.iter().map(EventRow::hour));
        Ok(())
    }

    /// A record that is stored already: the same, restated by the venue, classified, or priced now.
    async fn compare(&mut self, tx: &mut Transaction, stored: &Stored, mut row: EventRow) -> Result<(), Error> {
        // A class once found stays: a later reading may lack the forced order that told it.
        if stored.event_type != EventType::Trade && row.event_type == EventType::Trade {
            row.event_type = stored.event_type;
        }
        let reason = if stored.venue_digest != row.venue_digest {
            "restated"
        } else if stored.event_type != row.event_type {
            "classified"
        } else if stored.unpriced && !row.unpriced {
            "priced"
        } else {
            return Ok(());
        };
        if reason != "restated" && row.unpriced {
            // The venue's figures are the same: a conversion that was known stays known.
            row.notional_usd = stored.notional_usd;
            row.fee_usd = stored.fee_usd;
            row.realized_pnl_usd = stored.realized_pnl_usd;
            row.funding_usd = stored.funding_usd;
            row.unpriced = stored.unpriced;
        }
        self.note_change(tx, row.event_id, reason, &stored.body, &body(&row)).await?;
        self.update(tx, &row).await?;
        self.hours.insert(row.hour());
        self.done.restated += 1;
        Ok(())
    }

    async fn update(&mut self, tx: &mut Transaction, row: &EventRow) -> Result<(), Error> {
        let batch = self.id(tx).await?;
        sqlx::query(
            "UPDATE events SET event_type = $3, side = $4, qty = $5, price = $6, notional_usd = $7, realized_pnl_usd = $8,
                    fee_usd = $9, funding_usd = $10, unpriced = $11, fee_amount = $12, fee_asset = $13, batch_id = $14,
                    venue_digest = $15, raw = $16::json
             WHERE workspace_id = $1 AND event_id = $2",
        )
        .bind(self.lease.workspace.0)
        .bind(row.event_id)
        .bind(row.event_type.as_str())
        .bind(row.side.as_deref())
        .bind(row.qty.map(|v| v.0))
        .bind(row.price.map(|v| v.0))
        .bind(row.notional_usd.map(|v| v.0))
        .bind(row.realized_pnl_usd.map(|v| v.0))
        .bind(row.fee_usd.map(|v| v.0))
        .bind(row.funding_usd.map(|v| v.0))
        .bind(row.unpriced)
        .bind(row.fee_amount.map(|v| v.0))
        .bind(row.fee_asset.as_deref())
        .bind(batch)
        .bind(row.venue_digest.as_slice())
        .bind(&row.raw)
        .execute(tx.connection())
        .await?;
        Ok(())
    }

    async fn note_change(
        &mut self,
        tx: &mut Transaction,
        id: Uuid,
        reason: &str,
        before: &Value,
        after: &Value,
    ) -> Result<(), Error> {
        let batch = self.id(tx).await?;
        sqlx::query(
            "INSERT INTO restatements (workspace_id, event_id, revision, reason, batch_id, before, after)
             SELECT $1, $2, coalesce(max(revision), 0) + 1, $3, $4, $5, $6 FROM restatements
             WHERE workspace_id = $1 AND event_id = $2",
        )
        .bind(self.lease.workspace.0)
        .bind(id)
        .bind(reason)
        .bind(batch)
        .bind(before)
        .bind(after)
        .execute(tx.connection())
        .await?;
        Ok(())
    }

    /// Holds records back, save those that are events already and those whose fill is stored.
    async fn hold(&mut self, tx: &mut Transaction, held: &[Held]) -> Result<(), Error> {
        if held.is_empty() {
            return Ok(());
        }
        let rows: Vec<EventRow> = held.iter().map(|h| EventRow::new(self.lease.account, &h.event)).collect();
        let values = held.iter().zip(&rows).map(|(h, row)| json!({ "fill_coverage": h.fill_coverage, "row": row }));
        // A page may name a record twice; the last reading is the venue's latest word.
        sqlx::query(
            "INSERT INTO held_records (workspace_id, account_id, stream, native_id, fill_stream, fill_native_id, occurred_at, event)
             SELECT DISTINCT ON (r.stream, r.native_id) $1, $2, r.stream, r.native_id, r.fill_stream, r.fill_native_id,
                    r.occurred_at, r.event
             FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::jsonb[], $9::uuid[])
                  WITH ORDINALITY AS r(stream, native_id, fill_stream, fill_native_id, occurred_at, event, event_id, place)
             WHERE NOT EXISTS (SELECT FROM events e WHERE e.workspace_id = $1 AND e.event_id = r.event_id)
             ORDER BY r.stream, r.native_id, r.place DESC
             ON CONFLICT (workspace_id, account_id, stream, native_id) DO UPDATE SET event = excluded.event",
        )
        .bind(self.lease.workspace.0)
        .bind(self.lease.account.0)
        .bind(rows.iter().map(|r| r.stream.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.native_id.as_str()).collect::<Vec<_>>())
        .bind(held.iter().map(|h| h.fill_stream).collect::<Vec<_>>())
        .bind(held.iter().map(|h| h.fill_native_id.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.occurred_at.utc()).collect::<Vec<_>>())
        .bind(values.collect::<Vec<Value>>())
        .bind(rows.iter().map(|r| r.event_id).collect::<Vec<_>>())
        .execute(tx.connection())
        .await?;
        self.drop_filled(tx).await
    }

    /// Drops held records whose fill is stored: its money is there. A fill and its income share their
    /// time. What had become an event before its fill came is taken back.
    async fn drop_filled(&mut self, tx: &mut Transaction) -> Result<(), Error> {
        let superseded: Vec<Uuid> = sqlx::query_scalar(
            "WITH filled AS (
                DELETE FROM held_records h WHERE h.workspace_id = $1 AND h.account_id = $2 AND EXISTS (
                    SELECT FROM events e WHERE e.workspace_id = $1 AND e.account_id = $2
                      AND e.occurred_at BETWEEN h.occurred_at - interval '10 minutes' AND h.occurred_at + interval '10 minutes'
                      AND e.event_id >= event_id_at(h.occurred_at - interval '10 minutes')
                      AND e.event_id < event_id_at(h.occurred_at + interval '10 minutes')
                      AND e.stream = h.fill_stream AND e.native_id = h.fill_native_id)
                RETURNING h.settled_event
             )
             SELECT settled_event FROM filled WHERE settled_event IS NOT NULL",
        )
        .bind(self.lease.workspace.0)
        .bind(self.lease.account.0)
        .fetch_all(tx.connection())
        .await?;
        for event in superseded {
            let gone = sqlx::query(
                "DELETE FROM events WHERE workspace_id = $1 AND event_id = $2 RETURNING occurred_at, to_jsonb(events) AS body",
            )
            .bind(self.lease.workspace.0)
            .bind(event)
            .fetch_optional(tx.connection())
            .await?;
            if let Some(gone) = gone {
                self.note_change(tx, event, "superseded", &gone.col("body")?, &Value::Null).await?;
                self.hours.insert(gone.at("occurred_at")?.floor_to(HOUR).millis());
                self.removed += 1;
            }
        }
        Ok(())
    }

    /// Marks the touched hours and draws the workspace's next data version: the last statements
    /// before the commit, so that versions are in commit order.
    async fn finish(self, tx: &mut Transaction) -> Result<Committed, Error> {
        let Some(batch) = self.id else { return Ok(self.done) };
        let hours: Vec<_> = self.hours.iter().filter_map(|h| Timestamp::from_millis(*h)).map(Timestamp::utc).collect();
        sqlx::query("INSERT INTO rollup_marks (workspace_id, hour) SELECT $1, h FROM unnest($2::timestamptz[]) h")
            .bind(self.lease.workspace.0)
            .bind(hours)
            .execute(tx.connection())
            .await?;
        sqlx::query(
            "WITH version AS (
                UPDATE workspaces SET data_version = data_version + 1, event_count = event_count + $3
                WHERE workspace_id = $1 RETURNING data_version
             )
             UPDATE batches SET seq = version.data_version FROM version WHERE workspace_id = $1 AND batch_id = $2",
        )
        .bind(self.lease.workspace.0)
        .bind(batch)
        .bind(i64::try_from(self.done.inserted).unwrap_or(i64::MAX) - i64::try_from(self.removed).unwrap_or(0))
        .execute(tx.connection())
        .await?;
        Ok(self.done)
    }
}

const INSERT_EVENTS: &str = "INSERT INTO events (workspace_id, account_id, batch_id, event_id, event_type, symbol, occurred_at,
        side, qty, price, notional_usd, realized_pnl_usd, fee_usd, funding_usd, unpriced, fee_amount, fee_asset,
        stream, native_id, native_symbol, order_ref, venue_digest, raw)
     SELECT $1, $2, $3, r.event_id, r.event_type, r.symbol, r.occurred_at, r.side, r.qty, r.price, r.notional_usd,
        r.realized_pnl_usd, r.fee_usd, r.funding_usd, r.unpriced, r.fee_amount, r.fee_asset, r.stream, r.native_id,
        r.native_symbol, r.order_ref, r.venue_digest, r.raw::json
     FROM unnest($4::uuid[], $5::text[], $6::text[], $7::timestamptz[], $8::text[], $9::numeric[], $10::numeric[],
        $11::numeric[], $12::numeric[], $13::numeric[], $14::numeric[], $15::boolean[], $16::numeric[], $17::text[],
        $18::text[], $19::text[], $20::text[], $21::text[], $22::bytea[], $23::text[])
        AS r(event_id, event_type, symbol, occurred_at, side, qty, price, notional_usd, realized_pnl_usd, fee_usd,
             funding_usd, unpriced, fee_amount, fee_asset, stream, native_id, native_symbol, order_ref, venue_digest, raw)
     ON CONFLICT (workspace_id, event_id) DO NOTHING";

/// PostgreSQL's text holds no NUL; a venue's JSON may.
pub(crate) fn printable(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

/// What a known id holds now.
struct Stored {
    event_type: EventType,
    venue_digest: Vec<u8>,
    notional_usd: Option<Usd>,
    realized_pnl_usd: Option<Usd>,
    fee_usd: Option<Usd>,
    funding_usd: Option<Usd>,
    unpriced: bool,
    body: Value,
}

impl Stored {
    fn read(row: &sqlx::postgres::PgRow) -> Result<Self, Error> {
        let event_type: EventType = row.parsed("event_type")?;
        let stored = Self {
            event_type,
            venue_digest: row.col("venue_digest")?,
            notional_usd: row.maybe_usd("notional_usd")?,
            realized_pnl_usd: row.maybe_usd("realized_pnl_usd")?,
            fee_usd: row.maybe_usd("fee_usd")?,
            funding_usd: row.maybe_usd("funding_usd")?,
            unpriced: row.col("unpriced")?,
            body: Value::Null,
        };
        let body = json!({
            "eventType": event_type, "side": row.col::<Option<String>>("side")?,
            "qty": row.maybe_usd("qty")?, "price": row.maybe_usd("price")?,
            "notionalUsd": stored.notional_usd, "realizedPnlUsd": stored.realized_pnl_usd,
            "feeUsd": stored.fee_usd, "fundingUsd": stored.funding_usd, "unpriced": stored.unpriced,
            "feeAmount": row.maybe_usd("fee_amount")?, "feeAsset": row.col::<Option<String>>("fee_asset")?,
            "raw": row.col::<String>("raw")?,
        });
        Ok(Self { body, ..stored })
    }
}

fn body(row: &EventRow) -> Value {
    json!({
        "eventType": row.event_type, "side": row.side, "qty": row.qty, "price": row.price,
        "notionalUsd": row.notional_usd, "realizedPnlUsd": row.realized_pnl_usd, "feeUsd": row.fee_usd,
        "fundingUsd": row.funding_usd, "unpriced": row.unpriced, "feeAmount": row.fee_amount, "feeAsset": row.fee_asset,
        "raw": row.raw,
    })
}

async fn quarantine(tx: &mut Transaction, lease: &Lease, page: &PageWrite) -> Result<(), Error> {
    let Some(read_at) = page.read_at else { return Ok(()) };
    for record in &page.quarantined {
        sqlx::query(
            "INSERT INTO quarantined_records (workspace_id, account_id, stream, digest, reason, raw, first_seen_at, last_seen_at, not_before, not_after)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9)
             ON CONFLICT (workspace_id, account_id, stream, digest)
             DO UPDATE SET last_seen_at = excluded.last_seen_at, reason = excluded.reason",
        )
        .bind(lease.workspace.0)
        .bind(lease.account.0)
        .bind(&page.stream)
        .bind(&Sha256::digest(record.raw.as_bytes())[..16])
        .bind(&record.reason)
        .bind(printable(&record.raw))
        .bind(read_at.utc())
        .bind(record.between.0.map(Timestamp::utc))
        .bind(record.between.1.map(Timestamp::utc))
        .execute(tx.connection())
        .await?;
    }
    Ok(())
}

/// Moves a sweep on, or ends it.
async fn advance_sweep(tx: &mut Transaction, lease: &Lease, page: &PageWrite, sweep: &Sweep) -> Result<(), Error> {
    if page.up_to_date && sweep.clears {
        sqlx::query(
            "DELETE FROM quarantined_records WHERE workspace_id = $1 AND account_id = $2 AND stream = $3
             AND not_before >= $4 AND last_seen_at < $5",
        )
        .bind(lease.workspace.0)
        .bind(lease.account.0)
        .bind(&page.stream)
        .bind(sweep.from.utc())
        .bind(sweep.started_at.utc())
        .execute(tx.connection())
        .await?;
    }
    let under_way = Sweep { cursor: page.cursor.clone(), ..sweep.clone() };
    sqlx::query(
        "UPDATE streams s SET failures = 0, last_read_at = $5, sweep = CASE WHEN $6 THEN NULL ELSE $4 END,
                swept_at = CASE WHEN $6 THEN $7 ELSE s.swept_at END,
                deep_swept_at = CASE WHEN $6 AND $8 THEN $7 ELSE s.deep_swept_at END,
                resync_from = CASE WHEN $6 AND s.resync_from >= $9 THEN NULL ELSE s.resync_from END,
                status = CASE WHEN q.n > 0 THEN 'degraded' ELSE 'ok' END,
                detail = CASE WHEN q.n > 0 THEN q.n || ' records could not be read' END
         FROM (SELECT count(*) AS n FROM quarantined_records WHERE workspace_id = $1 AND account_id = $2 AND stream = $3) q
         WHERE s.workspace_id = $1 AND s.account_id = $2 AND s.stream = $3",
    )
    .bind(lease.workspace.0)
    .bind(lease.account.0)
    .bind(&page.stream)
    .bind(sqlx::types::Json(under_way))
    .bind(page.read_at.map(Timestamp::utc))
    .bind(page.up_to_date)
    .bind(sweep.started_at.utc())
    .bind(sweep.deep)
    .bind(sweep.asked.map(Timestamp::utc))
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Moves the cursor. A stream with quarantined records stays degraded until they read again.
async fn advance(tx: &mut Transaction, lease: &Lease, page: &PageWrite) -> Result<(), Error> {
    sqlx::query(
        "UPDATE streams s SET cursor = $4, failures = 0, last_read_at = $5,
                horizon = coalesce($10, s.horizon, $6), horizon_reason = coalesce($11, s.horizon_reason, $7),
                swept_at = coalesce(s.swept_at, CASE WHEN $8 THEN $5 END),
                deep_swept_at = coalesce(s.deep_swept_at, CASE WHEN $8 THEN $5 END),
                status = CASE WHEN q.n > 0 THEN 'degraded' WHEN $8 THEN 'ok' ELSE 'behind' END,
                detail = CASE WHEN q.n > 0 THEN q.n || ' records could not be read' END,
                due_at = clock_timestamp() + make_interval(secs => $9::int)
         FROM (SELECT count(*) AS n FROM quarantined_records WHERE workspace_id = $1 AND account_id = $2 AND stream = $3) q
         WHERE s.workspace_id = $1 AND s.account_id = $2 AND s.stream = $3",
    )
    .bind(lease.workspace.0)
    .bind(lease.account.0)
    .bind(&page.stream)
    .bind(&page.cursor)
    .bind(page.read_at.map(Timestamp::utc))
    .bind(page.horizon.as_ref().map(|(at, _)| at.utc()))
    .bind(page.horizon.as_ref().map(|(_, reason)| reason))
    .bind(page.up_to_date)
    .bind(i32::try_from(page.pause.as_secs()).unwrap_or(i32::MAX))
    .bind(page.found_horizon.as_ref().map(|(at, _)| at.utc()))
    .bind(page.found_horizon.as_ref().map(|(_, reason)| reason))
    .execute(tx.connection())
    .await?;
    Ok(())
}
