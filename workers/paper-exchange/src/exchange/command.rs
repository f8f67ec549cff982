//! What people ask of the exchange, as it is kept in the journal.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::text;
use crate::model::{FlowKind, Millis, NewOrder};

/// One accepted request. The settings and the journal are the whole exchange: replayed, they make it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// When it was accepted.
    pub at: Millis,
    /// Position of the account in the list of accounts.
    pub account: usize,
    pub action: Action,
}

/// Contracts and markets are written by their native symbols, so that a journal can be read by people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    PlaceUsdm {
        symbol: String,
        order: NewOrder,
    },
    CancelUsdm {
        symbol: String,
        order: u64,
    },
    PlaceSpot {
        symbol: String,
        order: NewOrder,
    },
    CancelSpot {
        symbol: String,
        order: u64,
    },
    SetHedged {
        hedged: bool,
    },
    SetLeverage {
        symbol: String,
        leverage: u32,
    },
    SetFeeBurn {
        on: bool,
    },
    Deposit {
        asset: String,
        #[serde(with = "text")]
        amount: Decimal,
    },
    Withdraw {
        asset: String,
        #[serde(with = "text")]
        amount: Decimal,
    },
    Transfer {
        kind: FlowKind,
        asset: String,
        #[serde(with = "text")]
        amount: Decimal,
    },
    Convert {
        from: String,
        #[serde(with = "text")]
        amount: Decimal,
        to: String,
    },
}
