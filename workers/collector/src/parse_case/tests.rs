//! Every recorded case becomes what is written down beside it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use codash_domain::money::parse_decimal;

use super::*;

/// `expected.json` beside a venue's recorded cases: what is to come of those without a `canonical`
/// or a `snapshot`, and where ccxt's reading is another.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// Cases that give no line, and why.
    nothing: BTreeMap<String, String>,
    /// What is found at a pointer in a line (the first, unless said).
    sensible: Vec<Sensible>,
    /// Cases whose `expected` (ccxt's reading) differs from ours in a field, and why.
    ccxt: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sensible {
    case: String,
    #[serde(default)]
    line: usize,
    pointer: String,
    value: Value,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn lines(name: &str) -> Vec<Value> {
    parse_case(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn text(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The folders of recorded cases; two venues may share one.
fn folders() -> Vec<String> {
    let folders = std::fs::read_dir(root()).unwrap();
    folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect()
}

fn expected(folder: &str) -> Expected {
    serde_json::from_str(&text(&format!("{folder}/expected.json"))).unwrap_or_else(|e| panic!("{folder}: {e}"))
}

fn fixtures_of(folder: &str) -> BTreeSet<String> {
    let files = std::fs::read_dir(root().join(folder)).unwrap();
    let names = files.map(|file| format!("{folder}/{}", file.unwrap().file_name().to_string_lossy()));
    names.filter(|name| !name.ends_with("/expected.json")).collect()
}

fn all_fixtures() -> BTreeSet<String> {
    folders().iter().flat_map(|folder| fixtures_of(folder)).collect()
}

/// Numbers are compared as exact decimals, everything else as written.
fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) => {
            parse_decimal(a.as_str()).unwrap() == parse_decimal(b.as_str()).unwrap()
        }
        _ => ours == theirs,
    }
}

fn assert_same(name: &str, ours: &Value, theirs: &Value) {
    let (ours, theirs) = (ours.as_object().unwrap(), theirs.as_object().unwrap());
    assert!(ours.keys().eq(theirs.keys()), "{name}: {:?}", ours.keys());
    for (key, expected) in theirs {
        assert!(same(&ours[key], expected), "{name}: {key} is {}, not {expected}", ours[key]);
    }
}

#[test]
fn every_recorded_case_becomes_what_the_fixture_says() {
    let (mut with_rows, mut with_snapshot) = (0, 0);
    for name in all_fixtures() {
        let fixture: Value = serde_json::from_str(&text(&name)).unwrap();
        if let Some(rows) = fixture["canonical"].as_array() {
            let ours = lines(&name);
            assert_eq!(ours.len(), rows.len(), "{name}");
            ours.iter().zip(rows).for_each(|(ours, theirs)| assert_same(&name, ours, theirs));
            with_rows += 1;
        } else if fixture["snapshot"].is_object() {
            let ours = lines(&name);
            assert_eq!(ours.len(), 1, "{name}");
            assert_same(&name, &ours[0]["snapshot"], &fixture["snapshot"]);
            with_snapshot += 1;
        }
    }
    assert!(with_rows >= 60 && with_snapshot >= 26, "{with_rows} and {with_snapshot}");
}

#[test]
fn the_other_recorded_cases_have_a_sensible_outcome() {
    for folder in folders() {
        let expected = expected(&folder);
        for Sensible { case, line, pointer, value } in expected.sensible {
            let name = format!("{folder}/{case}");
            let lines = lines(&name);
            let ours = lines.get(line).and_then(|line| line.pointer(&pointer));
            let ours = ours.unwrap_or_else(|| panic!("{name}: nothing at {pointer}: {lines:?}"));
            assert!(same(ours, &value), "{name}: {pointer} is {ours}, not {value}");
        }
        for case in expected.nothing.keys() {
            assert_eq!(lines(&format!("{folder}/{case}")), [] as [Value; 0], "{folder}/{case}");
        }
    }
}

/// ccxt's fill beside ours: the fields in which they differ.
fn differences(ours: &Value, theirs: &Value) -> BTreeSet<&'static str> {
    let decimal = |value: &Value| match value {
        Value::Number(number) => parse_decimal(number.as_str()).ok(),
        _ => None,
    };
    let close = |a: &Value, b: &Value| match (decimal(a), decimal(b)) {
        // ccxt calculates with doubles.
        (Some(a), Some(b)) => (a - b).abs() <= b.abs() * rust_decimal::Decimal::new(1, 9),
        (a, b) => a == b,
    };
    let mut differ = BTreeSet::new();
    let ours_at = ours["occurredAt"].as_str().map(|at| at.parse::<Timestamp>().unwrap().millis());
    if ours_at != theirs["timestamp"].as_i64() {
        differ.insert("timestamp");
    }
    if ours["side"] != theirs["side"] {
        differ.insert("side");
    }
    for (our, their) in [("price", "price"), ("qty", "amount")] {
        if !close(&ours[our], &theirs[their]) {
            differ.insert(their);
        }
    }
    let in_dollars = theirs["fee"]["currency"].as_str().is_some_and(|asset| crate::pricing::PEGGED.contains(&asset));
    if in_dollars && !close(&ours["feeUsd"], &theirs["fee"]["cost"]) {
        differ.insert("fee");
    }
    differ
}

#[test]
fn where_ccxt_reads_a_fill_otherwise_the_reason_is_written_down() {
    let (mut compared, mut unexplained) = (0, vec![]);
    for folder in folders() {
        let reasons = expected(&folder).ccxt;
        for name in fixtures_of(&folder) {
            let fixture: Value = serde_json::from_str(&text(&name)).unwrap();
            let case = name.split_once('/').unwrap().1;
            let told: BTreeSet<&str> =
                reasons.get(case).into_iter().flatten().map(|(field, _)| field.as_str()).collect();
            let theirs = fixture["expected"].as_array().map(Vec::as_slice).unwrap_or_default();
            let is_fill =
                |row: &&Value| row["side"].is_string() && row["price"].is_number() && row["amount"].is_number();
            let theirs: Vec<&Value> = theirs.iter().filter(is_fill).collect();
            let ours = if theirs.is_empty() || !fixture["canonical"].is_array() { vec![] } else { lines(&name) };
            let mut differ = BTreeSet::new();
            for their in &theirs {
                // ccxt sorts by time and leaves the order of equals to chance: the best match is meant.
                let best = ours.iter().map(|our| differences(our, their)).min_by_key(BTreeSet::len);
                differ.extend(best.unwrap_or_default());
                compared += usize::from(!ours.is_empty());
            }
            if differ != told {
                unexplained.push(format!("{name}: ccxt differs in {differ:?}; expected.json explains {told:?}"));
            }
        }
    }
    assert_eq!(unexplained, [] as [String; 0]);
    assert!(compared >= 195, "{compared}");
}

#[test]
fn no_recorded_case_is_left_out() {
    for folder in folders() {
        let expected = expected(&folder);
        let listed: BTreeSet<&String> =
            expected.nothing.keys().chain(expected.sensible.iter().map(|s| &s.case)).collect();
        for name in fixtures_of(&folder) {
            let fixture: Value = serde_json::from_str(&text(&name)).unwrap();
            let told = fixture["canonical"].is_array() || fixture["snapshot"].is_object();
            let case = name.split_once('/').unwrap().1.to_owned();
            assert!(told || listed.contains(&case), "{name} is in no list");
        }
    }
}

#[test]
fn a_case_that_nobody_can_read_says_what_can_be_read() {
    let case = |venue: &str, endpoint: &str| {
        parse_case(&format!(r#"{{"venue":"{venue}","endpoint":"{endpoint}","response":[]}}"#))
    };
    assert!(case("binance", "/api/v3/order").unwrap_err().contains("/fapi/v1/userTrades"));
    assert!(case("hyperliquid", "exchange").unwrap_err().contains("userFillsByTime"));
    assert!(case("mtgox", "/0/private/Ledgers").unwrap_err().contains("mtgox"));
    assert!(parse_case("{").unwrap_err().starts_with("not a recorded case"));
}

#[test]
fn a_record_that_cannot_be_read_is_a_line_of_its_own() {
    let case = r#"{"venue":"binance","endpoint":"/fapi/v1/income","query":{},"response":[
        {"symbol":"","incomeType":"NEW_KIND","income":"1e-3","asset":"USDT","time":"1767225600000","tranId":1,"added":{}},
        {"symbol":"","incomeType":"NEW_KIND","income":"much","asset":"USDT","time":1767225600000,"tranId":2},
        {"symbol":"","incomeType":"TRANSFER","income":"5","asset":"USDT","time":1767225600000,"tranId":3}]}"#;
    let lines = parse_case(case).unwrap();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (lines[0]["eventType"].as_str(), lines[0]["realizedPnlUsd"].to_string().as_str()),
        (Some("unknown"), "0.001")
    );
    assert!(lines[1]["unreadable"]["raw"].as_str().unwrap().contains("much"));
}

#[test]
fn an_envelope_that_is_not_the_venues_is_an_error_and_no_empty_list() {
    let case = r#"{"venue":"binance","endpoint":"/fapi/v1/income","response":{"html":"maintenance"}}"#;
    assert_eq!(parse_case(case).unwrap()[0]["error"]["class"], "unreadable");
}

/// Pointers to everything inside a value.
fn inside(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                inside(item, format!("{at}/{i}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                inside(field, format!("{at}/{name}"), found);
            }
        }
        _ => {}
    }
    found.push(at);
}

#[test]
fn nothing_that_a_venue_may_write_in_place_of_a_value_makes_us_panic() {
    let huge = "99999999999999999999999999999";
    let strange: Vec<Value> =
        ["null", "\"\"", "\"x\"", "-1", "{}", "[]", "[[]]", "true", "1e-40", "7922816251426433759354395033", huge]
            .map(|text| serde_json::from_str(text).unwrap())
            .into();
    for name in all_fixtures() {
        let text = text(&name);
        if text.len() > 3500 {
            continue;
        }
        let fixture: Value = serde_json::from_str(&text).unwrap();
        let mut pointers = vec![];
        inside(&fixture["response"], "/response".into(), &mut pointers);
        for pointer in pointers {
            for value in &strange {
                let mut case = fixture.clone();
                *case.pointer_mut(&pointer).unwrap() = value.clone();
                drop(parse_case(&case.to_string()));
            }
        }
    }
}
