//! Everything that requests share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::call::Call;
use super::clock::Clock;
use super::context::Context;
use super::journal::{Journal, Past};
use super::meter::{Budgets, Meter};
use super::refused::{Answer, Refused};
use super::routes::Route;
use super::security::{Key, Security, check_signature, check_timestamp, is_key_shaped};
use super::settings::{PaperSettings, RealTime, Speed, StartError};
use super::window::HOUR;
use crate::exchange::{Exchange, Settings};
use crate::faults::{Faults, Permissions};
use crate::model::{Account, AccountId, Millis, Rights};

/// Everything that requests share.
pub struct World {
    pub exchange: Arc<Mutex<Exchange>>,
    pub clock: Mutex<Clock>,
    pub real: RealTime,
    pub meter: Mutex<Meter>,
    pub budgets: Budgets,
    pub faults: Faults,
    pub accounts: Vec<Account>,
    pub stop: CancellationToken,
    keys: BTreeMap<String, Key>,
    journal: Mutex<Option<Journal>>,
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// Makes history; takes as long as that takes.
    pub fn new(settings: &PaperSettings, real: RealTime) -> Result<Self, StartError> {
        let started = real();
        let history = Millis::try_from(settings.history.as_millis()).unwrap_or(Millis::MAX);
        let (mut journal, past) = match &settings.journal {
            Some(path) => {
                let (journal, past) = Journal::open(path)?;
                (Some(journal), past)
            }
            None => (None, Past::default()),
        };
        let asked = settings.origin.map(|origin| origin.div_euclid(HOUR) * HOUR);
        let kept = past.settings.as_ref().map(|kept| kept.origin);
        let fresh = || started.saturating_sub(history).div_euclid(HOUR) * HOUR;
        let origin = asked.or(kept).unwrap_or_else(fresh);
        let world = Settings { seed: settings.seed, origin, accounts: settings.accounts, symbols: settings.symbols };
        if let Some(kept) = past.settings.filter(|kept| *kept != world) {
            let path = settings.journal.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            return Err(StartError::OtherJournal { path, differs: format!("{kept:?} is not {world:?}") });
        }
        if let (Some(journal), None) = (&mut journal, kept) {
            let path = settings.journal.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            journal.begin(&world).map_err(|source| StartError::Journal { path, source })?;
        }
        // A clock in hand starts where history ends; one that runs starts now. Neither goes back.
        let now = match (settings.speed, asked) {
            (Speed::Hand, Some(origin)) => origin.saturating_add(history),
            _ => started,
        };
        let last = past.commands.last().map_or(origin, |command| command.at);
        let now = now.max(last).max(past.reached.unwrap_or(origin));
        let exchange = Exchange::replay(world, past.commands, now);
        // Making history took a while, which the clock does not jump over.
        let clock = Clock::new(settings.speed, now, real());
        let accounts = exchange.accounts().to_vec();
        let budgets = Budgets { spot: settings.spot_budget, usdm: settings.usdm_budget };
        Ok(Self {
            keys: keys(&accounts),
            accounts,
            exchange: Arc::new(Mutex::new(exchange)),
            clock: Mutex::new(if settings.speed == Speed::REAL && now == started {
                Clock::new(settings.speed, now, started)
            } else {
                clock
            }),
            meter: Mutex::new(Meter::new(budgets)),
            budgets,
            faults: Faults::new(settings.faults.clone(), started),
            stop: CancellationToken::new(),
            journal: Mutex::new(journal),
            real,
        })
    }

    pub fn key(&self, api_key: &str) -> Option<&Key> {
        self.keys.get(api_key)
    }

    pub fn account(&self, name: &str) -> Option<AccountId> {
        self.accounts.iter().position(|account| account.name == name).map(AccountId)
    }

    /// The exchange, brought to this instant, which is the second value.
    pub fn at_now(&self) -> (MutexGuard<'_, Exchange>, Millis) {
        let mut exchange = lock(&self.exchange);
        // Read under the lock: who comes later is not earlier.
        let now = lock(&self.clock).now((self.real)());
        exchange.advance_to(now);
        let now = now.max(exchange.now());
        (exchange, now)
    }

    /// Keeps what was done, if there is a journal.
    pub fn keep(&self, exchange: &Exchange) {
        if let Some(journal) = lock(&self.journal).as_mut()
            && let Err(error) = journal.keep(exchange.journal())
        {
            tracing::error!(error = %error, "the paper exchange's journal could not be written");
        }
    }

    /// Notes how far time has come, where real time will not say it at the next start.
    pub fn keep_time(&self) {
        if lock(&self.clock).speed() == Speed::REAL {
            return;
        }
        let now = lock(&self.clock).now((self.real)());
        if let Some(journal) = lock(&self.journal).as_mut()
            && let Err(error) = journal.reached(now)
        {
            tracing::error!(error = %error, "the paper exchange's journal could not be written");
        }
    }

    /// Answers a request of the exchange's own API.
    pub fn answer(&self, route: &Route, call: &Call) -> Answer {
        let rows = self.faults.rows(&call.path);
        let answer = {
            let (mut exchange, now) = self.at_now();
            let shown_now = now.saturating_add(rows.rules.clock_skew_ms);
            let key = self.admit(route, call, shown_now, rows.rules.permissions)?;
            let budgets = self.budgets;
            let mut context = Context { exchange: &mut exchange, call, key, now, shown_now, budgets, faults: &rows };
            let answer = (route.answer)(&mut context);
            if route.method != "GET" {
                self.keep(&exchange);
            }
            answer
        };
        self.faults.note_rows(&call.method, &call.path, rows.hits.into_inner(), (self.real)());
        answer
    }

    /// The key of a request, if it may ask this.
    fn admit(
        &self,
        route: &Route,
        call: &Call,
        shown_now: Millis,
        fault: Option<Permissions>,
    ) -> Result<Option<&Key>, Refused> {
        if route.security == Security::Public {
            return Ok(None);
        }
        let api_key = call.api_key.as_deref().filter(|key| is_key_shaped(key));
        let key = self.key(api_key.ok_or_else(|| Refused::new(-2014, "API-key format invalid."))?);
        let key = key.ok_or_else(Refused::key)?;
        if key.rights == Rights::Read && fault == Some(Permissions::None) {
            return Err(Refused::key());
        }
        check_timestamp(call, &lock(&self.clock), shown_now, (self.real)())?;
        check_signature(call, key)?;
        if route.security == Security::Trade && key.rights != Rights::Trade {
            return Err(Refused::key());
        }
        Ok(Some(key))
    }
}

fn keys(accounts: &[Account]) -> BTreeMap<String, Key> {
    let of = |(at, account): (usize, &Account)| {
        let key = |rights, secret: &str| Key {
            account: AccountId(at),
            account_name: account.name.clone(),
            rights,
            secret: secret.to_owned(),
        };
        [
            (account.read_key.clone(), key(Rights::Read, &account.read_secret)),
            (account.trade_key.clone(), key(Rights::Trade, &account.trade_secret)),
        ]
    };
    accounts.iter().enumerate().flat_map(of).collect()
}
