//! What tests stand on.

mod cluster;

pub use cluster::TestDb;
