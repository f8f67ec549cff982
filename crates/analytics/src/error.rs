//! Why a question has no answer.

use serde_json::Value;

/// A question that was understood and cannot be answered as asked. The message says what to change.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Rule {
    /// Stable, for programs: `unknown_account`, `invalid_window`, `invalid_cursor`, `out_of_range`.
    pub code: &'static str,
    pub message: String,
    /// Which argument, and what is allowed.
    pub details: Value,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Rule(#[from] Rule),
    #[error("the question could not be asked of the database")]
    Store(#[from] codash_store::Error),
}

impl Rule {
    pub fn new(code: &'static str, message: impl Into<String>, details: Value) -> Self {
        Self { code, message: message.into(), details }
    }
}
