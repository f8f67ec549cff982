//! The paper exchange: a deterministic simulated exchange that speaks Binance's HTTP API.
//!
//! [`market`] makes prices from a seed, [`exchange`] is the exchange itself (accounts, orders,
//! positions, money), [`truth`] says what every figure is, [`http`] speaks the wire, [`faults`]
//! spoils it on request. It depends on nothing of ours and is the only thing here that can trade.
//!
//! [`PaperServer::start`] makes the history and serves it.

pub mod exchange;
pub mod faults;
pub mod http;
pub mod market;
pub mod model;
pub mod truth;

pub use http::{PaperServer, PaperSettings, RealTime, Speed, StartError};
