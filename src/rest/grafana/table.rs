//! Rows of named columns as JSON or CSV, every figure with its exact digits.

use std::collections::BTreeMap;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use codash_analytics::export::csv_text;
use codash_analytics::select::Number;
use codash_domain::{Price, Qty, Timestamp, Usd};
use rust_decimal::Decimal;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::params::{Format, Layout, Look, TagsFormat, TimeFormat};
use crate::rest::error::ApiError;

/// A value in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Null,
    Time(Timestamp),
    Text(String),
    Number(Decimal),
    Flag(bool),
    Tags(Vec<String>),
}

/// Rows under construction: every row has a cell for each column.
#[derive(Debug)]
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
    series: Option<Series>,
}

/// Rows of a time that are of several series.
#[derive(Debug, Clone, Copy)]
struct Series {
    /// How many columns after the time name the series; the last of them is for people.
    labels: usize,
    /// Which column a wide row shows.
    measure: usize,
}

impl Table {
    pub fn new<C: Into<String>>(columns: impl IntoIterator<Item = C>, rows: Vec<Vec<Cell>>) -> Self {
        Self { columns: columns.into_iter().map(Into::into).collect(), rows, series: None }
    }

    /// Says that the first column is a time, the next `labels` name a series, and `measure` is what the
    /// series is of.
    #[must_use]
    pub fn of_series(mut self, labels: usize, measure: &str) -> Self {
        let measure = self.columns.iter().position(|column| column == measure).unwrap_or_default();
        self.series = Some(Series { labels, measure });
        self
    }

    pub fn respond(self, look: Look) -> Result<Response, ApiError> {
        let table = match (look.layout, self.series) {
            (Layout::Long, _) => self,
            (Layout::Wide, Some(series)) if series.labels > 0 => self.wide(series),
            (Layout::Wide, Some(_)) => self,
            (Layout::Wide, None) => {
                return Err(ApiError::invalid_field("layout", "wide is for rows through time: leave it out"));
            }
        };
        match look.format {
            Format::Json => {
                let rows: Vec<Row<'_>> =
                    table.rows.iter().map(|row| Row { columns: &table.columns, row, look }).collect();
                Ok(axum::Json(rows).into_response())
            }
            Format::Csv => {
                Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present")], table.csv(look))
                    .into_response())
            }
        }
    }

    /// A row for each time, a column for each series. Where a series has no row, it has no value.
    fn wide(self, series: Series) -> Self {
        let mut places: BTreeMap<Vec<String>, usize> = BTreeMap::new();
        let labels = |row: &[Cell]| -> Vec<String> {
            // For people first: columns come in the order of names.
            row.iter().skip(1).take(series.labels).rev().map(Cell::label).collect()
        };
        for row in &self.rows {
            places.insert(labels(row), 0);
        }
        let names: Vec<&Vec<String>> = places.keys().collect();
        let mut columns = vec!["time".to_owned()];
        columns.extend(names.iter().map(|name| wide_name(name, &names)));
        for (n, place) in places.values_mut().enumerate() {
            *place = n + 1;
        }
        let mut rows: Vec<Vec<Cell>> = Vec::new();
        for row in self.rows {
            let Some(time) = row.first().cloned() else { continue };
            if rows.last().and_then(|last| last.first()) != Some(&time) {
                let mut empty = vec![Cell::Null; columns.len()];
                empty[0] = time;
                rows.push(empty);
            }
            let place = places.get(&labels(&row)).copied();
            let slot = place.and_then(|place| rows.last_mut()?.get_mut(place));
            if let (Some(slot), Some(value)) = (slot, row.into_iter().nth(series.measure)) {
                *slot = value;
            }
        }
        Self { columns, rows, series: None }
    }

    fn csv(&self, look: Look) -> Vec<u8> {
        let mut out = Vec::new();
        let line = |cells: &mut dyn Iterator<Item = Cell>, out: &mut Vec<u8>| {
            for (n, cell) in cells.enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                cell.csv(look, out);
            }
            out.extend(b"\r\n");
        };
        line(&mut self.columns.iter().cloned().map(Cell::Text), &mut out);
        for row in &self.rows {
            line(&mut row.iter().cloned(), &mut out);
        }
        out
    }
}

/// The name of a series' column: what people call it, and more where two are called the same.
fn wide_name(name: &[String], all: &[&Vec<String>]) -> String {
    let shown = name.first().map(String::as_str).unwrap_or_default();
    let shown = if shown.is_empty() { "(none)" } else { shown };
    let is_unique = shown != "time" && all.iter().filter(|other| other.first() == name.first()).count() == 1;
    match name.get(1) {
        Some(id) if !is_unique => format!("{shown} ({id})"),
        _ if shown == "time" => "(time)".to_owned(),
        _ => shown.to_owned(),
    }
}

impl Cell {
    fn label(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            _ => String::new(),
        }
    }

    fn csv(&self, look: Look, out: &mut Vec<u8>) {
        match self {
            Self::Null => {}
            Self::Text(text) => csv_text(text.as_bytes(), true, out),
            Self::Tags(tags) => csv_text(joined(tags).as_bytes(), true, out),
            Self::Time(at) if look.time_format == TimeFormat::Iso => out.extend(at.to_string().as_bytes()),
            Self::Time(at) => out.extend(at.millis().to_string().as_bytes()),
            Self::Number(number) => out.extend(Usd(*number).to_string().as_bytes()),
            Self::Flag(flag) => out.extend(flag.to_string().as_bytes()),
        }
    }
}

/// Tags as one text; a comma stands between them alone.
fn joined(tags: &[String]) -> String {
    tags.iter().map(|tag| tag.replace(',', " ")).collect::<Vec<_>>().join(",")
}

/// A row as a flat object, its names in the order of the columns.
struct Row<'a> {
    columns: &'a [String],
    row: &'a [Cell],
    look: Look,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len()))?;
        for (name, cell) in self.columns.iter().zip(self.row) {
            match cell {
                Cell::Null => map.serialize_entry(name, &()),
                Cell::Time(at) if self.look.time_format == TimeFormat::Iso => map.serialize_entry(name, at),
                Cell::Time(at) => map.serialize_entry(name, &at.millis()),
                Cell::Text(text) => map.serialize_entry(name, text),
                Cell::Number(number) => map.serialize_entry(name, &Number(*number)),
                Cell::Flag(flag) => map.serialize_entry(name, flag),
                Cell::Tags(tags) if self.look.tags_format == TagsFormat::List => map.serialize_entry(name, tags),
                Cell::Tags(tags) => map.serialize_entry(name, &joined(tags)),
            }?;
        }
        map.end()
    }
}

macro_rules! cells {
    ($($from:ty => |$value:ident| $cell:expr),* $(,)?) => {
        $(impl From<$from> for Cell {
            fn from($value: $from) -> Self {
                $cell
            }
        })*
    };
}

cells! {
    Timestamp => |at| Self::Time(at),
    Usd => |usd| Self::Number(usd.0),
    Price => |price| Self::Number(price.0),
    Qty => |qty| Self::Number(qty.0),
    Number => |number| Self::Number(number.0),
    i64 => |whole| Self::Number(whole.into()),
    usize => |whole| Self::Number(whole.into()),
    bool => |flag| Self::Flag(flag),
    String => |text| Self::Text(text),
    &str => |text| Self::Text(text.to_owned()),
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Anything that prints itself.
pub fn shown(value: impl ToString) -> Cell {
    Cell::Text(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(hour: i64) -> Cell {
        Timestamp::from_millis(hour * 3_600_000).unwrap().into()
    }

    fn number(text: &str) -> Cell {
        Cell::Number(text.parse().unwrap())
    }

    fn table() -> Table {
        let row = |hour, id: &str, name: &str, value| vec![time(hour), id.into(), name.into(), number(value)];
        let rows = vec![row(0, "1", "Main", "1.50"), row(0, "2", "Main", "-2"), row(1, "3", "=time", "3")];
        Table::new(["time", "accountId", "accountName", "navUsd"], rows).of_series(2, "navUsd")
    }

    fn series() -> Series {
        table().series.unwrap()
    }

    #[test]
    fn a_wide_row_has_a_column_for_every_series_and_null_where_one_has_no_row() {
        let wide = table().wide(series());
        assert_eq!(wide.columns, ["time", "=time", "Main (1)", "Main (2)"]);
        assert_eq!(wide.rows[0], [time(0), Cell::Null, number("1.50"), number("-2")]);
        assert_eq!(wide.rows[1], [time(1), number("3"), Cell::Null, Cell::Null]);
    }

    #[test]
    fn csv_has_the_digits_of_json_and_no_formula_but_numbers() {
        let ms = Look { time_format: TimeFormat::Ms, ..Look::default() };
        let text = String::from_utf8(table().csv(ms)).unwrap();
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines[0], "time,accountId,accountName,navUsd");
        assert_eq!(lines[1], "0,1,Main,1.5");
        assert_eq!(lines[2], "0,2,Main,-2");
        assert_eq!(lines[3], "3600000,3,'=time,3");
    }
}
