//! The published list of what may be sent to a venue. A signer takes nothing but a [`Listed`], and
//! only this list makes one: what is not a listed read cannot be signed.

use codash_domain::text::clean;

use crate::error::VenueError;

/// An endpoint that reads. `{name}` in the path stands for one segment of letters, digits, `-` and `_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    pub method: &'static str,
    pub path: &'static str,
    /// What it is read for, in a few words for the user.
    pub why: &'static str,
}

impl Read {
    pub const fn get(path: &'static str, why: &'static str) -> Self {
        Self { method: "GET", path, why }
    }

    /// A read that the venue wants as a POST.
    pub const fn post(path: &'static str, why: &'static str) -> Self {
        Self { method: "POST", path, why }
    }

    fn is(&self, method: &str, path: &str) -> bool {
        let same = |(pattern, segment): (&str, &str)| match pattern.starts_with('{') {
            true => is_plain(segment),
            false => pattern == segment,
        };
        self.method == method
            && self.path.split('/').count() == path.split('/').count()
            && self.path.split('/').zip(path.split('/')).all(same)
    }
}

/// A value that can stand in a path without changing where it leads.
fn is_plain(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// Proof that an endpoint is a listed read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed<'a> {
    method: &'static str,
    path: &'a str,
}

impl<'a> Listed<'a> {
    /// Refuses what is not on the list.
    pub fn new(reads: &'static [Read], method: &str, path: &'a str) -> Result<Self, VenueError> {
        match reads.iter().find(|read| read.is(method, path)) {
            Some(read) => Ok(Self { method: read.method, path }),
            None => Err(VenueError::NotListed { endpoint: clean(&format!("{method} {path}"), 120) }),
        }
    }

    pub fn method(&self) -> &'static str {
        self.method
    }

    /// Without a query.
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// The path and a query, as they are sent.
    pub fn with_query(&self, query: &str) -> String {
        if query.is_empty() { self.path.into() } else { format!("{}?{query}", self.path) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READS: &[Read] = &[Read::get("/v1/fills", "fills"), Read::get("/v1/accounts/{id}/log", "log")];

    #[test]
    fn a_path_is_listed_whole_or_not_at_all() {
        let listed = |method, path| Listed::new(READS, method, path).is_ok();
        assert!(listed("GET", "/v1/fills") && listed("GET", "/v1/accounts/a-B_9/log"));
        for path in [
            "/v1/fills/",
            "/v1/fills/x",
            "/v1/accounts//log",
            "/v1/accounts/../log",
            "/v1/accounts/a%2Fb/log",
            "v1/fills",
            "/v1/fills?x=1",
            "",
        ] {
            assert!(!listed("GET", path), "{path}");
        }
        assert!(!listed("POST", "/v1/fills") && !listed("get", "/v1/fills"));
        let read = Listed::new(READS, "GET", "/v1/fills").unwrap();
        assert_eq!([read.with_query(""), read.with_query("a=1")], ["/v1/fills", "/v1/fills?a=1"]);
    }
}
