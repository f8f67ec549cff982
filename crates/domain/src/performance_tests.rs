//! Held to empyrical-reloaded by `fixtures/performance/vectors.json`, which its `generate.py` writes.

use rust_decimal::Decimal;
use serde::Deserialize;

use super::*;
use crate::money::parse_decimal;

fn d(text: &str) -> Decimal {
    parse_decimal(text).unwrap()
}

fn all(texts: &[&str]) -> Vec<Decimal> {
    texts.iter().map(|text| d(text)).collect()
}

#[derive(Debug, Deserialize)]
struct Vectors {
    annualization: u32,
    vectors: Vec<Vector>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    kind: String,
    returns: Vec<String>,
    risk_free: String,
    window: usize,
    growth: Option<serde_json::Number>,
    annual: Option<serde_json::Number>,
    volatility: Option<serde_json::Number>,
    sharpe: Option<serde_json::Number>,
    sortino: Option<serde_json::Number>,
    calmar: Option<serde_json::Number>,
    max_drawdown: Option<serde_json::Number>,
    rolling_sharpe: Vec<Option<serde_json::Number>>,
    rolling_volatility: Vec<Option<serde_json::Number>>,
    rolling_drawdown: Vec<Option<serde_json::Number>>,
}

/// To a part in 10^9, and no closer to zero than 10^-13, where the noise of doubles near one begins. What does not
/// fit a decimal (10^28) may be null where a double has a number.
fn agree(ours: Result<Decimal, Lack>, theirs: Option<&serde_json::Number>, what: &str) {
    match (ours, theirs.map(serde_json::Number::as_str)) {
        (Ok(ours), Some(text)) => {
            let theirs = parse_decimal(text).unwrap_or_else(|_| panic!("{what}: we say {ours}, they {text}"));
            let apart = (ours - theirs).abs();
            assert!(apart <= theirs.abs() * d("1e-9") + d("1e-13"), "{what}: we say {ours}, they {theirs}");
        }
        (Err(Lack::OutOfRange), Some(text)) => {
            let exponent: i32 = text.split_once("e+").map_or(0, |(_, e)| e.parse().unwrap());
            assert!(exponent >= 20, "{what}: {text} fits");
        }
        (Err(_), None) => {}
        (ours, theirs) => panic!("{what}: we say {ours:?}, they {theirs:?}"),
    }
}

#[test]
fn every_figure_agrees_with_the_vectors_and_is_none_where_they_have_none() {
    let text = include_str!("../fixtures/performance/vectors.json");
    let Vectors { annualization, vectors } = serde_json::from_str(text).unwrap();
    let year = Decimal::from(annualization);
    assert!(vectors.len() > 300);
    for (n, vector) in vectors.iter().enumerate() {
        let returns: Vec<Decimal> = vector.returns.iter().map(|text| d(text)).collect();
        let free = d(&vector.risk_free);
        let what = |figure: &str| format!("{figure} of vector {n} ({})", vector.kind);
        let grown = growth(&returns);
        let yearly = grown.and_then(|growth| annualized(growth, Decimal::from(returns.len()), year));
        agree(grown, vector.growth.as_ref(), &what("growth"));
        agree(yearly, vector.annual.as_ref(), &what("annual return"));
        agree(volatility(&returns, year), vector.volatility.as_ref(), &what("volatility"));
        agree(sharpe(&returns, free, year), vector.sharpe.as_ref(), &what("Sharpe"));
        agree(sortino(&returns, free, year), vector.sortino.as_ref(), &what("Sortino"));
        let depth = drawdown(&returns).unwrap().depth;
        agree(yearly.and_then(|yearly| calmar(yearly, depth)), vector.calmar.as_ref(), &what("Calmar"));
        agree(drawdown(&returns).map(|fall| fall.depth), vector.max_drawdown.as_ref(), &what("drawdown"));
        for (i, part) in returns.windows(vector.window).enumerate() {
            let of = |list: &[Option<serde_json::Number>]| list.get(i).cloned();
            if let Some(theirs) = of(&vector.rolling_sharpe) {
                agree(sharpe(part, free, year), theirs.as_ref(), &what("rolling Sharpe"));
            }
            if let Some(theirs) = of(&vector.rolling_volatility) {
                agree(volatility(part, year), theirs.as_ref(), &what("rolling volatility"));
            }
            if let Some(theirs) = of(&vector.rolling_drawdown) {
                agree(drawdown(part).map(|fall| fall.depth), theirs.as_ref(), &what("rolling drawdown"));
            }
        }
    }
}

#[test]
fn a_fall_names_its_peak_its_trough_and_its_recovery() {
    let fall = drawdown(&all(&["0.5", "-0.5", "-0.2", "1.5", "0.1", "-0.1"])).unwrap();
    assert_eq!((fall.depth, fall.peak, fall.trough, fall.recovery), (d("-0.6"), Some(0), 2, Some(3)));
    assert_eq!(fall.current, d("-0.1"));
    let at_once = drawdown(&all(&["-0.1", "0.05"])).unwrap();
    assert_eq!((at_once.peak, at_once.trough, at_once.recovery), (None, 0, None));
    let never = drawdown(&all(&["0.1", "0"])).unwrap();
    assert_eq!((never.depth, never.current), (Decimal::ZERO, Decimal::ZERO));
}

#[test]
fn what_cannot_be_said_has_its_reason() {
    let year = d("365");
    assert_eq!(growth(&[]), Err(Lack::NoData));
    assert_eq!(volatility(&all(&["0.1"]), year), Err(Lack::TooFewDays));
    assert_eq!(sharpe(&all(&["0.3", "0.3", "0.3"]), d("0.1"), year), Err(Lack::NoVariation));
    assert_eq!(sortino(&all(&["0.3", "0.1"]), Decimal::ZERO, year), Err(Lack::NoLosingDay));
    assert_eq!(calmar(d("0.3"), Decimal::ZERO), Err(Lack::NoDrawdown));
    assert_eq!(annualized(d("1000"), d("1"), year), Err(Lack::OutOfRange));
    assert_eq!(annualized(Decimal::ZERO, d("5"), year), Ok(d("-1")));
}

#[test]
fn a_daily_rate_compounds_to_the_yearly_one() {
    let rate = daily(d("0.05"), d("365")).unwrap();
    assert!((annualized(Decimal::ONE + rate, d("1"), d("365")).unwrap() - d("0.05")).abs() < d("1e-20"));
    assert_eq!(daily(Decimal::ZERO, d("365")), Some(Decimal::ZERO));
}
