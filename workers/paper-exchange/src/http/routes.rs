//! Every endpoint of the exchange: what it weighs, what it asks of its caller, who answers it.

use super::call::Call;
use super::context::Context;
use super::meter::Family;
use super::refused::Answer;
use super::security::Security;
use super::{spot, usdm};

/// What a request costs.
#[derive(Debug, Clone, Copy)]
pub enum Weight {
    Fixed(u64),
    /// With a symbol, and without.
    Symbol(u64, u64),
    /// By what is asked.
    By(fn(&Call) -> u64),
}

impl Weight {
    pub fn of(self, call: &Call) -> u64 {
        match self {
            Self::Fixed(weight) => weight,
            Self::Symbol(one, all) => {
                if call.text("symbol").is_some() {
                    one
                } else {
                    all
                }
            }
            Self::By(weigh) => weigh(call),
        }
    }
}

/// An endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    pub weight: Weight,
    pub security: Security,
    /// Whether the answer is a list of history rows.
    pub is_history: bool,
    pub answer: fn(&mut Context<'_>) -> Answer,
}

impl Route {
    const fn new(method: &'static str, path: &'static str, answer: fn(&mut Context<'_>) -> Answer) -> Self {
        Self { method, path, weight: Weight::Fixed(1), security: Security::Public, is_history: false, answer }
    }

    /// Anybody may ask.
    pub const fn public(path: &'static str, weight: Weight, answer: fn(&mut Context<'_>) -> Answer) -> Self {
        Self { weight, ..Self::new("GET", path, answer) }
    }

    /// Any key may ask.
    pub const fn read(path: &'static str, weight: Weight, answer: fn(&mut Context<'_>) -> Answer) -> Self {
        Self { weight, security: Security::Read, ..Self::new("GET", path, answer) }
    }

    /// Any key may ask; the answer is history.
    pub const fn history(path: &'static str, weight: Weight, answer: fn(&mut Context<'_>) -> Answer) -> Self {
        Self { weight, security: Security::Read, is_history: true, ..Self::new("GET", path, answer) }
    }

    /// Changes something: only a trade key may.
    pub const fn act(
        method: &'static str,
        path: &'static str,
        weight: u64,
        answer: fn(&mut Context<'_>) -> Answer,
    ) -> Self {
        Self { weight: Weight::Fixed(weight), security: Security::Trade, ..Self::new(method, path, answer) }
    }
}

/// The budget that a path draws on.
pub fn family(path: &str) -> Family {
    if path.starts_with("/fapi/") { Family::Usdm } else { Family::Spot }
}

/// All endpoints.
pub fn all() -> impl Iterator<Item = &'static Route> {
    [
        spot::market::ROUTES,
        spot::account::ROUTES,
        spot::orders::ROUTES,
        spot::wallet::ROUTES,
        spot::flows::ROUTES,
        usdm::market::ROUTES,
        usdm::account::ROUTES,
        usdm::history::ROUTES,
        usdm::orders::ROUTES,
        usdm::algo::ROUTES,
        usdm::settings::ROUTES,
    ]
    .into_iter()
    .flatten()
}

/// The endpoint of a request.
pub fn find(method: &str, path: &str) -> Option<&'static Route> {
    all().find(|route| route.path == path && route.method == method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_endpoints_have_the_same_name() {
        let mut names: Vec<_> = all().map(|route| (route.path, route.method)).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn nothing_but_a_get_can_be_asked_with_a_read_key() {
        for route in all().filter(|route| route.security != Security::Trade) {
            assert_eq!(route.method, "GET", "{}", route.path);
        }
    }
}
