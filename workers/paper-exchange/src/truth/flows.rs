//! Money that came, went, or changed places: no profit, no loss.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{number, rfc3339};
use crate::exchange::Exchange;
use crate::model::*;

/// Signed per wallet and asset, by time. A transfer is a row in each wallet, a conversion a row for each asset;
/// the fee of a withdrawal is part of its amount.
pub(super) fn list(exchange: &Exchange, account: AccountId, from: Millis, at: Millis) -> Vec<Value> {
    let mut rows: Vec<(Millis, u64, Value)> = Vec::new();
    for flow in exchange.flows_between(account, from, at) {
        let mut add = |id: String, kind: &str, wallet: &str, amount: Decimal| {
            rows.push((flow.time, flow.id, row(id, kind, wallet, &flow.asset, amount, flow.time)));
        };
        let id = flow.id;
        match flow.kind {
            FlowKind::Deposit => add(format!("deposit:{id}"), "deposit", "spot", flow.amount),
            FlowKind::Withdrawal => add(format!("withdrawal:{id}"), "withdrawal", "spot", -(flow.amount + flow.fee)),
            FlowKind::ToUsdm | FlowKind::ToSpot => {
                let amount = if flow.kind == FlowKind::ToUsdm { flow.amount } else { -flow.amount };
                add(format!("transfer:{id}:spot"), "transfer", "spot", -amount);
                add(format!("transfer:{id}:usdm"), "transfer", "usdm", amount);
            }
        }
    }
    for conversion in exchange.conversions_between(account, from, at) {
        let id = conversion.id;
        for (part, asset, amount) in [
            ("from", &conversion.from_asset, -conversion.from_amount),
            ("to", &conversion.to_asset, conversion.to_amount),
        ] {
            let value = row(format!("conversion:{id}:{part}"), "conversion", "spot", asset, amount, conversion.time);
            rows.push((conversion.time, id, value));
        }
    }
    rows.sort_by_key(|(time, id, _)| (*time, *id));
    rows.into_iter().map(|(.., row)| row).collect()
}

fn row(id: String, kind: &str, wallet: &str, asset: &str, amount: Decimal, at: Millis) -> Value {
    json!({ "id": id, "kind": kind, "wallet": wallet, "asset": asset, "amount": number(amount), "at": rfc3339(at) })
}
