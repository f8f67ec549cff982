//! What the rooms of the exchange say to each other.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// Unix milliseconds, UTC.
pub type Millis = i64;

/// Position of a spot market in [`Universe::spot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpotId(pub usize);

/// Position of a contract in [`Universe::usdm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsdmId(pub usize);

/// Position of an account in the list of accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub usize);

/// A spot market: `BTCUSDT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpotMarket {
    pub symbol: String,
    pub base: String,
    pub quote: String,
    /// Prices are multiples of this.
    pub tick: Decimal,
    /// Sizes are multiples of this.
    pub step: Decimal,
    pub min_notional: Decimal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContractKind {
    Perpetual,
    /// Delivered at this instant, at the mark price of it. Such contracts follow each other every quarter.
    Dated {
        onboard: Millis,
        delivery: Millis,
    },
}

/// A USD-M contract: `BTCUSDT`, `BTCUSDC`, `BTCUSDT_270326`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    pub symbol: String,
    pub base: String,
    /// The quote and the margin asset: `USDT` or `USDC`.
    pub quote: String,
    pub kind: ContractKind,
    pub tick: Decimal,
    pub step: Decimal,
    pub min_notional: Decimal,
    pub max_leverage: u32,
    /// Maintenance margin as a share of notional at the mark: 0.005.
    pub maintenance_rate: Decimal,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Universe {
    pub spot: Vec<SpotMarket>,
    pub usdm: Vec<Contract>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candle {
    pub open_time: Millis,
    pub open: Decimal,
    pub high: Decimal,
    pub low: Decimal,
    pub close: Decimal,
    /// Base units.
    pub volume: Decimal,
    pub trades: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    Buy,
    Sell,
}

/// `positionSide`: BOTH in one-way mode; LONG or SHORT in hedge mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Leg {
    Both,
    Long,
    Short,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderKind {
    Market,
    Limit,
    /// Becomes a market order when the trigger price is reached (mark price on futures, last on spot).
    StopMarket,
    /// Becomes a limit order when the trigger price is reached.
    StopLimit,
    TakeProfitMarket,
    TakeProfitLimit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeInForce {
    GoodTillCancel,
    ImmediateOrCancel,
    FillOrKill,
    /// Post only.
    GoodTillCrossing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderStatus {
    New,
    PartiallyFilled,
    Filled,
    Canceled,
    Expired,
}

/// An order as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOrder {
    pub side: Side,
    pub leg: Leg,
    pub kind: OrderKind,
    #[serde(with = "crate::exchange::text")]
    pub qty: Decimal,
    /// Spot market orders may name an amount of the quote instead of `qty` (which is zero then).
    #[serde(with = "crate::exchange::text::option", default)]
    pub quote_qty: Option<Decimal>,
    #[serde(with = "crate::exchange::text::option", default)]
    pub price: Option<Decimal>,
    #[serde(with = "crate::exchange::text::option", default)]
    pub stop_price: Option<Decimal>,
    pub time_in_force: TimeInForce,
    pub reduce_only: bool,
    /// `closePosition` of futures stop orders: the size is that of the position at the trigger.
    pub close_position: bool,
    pub client_order_id: Option<String>,
}

/// An order as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub id: u64,
    pub client_order_id: String,
    /// The native symbol.
    pub symbol: String,
    pub asked: NewOrder,
    pub status: OrderStatus,
    pub executed_qty: Decimal,
    /// Sum of price x qty of the fills.
    pub executed_quote: Decimal,
    pub created_at: Millis,
    pub updated_at: Millis,
    /// Why the exchange placed it, if it did.
    pub forced: Option<ForcedKind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ForcedKind {
    Liquidation,
    Adl,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpotFill {
    /// Unique and rising per symbol, over all accounts.
    pub id: u64,
    pub order_id: u64,
    pub symbol: String,
    pub side: Side,
    pub price: Decimal,
    pub qty: Decimal,
    pub quote_qty: Decimal,
    /// Positive when paid.
    pub commission: Decimal,
    pub commission_asset: String,
    pub is_maker: bool,
    pub time: Millis,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsdmFill {
    /// Unique and rising per symbol, over all accounts.
    pub id: u64,
    pub order_id: u64,
    pub symbol: String,
    pub side: Side,
    pub leg: Leg,
    pub price: Decimal,
    pub qty: Decimal,
    pub quote_qty: Decimal,
    /// In the margin asset, gross of fees.
    pub realized_pnl: Decimal,
    pub margin_asset: String,
    /// Positive when paid; negative is a maker rebate.
    pub commission: Decimal,
    pub commission_asset: String,
    pub is_maker: bool,
    pub time: Millis,
}

/// A row of the futures wallet's ledger: every change of a wallet balance has exactly one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Income {
    /// Empty where the row belongs to no market.
    pub symbol: String,
    /// Binance's word: `FUNDING_FEE`, `REALIZED_PNL`, `COMMISSION`, `TRANSFER`, `INSURANCE_CLEAR`,
    /// `DELIVERED_SETTELMENT`, `COMMISSION_REBATE`, `WELCOME_BONUS`, ...
    pub income_type: &'static str,
    pub amount: Decimal,
    pub asset: String,
    pub time: Millis,
    /// Rising over the whole exchange.
    pub tran_id: u64,
    /// The fill, for `REALIZED_PNL` and `COMMISSION`.
    pub trade_id: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FlowKind {
    /// From outside into the spot wallet.
    Deposit,
    /// From the spot wallet to outside.
    Withdrawal,
    /// Spot to USD-M.
    ToUsdm,
    /// USD-M to spot.
    ToSpot,
}

/// A deposit, withdrawal or transfer. Amounts are positive; `fee` is charged on top, in the same asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Rising over the whole exchange; the `tranId` of a transfer's income row.
    pub id: u64,
    pub kind: FlowKind,
    pub asset: String,
    pub amount: Decimal,
    pub fee: Decimal,
    pub time: Millis,
}

/// A conversion inside the spot wallet, without an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    pub id: u64,
    pub from_asset: String,
    pub from_amount: Decimal,
    pub to_asset: String,
    pub to_amount: Decimal,
    pub time: Millis,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpotBalance {
    pub asset: String,
    pub free: Decimal,
    /// Reserved by resting orders.
    pub locked: Decimal,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsdmBalance {
    pub asset: String,
    pub wallet_balance: Decimal,
    /// Of the positions with this margin asset, at their marks of now.
    pub unrealized_profit: Decimal,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsdmPosition {
    pub symbol: String,
    pub leg: Leg,
    /// Signed: short < 0. Never zero.
    pub qty: Decimal,
    pub entry_price: Decimal,
    pub mark_price: Decimal,
    pub unrealized_profit: Decimal,
    pub liquidation_price: Decimal,
    pub margin_asset: String,
    pub leverage: u32,
    pub updated_at: Millis,
}

/// What a key may do, besides reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    Read,
    Trade,
}

/// An account and its two keys. They open play money on a loopback address, and are no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// `acct-01`.
    pub name: String,
    pub read_key: String,
    pub read_secret: String,
    pub trade_key: String,
    pub trade_secret: String,
}

/// Why the exchange does not do what it was asked, with Binance's code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    pub code: i32,
    pub message: String,
}
