//! The spot market and the wallet: `/api/v3` and `/sapi/v1`.

pub mod account;
pub mod flows;
pub mod market;
pub mod orders;
pub mod wallet;
