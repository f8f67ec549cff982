//! The paper exchange (`codash paper-exchange`): a simulated exchange that speaks Binance's API, so
//! Binance's collector reads it. Its accounts, markets and money are made up.

use std::sync::Arc;
use std::time::Duration;

use codash_domain::Venue;

use super::binance::{Binance, Hosts, READS, case};
use super::{Definition, Host, Needs};

const MINUTE: Duration = Duration::from_secs(60);

// Ten times what Binance grants.
static HOSTS: Hosts = Hosts {
    spot: Host { setting: "CODASH_VENUE_PAPER_SPOT_URL", usual: "http://127.0.0.1:9001", budget: 60_000, per: MINUTE },
    usdm: Host { setting: "CODASH_VENUE_PAPER_USDM_URL", usual: "http://127.0.0.1:9001", budget: 24_000, per: MINUTE },
    transfers: &["MAIN_UMFUTURE", "UMFUTURE_MAIN"],
    haste: 12,
    meters_accounts: false,
    has_dust: false,
    not_covered: &["spot markets of assets that are no longer held and were sold before the account was attached"],
    // 2020-01-01.
    opened: 1_577_836_800_000,
};

pub static DEFINITION: Definition = Definition {
    venue: Venue::Paper,
    title: "Paper exchange (simulated)",
    needs: Needs::KeyAndSecret,
    how_to_connect: "Start `codash paper-exchange` and use the read key of one of the accounts that it lists at /paper.",
    attestation: "As Binance: it states every right of the key. Everything here is play money.",
    hosts: &[HOSTS.spot, HOSTS.usdm],
    reads: READS,
    connect: |venues, credentials| Ok(Arc::new(Binance::new(venues.clone(), &HOSTS, credentials)?)),
    read_case: case::read,
};
