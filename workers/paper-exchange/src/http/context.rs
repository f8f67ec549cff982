//! What an endpoint has at hand.

use serde_json::Value;

use super::call::Call;
use super::meter::Budgets;
use super::refused::Refused;
use super::security::Key;
use crate::exchange::Exchange;
use crate::faults::RowFaults;
use crate::model::{AccountId, Contract, ContractKind, Millis, SpotId, SpotMarket, UsdmId};

/// One request and the world it is asked of, at one instant.
pub struct Context<'a> {
    pub exchange: &'a mut Exchange,
    pub call: &'a Call,
    pub key: Option<&'a Key>,
    /// The exchange's time.
    pub now: Millis,
    /// What the server says the time is: a fault may skew it.
    pub shown_now: Millis,
    pub budgets: Budgets,
    pub faults: &'a RowFaults,
}

impl Context<'_> {
    /// The caller's account. Endpoints that ask for it are signed, so there is a key.
    pub fn account(&self) -> Result<AccountId, Refused> {
        self.key.map(|key| key.account).ok_or_else(Refused::key)
    }

    fn account_name(&self) -> &str {
        self.key.map_or("", |key| key.account_name.as_str())
    }

    pub fn spot_market(&self, id: SpotId) -> &SpotMarket {
        &self.exchange.market().universe().spot[id.0]
    }

    pub fn contract(&self, id: UsdmId) -> &Contract {
        &self.exchange.market().universe().usdm[id.0]
    }

    /// The spot market of the parameter `symbol`.
    pub fn spot_symbol(&self) -> Result<SpotId, Refused> {
        self.exchange.market().spot(self.call.need("symbol")?).ok_or_else(Refused::symbol)
    }

    /// The contract of the parameter `symbol`.
    pub fn usdm_symbol(&self) -> Result<UsdmId, Refused> {
        let id = self.exchange.market().usdm(self.call.need("symbol")?).ok_or_else(Refused::symbol)?;
        if is_onboard(self.contract(id), self.now) { Ok(id) } else { Err(Refused::symbol()) }
    }

    /// The spot markets that are asked for: one, some (`symbols`), or all. Says whether it was one.
    pub fn spot_symbols(&self) -> Result<(Vec<SpotId>, bool), Refused> {
        if self.call.text("symbol").is_some() {
            return Ok((vec![self.spot_symbol()?], true));
        }
        if let Some(list) = self.call.text("symbols") {
            let names: Vec<String> = serde_json::from_str(list).map_err(|_| Refused::illegal("symbols"))?;
            let ids = names.iter().map(|name| self.exchange.market().spot(name).ok_or_else(Refused::symbol));
            return Ok((ids.collect::<Result<_, _>>()?, false));
        }
        Ok(((0..self.exchange.market().universe().spot.len()).map(SpotId).collect(), false))
    }

    /// The contracts that are asked for: one, or all that trade now. Says whether it was one.
    pub fn usdm_symbols(&self) -> Result<(Vec<UsdmId>, bool), Refused> {
        if self.call.text("symbol").is_some() {
            return Ok((vec![self.usdm_symbol()?], true));
        }
        let contracts = self.exchange.market().universe().usdm.iter().enumerate();
        let trading = contracts.filter(|(_, contract)| trades(contract, self.now));
        Ok((trading.map(|(at, _)| UsdmId(at)).collect(), false))
    }

    /// Rows of history of one name, seen through the fault switches.
    pub fn feed<'f, T>(&'f self, name: &'f str, id: &'f dyn Fn(&T) -> String, time: fn(&T) -> Millis) -> Feed<'f, T> {
        Feed { name: format!("{}/{name}", self.account_name()), id, time, faults: self.faults, now: self.now }
    }
}

/// Whether a contract has been listed.
pub fn is_onboard(contract: &Contract, now: Millis) -> bool {
    match contract.kind {
        ContractKind::Perpetual => true,
        ContractKind::Dated { onboard, .. } => onboard <= now,
    }
}

/// Whether a contract can be traded now.
pub fn trades(contract: &Contract, now: Millis) -> bool {
    match contract.kind {
        ContractKind::Perpetual => true,
        ContractKind::Dated { onboard, delivery } => (onboard..delivery).contains(&now),
    }
}

/// Rows of one kind and one account, as the fault switches let them be seen.
pub struct Feed<'a, T> {
    name: String,
    id: &'a dyn Fn(&T) -> String,
    time: fn(&T) -> Millis,
    faults: &'a RowFaults,
    now: Millis,
}

impl<T> Feed<'_, T> {
    fn row(&self, record: &T) -> String {
        format!("{}/{}", self.name, (self.id)(record))
    }

    /// Whether a record has arrived, and has not expired.
    pub fn has(&self, record: &T) -> bool {
        let time = (self.time)(record);
        if self.faults.oldest(self.now).is_some_and(|oldest| time < oldest) {
            return false;
        }
        let may_be_late = self.faults.replay.is_some() || self.faults.rules.late_records.is_some();
        !(may_be_late && self.faults.hides(&self.row(record), time, self.now))
    }

    /// The record's row, as it is shown.
    pub fn show(&self, record: &T, mut row: Value) -> Value {
        self.faults.spoil(&self.row(record), (self.time)(record), self.now, &mut row);
        row
    }

    /// A page of records, shown.
    pub fn page<'r>(&self, records: impl IntoIterator<Item = &'r T>, json: impl Fn(&T) -> Value) -> Value
    where
        T: 'r,
    {
        Value::Array(records.into_iter().map(|record| self.show(record, json(record))).collect())
    }
}
