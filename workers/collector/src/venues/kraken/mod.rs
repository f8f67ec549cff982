//! Kraken: spot and futures are two venues here, as they are two APIs with two kinds of keys.
//!
//! `names` and `wire` are what both share; [`case`] reads recorded replies of both. In each of
//! [`spot`] and [`futures`]: `sign` decides what may be sent, `client` sends it, `prices` reads past
//! prices, `streams` decides what to ask next, `parse` and `state` say what the replies mean,
//! `fault` what the errors do.

pub mod case;
pub mod futures;
pub mod names;
pub mod spot;
pub mod wire;
