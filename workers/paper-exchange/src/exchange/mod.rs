//! The exchange: accounts, orders, positions, money.
//!
//! Its state is a function of its settings, of the commands it was given with their instants, and of now.
//! Nothing else enters: no clock, no chance that is not drawn from the seed.

mod accounts;
mod bots;
mod command;
mod desk;
mod draw;
mod flows;
mod forced;
mod grid;
mod ids;
mod margin;
mod money;
mod position;
mod reads;
mod sheet;
mod spot;
pub(crate) mod text;
mod triggers;
mod usdm;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;

pub use command::{Action, Command};
pub use margin::Standing;

use crate::market::Market;
use crate::model::*;
use bots::Bot;
use desk::Desk;
use grid::Wake;
use ids::Ids;
use sheet::Sheet;

/// What the world is made of. The same settings and the same commands at the same instants make the same exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub seed: u64,
    /// When the exchange opened: history starts here. A whole hour.
    pub origin: Millis,
    /// Accounts that trade by themselves.
    pub accounts: usize,
    /// Bases, each with a spot market and a perpetual.
    pub symbols: usize,
}

/// Everything at one instant, and how it came to be.
#[derive(Debug)]
pub struct Exchange {
    settings: Settings,
    market: Arc<Market>,
    now: Millis,
    accounts: Vec<Account>,
    /// One for each account that trades by itself; the accounts of people come after them.
    bots: Vec<Arc<Bot>>,
    desks: Vec<Desk>,
    ids: Ids,
    sheet: Sheet,
    wakes: Vec<Wake>,
    /// Contracts by the instant of their delivery.
    deliveries: BTreeMap<Millis, Vec<UsdmId>>,
    bnb: Option<SpotId>,
    journal: Vec<Command>,
}

fn refuse<T>(code: i32, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code, message: message.into() })
}

impl Exchange {
    /// The exchange at its origin: every account has paid in and set itself up, and nothing has been traded.
    pub fn new(settings: Settings) -> Self {
        let market = Arc::new(Market::new(settings.seed, settings.symbols, settings.origin));
        Self::over(settings, market)
    }

    /// The same over a market that exists already; it must be the one of these settings.
    pub fn over(settings: Settings, market: Arc<Market>) -> Self {
        let universe = market.universe();
        let mut deliveries: BTreeMap<Millis, Vec<UsdmId>> = BTreeMap::new();
        for (place, contract) in universe.usdm.iter().enumerate() {
            if let ContractKind::Dated { delivery, .. } = contract.kind {
                deliveries.entry(delivery).or_default().push(UsdmId(place));
            }
        }
        let accounts = accounts::all(&settings);
        let bots = (0..settings.accounts).map(|a| Arc::new(Bot::new(&settings, a, &market))).collect();
        let mut exchange = Self {
            now: settings.origin,
            desks: vec![Desk { maker: money::MAKER, ..Desk::default() }; accounts.len()],
            wakes: vec![Wake::Unknown; accounts.len()],
            ids: Ids::new(universe.spot.len(), universe.usdm.len()),
            sheet: Sheet::new(Arc::clone(&market)),
            bnb: market.spot("BNBUSDT"),
            journal: Vec::new(),
            accounts,
            bots,
            deliveries,
            market,
            settings,
        };
        exchange.open_accounts();
        exchange
    }

    /// The exchange that these commands lead to. Commands after `now` are kept out.
    pub fn replay(settings: Settings, journal: Vec<Command>, now: Millis) -> Self {
        let mut exchange = Self::new(settings);
        for command in journal.into_iter().filter(|command| command.at <= now) {
            exchange.advance_to(command.at);
            if let Err(refusal) = exchange.apply(&command) {
                tracing::warn!(at = command.at, code = refusal.code, "a command of the journal was refused in replay");
            }
        }
        exchange.advance_to(now);
        exchange
    }

    /// Every accepted command of people, oldest first. Bots need none: they do the same again.
    pub fn journal(&self) -> &[Command] {
        &self.journal
    }

    /// Does now what a command says, and keeps it in the journal if it is accepted.
    pub fn apply(&mut self, command: &Command) -> Result<(), Refusal> {
        let account = AccountId(command.account);
        if command.account >= self.accounts.len() {
            return refuse(-2015, "No such account.");
        }
        let usdm = |symbol: &str| self.market.usdm(symbol).map_or_else(|| refuse(-1121, "Invalid symbol."), Ok);
        let spot = |symbol: &str| self.market.spot(symbol).map_or_else(|| refuse(-1121, "Invalid symbol."), Ok);
        match &command.action {
            Action::PlaceUsdm { symbol, order } => {
                let contract = usdm(symbol)?;
                self.place_usdm(account, contract, order.clone()).map(drop)
            }
            Action::CancelUsdm { symbol, order } => {
                let contract = usdm(symbol)?;
                self.cancel_usdm(account, contract, *order).map(drop)
            }
            Action::PlaceSpot { symbol, order } => {
                let market = spot(symbol)?;
                self.place_spot(account, market, order.clone()).map(drop)
            }
            Action::CancelSpot { symbol, order } => {
                let market = spot(symbol)?;
                self.cancel_spot(account, market, *order).map(drop)
            }
            Action::SetHedged { hedged } => self.set_hedged(account, *hedged),
            Action::SetLeverage { symbol, leverage } => {
                let contract = usdm(symbol)?;
                self.set_leverage(account, contract, *leverage)
            }
            Action::SetFeeBurn { on } => {
                self.set_fee_burn(account, *on);
                Ok(())
            }
            Action::Deposit { asset, amount } => self.deposit(account, asset, *amount).map(drop),
            Action::Withdraw { asset, amount } => self.withdraw(account, asset, *amount).map(drop),
            Action::Transfer { kind, asset, amount } => self.transfer(account, *kind, asset, *amount).map(drop),
            Action::Convert { from, amount, to } => self.convert(account, from, *amount, to).map(drop),
        }
    }

    fn note(&mut self, account: AccountId, action: Action) {
        self.journal.push(Command { at: self.now, account: account.0, action });
    }

    /// Something about the account changed: when it next needs attention has to be worked out again.
    fn touch(&mut self, a: usize) {
        self.wakes[a] = Wake::Unknown;
    }

    /// Writes a row of the futures wallet's ledger, and changes the wallet by it.
    fn book(
        &mut self,
        a: usize,
        symbol: &str,
        income_type: &'static str,
        amount: Decimal,
        asset: &str,
        trade_id: Option<u64>,
    ) {
        let row = Income {
            symbol: symbol.to_owned(),
            income_type,
            amount,
            asset: asset.to_owned(),
            time: self.now,
            tran_id: self.ids.tran(),
            trade_id,
        };
        self.desks[a].book(row);
    }

    fn bnb_price(&self) -> Decimal {
        self.bnb.map_or(Decimal::ONE, |id| self.market.spot_price(id, self.now))
    }

    // --- futures ---

    /// Acts at once: a market order, and a limit order that crosses, fill as taker at one tick beside the last
    /// price or better (sometimes in two or three pieces, a tick apart); what waits is looked at on every whole
    /// minute, fills as maker at its own price, and triggers by the mark. What only reduces is cut to what is held.
    /// Depth has no end: nothing but the limit, the margin and the filters stands in an order's way.
    pub fn place_usdm(&mut self, account: AccountId, contract: UsdmId, order: NewOrder) -> Result<Order, Refusal> {
        let done = self.order_usdm(account.0, contract, order.clone())?;
        self.note(account, Action::PlaceUsdm { symbol: done.symbol.clone(), order });
        Ok(done)
    }

    /// Takes an open order off the book.
    pub fn cancel_usdm(&mut self, account: AccountId, contract: UsdmId, order: u64) -> Result<Order, Refusal> {
        let done = self.withdraw_usdm_order(account.0, contract, order)?;
        self.note(account, Action::CancelUsdm { symbol: done.symbol.clone(), order });
        Ok(done)
    }

    /// Hedge mode on or off. Not while there are positions or orders.
    pub fn set_hedged(&mut self, account: AccountId, hedged: bool) -> Result<(), Refusal> {
        let desk = &mut self.desks[account.0];
        if desk.hedged == hedged {
            return refuse(-4059, "No need to change position side.");
        }
        if !desk.positions.is_empty() {
            return refuse(-4068, "Position side cannot be changed if there exists position.");
        }
        if !desk.usdm_open.is_empty() {
            return refuse(-4067, "Position side cannot be changed if there exists open orders.");
        }
        desk.hedged = hedged;
        self.note(account, Action::SetHedged { hedged });
        Ok(())
    }

    /// Refused above the contract's most, and where the positions would need more margin than there is.
    pub fn set_leverage(&mut self, account: AccountId, contract: UsdmId, leverage: u32) -> Result<(), Refusal> {
        self.choose_leverage(account.0, contract, leverage)?;
        let symbol = self.market.universe().usdm[contract.0].symbol.clone();
        self.note(account, Action::SetLeverage { symbol, leverage });
        Ok(())
    }

    fn choose_leverage(&mut self, a: usize, id: UsdmId, leverage: u32) -> Result<(), Refusal> {
        let contract = &self.market.universe().usdm[id.0];
        if leverage == 0 || leverage > contract.max_leverage {
            return refuse(-4028, format!("Leverage {leverage} is not valid"));
        }
        let (asset, most) = (contract.quote.clone(), contract.max_leverage);
        let chosen = self.desks[a].leverage.get(&id).copied();
        let before = self.desks[a].leverage(id, most);
        self.desks[a].leverage.insert(id, leverage);
        let standing = self.standing(AccountId(a), &asset);
        let used = standing.positions + standing.orders;
        // Less leverage ties up more; it has to be there.
        if leverage < before && used > standing.wallet + standing.unrealized {
            self.desks[a].leverage.remove(&id);
            self.desks[a].leverage.extend(chosen.map(|chosen| (id, chosen)));
            return refuse(-2028, "Leverage is smaller than permitted: insufficient margin balance.");
        }
        Ok(())
    }

    /// Whether fees are paid in BNB while there is any: on spot and on futures, one switch for both.
    pub fn set_fee_burn(&mut self, account: AccountId, on: bool) {
        self.desks[account.0].fee_burn = on;
        self.note(account, Action::SetFeeBurn { on });
    }

    // --- spot ---

    /// As on futures; stops trigger by the last price. What waits holds its money.
    pub fn place_spot(&mut self, account: AccountId, market: SpotId, order: NewOrder) -> Result<Order, Refusal> {
        let done = self.order_spot(account.0, market, order.clone())?;
        self.note(account, Action::PlaceSpot { symbol: done.symbol.clone(), order });
        Ok(done)
    }

    /// Takes an open order off the book and gives back what was held for it.
    pub fn cancel_spot(&mut self, account: AccountId, market: SpotId, order: u64) -> Result<Order, Refusal> {
        let done = self.withdraw_spot_order(account.0, market, order)?;
        self.note(account, Action::CancelSpot { symbol: done.symbol.clone(), order });
        Ok(done)
    }

    // --- cash flows ---

    /// Into the spot wallet, from outside.
    pub fn deposit(&mut self, account: AccountId, asset: &str, amount: Decimal) -> Result<Flow, Refusal> {
        let done = self.pay_in(account.0, asset, amount)?;
        self.note(account, Action::Deposit { asset: asset.to_owned(), amount });
        Ok(done)
    }

    /// Out of the spot wallet. The fee is charged on top of the amount.
    pub fn withdraw(&mut self, account: AccountId, asset: &str, amount: Decimal) -> Result<Flow, Refusal> {
        let done = self.pay_out(account.0, asset, amount)?;
        self.note(account, Action::Withdraw { asset: asset.to_owned(), amount });
        Ok(done)
    }

    /// Between the spot and the futures wallet.
    pub fn transfer(
        &mut self,
        account: AccountId,
        kind: FlowKind,
        asset: &str,
        amount: Decimal,
    ) -> Result<Flow, Refusal> {
        let done = self.shift(account.0, kind, asset, amount)?;
        self.note(account, Action::Transfer { kind, asset: asset.to_owned(), amount });
        Ok(done)
    }

    /// One asset of the spot wallet into another, at the price of now less a thousandth.
    pub fn convert(
        &mut self,
        account: AccountId,
        from: &str,
        amount: Decimal,
        to: &str,
    ) -> Result<Conversion, Refusal> {
        let done = self.swap(account.0, from, amount, to)?;
        self.note(account, Action::Convert { from: from.to_owned(), amount, to: to.to_owned() });
        Ok(done)
    }
}
