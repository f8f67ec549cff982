//! What realized, funding, fees and net mean, written once.
//!
//! - `realized`: profit (+) or loss (−) of closed size, **before** fees.
//! - `fees`: positive when paid, negative when a rebate.
//! - `funding`: positive when received, negative when paid.
//! - `net = realized + funding − fees`.

use crate::money::Usd;

/// `realized + funding − fees`: of one event, or of sums.
pub fn net(realized: Usd, funding: Usd, fees: Usd) -> Usd {
    Usd::new((realized + funding - fees).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_contract_adds_up() {
        let usd = |s: &str| s.parse::<Usd>().unwrap();
        assert_eq!(net(usd("1230.45"), usd("-42.10"), usd("88.20")), usd("1100.15"));
    }
}
