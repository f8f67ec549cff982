//! What tests stand on.

mod cluster;
mod redis;
mod trace;

pub use cluster::{TestDb, master_keys};
pub use redis::TestRedis;
