//! What a person may do in a workspace.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Scope, Scopes};

/// From least to most; each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Role {
    /// Every read.
    Viewer,
    /// Writes, keys, the audit, and inviting viewers and admins.
    Admin,
    /// Who the others are.
    Owner,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Admin, Self::Owner];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// What the role opens of the routes that keys use too.
    pub fn scopes(self) -> Scopes {
        match self {
            Self::Viewer => Scopes::new([Scope::Read]),
            Self::Admin | Self::Owner => Scopes::full(),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no role is called {0:?}")]
pub struct NotRole(pub String);

impl FromStr for Role {
    type Err = NotRole;
    fn from_str(s: &str) -> Result<Self, NotRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == s).ok_or_else(|| NotRole(s.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_writes_nothing_and_an_admin_everything_that_a_key_can() {
        for scope in Scope::ALL {
            let is_read = scope.as_str().starts_with("workspace:read");
            assert_eq!(Role::Viewer.scopes().allows(scope), is_read, "{scope}");
            assert!(Role::Admin.scopes().allows(scope) && Role::Owner.scopes().allows(scope), "{scope}");
        }
        assert!(Role::Viewer < Role::Admin && Role::Admin < Role::Owner);
    }
}
