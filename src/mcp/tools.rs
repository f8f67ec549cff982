//! The tool table: a row gives a question of `codash_analytics` its name, scope and words.
//!
//! To add a tool, write its question and add a row to [`TABLE`]. Schemas, reading of arguments and
//! the result follow from the question's types.

use std::sync::LazyLock;

use codash_analytics::input::{Invalid, input_schema, output_schema, read};
use codash_analytics::{
    Ctx, Error, Rule, activity_summary, largest_losses, list_accounts, nav_history, pnl_by_symbol, portfolio_summary,
    trade_events,
};
use codash_domain::{Scope, Scopes};
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use validator::Validate;

use super::result::raw;

/// In the order of the contract, which is the order in which an agent meets them.
static TABLE: LazyLock<Vec<Tool>> = LazyLock::new(|| {
    vec![
        tool(LIST_ACCOUNTS, |ctx, query| Box::pin(list_accounts::answer(ctx, query))),
        tool(GET_PORTFOLIO_SUMMARY, |ctx, query| Box::pin(portfolio_summary::answer(ctx, query))),
        tool(GET_NAV_HISTORY, |ctx, query| Box::pin(nav_history::answer(ctx, query))),
        tool(GET_TRADING_ACTIVITY_SUMMARY, |ctx, query| Box::pin(activity_summary::answer(ctx, query))),
        tool(GET_PNL_BY_SYMBOL, |ctx, query| Box::pin(pnl_by_symbol::answer(ctx, query))),
        tool(GET_TRADE_EVENTS, |ctx, query| Box::pin(trade_events::answer(ctx, query))),
        tool(GET_LARGEST_LOSS_EVENTS, |ctx, query| Box::pin(largest_losses::answer(ctx, query))),
    ]
});

const LIST_ACCOUNTS: Card = Card {
    name: "list_accounts",
    title: "List accounts",
    scope: Scope::ReadSummary,
    description: "Lists the exchange accounts and wallets that this key can see: id, name, venue, connection status \
        and last known value in USD. Call this first: other tools take the ids it returns. Takes no arguments. An \
        account whose status is not connected may lack recent data; statusDetail says why.",
};

const GET_PORTFOLIO_SUMMARY: Card = Card {
    name: "get_portfolio_summary",
    title: "Portfolio now",
    scope: Scope::ReadLive,
    description: "The latest stored net asset value and exposure, summed over the selected accounts, in USD. Use it \
        for \"what is it worth, how exposed is it\". Exposure counts derivative and margin positions at the venue's \
        mark: long and short are absolute amounts, gross = long + short, net = long - short. Spot holdings count in \
        the value, not in exposure. btcPrice and ethPrice are given only when a single account is selected. null \
        means not known yet, not zero.",
};

const GET_NAV_HISTORY: Card = Card {
    name: "get_nav_history",
    title: "Value over time",
    scope: Scope::ReadLive,
    description: "Net asset value and exposure over the last days (1 to 365, default 30), in USD, oldest point \
        first. Use it for trends and drawdowns. At most the 1500 most recent points are returned; truncated true \
        says that the series is longer. Deposits and withdrawals move the value without being profit or loss: take \
        profit and loss from get_pnl_by_symbol.",
};

const GET_TRADING_ACTIVITY_SUMMARY: Card = Card {
    name: "get_trading_activity_summary",
    title: "Trading activity totals",
    scope: Scope::ReadRaw,
    description: "Notional, fees, realized PnL, funding and forced closes in a window, in all, by account and by \
        symbol, in USD. Use it before reading single events. The window is from/to (inclusive, UTC), else the last \
        hours (1 to 2160, default 24). Fees are positive when paid, funding is positive when received. A forced \
        close is a liquidation, an auto-deleveraging or a close by the venue.",
};

const GET_PNL_BY_SYMBOL: Card = Card {
    name: "get_pnl_by_symbol",
    title: "PnL by symbol",
    scope: Scope::ReadSummary,
    description: "Realized PnL, funding, fees and net PnL of each symbol in a window, in USD, largest absolute net \
        first. Use it for \"what made or lost money\". netPnlUsd = realizedPnlUsd + fundingUsd - feesUsd; fees are \
        positive when paid, funding is positive when received; unrealized PnL is not in it. The window is from/to \
        (inclusive, UTC), else the last days (1 to 365, default 30). truncated true: more than limit symbols match; \
        totalSymbolCount says how many.",
};

const GET_TRADE_EVENTS: Card = Card {
    name: "get_trade_events",
    title: "Trade events",
    scope: Scope::ReadRaw,
    description: "Single events, newest first, a page at a time: trades, closed PnL, funding, liquidations, \
        auto-deleveraging and closes by the venue. Use it for evidence and detail; take totals from the summary \
        tools instead of adding up pages. The window is from/to (inclusive, UTC), by default the last 90 days. For \
        the next page pass nextCursor back as cursor with the same filters (the window is then kept); null means \
        the last page. feeUsd is positive when paid; null means that no price was known.",
};

const GET_LARGEST_LOSS_EVENTS: Card = Card {
    name: "get_largest_loss_events",
    title: "Largest losses",
    scope: Scope::ReadRaw,
    description: "The single events that lost most in a window, worst first, ranked by netPnlImpactUsd (realized \
        PnL + funding - fee of that event, negative for a loss). Use it to find what went wrong; then read around \
        occurredAt with get_trade_events. The window is from/to (inclusive, UTC), else the last days (1 to 365, \
        default 30).",
};

/// What a row says about itself.
#[derive(Debug, Clone, Copy)]
struct Card {
    name: &'static str,
    title: &'static str,
    scope: Scope,
    /// For an agent: when to use it, units, signs.
    description: &'static str,
}

/// A row of the table.
pub struct Tool {
    pub name: &'static str,
    pub scope: Scope,
    listed: Box<RawValue>,
    check: fn(&Value) -> Result<(), Vec<Invalid>>,
    ask: Ask,
}

type Ask =
    Box<dyn for<'a> Fn(&'a Ctx<'a>, &'a Value) -> BoxFuture<'a, Result<Box<RawValue>, Unanswered>> + Send + Sync>;

/// Why a tool gave no answer.
#[derive(Debug)]
pub enum Unanswered {
    Arguments(Vec<Invalid>),
    Rule(Rule),
    Store(codash_store::Error),
    /// The answer could not be written as JSON.
    Unwritable(serde_json::Error),
}

impl From<Error> for Unanswered {
    fn from(error: Error) -> Self {
        match error {
            Error::Rule(rule) => Self::Rule(rule),
            Error::Store(error) => Self::Store(error),
        }
    }
}

/// The tool of this name, whether or not the caller may use it.
pub fn find(name: &str) -> Option<&'static Tool> {
    TABLE.iter().find(|tool| tool.name == name)
}

/// What the documents say of a tool.
#[derive(Debug, Clone)]
pub struct About {
    pub name: &'static str,
    pub scope: Scope,
    pub description: String,
    /// Their names.
    pub arguments: Vec<String>,
}

/// Every tool.
pub fn all() -> Vec<About> {
    let about = |tool: &Tool| {
        let listed: Value = serde_json::from_str(tool.listed.get()).unwrap_or_default();
        let arguments = listed["inputSchema"]["properties"].as_object().into_iter().flatten();
        About {
            name: tool.name,
            scope: tool.scope,
            description: listed["description"].as_str().unwrap_or_default().to_owned(),
            arguments: arguments.map(|(name, _)| name.clone()).collect(),
        }
    };
    TABLE.iter().map(about).collect()
}

/// The tools that a key with these scopes may call.
fn allowed(scopes: &Scopes) -> impl Iterator<Item = &'static Tool> {
    TABLE.iter().filter(|tool| scopes.allows(tool.scope))
}

pub fn names(scopes: &Scopes) -> Vec<&'static str> {
    allowed(scopes).map(|tool| tool.name).collect()
}

/// What `tools/list` shows to a key with these scopes, as a JSON array.
pub fn listed(scopes: &Scopes) -> Box<RawValue> {
    raw(&allowed(scopes).map(|tool| &*tool.listed).collect::<Vec<&RawValue>>())
}

impl Tool {
    /// Holds arguments to the schema without asking: for those who ask later.
    pub fn check(&self, arguments: &Value) -> Result<(), Vec<Invalid>> {
        (self.check)(arguments)
    }

    /// Reads the arguments, asks the question and returns its answer as JSON, with every digit.
    pub async fn ask<'a>(&self, ctx: &'a Ctx<'a>, arguments: &'a Value) -> Result<Box<RawValue>, Unanswered> {
        (self.ask)(ctx, arguments).await
    }
}

fn tool<Q, A, F>(card: Card, question: F) -> Tool
where
    Q: DeserializeOwned + Validate + JsonSchema + Send + 'static,
    A: Serialize + JsonSchema + Send + 'static,
    F: for<'a> Fn(&'a Ctx<'a>, Q) -> BoxFuture<'a, Result<A, Error>> + Copy + Send + Sync + 'static,
{
    Tool {
        name: card.name,
        scope: card.scope,
        listed: raw(&describe::<Q, A>(card)),
        check: |arguments| read::<Q>(arguments).map(drop),
        ask: Box::new(move |ctx, arguments| {
            Box::pin(async move {
                let query = read::<Q>(arguments).map_err(Unanswered::Arguments)?;
                let answer = question(ctx, query).await?;
                to_raw_value(&answer).map_err(Unanswered::Unwritable)
            })
        }),
    }
}

fn describe<Q: JsonSchema, A: JsonSchema>(card: Card) -> Value {
    json!({
        "name": card.name,
        "title": card.title,
        "description": card.description,
        "inputSchema": input_schema::<Q>(),
        "outputSchema": output_schema::<A>(),
        "annotations": {
            "readOnlyHint": true,
            "destructiveHint": false,
            "idempotentHint": true,
            "openWorldHint": false,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(scopes: &[Scope]) -> Vec<Value> {
        serde_json::from_str(listed(&Scopes::new(scopes.iter().copied())).get()).unwrap()
    }

    fn names_for(scopes: &[Scope]) -> Vec<String> {
        list(scopes).iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Every schema below this one, itself included, with its place.
    fn walk(schema: &Value, place: &str, visit: &mut impl FnMut(&str, &Value)) {
        visit(place, schema);
        for (key, nested) in schema["properties"].as_object().into_iter().flatten() {
            walk(nested, &format!("{place}.{key}"), visit);
        }
        for key in ["items", "additionalProperties"] {
            if schema.get(key).is_some_and(|s| s != &Value::Bool(false)) {
                walk(&schema[key], &format!("{place}.{key}"), visit);
            }
        }
        for key in ["anyOf", "oneOf", "allOf"] {
            for (i, nested) in schema[key].as_array().into_iter().flatten().enumerate() {
                walk(nested, &format!("{place}.{key}[{i}]"), visit);
            }
        }
    }

    /// The words that a string schema allows, whether spelled `enum` or `oneOf` constants.
    fn values(schema: &Value) -> Vec<&str> {
        let plain = schema["enum"].as_array().into_iter().flatten();
        let described = schema["oneOf"].as_array().into_iter().flatten().map(|option| &option["const"]);
        plain.chain(described).filter_map(Value::as_str).collect()
    }

    #[test]
    fn the_umbrella_sees_the_seven_tools_in_the_contracts_order() {
        let contract = [
            "list_accounts",
            "get_portfolio_summary",
            "get_nav_history",
            "get_trading_activity_summary",
            "get_pnl_by_symbol",
            "get_trade_events",
            "get_largest_loss_events",
        ];
        assert_eq!(names_for(&[Scope::Read]), contract);
        assert_eq!(names(&Scopes::full()), contract);
    }

    #[test]
    fn a_narrower_key_sees_the_tools_of_its_family() {
        assert_eq!(names_for(&[Scope::ReadSummary]), ["list_accounts", "get_pnl_by_symbol"]);
        assert_eq!(names_for(&[Scope::ReadLive]), ["get_portfolio_summary", "get_nav_history"]);
        assert_eq!(
            names_for(&[Scope::ReadRaw]),
            ["get_trading_activity_summary", "get_trade_events", "get_largest_loss_events"]
        );
        assert!(names_for(&[Scope::ReadExports, Scope::WriteAccounts]).is_empty());
    }

    #[test]
    fn every_tool_says_what_it_is_and_that_it_only_reads() {
        for tool in list(&[Scope::Read]) {
            let name = tool["name"].as_str().unwrap();
            assert!(name.len() <= 64 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert!(!tool["title"].as_str().unwrap().is_empty());
            let description = tool["description"].as_str().unwrap();
            assert!((80..900).contains(&description.len()), "{name}: {}", description.len());
            assert!(!description.contains("  ") && !description.contains('\n'), "{name}");
            assert_eq!(tool["annotations"]["readOnlyHint"], true);
            assert_eq!(tool["annotations"]["destructiveHint"], false);
        }
    }

    #[test]
    fn arguments_are_closed_and_never_null() {
        for tool in list(&[Scope::Read]) {
            let schema = &tool["inputSchema"];
            assert_eq!(schema["type"], "object", "{}", tool["name"]);
            assert_eq!(schema["additionalProperties"], false, "{}", tool["name"]);
            assert!(schema["properties"].is_object(), "{}", tool["name"]);
            assert!(schema.get("required").is_none(), "{}: every argument is optional", tool["name"]);
            walk(schema, "", &mut |place, nested| {
                let typed = nested["type"].is_string() || nested["oneOf"].is_array();
                assert!(typed, "{}{place}: {nested}", tool["name"]);
                assert_ne!(nested["type"], "null", "{}{place}", tool["name"]);
            });
            for (argument, nested) in schema["properties"].as_object().unwrap() {
                assert!(nested["description"].is_string(), "{}.{argument} has no description", tool["name"]);
            }
        }
    }

    #[test]
    fn the_arguments_are_those_of_the_contract() {
        let accounts = ["accountId", "accountIds"];
        let expected: [(&str, &[&str]); 7] = [
            ("list_accounts", &[]),
            ("get_portfolio_summary", &accounts),
            ("get_nav_history", &["accountId", "accountIds", "days"]),
            (
                "get_trading_activity_summary",
                &["accountId", "accountIds", "from", "to", "hours", "symbols", "eventTypes"],
            ),
            ("get_pnl_by_symbol", &["accountId", "accountIds", "from", "to", "days", "symbols", "limit"]),
            (
                "get_trade_events",
                &["accountId", "accountIds", "from", "to", "symbols", "eventTypes", "limit", "cursor"],
            ),
            ("get_largest_loss_events", &["accountId", "accountIds", "from", "to", "days", "symbols", "limit"]),
        ];
        for (tool, (name, arguments)) in list(&[Scope::Read]).iter().zip(expected) {
            assert_eq!(tool["name"], name);
            let said: Vec<&String> = tool["inputSchema"]["properties"].as_object().unwrap().keys().collect();
            assert_eq!(said, arguments, "{name}");
        }
    }

    #[test]
    fn defaults_and_bounds_are_those_of_the_contract() {
        let tools = list(&[Scope::Read]);
        let argument = |tool: &str, name: &str| -> Value {
            let tool = tools.iter().find(|t| t["name"] == tool).unwrap();
            tool["inputSchema"]["properties"][name].clone()
        };
        for (tool, name, kind, default, min, max) in [
            ("get_nav_history", "days", "integer", 30, 1, 365),
            ("get_trading_activity_summary", "hours", "number", 24, 1, 2160),
            ("get_pnl_by_symbol", "days", "integer", 30, 1, 365),
            ("get_pnl_by_symbol", "limit", "integer", 100, 1, 2000),
            ("get_trade_events", "limit", "integer", 100, 1, 1000),
            ("get_largest_loss_events", "days", "integer", 30, 1, 365),
            ("get_largest_loss_events", "limit", "integer", 25, 1, 500),
        ] {
            let schema = argument(tool, name);
            assert_eq!(schema["type"], kind, "{tool}.{name}: {schema}");
            assert_eq!(schema["default"], default, "{tool}.{name}: {schema}");
            assert_eq!((&schema["minimum"], &schema["maximum"]), (&json!(min), &json!(max)), "{tool}.{name}: {schema}");
        }
        assert_eq!(argument("get_trade_events", "accountIds")["maxItems"], 100);
        assert_eq!(argument("get_trade_events", "eventTypes")["maxItems"], 7);
        assert_eq!(
            values(&argument("get_trade_events", "eventTypes")["items"]),
            ["trade", "closed_pnl", "funding", "liquidation", "adl", "system_close", "unknown"]
        );
    }

    #[test]
    fn answers_are_open_objects_with_null_spelled_out() {
        for tool in list(&[Scope::Read]) {
            let schema = &tool["outputSchema"];
            assert_eq!(schema["type"], "object", "{}", tool["name"]);
            walk(schema, "", &mut |place, nested| {
                let place = format!("{}{place}", tool["name"]);
                assert!(nested.is_object(), "{place}: a bare {nested}");
                assert!(!nested["type"].is_array(), "{place}: null belongs in anyOf");
                assert_ne!(nested["additionalProperties"], false, "{place}: closed");
                assert!(nested.get("$ref").is_none(), "{place}: a reference");
            });
            assert!(!schema["required"].as_array().unwrap().is_empty(), "{}", tool["name"]);
        }
    }
}
