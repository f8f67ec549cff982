//! Random requests: arguments by the schemas of the contract, ids of everybody, bodies of every change.

use std::cell::Cell;

use reqwest::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use chrono::TimeDelta;

use super::sides::{Reply, Sent, Side, accounts};
use crate::exports::TABLES;
use crate::rest::Dice;
use crate::tenants::{Tenant, now};

/// The id of nothing.
const NOBODY: &str = "00000000-0000-4000-8000-00000000000a";

/// What can be named in a request, as the server of both tenants spells it.
pub struct Pools {
    accounts: Vec<String>,
    made: Vec<String>,
    cursors: Vec<String>,
    tags: Vec<String>,
}

impl Pools {
    pub fn new(tenant: u8) -> Self {
        let accounts = accounts(tenant).map(|id| id.to_string()).to_vec();
        Self { accounts, made: vec![], cursors: vec![], tags: vec![] }
    }

    /// Keeps what an answer shows: ids, cursors, tags of versions.
    pub fn learn(&mut self, wish: &Wish, reply: &Reply) {
        let answer = reply.json();
        if reply.status < 300 && wish.is_change {
            super::texts(&answer, &mut |_, text| self.keep(Uuid::parse_str(text).is_ok(), text), "");
        }
        let mut cursor = None;
        super::texts(
            &answer,
            &mut |name, text| cursor = (name == "nextCursor").then(|| text.to_owned()).or(cursor.take()),
            "",
        );
        self.cursors.extend(cursor);
        let is_version = |tag: &str| tag.trim_matches('"').parse::<u32>().is_ok();
        let tags = reply.headers.iter().filter(|(name, tag)| *name == "etag" && is_version(tag));
        self.tags.extend(tags.map(|(_, tag)| tag.clone()));
        for pool in [&mut self.cursors, &mut self.tags] {
            pool.drain(..pool.len().saturating_sub(40));
        }
    }

    fn keep(&mut self, is_id: bool, text: &str) {
        if is_id && text != NOBODY && !self.made.iter().chain(&self.accounts).any(|known| known == text) {
            self.made.push(text.to_owned());
        }
    }

    /// Every id of this tenant.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.accounts.iter().chain(&self.made).map(String::as_str)
    }
}

/// A request before it is known which server gets it.
#[derive(Debug, Clone)]
pub struct Wish {
    pub name: String,
    sent: Sent,
    pub is_change: bool,
    /// It names something of the other tenant.
    pub is_foreign: bool,
}

impl Wish {
    /// Ids that are new, in an order that is not theirs.
    pub fn shows_what_was_made(&self) -> bool {
        self.is_change || self.name.ends_with("/runs") || self.name.contains("/deliveries")
    }

    pub fn as_is(&self) -> Sent {
        self.sent.clone()
    }

    pub fn translated(&self, to: impl Fn(&str) -> String) -> Sent {
        let Sent { method, path, headers, body } = self.sent.clone();
        let headers = headers.into_iter().map(|(name, value)| (name, to(&value))).collect();
        Sent { method, path: to(&path), headers, body: body.map(|body| to(&body)) }
    }
}

/// Everything that can be asked: name, method or tool, path, properties of the arguments.
pub struct Wishes {
    reads: Vec<(String, String, Value)>,
    /// Reads take turns.
    turn: Cell<usize>,
    tools: Vec<(String, Value)>,
}

const CHANGES: [&str; 16] = [
    "POST /api/portfolios",
    "PATCH /api/portfolios/{id}",
    "DELETE /api/portfolios/{id}",
    "PATCH /api/accounts/{id}",
    "POST /api/accounts/{id}/sync",
    "POST /api/automations",
    "PATCH /api/automations/{id}",
    "DELETE /api/automations/{id}",
    "POST /api/automations/{id}/run",
    "POST /api/automations/webhooks",
    "PATCH /api/automations/webhooks/{id}",
    "DELETE /api/automations/webhooks/{id}",
    "POST /api/automations/deliveries/{id}/redeliver",
    "POST /api/settings/ai-keys",
    "POST /api/keys/self/children",
    "DELETE /api/keys/self/children/{id}",
];

impl Wishes {
    pub async fn of(side: &Side, tenant: &Tenant) -> Self {
        let document = codash::openapi::document();
        let mut reads = Vec::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            let Some(operation) = operations.get("get") else { continue };
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let of_query = parameters.iter().filter(|parameter| parameter["in"] == "query");
            let properties: Map<String, Value> = of_query
                .map(|parameter| (parameter["name"].as_str().unwrap().to_owned(), parameter["schema"].clone()))
                .collect();
            reads.push((format!("GET {path}"), path.clone(), properties.into()));
        }
        let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
        let sent = Sent { method: Method::POST, path: "/mcp".into(), headers: vec![], body: Some(list) };
        let listed = side.ask(tenant, &sent).await.json();
        let of_tool =
            |tool: &Value| (tool["name"].as_str().unwrap().to_owned(), tool["inputSchema"]["properties"].clone());
        let tools: Vec<_> = listed["result"]["tools"].as_array().unwrap().iter().map(of_tool).collect();
        assert_eq!(tools.len(), 7);
        Self { reads, turn: Cell::new(0), tools }
    }

    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.reads.iter().map(|(name, ..)| name).chain(self.tools.iter().map(|(name, _)| name))
    }

    /// Opens to no key, or to an id that chance seldom finds.
    pub fn is_closed(&self, name: &str) -> bool {
        name.contains("{id}") || ["GET /api/owners", "GET /api/keys", "GET /api/audit"].contains(&name)
    }

    pub fn any(&self, dice: &mut Dice, own: &Pools, other: &Pools) -> Wish {
        let mut names = Names { own, other, is_foreign: false };
        let (name, mut sent, is_change) = match dice.roll(10) {
            0..5 => self.read(dice, &mut names),
            5..7 => self.tool(dice, &mut names),
            7 => grouped(dice, &mut names),
            _ => change(dice, &mut names),
        };
        if dice.roll(8) == 0 {
            let tags = if dice.roll(2) == 0 { &own.tags } else { &other.tags };
            if let Some(tag) = some(dice, tags) {
                sent.headers.push((if is_change { "if-match" } else { "if-none-match" }, tag));
            }
        }
        Wish { name, sent, is_change, is_foreign: names.is_foreign }
    }

    fn read(&self, dice: &mut Dice, names: &mut Names<'_>) -> (String, Sent, bool) {
        let (name, path, properties) = &self.reads[self.turn.get() % self.reads.len()];
        self.turn.set(self.turn.get() + 1);
        let arguments = arguments(properties, dice, names);
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Array(items) => {
                items.iter().map(|i| i.as_str().map_or(i.to_string(), str::to_owned)).collect::<Vec<_>>().join(",")
            }
            other => other.to_string(),
        };
        let query: Vec<String> = arguments.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
        let path = filled(path, dice, names);
        let sent =
            Sent { method: Method::GET, path: format!("{path}?{}", query.join("&")), headers: vec![], body: None };
        (name.clone(), sent, false)
    }

    fn tool(&self, dice: &mut Dice, names: &mut Names<'_>) -> (String, Sent, bool) {
        let (name, properties) = &self.tools[index(dice, self.tools.len())];
        let arguments = arguments(properties, dice, names);
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": name, "arguments": arguments } });
        (name.clone(), post("/mcp", &call), false)
    }
}

fn post(path: &str, body: &Value) -> Sent {
    Sent { method: Method::POST, path: path.to_owned(), headers: vec![], body: Some(body.to_string()) }
}

fn index(dice: &mut Dice, length: usize) -> usize {
    usize::try_from(dice.roll(length as u64)).unwrap()
}

fn some(dice: &mut Dice, of: &[String]) -> Option<String> {
    (!of.is_empty()).then(|| of[index(dice, of.len())].clone())
}

/// Names for things, of everybody.
struct Names<'a> {
    own: &'a Pools,
    other: &'a Pools,
    is_foreign: bool,
}

impl Names<'_> {
    fn pick(&mut self, dice: &mut Dice, of: impl Fn(&Pools) -> Vec<String>) -> Value {
        let found = match dice.roll(8) {
            0..6 => some(dice, &of(self.own)),
            6 => {
                let found = some(dice, &of(self.other));
                self.is_foreign |= found.is_some();
                found
            }
            _ => None,
        };
        found.unwrap_or_else(|| NOBODY.into()).into()
    }

    fn account(&mut self, dice: &mut Dice) -> Value {
        self.pick(dice, |pools| pools.accounts.clone())
    }

    fn made(&mut self, dice: &mut Dice) -> Value {
        self.pick(dice, |pools| pools.made.clone())
    }
}

fn filled(path: &str, dice: &mut Dice, names: &mut Names<'_>) -> String {
    let id = if path.contains("/accounts/") { names.account(dice) } else { names.made(dice) };
    path.replace("{table}", dice.pick(&TABLES)).replace("{provider}", "anthropic").replace("{id}", id.as_str().unwrap())
}

/// Each argument now and then, with a value that its schema allows or nearly so.
fn arguments(properties: &Value, dice: &mut Dice, names: &mut Names<'_>) -> Map<String, Value> {
    let mut arguments = Map::new();
    for (name, schema) in properties.as_object().into_iter().flatten() {
        if dice.roll(4) == 0 {
            arguments.insert(name.clone(), value(name, schema, dice, names));
        }
    }
    arguments
}

fn value(name: &str, schema: &Value, dice: &mut Dice, names: &mut Names<'_>) -> Value {
    let several = |dice: &mut Dice, one: &mut dyn FnMut(&mut Dice) -> Value| -> Value {
        (0..=dice.roll(3)).map(|_| one(dice)).collect()
    };
    match name {
        "accountId" => names.account(dice),
        "accountIds" => several(dice, &mut |dice| names.account(dice)),
        "portfolioId" | "actorId" => names.made(dice),
        "portfolioIds" => several(dice, &mut |dice| names.made(dice)),
        "cursor" => names.pick(dice, |pools| pools.cursors.clone()),
        "symbols" => {
            let symbols = ["BTC-PERP", "ETH-PERP", "OURCOIN-PERP", "THEIRCOIN-PERP"];
            names.is_foreign |= dice.roll(2) == 0;
            several(dice, &mut |dice| dice.pick(&symbols).into())
        }
        "from" => json!(now().minus(TimeDelta::minutes(40_000 + dice.roll(40_000)))),
        "to" => json!(now().minus(TimeDelta::minutes(dice.roll(40_000)))),
        "afterWatermark" => dice.roll(60).into(),
        "columns" => json!(["id"]),
        _ => by_schema(schema, dice),
    }
}

fn by_schema(schema: &Value, dice: &mut Dice) -> Value {
    if let Some(values) = schema["enum"].as_array() {
        return values[index(dice, values.len())].as_str().unwrap_or("none").into();
    }
    match schema["type"].as_str() {
        Some("integer" | "number") => {
            let least = schema["minimum"].as_i64().unwrap_or(0);
            (least + dice.roll(60)).into()
        }
        Some("boolean") => (dice.roll(2) == 0).into(),
        Some("array") => json!([by_schema(&schema["items"], dice)]),
        _ => "x".into(),
    }
}

fn grouped(dice: &mut Dice, names: &mut Names<'_>) -> (String, Sent, bool) {
    let dimensions = ["symbol", "account", "venue", "tag", "eventType", "side", "day", "weekday", "portfolio"];
    let mut body = json!({ "groupBy": [dice.pick(&dimensions)] });
    if dice.roll(2) == 0 {
        body["accountIds"] = json!([names.account(dice)]);
    }
    if dice.roll(3) == 0 {
        body["pivotBy"] = dice.pick(&dimensions).into();
    }
    if dice.roll(4) == 0 {
        body["portfolioId"] = names.made(dice);
    }
    ("POST /api/pnl-analysis/query".into(), post("/api/pnl-analysis/query", &body), false)
}

/// Something is made, changed or removed, of one's own or, for all that is tried, of the other's.
fn change(dice: &mut Dice, names: &mut Names<'_>) -> (String, Sent, bool) {
    let name = dice.pick(&CHANGES);
    let (method, path) = name.split_once(' ').unwrap();
    let word = dice.pick(&["Desk", "Fund", "Book"]);
    let body = match name {
        "POST /api/portfolios" if dice.roll(2) == 0 => Some(json!({ "name": word, "parentId": names.made(dice) })),
        "POST /api/portfolios" => Some(json!({ "name": word })),
        "PATCH /api/portfolios/{id}" => Some(json!({ "name": word })),
        "PATCH /api/accounts/{id}" => Some(match dice.roll(3) {
            0 => json!({ "tags": [word] }),
            1 => json!({ "name": word }),
            _ => json!({ "portfolioId": names.made(dice) }),
        }),
        "POST /api/accounts/{id}/sync" => Some(json!({})),
        "POST /api/automations" => Some(json!({ "name": word, "when": { "trigger": {} }, "overlap": "queue",
            "webhooks": if dice.roll(2) == 0 { json!([names.made(dice)]) } else { json!([]) },
            "what": { "question": { "name": "get_pnl_by_symbol", "arguments": { "accountId": names.account(dice) } } } })),
        "PATCH /api/automations/{id}" => Some(json!({ "name": word, "webhooks": [names.made(dice)] })),
        "POST /api/automations/webhooks" => Some(json!({ "url": format!("https://{word}.example.com/") })),
        "PATCH /api/automations/webhooks/{id}" => Some(json!({ "disabled": dice.roll(2) == 0 })),
        "POST /api/settings/ai-keys" => Some(json!({ "provider": "anthropic", "key": "sk-ant-REDACTED" })),
        "POST /api/keys/self/children" => Some(json!({ "name": word, "accountIds": [names.account(dice)] })),
        _ => None,
    };
    let path = filled(path, dice, names);
    let mut headers = Vec::new();
    if method == "POST" && dice.roll(2) == 0 {
        // The same few on both sides: a key of one tenant is none of the other's.
        headers.push(("idempotency-key", format!("k{}", dice.roll(30))));
    }
    let method = method.parse().unwrap();
    (name.to_owned(), Sent { method, path, headers, body: body.map(|body| body.to_string()) }, true)
}
