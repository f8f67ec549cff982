//! What automations may ask: the catalogue of the MCP tools, and exports. `codash automate` is handed
//! [`catalogue`]; the REST routes check a task with [`check`] before it is kept.

use std::sync::Arc;

use codash_analytics::export::{self, Broken, Described, Gone, Output};
use codash_analytics::input::{self, Invalid};
use codash_analytics::{Ctx, CursorKey, Error};
use codash_automations::guard::system_lookup;
use codash_automations::sender::Sender;
use codash_automations::{Ask, NotAnswered, Worker};
use codash_domain::automation::{ExportTask, Question, Task};
use codash_domain::{Clock, Scope};
use codash_store::Store;
use codash_store::exports::Table;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::app::AppConfig;
use crate::mcp::tools::{self, Unanswered};

/// A worker with the settings of this process.
pub fn worker(
    store: Store,
    config: &AppConfig,
    cursor_key: CursorKey,
    clock: Arc<dyn Clock>,
) -> Result<Worker, String> {
    let sender = Sender::new(config.webhooks, system_lookup())?;
    let bits = crate::app::random::<4>().map_err(|error| error.to_string())?;
    let holder = format!("{}-{}", std::process::id(), hex::encode(bits));
    Ok(Worker::new(store, cursor_key, catalogue(), sender, clock, holder))
}

/// Answers with the rights of the grant: a scope that it lacks is a refusal here as everywhere.
pub fn catalogue() -> Ask {
    Arc::new(|ctx, task| Box::pin(answer(ctx, task)))
}

/// The scope that a task needs, or what is wrong with it.
pub fn check(task: &Task) -> Result<Scope, Vec<Invalid>> {
    match task {
        Task::Question(question) => check_question(question, "what.question"),
        Task::Export(export) => {
            table(&export.table).ok_or_else(|| {
                let names = Table::ALL.map(Table::as_str).join(", ");
                vec![invalid("what.export.table".into(), format!("must be one of {names}"))]
            })?;
            let read = input::read::<export::Query>(&Value::Object(export.arguments.clone()));
            read.map(|_| Scope::ReadExports).map_err(|faults| below("what.export.arguments", faults))
        }
    }
}

/// As [`check`], for a question at another place of the body.
pub fn check_question(question: &Question, place: &str) -> Result<Scope, Vec<Invalid>> {
    let Some(tool) = tools::find(&question.name) else {
        let names = tools::names(&codash_domain::Scopes::full()).join(", ");
        return Err(vec![invalid(format!("{place}.name"), format!("must be one of {names}"))]);
    };
    let checked = tool.check(&Value::Object(question.arguments.clone()));
    checked.map(|()| tool.scope).map_err(|faults| below(&format!("{place}.arguments"), faults))
}

fn invalid(path: String, reason: String) -> Invalid {
    Invalid { path, reason }
}

fn below(place: &str, faults: Vec<Invalid>) -> Vec<Invalid> {
    let place_of = |path: String| if path.is_empty() { place.to_owned() } else { format!("{place}.{path}") };
    faults.into_iter().map(|fault| invalid(place_of(fault.path), fault.reason)).collect()
}

fn table(name: &str) -> Option<Table> {
    Table::ALL.into_iter().find(|table| table.as_str() == name)
}

async fn answer(ctx: &Ctx<'_>, task: &Task) -> Result<Box<RawValue>, NotAnswered> {
    let scope = check(task).map_err(|faults| NotAnswered::Refused(in_words(&faults)))?;
    if !ctx.grant.scopes.allows(scope) {
        return Err(NotAnswered::Refused(format!("the API key that it acts with lacks the scope {scope}")));
    }
    match task {
        Task::Question(question) => {
            let arguments = Value::Object(question.arguments.clone());
            let Some(tool) = tools::find(&question.name) else { return Err(gone()) };
            tool.ask(ctx, &arguments).await.map_err(unanswered)
        }
        Task::Export(export) => manifest(ctx, export).await,
    }
}

fn gone() -> NotAnswered {
    NotAnswered::Refused("what it asks for is no longer there".into())
}

fn in_words(faults: &[Invalid]) -> String {
    let said: Vec<String> = faults.iter().map(|fault| format!("{}: {}", fault.path, fault.reason)).collect();
    said.join("; ")
}

fn unanswered(why: Unanswered) -> NotAnswered {
    match why {
        Unanswered::Arguments(faults) => NotAnswered::Refused(in_words(&faults)),
        Unanswered::Rule(rule) => NotAnswered::Refused(rule.message),
        Unanswered::Store(error) => NotAnswered::Store(error),
        Unanswered::Unwritable(_) => NotAnswered::Refused("the answer could not be written as JSON".into()),
    }
}

/// A file's manifest and where the file is.
#[derive(Debug, Serialize)]
struct Made {
    #[serde(flatten)]
    described: Described,
    /// Fetch it with a key: the same filters, at the moment of asking.
    path: String,
}

async fn manifest(ctx: &Ctx<'_>, task: &ExportTask) -> Result<Box<RawValue>, NotAnswered> {
    let table = table(&task.table).ok_or_else(gone)?;
    let query = input::read::<export::Query>(&Value::Object(task.arguments.clone()));
    let query = query.map_err(|faults| NotAnswered::Refused(in_words(&faults)))?;
    let refused = |error: Error| match error {
        Error::Rule(rule) => NotAnswered::Refused(rule.message),
        Error::Store(error) => NotAnswered::Store(error),
    };
    let mut opened = export::open(ctx, table, &query).await.map_err(refused)?;
    let coverage = opened.coverage(ctx.now).await.map_err(refused)?;
    let manifest = opened.write(&mut Nowhere).await.map_err(|broken| match broken {
        Broken::Store(error) => NotAnswered::Store(error),
        Broken::Gone(_) => gone(),
    })?;
    let made = Made { described: Described { manifest, coverage }, path: path(task) };
    to_raw_value(&made).map_err(|_| NotAnswered::Refused("the manifest could not be written as JSON".into()))
}

fn path(task: &ExportTask) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(|item| item.as_str().unwrap_or_default()).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    let pairs = task.arguments.iter().map(|(name, value)| (name, text(value)));
    let base = format!("http://codash/api/export/{}", task.table);
    match reqwest::Url::parse_with_params(&base, pairs) {
        Ok(url) => [url.path(), url.query().unwrap_or_default()].join("?").trim_end_matches('?').to_owned(),
        Err(_) => format!("/api/export/{}", task.table),
    }
}

/// The file is digested and not kept.
struct Nowhere;

impl Output for Nowhere {
    async fn chunk(&mut self, _: Vec<u8>) -> Result<(), Gone> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(text: Value) -> Task {
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn a_task_is_held_to_the_schema_of_its_question_and_names_its_scope() {
        let nav = task(json!({ "question": { "name": "get_nav_history", "arguments": { "days": 7 } } }));
        assert_eq!(check(&nav).unwrap(), Scope::ReadLive);
        let export = task(json!({ "export": { "table": "trades", "arguments": { "format": "jsonl" } } }));
        assert_eq!(check(&export).unwrap(), Scope::ReadExports);
        for (wrong, place) in [
            (json!({ "question": { "name": "nothing" } }), "what.question.name"),
            (
                json!({ "question": { "name": "get_nav_history", "arguments": { "days": 0 } } }),
                "what.question.arguments.days",
            ),
            (json!({ "question": { "name": "get_nav_history", "arguments": { "x": 1 } } }), "what.question.arguments"),
            (json!({ "export": { "table": "secrets" } }), "what.export.table"),
            (json!({ "export": { "table": "nav", "arguments": { "gzip": "y" } } }), "what.export.arguments.gzip"),
        ] {
            let faults = check(&task(wrong.clone())).unwrap_err();
            assert!(faults[0].path.starts_with(place), "{wrong}: {}", faults[0].path);
        }
    }

    #[test]
    fn the_path_of_an_export_holds_its_filters() {
        let Task::Export(export) = task(json!({ "export": { "table": "trades", "arguments": {
            "symbols": ["BTC-PERP", "ETH PERP"], "afterWatermark": 7, "gzip": true } } }))
        else {
            panic!("an export")
        };
        assert_eq!(path(&export), "/api/export/trades?symbols=BTC-PERP%2CETH+PERP&afterWatermark=7&gzip=true");
        let bare = ExportTask { table: "nav".into(), arguments: serde_json::Map::new() };
        assert_eq!(path(&bare), "/api/export/nav");
    }
}
