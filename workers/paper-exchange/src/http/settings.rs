//! What a paper exchange is started with.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::faults::Rules;
use crate::model::Millis;

/// Where real time comes from: Unix milliseconds.
pub type RealTime = Arc<dyn Fn() -> Millis + Send + Sync>;

/// How the exchange's time goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// Thousandths of real time: 1000 is as fast as life, 60,000 a minute a second.
    Permille(u64),
    /// It stands still until told.
    Hand,
}

impl Speed {
    /// As fast as life.
    pub const REAL: Self = Self::Permille(1000);
    /// Ten thousand times as fast as life.
    const FASTEST: u64 = 10_000_000;
}

impl FromStr for Speed {
    type Err = String;

    /// `1`, `0.5`, `60`, or `hand`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "hand" {
            return Ok(Self::Hand);
        }
        let wrong = || format!("the speed is `hand` or a number from 0.001 to 10000, not {text:?}");
        let number: Decimal = text.parse().map_err(|_| wrong())?;
        let permille = number.checked_mul(Decimal::ONE_THOUSAND).filter(Decimal::is_integer).ok_or_else(wrong)?;
        let permille = permille.to_u64().filter(|permille| (1..=Self::FASTEST).contains(permille)).ok_or_else(wrong)?;
        Ok(Self::Permille(permille))
    }
}

/// What a paper exchange is started with.
#[derive(Debug, Clone)]
pub struct PaperSettings {
    /// The same seed, origin, accounts and symbols make the same history.
    pub seed: u64,
    /// Accounts that trade by themselves. One more, `acct-paper`, is for people.
    pub accounts: usize,
    /// Bases, each with a spot market and a perpetual.
    pub symbols: usize,
    /// How much has happened already when it starts.
    pub history: Duration,
    /// When history begins, floored to the hour; without it, `history` before now.
    pub origin: Option<Millis>,
    /// Anything but a loopback address lets others trade the play money, and warns.
    pub bind: IpAddr,
    /// 0 is any free port.
    pub port: u16,
    /// `Host` names that are answered besides loopback addresses and `bind`, without a port.
    pub hosts: Vec<String>,
    pub speed: Speed,
    /// Keeps what people did, so that the next start is the same exchange.
    pub journal: Option<PathBuf>,
    /// Weight per minute and client address that spot and wallet grant. Binance's own is 6000; the default is
    /// ten times that, so that months of several accounts can be read in the first minute.
    pub spot_budget: u32,
    /// The same of USD-M, where Binance's own is 2400.
    pub usdm_budget: u32,
    /// Fault switches that are on from the start.
    pub faults: Rules,
}

impl Default for PaperSettings {
    fn default() -> Self {
        Self {
            seed: 1,
            accounts: 3,
            symbols: 20,
            history: Duration::from_secs(90 * 24 * 3600),
            origin: None,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            hosts: Vec::new(),
            speed: Speed::REAL,
            journal: None,
            spot_budget: 60_000,
            usdm_budget: 24_000,
            faults: Rules::default(),
        }
    }
}

/// Why a paper exchange did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the address {address} cannot be bound")]
    Bind { address: String, source: std::io::Error },
    #[error("the journal {path} cannot be used")]
    Journal { path: String, source: std::io::Error },
    #[error("line {line} of the journal {path} is not readable: {reason}")]
    JournalLine { path: String, line: usize, reason: String },
    #[error("the journal {path} is of another exchange: {differs}")]
    OtherJournal { path: String, differs: String },
    #[error("history could not be made: {0}")]
    History(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_decimal_or_hand() {
        assert_eq!("1".parse(), Ok(Speed::REAL));
        assert_eq!("0.5".parse(), Ok(Speed::Permille(500)));
        assert_eq!("3600".parse(), Ok(Speed::Permille(3_600_000)));
        assert_eq!("hand".parse(), Ok(Speed::Hand));
        for wrong in ["", "0", "-1", "0.0001", "99999", "fast"] {
            assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
        }
    }
}
