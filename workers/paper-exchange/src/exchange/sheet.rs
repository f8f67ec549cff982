//! Prices of one hour, asked for once for all accounts: loose bounds first, minutes where those do not do.

use std::sync::Arc;

use rust_decimal::Decimal;

use crate::market::Market;
use crate::model::{Millis, SpotId, UsdmId};

pub(super) type Minutes = [Decimal; 60];

/// Which of its prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Mark(UsdmId),
    Last(UsdmId),
    Spot(SpotId),
}

#[derive(Debug, Clone)]
struct Page {
    /// The hour that this is about.
    hour: Millis,
    bound: (Decimal, Decimal),
    minutes: Option<Box<Minutes>>,
}

#[derive(Debug)]
pub(super) struct Sheet {
    market: Arc<Market>,
    hour: Millis,
    marks: Vec<Page>,
    lasts: Vec<Page>,
    spots: Vec<Page>,
}

impl Sheet {
    pub(super) fn new(market: Arc<Market>) -> Self {
        let blank = Page { hour: Millis::MIN, bound: (Decimal::ZERO, Decimal::ZERO), minutes: None };
        let (spot, usdm) = (market.universe().spot.len(), market.universe().usdm.len());
        Self {
            market,
            hour: Millis::MIN,
            marks: vec![blank.clone(); usdm],
            lasts: vec![blank.clone(); usdm],
            spots: vec![blank; spot],
        }
    }

    pub(super) fn turn_to(&mut self, hour: Millis) {
        self.hour = hour;
    }

    fn page(&mut self, of: Of) -> &mut Page {
        let (market, hour) = (&self.market, self.hour);
        let page = match of {
            Of::Mark(id) => &mut self.marks[id.0],
            Of::Last(id) => &mut self.lasts[id.0],
            Of::Spot(id) => &mut self.spots[id.0],
        };
        if page.hour != hour {
            let bound = match of {
                Of::Mark(id) => market.mark_bound(id, hour),
                Of::Last(id) => market.last_bound(id, hour),
                Of::Spot(id) => market.spot_bound(id, hour),
            };
            *page = Page { hour, bound, minutes: None };
        }
        page
    }

    /// Prices that the hour does not leave.
    pub(super) fn bound(&mut self, of: Of) -> (Decimal, Decimal) {
        self.page(of).bound
    }

    /// The price at each whole minute of the hour.
    pub(super) fn minutes(&mut self, of: Of) -> &Minutes {
        let (market, hour) = (Arc::clone(&self.market), self.hour);
        self.page(of).minutes.get_or_insert_with(|| {
            Box::new(match of {
                Of::Mark(id) => market.mark_minutes(id, hour),
                Of::Last(id) => market.last_minutes(id, hour),
                Of::Spot(id) => market.spot_minutes(id, hour),
            })
        })
    }
}
