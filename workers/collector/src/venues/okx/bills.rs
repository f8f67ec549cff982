//! OKX bills into events and cash flows: pure, by the table of section 4 of the venue notes.
//!
//! The bill of a fill states its money once more, under the same id, and counts only where the fill is
//! not to be had. Dollar amounts are rounded to ten places.

use codash_domain::{Asset, EventType, Fee, Price, Timestamp};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::flows;
use super::markets::{self, Contracts, MARGIN_FILLS, Name, SPOT_FILLS};
use super::parse::{bill_key, kind_of, or_zero, order_ref, put_size, sized};
use crate::pricing::{Exchange, Prices, negated};
use crate::venues::wire::{Dec, Meaning, Millis, Text, blank, filled, parse_each};
use crate::venues::{Parsed, Record, Role};

pub const BILLS: &str = "bills";

/// GET /api/v5/account/bills and /bills-archive.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bill {
    pub bill_id: Text,
    #[serde(rename = "type")]
    pub kind: Text,
    #[serde(default, deserialize_with = "filled")]
    pub sub_type: Option<Text>,
    #[serde(default, deserialize_with = "filled")]
    inst_type: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    inst_id: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    ord_id: Option<Text>,
    pub ccy: String,
    #[serde(default, deserialize_with = "filled")]
    pub bal_chg: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    pub pos_bal_chg: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    pnl: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    fee: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    px: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    sz: Option<Dec>,
    #[serde(default, deserialize_with = "filled")]
    pub from: Option<Text>,
    #[serde(default, deserialize_with = "filled")]
    pub to: Option<Text>,
    pub ts: Millis,
}

impl Bill {
    pub fn key(&self) -> String {
        bill_key(&self.bill_id)
    }

    pub fn at(&self) -> Timestamp {
        self.ts.0
    }

    /// The first amount that is not nothing: money of an isolated position leaves the account's own
    /// balance as it is, and is told as PnL or as a change of the position's balance.
    fn moved(&self) -> Decimal {
        let amounts = [self.bal_chg, self.pnl, self.pos_bal_chg].map(or_zero);
        amounts.into_iter().find(|amount| !amount.is_zero()).unwrap_or_default()
    }

    /// Funding is told as PnL, whatever the margin mode.
    fn funding(&self) -> Decimal {
        let amounts = [self.pnl, self.bal_chg, self.pos_bal_chg].map(or_zero);
        amounts.into_iter().find(|amount| !amount.is_zero()).unwrap_or_default()
    }

    /// Where the fill that this bill states again is found.
    fn fill_stream(&self) -> Option<&'static str> {
        markets::fills_stream(self.inst_type.as_deref(), self.inst_id.as_deref()?)
    }

    /// What the bill says of a trade or a forced close; `None` for the other kinds of bill.
    fn of_a_fill(&self) -> Option<EventType> {
        match self.kind.0.as_str() {
            // A clawback of a delivery is no part of any fill.
            "3" if self.sub_type.as_ref().is_some_and(|sub| sub.0 == "117") => None,
            "2" | "14" => Some(kind_of(self.sub_type.as_ref())),
            "3" => Some(EventType::SystemClose),
            "5" => Some(EventType::Liquidation),
            "9" => Some(EventType::Adl),
            _ => None,
        }
    }
}

/// Bills: funding, interest and whatever else no fill carries; fills once more; cash flows.
pub fn bills(rows: &[Box<RawValue>], contracts: &Contracts, prices: &dyn Prices) -> Parsed {
    parse_each(rows, |bill: Bill, raw| {
        if let Some(kind) = flows::kind_of_bill(&bill.kind.0) {
            return Ok(Meaning::CashFlows(flows::of_bill(&bill, kind, raw, prices)?));
        }
        bill_row(&bill, raw, contracts, prices).map(Some).map(Meaning::from)
    })
}

fn bill_row(bill: &Bill, raw: &str, contracts: &Contracts, prices: &dyn Prices) -> Result<Record, String> {
    let mut exchange = Exchange::new(prices, bill.at());
    let of_a_fill = bill.of_a_fill();
    let is_funding = bill.kind.0 == "8";
    let kind = of_a_fill.unwrap_or(if is_funding { EventType::Funding } else { EventType::Unknown });
    let mut event = blank(BILLS, bill.key(), kind, bill.at(), raw);
    if of_a_fill.is_some() {
        event.realized_pnl_usd = exchange.derived(or_zero(bill.pnl), &bill.ccy)?;
        let fee = negated(or_zero(bill.fee));
        event.fee_usd = exchange.derived(fee, &bill.ccy)?;
        event.fee = Some(Fee { amount: fee, asset: Asset::new(&bill.ccy) });
        event.order_ref = bill.inst_id.as_deref().and_then(|id| order_ref(id, bill.ord_id.as_ref()));
    } else if is_funding {
        event.funding_usd = exchange.derived(bill.funding(), &bill.ccy)?;
    } else {
        // Fees, where there are any, are in the change of the balance already.
        event.realized_pnl_usd = exchange.derived(bill.moved(), &bill.ccy)?;
    }
    event.price = bill.px.map(|price| Price::new(price.0));
    if let Some(id) = bill.inst_id.as_deref() {
        event.symbol = markets::symbol(id);
        event.native_symbol = Some(id.into());
        // Of a spot trade a bill is one leg, whose size is in whichever asset moved.
        let is_contract = Name::of(id).is_some_and(|name| !name.is_spot());
        let has_size = is_contract && (is_funding || of_a_fill.is_some());
        if let (true, Some(size), Some(price)) = (has_size, bill.sz, bill.px) {
            let quote = Name::of(id).map(|name| name.quote()).unwrap_or_default();
            // Its worth is no money of the bill: one of a contract that is listed no more does without.
            let sized = sized(id, size.0, price.0, quote, contracts)?;
            if sized.notional.is_some() {
                put_size(&mut event, &mut exchange, sized)?;
            }
        }
    }
    event.unpriced = exchange.unpriced;
    Ok(Record { event, role: bill_role(bill) })
}

/// A trade's money is on the fill of the same id; the bill counts only where that is lost.
fn bill_role(bill: &Bill) -> Role {
    match (bill.of_a_fill(), bill.fill_stream()) {
        (Some(_), Some(stream)) => Role::UnlessFill { stream, native_id: bill.key() },
        _ => Role::Primary,
    }
}

/// Leaves out the bills of spot and margin trades. Such a trade moves two assets, so it has two bills,
/// and its fill has the id of but one: held back by id, the other would be counted again. OKX keeps
/// fills and bills equally long, so the fill is always to be had.
pub fn without_legs(mut parsed: Parsed) -> Parsed {
    parsed.records.retain(|record| {
        !matches!(&record.role, Role::UnlessFill { stream, .. } if [SPOT_FILLS, MARGIN_FILLS].contains(stream))
    });
    parsed
}

/// The streams of fills that a page of bills tells of.
pub fn markets_of_bills(rows: &[Box<RawValue>]) -> Vec<String> {
    let bills = rows.iter().filter_map(|raw| serde_json::from_str::<Bill>(raw.get()).ok());
    let streams = bills.filter(|bill| bill.of_a_fill().is_some()).filter_map(|bill| {
        let stream = bill.fill_stream()?;
        Some(format!("{stream}:{}", bill.inst_id?))
    });
    let streams: std::collections::BTreeSet<String> = streams.collect();
    streams.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::PriceBook;
    use crate::venues::okx::markets::Contract;

    #[test]
    fn bills_of_fills_wait_for_the_fill_and_legs_of_spot_trades_are_left_out() {
        let bill = |id: u32, kind: u32, sub: u32, market: &str| {
            format!(
                r#"{{"billId":"{id}","type":"{kind}","subType":"{sub}","ccy":"USDT","ts":"1767225600000","balChg":"-6","pnl":"-5","fee":"-1","px":"100","sz":"2",{market}}}"#
            )
        };
        let (swap, spot) =
            (r#""instType":"SWAP","instId":"BTC-USDT-SWAP""#, r#""instType":"SPOT","instId":"BTC-USDT""#);
        let list = [
            bill(1, 2, 5, swap),
            bill(2, 5, 104, swap),
            bill(3, 9, 125, swap),
            bill(4, 3, 112, swap),
            bill(5, 3, 117, swap),
            bill(6, 2, 2, spot),
            bill(7, 7, 9, r#""instId":"""#),
            bill(8, 250, 250, swap),
        ];
        let page: Vec<Box<RawValue>> = serde_json::from_str(&format!("[{}]", list.join(","))).unwrap();
        let mut contracts = Contracts::default();
        contracts.add("BTC-USDT-SWAP", Contract { value: Decimal::new(1, 2), is_inverse: false, settle: None });
        let parsed = without_legs(bills(&page, &contracts, &PriceBook::default()));
        assert_eq!(parsed.unreadable, []);
        let told: Vec<String> = parsed.records.iter().map(|r| {
            let waits = matches!(&r.role, Role::UnlessFill { stream: "swap.fills", native_id } if *native_id == r.event.native_id);
            format!("{} {} {} {waits}", r.event.native_id, r.event.event_type.as_str(), r.event.net_pnl_impact_usd().unwrap())
        }).collect();
        let expected = [
            "okx:bill:1 trade -6 true",
            "okx:bill:2 liquidation -6 true",
            "okx:bill:3 adl -6 true",
            "okx:bill:4 system_close -6 true",
            "okx:bill:5 unknown -6 false",
            "okx:bill:7 unknown -6 false",
            "okx:bill:8 unknown -6 false",
        ];
        assert_eq!(told, expected);
        assert_eq!(markets_of_bills(&page), ["spot.fills:BTC-USDT", "swap.fills:BTC-USDT-SWAP"]);
    }
}
