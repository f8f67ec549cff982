//! Which rows are there, all of them? Any table as CSV, JSON or JSON lines, row by row, from one
//! snapshot, however many they are.
//!
//! [`open`] resolves what is meant and says what the file will be; [`Exporting::write`] writes it.
//! The watermark is the version of the data that the snapshot saw, drawn in commit order: rows after
//! it are all the rows that were stored or changed since, however late they came.

mod file;
mod value;

use std::future::Future;

use codash_domain::{EventType, Timestamp, Window};
use codash_store::Session;
use codash_store::exports::{Column, Export, ExportFilter, Table};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use validator::Validate;

use crate::input::{bound, present, whole};
use crate::provenance::{self, Coverage};
use crate::select::{self, Selection, Wanted, short_strings};
use crate::{Ctx, Error, Rule};

pub use file::Format;
use file::{File, Style};
pub use value::csv_text;

/// Raised when a table's rows or their spelling change: part of the schema's id.
const SCHEMA_VERSION: u32 = 1;

#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Query {
    /// Single visible account id, as list_accounts returns it.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(min = 1, max = 128))]
    pub account_id: Option<String>,
    /// Up to 100 ids. When both are omitted (or the list is empty), all visible accounts are exported.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 100), custom(function = "short_strings"))]
    pub account_ids: Option<Vec<String>>,
    /// Up to 100 symbols, spelled as answers spell them (BTC-PERP). Events, trades, funding, positions.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 100), custom(function = "short_strings"))]
    pub symbols: Option<Vec<String>>,
    /// Up to 7 event types. Events, trades.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 7))]
    pub event_types: Option<Vec<EventType>>,
    /// Inclusive lower bound of the time that a row is about, ISO 8601 with a zone. Default: none.
    #[serde(default, deserialize_with = "bound")]
    pub from: Option<Timestamp>,
    /// Inclusive upper bound. Default: none.
    #[serde(default, deserialize_with = "bound")]
    pub to: Option<Timestamp>,
    /// Only rows that were stored or changed after this watermark of an earlier export of the table. Events,
    /// trades, funding, restatements, cash_flows, nav.
    #[serde(default, deserialize_with = "whole")]
    #[validate(range(min = 0))]
    pub after_watermark: Option<i64>,
    /// The columns, in this order. Default: all of the table.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 64), custom(function = "short_strings"))]
    pub columns: Option<Vec<String>>,
    /// csv (RFC 4180, with a header row), json (the success envelope) or jsonl (one object a line, then
    /// a line that says that the file is whole).
    #[serde(default)]
    pub format: Format,
    /// True: the file is compressed with gzip.
    #[serde(default)]
    pub gzip: bool,
    /// False: texts of a CSV are written as they are. By default one that a spreadsheet would take for
    /// a formula gets an apostrophe in front. Numbers never do.
    #[serde(default = "yes")]
    pub formula_safe: bool,
}

fn yes() -> bool {
    true
}

/// The filters alone: what is counted.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CountQuery {
    /// As of the export.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(min = 1, max = 128))]
    pub account_id: Option<String>,
    /// As of the export.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 100), custom(function = "short_strings"))]
    pub account_ids: Option<Vec<String>>,
    /// As of the export.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 100), custom(function = "short_strings"))]
    pub symbols: Option<Vec<String>>,
    /// As of the export.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 7))]
    pub event_types: Option<Vec<EventType>>,
    /// As of the export.
    #[serde(default, deserialize_with = "bound")]
    pub from: Option<Timestamp>,
    /// As of the export.
    #[serde(default, deserialize_with = "bound")]
    pub to: Option<Timestamp>,
    /// As of the export.
    #[serde(default, deserialize_with = "whole")]
    #[validate(range(min = 0))]
    pub after_watermark: Option<i64>,
}

impl From<CountQuery> for Query {
    fn from(query: CountQuery) -> Self {
        let CountQuery { account_id, account_ids, symbols, event_types, from, to, after_watermark } = query;
        Self { account_id, account_ids, symbols, event_types, from, to, after_watermark, ..Self::default() }
    }
}

/// How many rows a table has for this key.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Count {
    /// events, trades, funding, balances, positions, nav, cash_flows, accounts, coverage or restatements.
    pub table: &'static str,
    pub count: i64,
    /// The version of the data that was counted.
    pub watermark: i64,
}

/// Every exportable table, counted in one snapshot.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub tables: Vec<Count>,
}

/// What a file is, known before its first byte.
#[derive(Debug, Clone)]
pub struct Head {
    pub table: Table,
    pub format: Format,
    pub gzip: bool,
    /// Pass it as `afterWatermark` next time.
    pub watermark: i64,
    /// Changes with the names, kinds or order of the columns.
    pub schema: String,
    /// The same tag, the same bytes. `None` for tables that change without a version.
    pub tag: Option<String>,
}

impl Head {
    pub fn file_name(&self) -> String {
        let gz = if self.gzip { ".gz" } else { "" };
        format!("codash-{}-{}.{}{gz}", self.table, self.watermark, self.format.as_str())
    }
}

/// What a file turned out to be: for a reader who wants to know that it has all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub table: &'static str,
    pub format: Format,
    pub gzip: bool,
    pub file_name: String,
    /// Changes with the names, kinds or order of the columns.
    pub schema: String,
    pub columns: Vec<&'static str>,
    pub rows: u64,
    /// Of the file, compressed when it is.
    pub bytes: u64,
    /// Of the file, compressed when it is, in hexadecimal.
    pub sha256: String,
    /// The version of the data that the file holds; pass it as `afterWatermark` next time. A file with
    /// another watermark may have another digest.
    pub watermark: i64,
}

/// A file's manifest, and how far its rows can be trusted to be all.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Described {
    #[serde(flatten)]
    pub manifest: Manifest,
    /// Which part of the window (without `from`: since 1970) has been read from the venues. Null for
    /// tables that state what is there now, and for NAV, which has no gaps but those between its points.
    pub coverage: Option<Coverage>,
}

/// Where a file goes. An error ends it.
pub trait Output: Send {
    fn chunk(&mut self, bytes: Vec<u8>) -> impl Future<Output = Result<(), Gone>> + Send;
}

/// Nobody takes the file any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reader of the export is gone")]
pub struct Gone;

/// Why a file has no end.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error(transparent)]
    Gone(#[from] Gone),
    #[error("the rows could not be read")]
    Store(#[from] codash_store::Error),
}

/// Counts the rows of one table.
pub async fn count(ctx: &Ctx<'_>, table: Table, query: CountQuery) -> Result<Count, Error> {
    let query = Query::from(query);
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let (export, _) = resolve(&mut session, table, &query).await?;
    let watermark = watermark(&mut session, table, &query).await?;
    let count = session.export_count(&export).await?;
    session.finish().await?;
    Ok(Count { table: table.as_str(), count, watermark })
}

/// Counts the rows of every table.
pub async fn counts(ctx: &Ctx<'_>) -> Result<Counts, Error> {
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let mut tables = Vec::with_capacity(Table::ALL.len());
    for table in Table::ALL {
        let (export, _) = resolve(&mut session, table, &Query::default()).await?;
        let watermark = session.data_version(table).await?;
        tables.push(Count { table: table.as_str(), count: session.export_count(&export).await?, watermark });
    }
    session.finish().await?;
    Ok(Counts { tables })
}

/// An export that is ready to be written.
#[derive(Debug)]
pub struct Exporting<'a> {
    session: Session<'a>,
    export: Export,
    selection: Selection,
    formula_safe: bool,
    pub head: Head,
}

/// Opens the snapshot and resolves what is meant.
pub async fn open<'a>(ctx: &Ctx<'a>, table: Table, query: &Query) -> Result<Exporting<'a>, Error> {
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let (export, selection) = resolve(&mut session, table, query).await?;
    let watermark = watermark(&mut session, table, query).await?;
    let schema = schema(table, &export.columns);
    let tag = table.is_versioned().then(|| tag(ctx, &schema, watermark, &export.filter, query, &selection));
    let head = Head { table, format: query.format, gzip: query.gzip, watermark, schema, tag };
    Ok(Exporting { session, export, selection, formula_safe: query.formula_safe, head })
}

impl Exporting<'_> {
    /// Writes the whole file. A manifest is the proof that it was.
    pub async fn write(mut self, output: &mut impl Output) -> Result<Manifest, Broken> {
        let style = Style { format: self.head.format, gzip: self.head.gzip, formula_safe: self.formula_safe };
        let mut file = File::new(style, &self.head, &self.export.columns, &self.selection);
        let mut rows = self.session.export(&self.export).await?;
        while let Some(message) = rows.next().await? {
            file.take(&message)?;
            if let Some(chunk) = file.full_chunk() {
                output.chunk(chunk).await?;
            }
        }
        drop(rows);
        let (last, sum) = file.finish()?;
        self.session.finish().await?;
        if !last.is_empty() {
            output.chunk(last).await?;
        }
        Ok(Manifest {
            table: self.head.table.as_str(),
            format: self.head.format,
            gzip: self.head.gzip,
            file_name: self.head.file_name(),
            schema: self.head.schema,
            columns: self.export.columns.iter().map(|column| column.name).collect(),
            rows: sum.rows,
            bytes: sum.bytes,
            sha256: sum.sha256,
            watermark: self.head.watermark,
        })
    }

    /// How far the venues have been read in the window, by the file's own snapshot.
    pub async fn coverage(&mut self, now: Timestamp) -> Result<Option<Coverage>, Error> {
        let filter = &self.export.filter;
        let window = Window { from: filter.from.unwrap_or(Timestamp::EPOCH), to: filter.to.unwrap_or(now) };
        Ok(match self.head.table {
            Table::Events | Table::Trades | Table::Funding | Table::Restatements => {
                Some(provenance::coverage(&mut self.session, &self.selection, window, now).await?)
            }
            Table::CashFlows => Some(provenance::flow_coverage(&mut self.session, &self.selection, window, now).await?),
            Table::Balances | Table::Positions | Table::Nav | Table::Accounts | Table::Coverage => None,
        })
    }

    /// Gives the connection back without a file.
    pub async fn finish(self) -> Result<(), Error> {
        Ok(self.session.finish().await?)
    }
}

async fn resolve(session: &mut Session<'_>, table: Table, query: &Query) -> Result<(Export, Selection), Error> {
    let columns = columns(table, query.columns.as_deref())?;
    refuse_foreign_filters(table, query)?;
    if let (Some(from), Some(to)) = (query.from, query.to)
        && from > to
    {
        let message = format!("from ({from}) is after to ({to}): swap them, or leave one out.");
        return Err(Rule::new("invalid_window", message, json!({ "from": from, "to": to })).into());
    }
    let selection = select::wanted(
        session,
        Wanted {
            account_id: query.account_id.as_deref(),
            account_ids: query.account_ids.as_deref(),
            ..Wanted::default()
        },
    )
    .await?;
    let mut symbols = query.symbols.clone().unwrap_or_default();
    symbols.sort_unstable();
    symbols.dedup();
    let mut event_types = query.event_types.clone().unwrap_or_default();
    event_types.sort_unstable();
    event_types.dedup();
    let filter = ExportFilter {
        accounts: selection.filter(),
        symbols,
        event_types,
        from: query.from,
        to: query.to,
        after: query.after_watermark,
    };
    Ok((Export { table, columns, filter }, selection))
}

fn columns(table: Table, wanted: Option<&[String]>) -> Result<Vec<&'static Column>, Rule> {
    let all = table.columns();
    let wanted = wanted.unwrap_or_default();
    if wanted.is_empty() {
        return Ok(all.iter().collect());
    }
    let mut columns: Vec<&'static Column> = Vec::with_capacity(wanted.len());
    for name in wanted {
        let column = all.iter().find(|column| column.name == name).ok_or_else(|| {
            let shown = codash_domain::text::clean(name, 64);
            let names: Vec<&str> = all.iter().map(|column| column.name).collect();
            Rule::new(
                "unknown_column",
                format!("{table} has no column {shown:?}. Its columns: {}.", names.join(", ")),
                json!({ "argument": "columns", "column": shown, "allowed": names }),
            )
        })?;
        if columns.contains(&column) {
            let message = format!("columns names {name} twice: name each column once.");
            return Err(Rule::new("repeated_column", message, json!({ "argument": "columns", "column": name })));
        }
        columns.push(column);
    }
    Ok(columns)
}

/// A filter that would be ignored is refused.
fn refuse_foreign_filters(table: Table, query: &Query) -> Result<(), Rule> {
    let can = table.filters();
    let given = [
        ("from", query.from.is_some(), can.window),
        ("to", query.to.is_some(), can.window),
        ("symbols", query.symbols.as_ref().is_some_and(|list| !list.is_empty()), can.symbols),
        ("eventTypes", query.event_types.as_ref().is_some_and(|list| !list.is_empty()), can.event_types),
        ("afterWatermark", query.after_watermark.is_some(), can.after_watermark),
    ];
    if let Some((argument, ..)) = given.iter().find(|(_, is_given, is_possible)| *is_given && !is_possible) {
        let message = match *argument {
            "afterWatermark" => format!(
                "{table} can only be exported whole: leave afterWatermark out. It is for events, trades, funding, \
                 restatements, cash_flows and nav."
            ),
            _ => format!("{table} cannot be filtered by {argument}: leave it out."),
        };
        return Err(Rule::new("invalid_filter", message, json!({ "argument": argument, "table": table.as_str() })));
    }
    let held = table.event_types().unwrap_or_default();
    match query.event_types.iter().flatten().find(|wanted| !held.contains(wanted)) {
        Some(wanted) if can.event_types => Err(Rule::new(
            "invalid_filter",
            format!("{table} holds no {wanted}: ask for it in events."),
            json!({ "argument": "eventTypes", "table": table.as_str(), "allowed": held }),
        )),
        _ => Ok(()),
    }
}

/// The version that the snapshot sees. A watermark from beyond it is not ours.
async fn watermark(session: &mut Session<'_>, table: Table, query: &Query) -> Result<i64, Error> {
    let version = session.data_version(table).await?;
    match query.after_watermark {
        Some(after) if after > version => {
            let message = format!(
                "afterWatermark {after} is beyond the data's version {version}: pass the watermark of an earlier \
                 export of {table} of this workspace, or leave it out for all rows."
            );
            let details = json!({ "argument": "afterWatermark", "watermark": version });
            Err(Rule::new("invalid_watermark", message, details).into())
        }
        _ => Ok(version),
    }
}

fn schema(table: Table, columns: &[&'static Column]) -> String {
    let mut hash = Sha256::new();
    for column in columns {
        hash.update(format!("{}:{:?}\n", column.name, column.kind));
    }
    format!("{table}.v{SCHEMA_VERSION}.{}", hex::encode(&hash.finalize()[..6]))
}

/// Of everything that the bytes depend on: who asks, what for, the data's version and the accounts' names.
fn tag(
    ctx: &Ctx<'_>,
    schema: &str,
    watermark: i64,
    filter: &ExportFilter,
    query: &Query,
    selection: &Selection,
) -> String {
    let accounts: Vec<_> = selection.accounts.iter().map(|account| (account.id, &account.name)).collect();
    let bound_to = json!([
        ctx.grant.workspace,
        schema,
        watermark,
        filter.accounts,
        filter.symbols,
        filter.event_types,
        filter.from,
        filter.to,
        filter.after,
        query.format,
        query.gzip,
        query.formula_safe,
        accounts,
    ]);
    hex::encode(&Sha256::digest(bound_to.to_string())[..16])
}
