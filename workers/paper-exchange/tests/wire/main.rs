//! The paper exchange over real HTTP.

mod client;
mod clock;
mod faults;
mod journal;
mod orders;
mod paging;
mod security;
mod weights;
