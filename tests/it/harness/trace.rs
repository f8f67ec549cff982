//! Everything that the code under test would log at TRACE, in every test, for `scripts/trace-grep.sh`.

use std::fs::OpenOptions;
use std::sync::{Mutex, Once};

use tracing_subscriber::filter::LevelFilter;

/// Writes to the file or pipe that `CODASH_TEST_TRACE` names; without it nothing is formatted at all.
pub fn start() {
    static STARTED: Once = Once::new();
    let Some(path) = std::env::var_os("CODASH_TEST_TRACE") else { return };
    STARTED.call_once(|| {
        let file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        let lines = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_ansi(false);
        lines.with_writer(Mutex::new(file)).init();
    });
}
