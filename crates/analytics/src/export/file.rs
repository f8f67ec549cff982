//! The file: rows in PostgreSQL's binary form in, chunks of text out, counted and digested on the way.

use std::io::Write as _;

use codash_store::Error;
use codash_store::exports::Column;
use flate2::Compression;
use flate2::write::GzEncoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Head;
use super::value::{Names, Printer, corrupt};
use crate::select::Selection;

/// How a file is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Format {
    #[default]
    Csv,
    Json,
    Jsonl,
}

impl Format {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
        }
    }
}

/// Everything that decides the spelling.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub format: Format,
    pub gzip: bool,
    pub formula_safe: bool,
}

/// The finished file in numbers.
#[derive(Debug)]
pub(super) struct Sum {
    pub rows: u64,
    pub bytes: u64,
    pub sha256: String,
}

/// Text that is worth sending on its way.
const CHUNK: usize = 64 * 1024;
/// What PostgreSQL's binary format begins with, before two words of flags and extension.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

pub(super) struct File {
    style: Style,
    watermark: i64,
    printer: Printer,
    text: Vec<u8>,
    rows: u64,
    /// Of the text.
    text_digest: Sha256,
    gzip: Option<Gzip>,
    bytes: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Beginning,
    Rows,
    /// PostgreSQL said that there are no more.
    Ended,
}

impl File {
    pub(super) fn new(style: Style, head: &Head, columns: &[&'static Column], selection: &Selection) -> Self {
        let mut file = Self {
            style,
            watermark: head.watermark,
            printer: Printer::new(columns, style, Names::new(selection, style)),
            text: Vec::with_capacity(CHUNK + CHUNK / 4),
            rows: 0,
            text_digest: Sha256::new(),
            gzip: style.gzip.then(Gzip::new),
            bytes: 0,
            state: State::Beginning,
        };
        match style.format {
            Format::Csv => {
                let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
                file.text.extend(names.join(",").as_bytes());
                file.text.extend(b"\r\n");
            }
            Format::Json => {
                let table = head.table.as_str();
                let opening = format!(
                    r#"{{"success":true,"data":{{"table":"{table}","schema":"{}","watermark":{},"rows":["#,
                    head.schema, head.watermark
                );
                file.text.extend(opening.as_bytes());
            }
            Format::Jsonl => {}
        }
        file
    }

    /// Reads one message: the opening, whole rows, the end, or several of them.
    pub(super) fn take(&mut self, message: &[u8]) -> Result<(), Error> {
        let mut rest = message;
        if self.state == State::Beginning {
            rest = rest.strip_prefix(SIGNATURE).and_then(|rest| rest.get(8..)).ok_or_else(|| corrupt("no opening"))?;
            self.state = State::Rows;
        }
        while let Some((count, fields)) = rest.split_first_chunk::<2>() {
            if self.state == State::Ended {
                return Err(corrupt("rows after the end"));
            }
            rest = match i16::from_be_bytes(*count) {
                -1 => {
                    self.state = State::Ended;
                    fields
                }
                count => self.row(count, fields)?,
            };
        }
        if rest.is_empty() { Ok(()) } else { Err(corrupt("half a row")) }
    }

    /// Prints a row; what follows it comes back.
    fn row<'m>(&mut self, count: i16, fields: &'m [u8]) -> Result<&'m [u8], Error> {
        if self.style.format == Format::Json {
            self.text.extend(if self.rows == 0 { b"\n".as_slice() } else { b",\n".as_slice() });
        }
        let rest = self.printer.row(count, fields, &mut self.text)?;
        self.rows += 1;
        Ok(rest)
    }

    /// The next piece of the file, when enough has gathered.
    pub(super) fn full_chunk(&mut self) -> Option<Vec<u8>> {
        if self.text.len() < CHUNK {
            return None;
        }
        let chunk = self.sum_up();
        (!chunk.is_empty()).then_some(chunk)
    }

    /// Digests the text that has gathered and turns it into a piece of the file.
    fn sum_up(&mut self) -> Vec<u8> {
        self.text_digest.update(&self.text);
        let chunk = match &mut self.gzip {
            Some(gzip) => {
                let chunk = gzip.compress(&self.text);
                self.text.clear();
                chunk
            }
            None => std::mem::replace(&mut self.text, Vec::with_capacity(CHUNK + CHUNK / 4)),
        };
        self.bytes += chunk.len() as u64;
        chunk
    }

    /// Writes the end. Fails unless PostgreSQL had said that there are no more rows.
    pub(super) fn finish(mut self) -> Result<(Vec<u8>, Sum), Error> {
        if self.state != State::Ended {
            return Err(corrupt("no end"));
        }
        match self.style.format {
            Format::Csv => {}
            Format::Json => self.text.extend(format!("\n],\"rowCount\":{}}}}}\n", self.rows).as_bytes()),
            Format::Jsonl => {
                let sha256 = hex::encode(self.text_digest.clone().chain_update(&self.text).finalize());
                let end = json!({ "_end": { "rows": self.rows, "sha256": sha256, "watermark": self.watermark } });
                self.text.extend(end.to_string().as_bytes());
                self.text.push(b'\n');
            }
        }
        let mut last = self.sum_up();
        let digest = match self.gzip {
            Some(gzip) => {
                let (end, digest) = gzip.finish();
                self.bytes += end.len() as u64;
                last.extend(end);
                digest
            }
            None => self.text_digest,
        };
        let sum = Sum { rows: self.rows, bytes: self.bytes, sha256: hex::encode(digest.finalize()) };
        Ok((last, sum))
    }
}

/// Compressed as fast as possible, and to the same bytes every time: the header holds no time.
struct Gzip {
    encoder: GzEncoder<Vec<u8>>,
    digest: Sha256,
}

impl Gzip {
    fn new() -> Self {
        Self { encoder: GzEncoder::new(Vec::new(), Compression::fast()), digest: Sha256::new() }
    }

    fn compress(&mut self, text: &[u8]) -> Vec<u8> {
        // Into memory: it cannot fail.
        drop(self.encoder.write_all(text));
        let chunk = std::mem::take(self.encoder.get_mut());
        self.digest.update(&chunk);
        chunk
    }

    fn finish(self) -> (Vec<u8>, Sha256) {
        let end = self.encoder.finish().unwrap_or_default();
        let digest = self.digest.chain_update(&end);
        (end, digest)
    }
}
