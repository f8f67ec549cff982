//! Numbers that the exchange gives out. They rise in the order in which things happen.

use crate::model::{SpotId, UsdmId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ids {
    usdm_order: u64,
    spot_order: u64,
    tran: u64,
    usdm_fills: Vec<u64>,
    spot_fills: Vec<u64>,
}

impl Ids {
    /// Counters start apart, so that a number of one kind is seldom a number of another.
    pub(super) fn new(spot: usize, usdm: usize) -> Self {
        let start = |kind: u64| move |n: usize| kind + (n as u64 + 1) * 1_000_003;
        Self {
            usdm_order: 8_389_765_000_000,
            spot_order: 31_450_000_000,
            tran: 104_200_000_000,
            usdm_fills: (0..usdm).map(start(400_000_000)).collect(),
            spot_fills: (0..spot).map(start(3_000_000_000)).collect(),
        }
    }

    pub(super) fn usdm_order(&mut self) -> u64 {
        self.usdm_order += 3;
        self.usdm_order
    }

    pub(super) fn spot_order(&mut self) -> u64 {
        self.spot_order += 3;
        self.spot_order
    }

    /// Rows of ledgers, transfers, deposits, conversions.
    pub(super) fn tran(&mut self) -> u64 {
        self.tran += 1;
        self.tran
    }

    pub(super) fn usdm_fill(&mut self, contract: UsdmId) -> u64 {
        rise(&mut self.usdm_fills, contract.0)
    }

    pub(super) fn spot_fill(&mut self, market: SpotId) -> u64 {
        rise(&mut self.spot_fills, market.0)
    }
}

fn rise(counters: &mut [u64], place: usize) -> u64 {
    counters.get_mut(place).map_or(0, |last| {
        *last += 1;
        *last
    })
}
