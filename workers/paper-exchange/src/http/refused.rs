//! How the exchange says no: HTTP status, `code` and `msg`.

use serde_json::{Value, json};

use crate::model::Refusal;

/// An answer that is no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub status: u16,
    pub code: i32,
    pub message: String,
}

/// What an endpoint answers.
pub type Answer = Result<Value, Refused>;

impl Refused {
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        // Binance answers 401 to a key it does not take and 400 to everything else.
        let status = if matches!(code, -2014 | -2015) { 401 } else { 400 };
        Self { status, code, message: message.into() }
    }

    pub fn with_status(status: u16, code: i32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub fn missing(name: &str) -> Self {
        Self::new(-1102, format!("Mandatory parameter '{name}' was not sent, was empty/null, or malformed."))
    }

    pub fn illegal(name: &str) -> Self {
        Self::new(-1100, format!("Illegal characters found in parameter '{name}'."))
    }

    pub fn symbol() -> Self {
        Self::new(-1121, "Invalid symbol.")
    }

    pub fn key() -> Self {
        Self::new(-2015, "Invalid API-key, IP, or permissions for action.")
    }

    pub fn no_order() -> Self {
        Self::new(-2013, "Order does not exist.")
    }

    pub fn unknown_order() -> Self {
        Self::new(-2011, "Unknown order sent.")
    }

    pub fn combination() -> Self {
        Self::new(-1128, "Combination of optional parameters invalid.")
    }

    pub fn body(&self) -> Value {
        json!({ "code": self.code, "msg": self.message })
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code, refusal.message)
    }
}
