//! Pure values and arithmetic: no IO, no SQL, no HTTP, no clock of its own.
//!
//! Nothing in this crate can fail for an outside reason. To add a value: give it a file named
//! after the noun, say units and sign conventions on the type, and keep money a [`Usd`].

pub mod api_key;
pub mod attenuation;
pub mod automation;
pub mod cash_flow;
pub mod cover;
pub mod event;
pub mod exposure;
pub mod ids;
pub mod instrument;
pub mod maths;
pub mod money;
pub mod money_weighted;
pub mod performance;
pub mod pnl;
pub mod portfolio;
pub mod returns;
pub mod role;
pub mod scope;
pub mod snapshot;
pub mod text;
pub mod time;
pub mod venue;

pub use api_key::ApiKey;
pub use attenuation::{Reach, TooWide, Wish};
pub use automation::{AutomationId, DeliveryId, EndpointId, RunId};
pub use cash_flow::{CashFlow, FlowKind};
pub use event::{Event, EventType, Fee, Side};
pub use exposure::Exposure;
pub use ids::{AccountId, EventId, InvitationId, KeyId, LoginId, PersonId, PortfolioId, WorkspaceId};
pub use instrument::{Asset, Symbol};
pub use money::{Figure, Price, Qty, Usd};
pub use portfolio::{Forest, Unfit};
pub use role::Role;
pub use scope::{Scope, Scopes};
pub use snapshot::{Balance, Position, Snapshot};
pub use time::{Clock, FixedClock, SystemClock, Timestamp, Window};
pub use venue::{AccountStatus, Assurance, Standing, Venue};
