//! Doors that Binance does not have: accounts, truth, faults, clock, meter, deposits.

use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::refused::{Answer, Refused};
use super::settings::Speed;
use super::words::{instant, parse_instant};
use super::world::{World, lock};
use crate::model::Millis;
use crate::truth;

const NOTE: &str = "A simulated exchange. All money here is play money; the keys open nothing else.";

/// Whether a path is one of these doors.
pub fn is_control(path: &str) -> bool {
    matches!(path, "/" | "/paper" | "/paper/deposit" | "/truth" | "/truth/accounts" | "/faults" | "/clock" | "/meter")
}

fn bad(message: impl Into<String>) -> Refused {
    Refused::with_status(400, -1130, message)
}

pub fn answer(world: &World, call: &Call) -> Answer {
    let real = (world.real)();
    match (call.method.as_str(), call.path.as_str()) {
        ("GET", "/") => Ok(index()),
        ("GET", "/paper") => Ok(paper(world)),
        ("POST", "/paper/deposit") => deposit(world, &object(call)?),
        ("GET", "/truth") => the_truth(world, call),
        ("GET", "/truth/accounts") => {
            Ok(world.accounts.iter().map(|account| account.name.as_str()).collect::<Vec<_>>().into())
        }
        ("GET", "/faults") => Ok(world.faults.report()),
        ("PUT", "/faults") => {
            world.faults.set(Value::Object(object(call)?), real).map_err(bad)?;
            Ok(world.faults.report())
        }
        ("DELETE", "/faults") => {
            world.faults.clear(real);
            Ok(world.faults.report())
        }
        ("GET", "/clock") => Ok(lock(&world.clock).describe(real)),
        ("POST", "/clock") => set_clock(world, &object(call)?),
        ("GET", "/meter") => Ok(lock(&world.meter).report(real)),
        ("DELETE", "/meter") => {
            lock(&world.meter).reset();
            Ok(lock(&world.meter).report(real))
        }
        (_, path) => Err(Refused::with_status(405, -1, format!("{path} does not take {}", call.method))),
    }
}

/// The body of a control request.
fn object(call: &Call) -> Result<Map<String, Value>, Refused> {
    serde_json::from_str(&call.body).map_err(|error| bad(format!("the body is no JSON object: {error}")))
}

fn index() -> Value {
    json!({
        "what": "codash paper exchange",
        "note": NOTE,
        "doors": {
            "/api/v3, /sapi/v1": "Binance's spot and wallet API",
            "/fapi/v1, /fapi/v2, /fapi/v3": "Binance's USD-M futures API",
            "GET /paper": "accounts and their keys",
            "POST /paper/deposit": "money from nowhere: {account, asset, amount}",
            "GET /truth?account=&from=&at=": "what every figure of an account is",
            "GET /truth/accounts": "names of the accounts",
            "GET, PUT, DELETE /faults": "fault switches and their log",
            "GET, POST /clock": "the exchange's time: {advanceMs} or {now} or {speed} or {mode}",
            "GET, DELETE /meter": "weights used, and requests sent while told to wait",
        },
    })
}

fn paper(world: &World) -> Value {
    let (exchange, now) = world.at_now();
    let settings = exchange.settings();
    let accounts: Vec<Value> = world
        .accounts
        .iter()
        .map(|account| {
            json!({
                "name": account.name,
                "readKey": account.read_key,
                "readSecret": account.read_secret,
                "tradeKey": account.trade_key,
                "tradeSecret": account.trade_secret,
            })
        })
        .collect();
    let clock = lock(&world.clock).describe((world.real)());
    json!({
        "note": NOTE,
        "seed": settings.seed,
        "origin": settings.origin,
        "originText": instant(settings.origin),
        "symbols": settings.symbols,
        "now": now,
        "nowText": instant(now),
        "mode": clock["mode"],
        "speed": clock["speed"],
        "accounts": accounts,
    })
}

fn the_truth(world: &World, call: &Call) -> Answer {
    let name = call.need("account")?;
    let account = world.account(name).ok_or_else(|| bad(format!("there is no account {name:?}")))?;
    let at_of = |name: &str| match call.text(name) {
        None => Ok(None),
        Some(text) => parse_instant(text).map(Some).ok_or_else(|| bad(format!("{name} is no instant"))),
    };
    let (from, at) = (at_of("from")?, at_of("at")?);
    let (exchange, now) = world.at_now();
    let (from, at) = (from.unwrap_or(exchange.settings().origin), at.unwrap_or(now));
    if at > now {
        return Err(bad(format!("at is after now, {}", instant(now))));
    }
    if from > at || at < exchange.settings().origin {
        return Err(bad("from is after at, or at is before the exchange began"));
    }
    Ok(truth::of(&exchange, account, from, at))
}

/// A decimal, as text or as a number.
fn decimal(value: Option<&Value>) -> Option<Decimal> {
    match value? {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

fn deposit(world: &World, body: &Map<String, Value>) -> Answer {
    let text = |name: &str| body.get(name).and_then(Value::as_str).ok_or_else(|| Refused::missing(name));
    let (name, asset) = (text("account")?, text("asset")?);
    let amount = decimal(body.get("amount")).filter(|amount| *amount < Decimal::from(1_000_000_000_000_i64));
    let amount = amount.ok_or_else(|| Refused::missing("amount"))?;
    let account = world.account(name).ok_or_else(|| bad(format!("there is no account {name:?}")))?;
    let (mut exchange, _) = world.at_now();
    let flow = exchange.deposit(account, asset, amount)?;
    world.keep(&exchange);
    Ok(json!({ "id": flow.id, "asset": flow.asset, "amount": amount.to_string(), "time": flow.time }))
}

fn set_clock(world: &World, body: &Map<String, Value>) -> Answer {
    const WORDS: [&str; 4] = ["advanceMs", "now", "speed", "mode"];
    if let Some(strange) = body.keys().find(|name| !WORDS.contains(&name.as_str())) {
        return Err(bad(format!("{strange} is none of {}", WORDS.join(", "))));
    }
    let real = (world.real)();
    let speed = match (body.get("mode").and_then(Value::as_str), body.get("speed")) {
        (Some("hand"), None) => Some(Speed::Hand),
        (Some("real"), None) => Some(Speed::REAL),
        (None, Some(Value::Number(speed))) => Some(speed.to_string().parse().map_err(bad)?),
        (None, Some(Value::String(speed))) => Some(speed.parse().map_err(bad)?),
        (None, None) => None,
        _ => return Err(bad("mode is hand or real; speed is a number")),
    };
    let millis = |value: &Value| match value {
        Value::String(text) => parse_instant(text),
        Value::Number(number) => number.as_i64(),
        _ => None,
    };
    let to: Option<Millis> = match (body.get("advanceMs"), body.get("now")) {
        (Some(by), None) => {
            let by = by.as_i64().filter(|by| *by >= 0).ok_or_else(|| bad("advanceMs is a number, not below 0"))?;
            let now = lock(&world.clock).now(real);
            Some(now.checked_add(by).ok_or_else(|| bad("advanceMs is too large"))?)
        }
        (None, Some(now)) => Some(millis(now).ok_or_else(|| bad("now is no instant"))?),
        (None, None) => None,
        (Some(_), Some(_)) => return Err(bad("advanceMs or now, not both")),
    };
    /// A hand that slips should not make centuries.
    const FARTHEST: Millis = 400 * 24 * 3600 * 1000;
    {
        let mut clock = lock(&world.clock);
        if to.is_some_and(|to| to.saturating_sub(clock.now(real)) > FARTHEST) {
            return Err(bad("not more than 400 days at once"));
        }
        if let Some(speed) = speed {
            clock.set_speed(speed, real);
        }
        if let Some(to) = to {
            clock.move_to(to, real).map_err(bad)?;
        }
    }
    world.keep_time();
    // What happens in that time happens now, so that the next request is quick.
    drop(world.at_now());
    let now = lock(&world.clock).describe((world.real)());
    Ok(now)
}
