//! Values: from PostgreSQL's binary form to CSV and JSON, digit for digit.

use std::collections::HashMap;
use std::io::Write as _;

use codash_domain::EventId;
use codash_store::Error;
use codash_store::exports::{Column, Kind};
use uuid::Uuid;

use super::file::{Format, Style};
use crate::select::Selection;

/// From 1970 to PostgreSQL's first instant, in milliseconds.
const POSTGRES_EPOCH: i64 = 946_684_800_000;
const DAY: i64 = 86_400_000;

pub(super) fn corrupt(detail: &str) -> Error {
    Error::Corrupt { column: "export", detail: detail.to_owned() }
}

/// Prints rows of one shape.
pub(super) struct Printer {
    columns: Vec<Cell>,
    names: Names,
    calendar: Calendar,
    format: Format,
    formula_safe: bool,
}

struct Cell {
    kind: Kind,
    /// What stands before the value: `{"name":`, `,"name":`, a comma or nothing.
    lead: Vec<u8>,
}

impl Printer {
    pub(super) fn new(columns: &[&'static Column], style: Style, names: Names) -> Self {
        let lead = |place: usize, name: &str| match (style.format, place) {
            (Format::Csv, 0) => String::new(),
            (Format::Csv, _) => ",".to_owned(),
            (_, 0) => format!("{{\"{name}\":"),
            (_, _) => format!(",\"{name}\":"),
        };
        let cell = |(place, column): (usize, &&'static Column)| Cell {
            kind: column.kind,
            lead: lead(place, column.name).into_bytes(),
        };
        Self {
            columns: columns.iter().enumerate().map(cell).collect(),
            names,
            calendar: Calendar::default(),
            format: style.format,
            formula_safe: style.formula_safe,
        }
    }

    /// Prints the row whose fields come first; what follows them comes back.
    pub(super) fn row<'m>(&mut self, count: i16, fields: &'m [u8], out: &mut Vec<u8>) -> Result<&'m [u8], Error> {
        if usize::try_from(count).ok() != Some(self.columns.len()) {
            return Err(corrupt("another number of fields"));
        }
        let is_csv = self.format == Format::Csv;
        let mut rest = fields;
        for cell in &self.columns {
            let (length, after) = rest.split_first_chunk::<4>().ok_or_else(|| corrupt("half a field"))?;
            out.extend_from_slice(&cell.lead);
            let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
                if !is_csv {
                    out.extend_from_slice(b"null");
                }
                rest = after;
                continue;
            };
            let (value, after) = after.split_at_checked(length).ok_or_else(|| corrupt("half a value"))?;
            rest = after;
            match cell.kind {
                Kind::Number => number(value, out)?,
                Kind::Whole => write(out, format_args!("{}", i64::from_be_bytes(sized(value)?))),
                Kind::Flag => out.extend_from_slice(if value == [0] { b"false" } else { b"true" }),
                Kind::Text if is_csv => csv_text(value, self.formula_safe, out),
                Kind::Word if is_csv => csv_text(value, false, out),
                Kind::Text | Kind::Word => json_text(value, out),
                Kind::Texts if is_csv => {
                    let mut list = Vec::new();
                    texts(value, &mut list)?;
                    csv_text(&list, false, out);
                }
                Kind::Texts => texts(value, out)?,
                Kind::AccountName => out.extend_from_slice(self.names.of(Uuid::from_bytes(sized(value)?))),
                Kind::EventId => {
                    quoted(out, is_csv, |out| {
                        write(out, EventId::from_uuid(Uuid::from_bytes(sized(value)?)));
                        Ok(())
                    })?;
                }
                Kind::Uuid => {
                    quoted(out, is_csv, |out| {
                        let mut text = [0; 36];
                        let id = Uuid::from_bytes(sized(value)?);
                        out.extend_from_slice(id.hyphenated().encode_lower(&mut text).as_bytes());
                        Ok(())
                    })?;
                }
                Kind::Instant => {
                    let micros = i64::from_be_bytes(sized(value)?);
                    let calendar = &mut self.calendar;
                    quoted(out, is_csv, |out| calendar.instant(micros, out))?;
                }
            }
        }
        out.extend_from_slice(match self.format {
            Format::Csv => b"\r\n".as_slice(),
            Format::Json => b"}",
            Format::Jsonl => b"}\n",
        });
        Ok(rest)
    }
}

/// Texts of ours need quotes in JSON and never in CSV.
fn quoted(out: &mut Vec<u8>, is_csv: bool, print: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>) -> Result<(), Error> {
    if is_csv {
        return print(out);
    }
    out.push(b'"');
    print(out)?;
    out.push(b'"');
    Ok(())
}

fn write(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    // Into memory: it cannot fail.
    let _ = write!(out, "{value}");
}

fn sized<const N: usize>(value: &[u8]) -> Result<[u8; N], Error> {
    value.try_into().map_err(|_| corrupt("a value of another size"))
}

/// The names of accounts, as cells.
pub(super) struct Names(HashMap<Uuid, Vec<u8>>, Vec<u8>);

impl Names {
    pub(super) fn new(selection: &Selection, style: Style) -> Self {
        let cell = |name: &str| {
            let mut cell = Vec::new();
            match style.format {
                Format::Csv => csv_text(name.as_bytes(), style.formula_safe, &mut cell),
                Format::Json | Format::Jsonl => json_text(name.as_bytes(), &mut cell),
            }
            cell
        };
        Self(selection.accounts.iter().map(|a| (a.id.0, cell(&a.name))).collect(), cell(""))
    }

    fn of(&self, account: Uuid) -> &[u8] {
        self.0.get(&account).unwrap_or(&self.1)
    }
}

/// RFC 4180: quoted when it must be. An empty text is quoted, so that null alone is an empty cell.
pub fn csv_text(text: &[u8], formula_safe: bool, out: &mut Vec<u8>) {
    let is_formula =
        formula_safe && text.first().is_some_and(|first| matches!(first, b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r'));
    let is_plain = !text.is_empty() && !text.iter().any(|b| matches!(b, b'"' | b',' | b'\r' | b'\n'));
    if is_plain {
        if is_formula {
            out.push(b'\'');
        }
        return out.extend_from_slice(text);
    }
    out.push(b'"');
    if is_formula {
        out.push(b'\'');
    }
    for &byte in text {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

fn json_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => write(out, format_args!("\\u{control:04x}")),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// An array of texts, as JSON.
fn texts(value: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let word = |at: usize| -> Result<i32, Error> {
        value.get(at..at + 4).map(|b| sized(b).map(i32::from_be_bytes)).ok_or_else(|| corrupt("half an array"))?
    };
    out.push(b'[');
    // Dimensions, flags, type; then length and lower bound of the only dimension.
    let count = if word(0)? == 0 { 0 } else { word(12)? };
    let mut at = 20;
    for place in 0..count {
        if place > 0 {
            out.push(b',');
        }
        let length = word(at)?;
        at += 4;
        let Ok(length) = usize::try_from(length) else {
            out.extend_from_slice(b"null");
            continue;
        };
        json_text(value.get(at..at + length).ok_or_else(|| corrupt("half an array"))?, out);
        at += length;
    }
    out.push(b']');
    Ok(())
}

/// A `numeric`: groups of four digits to base 10,000. Printed as money is printed everywhere: every
/// digit, no exponent, no trailing zeros.
fn number(value: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let (head, digits) = value.split_first_chunk::<8>().ok_or_else(|| corrupt("half a number"))?;
    let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let (count, weight, sign) = (usize::from(word(0)), i32::from(i16::from_be_bytes([head[2], head[3]])), word(4));
    if digits.len() != count * 2 {
        return Err(corrupt("half a number"));
    }
    let is_negative = match sign {
        0 => false,
        0x4000 => true,
        _ => return Err(corrupt("not a number")),
    };
    let group = |place: i32| -> u16 {
        let at = usize::try_from(place).unwrap_or(usize::MAX).saturating_mul(2);
        digits.get(at..at.saturating_add(2)).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]))
    };
    let groups = i32::try_from(count).unwrap_or(i32::MAX);
    if (0..groups).all(|place| group(place) == 0) {
        out.push(b'0');
        return Ok(());
    }
    if is_negative {
        out.push(b'-');
    }
    let start = out.len();
    for place in 0..=weight {
        four(group(place), out)?;
    }
    let zeros = out[start..].iter().take_while(|&&digit| digit == b'0').count();
    out.drain(start..start + zeros);
    if out.len() == start {
        out.push(b'0');
    }
    if groups <= weight + 1 {
        return Ok(());
    }
    out.push(b'.');
    for place in weight + 1..groups {
        four(group(place), out)?;
    }
    while out.last() == Some(&b'0') {
        out.pop();
    }
    if out.last() == Some(&b'.') {
        out.pop();
    }
    Ok(())
}

fn four(group: u16, out: &mut Vec<u8>) -> Result<(), Error> {
    let digits = FOURS.get(usize::from(group)).ok_or_else(|| corrupt("not a number"))?;
    out.extend_from_slice(digits);
    Ok(())
}

/// The four digits of every group: most of an export is numbers.
static FOURS: [[u8; 4]; 10_000] = fours();

#[expect(clippy::cast_possible_truncation, reason = "const code has no try_from; digits are below 10")]
const fn fours() -> [[u8; 4]; 10_000] {
    let mut table = [[0; 4]; 10_000];
    let mut group = 0;
    while group < table.len() {
        table[group] = [
            b'0' + (group / 1000) as u8,
            b'0' + (group / 100 % 10) as u8,
            b'0' + (group / 10 % 10) as u8,
            b'0' + (group % 10) as u8,
        ];
        group += 1;
    }
    table
}

/// Remembers the last date: rows come in the order of time.
#[derive(Default)]
struct Calendar {
    day: i64,
    date: Vec<u8>,
}

impl Calendar {
    /// Microseconds since 2000, cut to milliseconds as everywhere.
    fn instant(&mut self, micros: i64, out: &mut Vec<u8>) -> Result<(), Error> {
        let millis = micros.div_euclid(1000).checked_add(POSTGRES_EPOCH).ok_or_else(|| corrupt("no instant"))?;
        let (day, millis) = (millis.div_euclid(DAY), millis.rem_euclid(DAY));
        if self.date.is_empty() || self.day != day {
            let date = i32::try_from(day).ok().and_then(chrono::NaiveDate::from_epoch_days);
            let date = date.filter(|date| (0..=9999).contains(&chrono::Datelike::year(date)));
            self.date = date.ok_or_else(|| corrupt("no instant"))?.to_string().into_bytes();
            self.day = day;
        }
        out.extend_from_slice(&self.date);
        let digit = |value: i64| b'0' + u8::try_from(value % 10).unwrap_or_default();
        let (hours, minutes, seconds) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1000 % 60);
        out.extend_from_slice(&[
            b'T',
            digit(hours / 10),
            digit(hours),
            b':',
            digit(minutes / 10),
            digit(minutes),
            b':',
            digit(seconds / 10),
            digit(seconds),
            b'.',
            digit(millis / 100),
            digit(millis / 10),
            digit(millis),
            b'Z',
        ]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(weight: i16, sign: u16, groups: &[u16]) -> Vec<u8> {
        let mut bytes = u16::try_from(groups.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(weight.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend([0, 9]);
        groups.iter().for_each(|group| bytes.extend(group.to_be_bytes()));
        bytes
    }

    fn printed(weight: i16, sign: u16, groups: &[u16]) -> String {
        let mut out = b"x".to_vec();
        number(&binary(weight, sign, groups), &mut out).unwrap();
        String::from_utf8(out).unwrap()[1..].to_owned()
    }

    #[test]
    fn a_number_is_printed_digit_for_digit() {
        assert_eq!(printed(0, 0, &[]), "0");
        assert_eq!(printed(0, 0x4000, &[7]), "-7");
        assert_eq!(printed(0, 0, &[100, 5000]), "100.5");
        assert_eq!(printed(-1, 0x4000, &[1]), "-0.0001");
        assert_eq!(printed(-3, 0, &[120]), "0.00000000012");
        assert_eq!(printed(1, 0, &[1]), "10000");
        assert_eq!(printed(2, 0, &[12, 3456, 7, 8900]), "1234560007.89");
        assert_eq!(printed(3, 0, &[1, 0, 0, 0, 1]), "1000000000000.0001");
    }

    #[test]
    fn what_is_no_number_ends_the_file() {
        for sign in [0xC000, 0xD000, 0xF000] {
            assert!(number(&binary(0, sign, &[]), &mut Vec::new()).is_err());
        }
        assert!(number(&binary(0, 0, &[1])[..9], &mut Vec::new()).is_err());
        assert!(number(&[], &mut Vec::new()).is_err());
        assert!(number(&binary(0, 0, &[10_000]), &mut Vec::new()).is_err());
    }

    fn csv(text: &str, formula_safe: bool) -> String {
        let mut out = Vec::new();
        csv_text(text.as_bytes(), formula_safe, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_cell_is_quoted_when_it_must_be_and_never_a_formula() {
        for (text, cell) in [
            ("plain text", "plain text"),
            ("", "\"\""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\r\nlines", "\"two\r\nlines\""),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@x", "'@x"),
            ("\tx", "'\tx"),
            ("\rx", "\"'\rx\""),
            ("=a,\"b\"", "\"'=a,\"\"b\"\"\""),
            ("'=x", "'=x"),
        ] {
            assert_eq!(csv(text, true), cell);
        }
        assert_eq!(csv("=1+1", false), "=1+1");
    }

    #[test]
    fn a_text_reads_back_from_json() {
        for text in ["", "plain", "\"\\\n\r\t\u{1}\u{1f}é🦀", "a\"b\\"] {
            let mut out = Vec::new();
            json_text(text.as_bytes(), &mut out);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn an_instant_is_printed_as_everywhere() {
        let mut calendar = Calendar::default();
        for millis in [0, 1, 951_782_399_999, 951_782_400_000, 1_780_000_000_123, 253_402_300_799_999] {
            let mut out = Vec::new();
            calendar.instant((millis - POSTGRES_EPOCH) * 1000 + 999, &mut out).unwrap();
            let known = codash_domain::Timestamp::from_millis(millis).unwrap().to_string();
            assert_eq!(String::from_utf8(out).unwrap(), known);
        }
        assert!(calendar.instant(i64::MAX, &mut Vec::new()).is_err());
        assert!(calendar.instant(i64::MIN, &mut Vec::new()).is_err());
    }
}
