//! userNonFundingLedgerUpdates: money that moved becomes cash flows, money of unknown meaning an
//! event. Pure.

use std::cell::RefCell;
use std::collections::BTreeMap;

use codash_domain::text::clean;
use codash_domain::{Asset, CashFlow, Event, EventType, FlowKind, Usd};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::parse::DOLLAR;
use crate::pricing::{Exchange, PEGGED, Prices, bounded};
use crate::venues::wire::{Dec, Meaning, Millis, Text, blank, parse_each};
use crate::venues::{Parsed, Record, Role};

pub const LEDGER: &str = "ledger";

pub const PERP: &str = "perp";
pub const SPOT: &str = "spot";
pub const VAULT: &str = "vault";
pub const STAKING: &str = "staking";

/// What a move to or from HyperEVM pays its gas in.
const GAS: &str = "HYPE";

#[derive(Debug, Deserialize)]
struct Row {
    time: Millis,
    #[serde(default)]
    hash: Option<String>,
    delta: Box<RawValue>,
}

/// All that the known types say; each says a few of these.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Delta {
    #[serde(deserialize_with = "amount")]
    usdc: Option<Decimal>,
    #[serde(deserialize_with = "amount")]
    amount: Option<Decimal>,
    token: Option<Text>,
    user: Option<String>,
    destination: Option<String>,
    vault: Option<String>,
    #[serde(deserialize_with = "amount")]
    fee: Option<Decimal>,
    fee_token: Option<String>,
    /// Gas, in the chain's own token whatever was sent.
    #[serde(deserialize_with = "amount")]
    native_token_fee: Option<Decimal>,
    /// What the venue says that `amount` was worth.
    #[serde(deserialize_with = "amount")]
    usdc_value: Option<Decimal>,
    to_perp: Option<bool>,
    is_deposit: Option<bool>,
    source_dex: Option<String>,
    destination_dex: Option<String>,
    operation: Option<String>,
    #[serde(deserialize_with = "amount")]
    requested_usd: Option<Decimal>,
    #[serde(deserialize_with = "amount")]
    net_withdrawn_usd: Option<Decimal>,
    nonce: Option<Text>,
}

/// A number, which may be left out, null or empty.
fn amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Decimal>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        value => Dec::deserialize(value).map(|amount| Some(amount.0)).map_err(serde::de::Error::custom),
    }
}

/// One side of a movement.
struct Leg {
    name: &'static str,
    kind: FlowKind,
    wallet: &'static str,
    asset: String,
    /// Positive into the wallet.
    amount: Decimal,
    /// Dollars per unit, where the venue says it.
    price: Option<Decimal>,
}

/// What a row means for the account.
enum Told {
    Moved(Vec<Leg>),
    Nothing,
    /// Neither a movement nor anything that we know.
    Unknown,
}

/// Rows of the ledger of `user`. Without the user, whose side a transfer is on is not known, and
/// such rows say nothing.
pub fn ledger(rows: &[Box<RawValue>], user: &str, prices: &dyn Prices) -> Parsed {
    let seen: RefCell<BTreeMap<String, u32>> = RefCell::default();
    parse_each(rows, |row: Row, raw| {
        let kind = kind(&row.delta)?;
        let told = match is_known(&kind) {
            true => read_delta(&row.delta)?.told(&kind, user)?,
            false => Told::Unknown,
        };
        let id = row.id(&kind, &mut seen.borrow_mut());
        Ok(match told {
            Told::Nothing => Meaning::Nothing,
            Told::Unknown => Meaning::from(Some(unknown(&row, id, raw, prices)?)),
            Told::Moved(legs) => {
                let moving = legs.into_iter().filter(|leg| !leg.amount.is_zero());
                Meaning::CashFlows(moving.map(|leg| flow(&row, &id, leg, raw, prices)).collect::<Result<_, _>>()?)
            }
        })
    })
}

/// The exchanges that rows name, for those where something may be held.
pub fn dexes(rows: &[Box<RawValue>]) -> impl Iterator<Item = String> {
    rows.iter().flat_map(|raw| {
        let delta = serde_json::from_str::<Row>(raw.get()).ok().and_then(|row| read_delta(&row.delta).ok());
        delta.into_iter().flat_map(|delta| [delta.source_dex, delta.destination_dex]).flatten()
    })
}

fn kind(delta: &RawValue) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(rename = "type")]
        kind: String,
    }
    serde_json::from_str::<Kind>(delta.get()).map(|kind| kind.kind).map_err(|error| error.to_string())
}

fn read_delta(delta: &RawValue) -> Result<Delta, String> {
    serde_json::from_str(delta.get()).map_err(|error| error.to_string())
}

/// Movements of money; `liquidation` among them, as the fills carry its money.
const KNOWN: [&str; 22] = [
    "accountActivationGas",
    "accountClassTransfer",
    "activateDexAbstraction",
    "borrowLend",
    "cStakingTransfer",
    "deployGasAuction",
    "deposit",
    "gossipPriorityGasAuction",
    "internalTransfer",
    "liquidation",
    "perpDexClassTransfer",
    "perpDexTransfer",
    "send",
    "spotGenesis",
    "spotTransfer",
    "subAccountSpotTransfer",
    "subAccountTransfer",
    "vaultCreate",
    "vaultDeposit",
    "vaultLeaderCommission",
    "vaultWithdraw",
    "withdraw",
];

fn is_known(kind: &str) -> bool {
    KNOWN.contains(&kind)
}

impl Row {
    /// The hash is shared by all rows of a transaction and is zero for some, so the content tells
    /// rows apart, and a count those of equal content. Equal rows are equal however few of a
    /// transaction's rows are read again.
    fn id(&self, kind: &str, seen: &mut BTreeMap<String, u32>) -> String {
        let delta = read_delta(&self.delta).unwrap_or_default();
        let amount = delta.usdc.or(delta.amount).or(delta.net_withdrawn_usd).unwrap_or_default().normalize();
        let token = delta.token.as_ref().map(|token| token.0.as_str()).unwrap_or_default();
        let other = delta.destination.or(delta.vault).unwrap_or_default().to_ascii_lowercase();
        let nonce = delta.nonce.map(|nonce| nonce.0).unwrap_or_default();
        let hash = self.hash.as_deref().unwrap_or_default();
        let text = format!("{kind}:{}:{hash}:{amount}:{token}:{other}:{nonce}", self.time.0.millis());
        let text = clean(&text, 400);
        let count = seen.entry(text.clone()).or_default();
        let id = format!("hyperliquid:ledger:{text}:{count}");
        *count += 1;
        id
    }
}

impl Delta {
    /// What a row of a known type means for `user`.
    fn told(&self, kind: &str, user: &str) -> Result<Told, String> {
        let legs = match kind {
            "deposit" => vec![self.credit(FlowKind::Deposit, PERP, DOLLAR, self.usdc()?)],
            // The fee comes on top of what is withdrawn.
            "withdraw" => vec![self.debit(FlowKind::Withdrawal, PERP, DOLLAR, sum(self.usdc()?, self.fee)?)],
            "accountClassTransfer" => match self.to_perp.ok_or("toPerp is missing")? {
                true => self.own(SPOT, PERP, DOLLAR, self.usdc()?),
                false => self.own(PERP, SPOT, DOLLAR, self.usdc()?),
            },
            "perpDexClassTransfer" => match self.to_perp.ok_or("toPerp is missing")? {
                true => self.own(SPOT, PERP, self.token(), self.money()?),
                false => self.own(PERP, SPOT, self.token(), self.money()?),
            },
            "perpDexTransfer" if self.destination.is_none() => self.own(PERP, PERP, self.token(), self.money()?),
            "internalTransfer" | "subAccountTransfer" => self.between(user, PERP, PERP)?,
            "spotTransfer" | "subAccountSpotTransfer" => self.between(user, SPOT, SPOT)?,
            "send" | "perpDexTransfer" => {
                self.between(user, wallet(&self.source_dex), wallet(&self.destination_dex))?
            }
            "vaultCreate" | "vaultDeposit" => self.vault_deposit(user)?,
            "vaultWithdraw" => self.vault_withdrawal(user)?,
            // Paid by the vault to its leader.
            "vaultLeaderCommission" => {
                match self.user.as_deref().is_none_or(|leader| leader.eq_ignore_ascii_case(user)) {
                    true => vec![self.credit(FlowKind::Transfer, PERP, DOLLAR, self.usdc()?)],
                    false => vec![self.debit(FlowKind::Transfer, PERP, DOLLAR, self.usdc()?)],
                }
            }
            "cStakingTransfer" => match self.is_deposit.ok_or("isDeposit is missing")? {
                true => self.own(SPOT, STAKING, self.token_or(GAS), self.money()?),
                false => self.own(STAKING, SPOT, self.token_or(GAS), self.money()?),
            },
            "borrowLend" => match self.operation.as_deref() {
                Some("borrow") => vec![self.credit(FlowKind::Loan, SPOT, self.token(), self.money()?)],
                Some("repay") => vec![self.debit(FlowKind::Loan, SPOT, self.token(), self.money()?)],
                // What is lent stays in the total of the spot balance.
                Some("supply" | "withdraw") => return Ok(Told::Nothing),
                other => return Err(format!("unknown operation {other:?}")),
            },
            "accountActivationGas" | "deployGasAuction" | "gossipPriorityGasAuction" => {
                vec![self.debit(FlowKind::Withdrawal, SPOT, self.token(), self.money()?)]
            }
            "spotGenesis" => match self.money()? {
                gone if gone.is_sign_negative() => vec![self.debit(FlowKind::Withdrawal, SPOT, self.token(), -gone)],
                came => vec![self.credit(FlowKind::Deposit, SPOT, self.token(), came)],
            },
            // Collateral between the account's own wallets; the row does not say which way.
            "activateDexAbstraction" | "liquidation" => return Ok(Told::Nothing),
            _ => return Ok(Told::Unknown),
        };
        Ok(Told::Moved(legs))
    }

    fn usdc(&self) -> Result<Decimal, String> {
        self.usdc.ok_or_else(|| "usdc is missing".into())
    }

    fn money(&self) -> Result<Decimal, String> {
        self.amount.or(self.usdc).ok_or_else(|| "amount is missing".into())
    }

    /// The token's name, which may be followed by its address. What has no name is dollars.
    fn token_or<'a>(&'a self, unnamed: &'a str) -> &'a str {
        let named = self.token.as_ref().map(|token| token.0.split(':').next().unwrap_or_default());
        named.filter(|name| !name.is_empty()).unwrap_or(unnamed)
    }

    fn token(&self) -> &str {
        self.token_or(DOLLAR)
    }

    /// Dollars per unit of the token, as the venue values this very movement.
    fn price(&self) -> Option<Decimal> {
        let amount = self.amount.filter(|amount| !amount.is_zero())?;
        self.usdc_value.filter(|value| !value.is_zero())?.checked_div(amount)
    }

    fn credit(&self, kind: FlowKind, wallet: &'static str, asset: &str, amount: Decimal) -> Leg {
        let price = if asset == self.token() { self.price() } else { None };
        Leg { name: "to", kind, wallet, asset: asset.into(), amount, price }
    }

    fn debit(&self, kind: FlowKind, wallet: &'static str, asset: &str, amount: Decimal) -> Leg {
        Leg { name: "from", amount: -amount, ..self.credit(kind, wallet, asset, amount) }
    }

    /// Between two wallets of the account.
    fn own(&self, source: &'static str, destination: &'static str, asset: &str, amount: Decimal) -> Vec<Leg> {
        let kind = FlowKind::Transfer;
        vec![self.debit(kind, source, asset, amount), self.credit(kind, destination, asset, amount)]
    }

    /// Between two accounts, or wallets of the same. The sender pays the fees.
    fn between(&self, user: &str, source: &'static str, destination: &'static str) -> Result<Vec<Leg>, String> {
        if user.is_empty() {
            return Ok(vec![]);
        }
        let [sender, receiver] = [&self.user, &self.destination].map(|address| address.as_deref().unwrap_or_default());
        let [sends, receives] = [sender, receiver].map(|address| address.eq_ignore_ascii_case(user));
        let kind = match (is_bridge(sender), is_bridge(receiver)) {
            (true, _) => FlowKind::Deposit,
            (_, true) => FlowKind::Withdrawal,
            _ => FlowKind::Transfer,
        };
        let (asset, amount) = (self.token(), self.money()?);
        let mut legs = vec![];
        if sends {
            let fee_asset = self.fee_token.as_deref().filter(|token| !token.is_empty()).unwrap_or(DOLLAR);
            let fee = self.fee.unwrap_or_default();
            if fee_asset == asset {
                legs.push(self.debit(kind, source, asset, sum(amount, self.fee)?));
            } else {
                legs.push(self.debit(kind, source, asset, amount));
                legs.push(Leg { name: "fee", ..self.debit(kind, source, fee_asset, fee) });
            }
            legs.push(Leg { name: "gas", ..self.debit(kind, SPOT, GAS, self.native_token_fee.unwrap_or_default()) });
        }
        if receives {
            legs.push(self.credit(kind, destination, asset, amount));
        }
        if legs.is_empty() {
            return Err("neither side of the transfer is this account".into());
        }
        Ok(legs)
    }

    fn is_vault(&self, user: &str) -> bool {
        !user.is_empty() && self.vault.as_deref().is_some_and(|vault| vault.eq_ignore_ascii_case(user))
    }

    fn vault_deposit(&self, user: &str) -> Result<Vec<Leg>, String> {
        let (kind, amount) = (FlowKind::Transfer, self.usdc()?);
        Ok(match self.is_vault(user) {
            true => vec![self.credit(kind, PERP, DOLLAR, amount)],
            false => {
                vec![self.debit(kind, PERP, DOLLAR, sum(amount, self.fee)?), self.credit(kind, VAULT, DOLLAR, amount)]
            }
        })
    }

    /// The share shrinks by what was asked for; commission and the cost of closing are kept from it.
    fn vault_withdrawal(&self, user: &str) -> Result<Vec<Leg>, String> {
        let kind = FlowKind::Transfer;
        let net = self.net_withdrawn_usd.or(self.usdc).ok_or("netWithdrawnUsd is missing")?;
        Ok(match self.is_vault(user) {
            true => vec![self.debit(kind, PERP, DOLLAR, net)],
            false => {
                let asked = self.requested_usd.unwrap_or(net);
                vec![self.debit(kind, VAULT, DOLLAR, asked), self.credit(kind, PERP, DOLLAR, net)]
            }
        })
    }
}

fn sum(amount: Decimal, fee: Option<Decimal>) -> Result<Decimal, String> {
    amount.checked_add(fee.unwrap_or_default()).ok_or_else(|| "the amount does not fit".into())
}

/// The exchange that a side of a `send` names: spot, or a perpetual one, of which the main has no name.
fn wallet(dex: &Option<String>) -> &'static str {
    if dex.as_deref() == Some(SPOT) { SPOT } else { PERP }
}

/// The addresses that stand for HyperEVM: one of HYPE, and one of each other token by its index.
fn is_bridge(address: &str) -> bool {
    let digits = address.strip_prefix("0x").unwrap_or_default();
    let hype = digits.len() == 40 && digits.bytes().all(|digit| digit == b'2');
    let token = digits
        .strip_prefix("20")
        .and_then(|rest| rest.get(..22))
        .is_some_and(|zeros| digits.len() == 40 && zeros.bytes().all(|digit| digit == b'0'));
    hype || token
}

fn flow(row: &Row, id: &str, leg: Leg, raw: &str, prices: &dyn Prices) -> Result<CashFlow, String> {
    let at = row.time.0;
    let stated = leg.price.filter(|_| !PEGGED.contains(&leg.asset.as_str()));
    let value_usd = match stated {
        Some(price) => {
            Some(Usd::convert(leg.amount, price).and_then(bounded).ok_or("the value is too large an amount")?)
        }
        None => Exchange::new(prices, at).stated(leg.amount, &leg.asset)?,
    };
    Ok(CashFlow {
        stream: LEDGER,
        native_id: format!("{id}:{}", leg.name),
        kind: leg.kind,
        occurred_at: at,
        wallet: leg.wallet,
        asset: Asset::new(&leg.asset),
        amount: leg.amount,
        value_usd,
        raw: raw.into(),
    })
}

/// Money that was not moved but earned or spent (a distribution, a reward), or of a type we do not know.
fn unknown(row: &Row, id: String, raw: &str, prices: &dyn Prices) -> Result<Record, String> {
    let delta: Value = serde_json::from_str(row.delta.get()).map_err(|error| error.to_string())?;
    let money = |field: &str| match delta.get(field) {
        Some(value @ (Value::String(_) | Value::Number(_))) => amount(value.clone()).map_err(|error| error.to_string()),
        _ => Ok(None),
    };
    let token = delta.get("token").and_then(Value::as_str).filter(|token| !token.is_empty()).unwrap_or(DOLLAR);
    let mut exchange = Exchange::new(prices, row.time.0);
    let mut event: Event = blank(LEDGER, id, EventType::Unknown, row.time.0, raw);
    event.realized_pnl_usd = match (money("usdc")?, money("amount")?) {
        (Some(dollars), _) => exchange.stated(dollars, DOLLAR)?,
        (None, Some(amount)) => exchange.stated(amount, token)?,
        (None, None) => Some(Usd::ZERO),
    };
    event.unpriced = exchange.unpriced;
    Ok(Record { event, role: Role::Primary })
}
