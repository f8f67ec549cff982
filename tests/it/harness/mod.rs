//! What tests stand on.

mod cluster;
mod redis;

pub use cluster::{TestDb, master_keys};
pub use redis::TestRedis;
