//! What was earned and paid in a window, symbol by symbol.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use super::number;
use super::prices::Prices;
use crate::exchange::Exchange;
use crate::model::*;

/// `BTC-PERP`, `BTC-270326`.
pub(super) fn spelled(contract: &Contract) -> String {
    match (contract.kind, contract.symbol.split_once('_')) {
        (ContractKind::Dated { .. }, Some((_, date))) => format!("{}-{date}", contract.base),
        _ => format!("{}-PERP", contract.base),
    }
}

#[derive(Debug, Default)]
struct Line {
    native_symbols: BTreeSet<String>,
    realized: Decimal,
    funding: Decimal,
    fees: Decimal,
    events: BTreeMap<&'static str, u64>,
}

impl Line {
    fn add(&mut self, event: &'static str, realized: Decimal, funding: Decimal, fees: Decimal) {
        self.realized += realized;
        self.funding += funding;
        self.fees += fees;
        *self.events.entry(event).or_default() += 1;
    }

    fn figures(&self) -> Map<String, Value> {
        let mut figures = Map::new();
        figures.insert("realizedPnlUsd".to_owned(), number(self.realized));
        figures.insert("fundingUsd".to_owned(), number(self.funding));
        figures.insert("feesUsd".to_owned(), number(self.fees));
        figures.insert("netPnlUsd".to_owned(), number(self.realized + self.funding - self.fees));
        figures.insert("events".to_owned(), json!(self.events));
        figures
    }
}

#[derive(Debug, Default)]
pub(super) struct Sums {
    /// What belongs to no market comes last.
    lines: BTreeMap<(bool, String), Line>,
}

impl Sums {
    fn line(&mut self, symbol: Option<(&str, &str)>) -> &mut Line {
        let (symbol, native) = symbol.unzip();
        let line = self.lines.entry((symbol.is_none(), symbol.unwrap_or_default().to_owned())).or_default();
        line.native_symbols.extend(native.map(str::to_owned));
        line
    }

    pub(super) fn by_symbol(&self) -> Vec<Value> {
        let line = |((nowhere, symbol), line): (&(bool, String), &Line)| {
            let mut row = Map::new();
            row.insert("symbol".to_owned(), if *nowhere { Value::Null } else { json!(symbol) });
            row.insert("nativeSymbols".to_owned(), json!(line.native_symbols));
            row.append(&mut line.figures());
            Value::Object(row)
        };
        self.lines.iter().map(line).collect()
    }

    pub(super) fn totals(&self) -> Value {
        let mut total = Line::default();
        for line in self.lines.values() {
            total.realized += line.realized;
            total.funding += line.funding;
            total.fees += line.fees;
            for (event, count) in &line.events {
                *total.events.entry(event).or_default() += count;
            }
        }
        Value::Object(total.figures())
    }
}

pub(super) fn fold(exchange: &Exchange, account: AccountId, from: Millis, at: Millis, prices: &mut Prices) -> Sums {
    let mut sums = Sums::default();
    let universe = exchange.market().universe();
    for (place, market) in universe.spot.iter().enumerate() {
        let symbol = format!("{}-{}", market.base, market.quote);
        for fill in exchange.spot_fills(account, SpotId(place)).iter().filter(|fill| within(fill.time, from, at)) {
            let fee = prices.usd_of(&fill.commission_asset, fill.commission, fill.time);
            sums.line(Some((&symbol, &market.symbol))).add("trade", Decimal::ZERO, Decimal::ZERO, fee);
        }
    }
    let forced: BTreeMap<u64, ForcedKind> =
        exchange.usdm_orders(account).iter().filter_map(|order| Some((order.id, order.forced?))).collect();
    for (place, contract) in universe.usdm.iter().enumerate() {
        let symbol = spelled(contract);
        for fill in exchange.usdm_fills(account, UsdmId(place)).iter().filter(|fill| within(fill.time, from, at)) {
            let event = match forced.get(&fill.order_id) {
                Some(ForcedKind::Liquidation) => "liquidation",
                Some(ForcedKind::Adl) => "adl",
                None => "trade",
            };
            let realized = prices.usd_of(&fill.margin_asset, fill.realized_pnl, fill.time);
            let fee = prices.usd_of(&fill.commission_asset, fill.commission, fill.time);
            sums.line(Some((&symbol, &contract.symbol))).add(event, realized, Decimal::ZERO, fee);
        }
    }
    let names: BTreeMap<&str, String> =
        universe.usdm.iter().map(|contract| (contract.symbol.as_str(), spelled(contract))).collect();
    for row in exchange.income(account).iter().filter(|row| within(row.time, from, at)) {
        if matches!(row.income_type, "REALIZED_PNL" | "COMMISSION" | "TRANSFER") {
            continue;
        }
        let amount = prices.usd_of(&row.asset, row.amount, row.time);
        let none = Decimal::ZERO;
        let line = sums.line(names.get_key_value(row.symbol.as_str()).map(|(native, ours)| (ours.as_str(), *native)));
        match row.income_type {
            "FUNDING_FEE" => line.add("funding", none, amount, none),
            "INSURANCE_CLEAR" => line.add("liquidation", amount, none, none),
            "DELIVERED_SETTELMENT" => line.add("system_close", amount, none, none),
            "COMMISSION_REBATE" | "REFERRAL_KICKBACK" | "API_REBATE" | "FEE_RETURN" => {
                line.add("unknown", none, none, -amount);
            }
            _ => line.add("unknown", amount, none, none),
        }
    }
    sums
}

fn within(time: Millis, from: Millis, at: Millis) -> bool {
    from <= time && time <= at
}
