//! USD-M futures: `/fapi`.

pub mod account;
pub mod algo;
pub mod history;
pub mod market;
pub mod orders;
pub mod settings;
