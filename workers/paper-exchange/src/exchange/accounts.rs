//! Who is there, and with which keys.

use sha2::{Digest, Sha256};

use super::Settings;
use crate::model::Account;

/// The name of the account that people trade on.
pub const PAPER: &str = "acct-paper";

/// The bots' accounts, `acct-01` and on, and after them the one for people.
pub(super) fn all(settings: &Settings) -> Vec<Account> {
    (1..=settings.accounts)
        .map(|n| format!("acct-{n:02}"))
        .chain([PAPER.to_owned()])
        .map(|name| account(settings.seed, name))
        .collect()
}

fn account(seed: u64, name: String) -> Account {
    let key = |what: &str| hex::encode(Sha256::digest(format!("codash paper exchange/{seed}/{name}/{what}")));
    Account {
        read_key: key("read key"),
        read_secret: key("read secret"),
        trade_key: key("trade key"),
        trade_secret: key("trade secret"),
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_seeds_and_nobody_elses() {
        let settings = Settings { seed: 1, origin: 0, accounts: 2, symbols: 3 };
        let accounts = all(&settings);
        assert_eq!(accounts.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(), ["acct-01", "acct-02", "acct-paper"]);
        assert_eq!(accounts, all(&settings));
        assert_ne!(accounts[0].read_key, all(&Settings { seed: 2, ..settings })[0].read_key);
        assert_ne!(accounts[0].read_key, accounts[0].trade_key);
        assert_eq!(accounts[0].trade_secret.len(), 64);
    }
}
