//! One row of each type: whose money, which way, in which wallet.

use codash_domain::{CashFlow, EventType};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::ledger::{dexes, ledger};
use crate::pricing::PriceBook;
use crate::venues::Parsed;
use crate::venues::wire::rows;

const US: &str = "0xAb00000000000000000000000000000000000001";
const OURS: &str = "0xab00000000000000000000000000000000000001";
const THEIRS: &str = "0xcd00000000000000000000000000000000000002";

fn parsed(deltas: &[Value]) -> Parsed {
    let row = |delta: &Value| json!({ "time": 1_767_225_600_000_i64, "hash": "0x1", "delta": delta });
    let body = Value::from(deltas.iter().map(row).collect::<Vec<_>>()).to_string();
    let prices = PriceBook::fixed([("HYPE".to_owned(), Decimal::from(40))]);
    ledger(&rows("ledger", &body).unwrap(), US, &prices)
}

/// Wallet, amount, asset, kind and value of each flow of a row.
fn flows(delta: Value) -> Vec<String> {
    let parsed = parsed(&[delta]);
    assert!(parsed.unreadable.is_empty(), "{:?}", parsed.unreadable);
    assert!(parsed.records.is_empty());
    let show = |flow: &CashFlow| {
        let value = flow.value_usd.map_or("?".into(), |value| value.to_string());
        format!("{} {} {} {} {value}", flow.wallet, flow.amount.normalize(), flow.asset, flow.kind)
    };
    parsed.cash_flows.iter().map(show).collect()
}

#[test]
fn money_from_and_to_outside_has_one_side_and_the_fee_in_it() {
    assert_eq!(flows(json!({ "type": "deposit", "usdc": "100.5" })), ["perp 100.5 USDC deposit 100.5"]);
    let withdraw = json!({ "type": "withdraw", "usdc": "999", "nonce": 1, "fee": "1.0" });
    assert_eq!(flows(withdraw), ["perp -1000 USDC withdrawal -1000"]);
    let gas = json!({ "type": "accountActivationGas", "amount": "1.0", "token": "USDC" });
    assert_eq!(flows(gas), ["spot -1 USDC withdrawal -1"]);
    let genesis = json!({ "type": "spotGenesis", "token": "UP", "amount": "12.5" });
    assert_eq!(flows(genesis), ["spot 12.5 UP deposit ?"]);
}

#[test]
fn money_between_wallets_has_two_sides() {
    let class = |to_perp: bool| json!({ "type": "accountClassTransfer", "usdc": "12.0", "toPerp": to_perp });
    assert_eq!(flows(class(true)), ["spot -12 USDC transfer -12", "perp 12 USDC transfer 12"]);
    assert_eq!(flows(class(false)), ["perp -12 USDC transfer -12", "spot 12 USDC transfer 12"]);
    let staked = json!({ "type": "cStakingTransfer", "token": "HYPE", "amount": "5", "isDeposit": true });
    assert_eq!(flows(staked), ["spot -5 HYPE transfer -200", "staking 5 HYPE transfer 200"]);
    let vault = json!({ "type": "vaultDeposit", "vault": THEIRS, "usdc": "7" });
    assert_eq!(flows(vault), ["perp -7 USDC transfer -7", "vault 7 USDC transfer 7"]);
    let back = json!({ "type": "vaultWithdraw", "vault": THEIRS, "user": OURS, "requestedUsd": "10", "commission": "1",
                       "closingCost": "0", "basis": "0", "netWithdrawnUsd": "9" });
    assert_eq!(flows(back), ["vault -10 USDC transfer -10", "perp 9 USDC transfer 9"]);
    let to_dex = json!({ "type": "send", "user": OURS, "destination": OURS, "sourceDex": "spot", "destinationDex": "flx",
                         "token": "USDH", "amount": "30", "usdcValue": "30", "fee": "0", "nativeTokenFee": "0", "feeToken": "" });
    assert_eq!(flows(to_dex), ["spot -30 USDH transfer -30", "perp 30 USDH transfer 30"]);
}

#[test]
fn the_addresses_say_which_way_and_the_sender_pays() {
    let send = |user: &str, destination: &str| {
        json!({ "type": "spotTransfer", "token": "PURR", "amount": "10", "usdcValue": "2.5", "user": user,
                "destination": destination, "fee": "1.0", "nativeTokenFee": "0.00002", "nonce": null, "feeToken": "" })
    };
    assert_eq!(
        flows(send(OURS, THEIRS)),
        ["spot -10 PURR transfer -2.5", "spot -1 USDC transfer -1", "spot -0.00002 HYPE transfer -0.0008"]
    );
    assert_eq!(flows(send(THEIRS, OURS)), ["spot 10 PURR transfer 2.5"]);
    let inner = json!({ "type": "internalTransfer", "usdc": "20", "user": US, "destination": THEIRS, "fee": "1" });
    assert_eq!(flows(inner), ["perp -21 USDC transfer -21"]);
    let sub = json!({ "type": "subAccountTransfer", "usdc": "20", "user": THEIRS, "destination": US });
    assert_eq!(flows(sub), ["perp 20 USDC transfer 20"]);
    let strangers =
        parsed(&[json!({ "type": "internalTransfer", "usdc": "20", "user": THEIRS, "destination": THEIRS })]);
    assert_eq!((strangers.unreadable.len(), strangers.cash_flows.len()), (1, 0));
}

#[test]
fn hyperevm_is_outside() {
    let to = |address: &str| json!({ "type": "spotTransfer", "token": "USDC", "amount": "5", "user": OURS, "destination": address, "fee": "0" });
    assert_eq!(flows(to("0x20000000000000000000000000000000000000c5")), ["spot -5 USDC withdrawal -5"]);
    assert_eq!(flows(to("0x2222222222222222222222222222222222222222")), ["spot -5 USDC withdrawal -5"]);
    assert_eq!(flows(to("0x2222222222222222222222222222222222222223")), ["spot -5 USDC transfer -5"]);
}

#[test]
fn a_vaults_own_ledger_is_the_other_side() {
    let mine = |kind: &str| json!({ "type": kind, "vault": US, "usdc": "7", "user": THEIRS, "netWithdrawnUsd": "7" });
    assert_eq!(flows(mine("vaultDeposit")), ["perp 7 USDC transfer 7"]);
    assert_eq!(flows(mine("vaultWithdraw")), ["perp -7 USDC transfer -7"]);
}

#[test]
fn a_loan_is_told_apart_and_what_is_lent_stays_where_it_is() {
    let loan = |operation: &str| json!({ "type": "borrowLend", "token": "USDC", "operation": operation, "amount": "1000.0", "interestAmount": "0.934" });
    assert_eq!(flows(loan("borrow")), ["spot 1000 USDC loan 1000"]);
    assert_eq!(flows(loan("repay")), ["spot -1000 USDC loan -1000"]);
    assert!(flows(loan("supply")).is_empty());
    assert_eq!(parsed(&[loan("dance")]).unreadable.len(), 1);
}

#[test]
fn what_is_earned_or_unknown_is_an_event_with_its_money_and_a_liquidation_is_nothing() {
    let parsed = parsed(&[
        json!({ "type": "rewardsClaim", "amount": "2", "token": "HYPE" }),
        json!({ "type": "rewardsClaim", "amount": "255.89", "token": "" }),
        json!({ "type": "vaultDistribution", "vault": THEIRS, "usdc": "3.5" }),
        json!({ "type": "newThing", "user": { "deep": true }, "usdc": {} }),
        json!({ "type": "liquidation", "liquidatedNtlPos": "1", "accountValue": "-1", "liquidatedPositions": [] }),
    ]);
    let money: Vec<String> =
        parsed.records.iter().map(|record| record.event.realized_pnl_usd.unwrap().to_string()).collect();
    assert_eq!(money, ["80", "255.89", "3.5", "0"]);
    assert!(parsed.records.iter().all(|record| record.event.event_type == EventType::Unknown));
    assert!(parsed.cash_flows.is_empty() && parsed.unreadable.is_empty());
}

#[test]
fn rows_of_one_transaction_have_ids_of_their_own_however_they_are_read() {
    let deposit = |usdc: &str| json!({ "type": "deposit", "usdc": usdc });
    let all = parsed(&[deposit("1"), deposit("2"), deposit("2")]).cash_flows;
    let ids: std::collections::BTreeSet<&str> = all.iter().map(|flow| flow.native_id.as_str()).collect();
    assert_eq!(ids.len(), 3);
    let again = parsed(&[deposit("2.0")]).cash_flows;
    assert_eq!(again[0].native_id, all[1].native_id);
}

#[test]
fn the_exchanges_that_money_went_to_are_learnt() {
    let send = json!({ "time": 1, "delta": { "type": "send", "sourceDex": "", "destinationDex": "flx" } });
    let page = rows("ledger", &json!([send, 7]).to_string()).unwrap();
    assert_eq!(dexes(&page).collect::<Vec<_>>(), ["", "flx"]);
}
