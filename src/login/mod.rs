//! People: passwords, the tokens of a login, and what a token opens.

mod password;
mod token;

pub use password::Passwords;
pub use token::{AccessClaims, RefreshToken, access_token, read_access_token};

use chrono::TimeDelta;

/// How long an access token is good for. What it opens is looked up at each use all the same: a login
/// that ended opens nothing, at once.
pub const ACCESS_SECONDS: i64 = 600;
/// From a password to the next time that it is asked for.
pub const LOGIN_DAYS: TimeDelta = TimeDelta::days(30);
/// How long an invitation can be accepted.
pub const INVITATION_DAYS: TimeDelta = TimeDelta::days(7);
