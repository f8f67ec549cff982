//! What a key may do, in the words of the contract.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(inline)]
pub enum Scope {
    /// The umbrella: every read family.
    #[serde(rename = "workspace:read")]
    Read,
    #[serde(rename = "workspace:read:summary")]
    ReadSummary,
    #[serde(rename = "workspace:read:live")]
    ReadLive,
    #[serde(rename = "workspace:read:raw")]
    ReadRaw,
    #[serde(rename = "workspace:read:exports")]
    ReadExports,
    #[serde(rename = "workspace:write:accounts")]
    WriteAccounts,
    #[serde(rename = "workspace:write:ai-keys")]
    WriteAiKeys,
    #[serde(rename = "workspace:write:automations")]
    WriteAutomations,
}

impl Scope {
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::ReadSummary,
        Self::ReadLive,
        Self::ReadRaw,
        Self::ReadExports,
        Self::WriteAccounts,
        Self::WriteAiKeys,
        Self::WriteAutomations,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "workspace:read",
            Self::ReadSummary => "workspace:read:summary",
            Self::ReadLive => "workspace:read:live",
            Self::ReadRaw => "workspace:read:raw",
            Self::ReadExports => "workspace:read:exports",
            Self::WriteAccounts => "workspace:write:accounts",
            Self::WriteAiKeys => "workspace:write:ai-keys",
            Self::WriteAutomations => "workspace:write:automations",
        }
    }

    fn is_read(self) -> bool {
        matches!(self, Self::Read | Self::ReadSummary | Self::ReadLive | Self::ReadRaw | Self::ReadExports)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no scope is called {0:?}")]
pub struct NotScope(pub String);

impl FromStr for Scope {
    type Err = NotScope;
    fn from_str(s: &str) -> Result<Self, NotScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == s).ok_or_else(|| NotScope(s.into()))
    }
}

/// The scopes of one key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Self {
        let mut scopes: Vec<Scope> = scopes.into_iter().collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes)
    }

    /// What a newly registered workspace's first key holds: every read family and every write.
    pub fn full() -> Self {
        Self::new([Scope::Read, Scope::WriteAccounts, Scope::WriteAiKeys, Scope::WriteAutomations])
    }

    /// True when held, or when a read family is asked and the umbrella is held.
    pub fn allows(&self, wanted: Scope) -> bool {
        self.0.contains(&wanted) || (wanted.is_read() && self.0.contains(&Scope::Read))
    }

    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_umbrella_opens_every_read_and_no_write() {
        let umbrella = Scopes::new([Scope::Read]);
        for scope in Scope::ALL {
            assert_eq!(umbrella.allows(scope), scope.as_str().starts_with("workspace:read"), "{scope}");
        }
    }

    #[test]
    fn a_family_opens_itself_alone() {
        let summary = Scopes::new([Scope::ReadSummary]);
        assert!(Scope::ALL.into_iter().filter(|s| summary.allows(*s)).eq([Scope::ReadSummary]));
    }
}
