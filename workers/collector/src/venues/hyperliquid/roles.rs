//! Whose address it is, what belongs to it, and how its wallets are joined: pure.

use codash_domain::text::clean;
use serde::Deserialize;

use crate::error::VenueError;
use crate::venues::wire::read;

/// userRole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserRole {
    User,
    Vault,
    SubAccount {
        master: Option<String>,
    },
    /// A signing key of the user at this address.
    Agent {
        user: String,
    },
    Missing,
}

impl UserRole {
    /// In the venue's words.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Vault => "vault",
            Self::SubAccount { .. } => "subAccount",
            Self::Agent { .. } => "agent",
            Self::Missing => "missing",
        }
    }
}

pub fn user_role(body: &str) -> Result<UserRole, VenueError> {
    const ENDPOINT: &str = "userRole";
    #[derive(Deserialize)]
    struct Reply {
        role: String,
        #[serde(default)]
        data: Option<Data>,
    }
    #[derive(Deserialize)]
    struct Data {
        #[serde(default)]
        user: Option<String>,
        #[serde(default)]
        master: Option<String>,
    }
    let reply: Reply = read(ENDPOINT, body)?;
    match reply.role.as_str() {
        "user" => Ok(UserRole::User),
        "vault" => Ok(UserRole::Vault),
        "missing" => Ok(UserRole::Missing),
        "subAccount" => Ok(UserRole::SubAccount { master: reply.data.and_then(|data| data.master) }),
        "agent" => {
            let user = reply.data.and_then(|data| data.user);
            let user = user.ok_or_else(|| VenueError::unreadable(ENDPOINT, "an agent without its user"))?;
            Ok(UserRole::Agent { user: user.to_ascii_lowercase() })
        }
        other => Err(VenueError::unreadable(ENDPOINT, format!("unknown role {other:?}"))),
    }
}

/// The name and the address of each sub-account. `null` when there are none.
pub fn sub_accounts(body: &str) -> Result<Vec<(String, String)>, VenueError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sub {
        #[serde(default)]
        name: Option<String>,
        #[serde(default)]
        sub_account_user: Option<String>,
    }
    let subs: Option<Vec<Sub>> = read("subAccounts", body)?;
    let named =
        |sub: Sub| (clean(&sub.name.unwrap_or_default(), 64), clean(&sub.sub_account_user.unwrap_or_default(), 64));
    Ok(subs.unwrap_or_default().into_iter().map(named).collect())
}

/// vaultDetails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vault {
    pub name: String,
    pub leader: String,
    /// Vaults that trade for this one, with money of their own.
    pub children: Vec<String>,
}

/// `None` when there is no such vault.
pub fn vault(body: &str) -> Result<Option<Vault>, VenueError> {
    #[derive(Deserialize)]
    struct Reply {
        name: String,
        leader: String,
        #[serde(default)]
        relationship: Option<Relationship>,
    }
    #[derive(Deserialize)]
    struct Relationship {
        #[serde(default)]
        data: Option<Data>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Data {
        #[serde(default)]
        child_addresses: Vec<String>,
    }
    let reply: Option<Reply> = read("vaultDetails", body)?;
    Ok(reply.map(|reply| Vault {
        name: clean(&reply.name, 128),
        leader: clean(&reply.leader, 64),
        children: reply.relationship.and_then(|is| is.data).map(|data| data.child_addresses).unwrap_or_default(),
    }))
}

/// userAbstraction: how the venue says that the wallets are joined, a bare word. `null` where it
/// says nothing.
pub fn abstraction(body: &str) -> Result<Option<String>, VenueError> {
    let word: Option<String> = read("userAbstraction", body)?;
    match word.as_deref() {
        None | Some("default" | "disabled" | "dexAbstraction" | "unifiedAccount" | "portfolioMargin") => Ok(word),
        // A way of joining wallets that we do not know could make us count money twice.
        Some(other) => Err(VenueError::unreadable("userAbstraction", format!("unknown mode {other:?}"))),
    }
}

/// The names of the builder-deployed exchanges. The first entry is the main exchange, `null`.
pub fn perp_dexs(body: &str) -> Result<Vec<String>, VenueError> {
    #[derive(Deserialize)]
    struct Dex {
        name: String,
    }
    let dexes: Vec<Option<Dex>> = read("perpDexs", body)?;
    Ok(dexes.into_iter().flatten().map(|dex| dex.name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_names_the_account_that_holds_the_positions() {
        assert_eq!(
            user_role(r#"{"role":"agent","data":{"user":"0xAB"}}"#).unwrap(),
            UserRole::Agent { user: "0xab".into() }
        );
        let master = Some("0x1".to_owned());
        assert_eq!(
            user_role(r#"{"role":"subAccount","data":{"master":"0x1"}}"#).unwrap(),
            UserRole::SubAccount { master }
        );
        assert_eq!(user_role(r#"{"role":"missing"}"#).unwrap(), UserRole::Missing);
        assert!(user_role(r#"{"role":"agent"}"#).is_err() && user_role(r#"{"role":"ghost"}"#).is_err());
    }

    #[test]
    fn a_mode_that_we_do_not_know_is_not_guessed_at() {
        assert_eq!(abstraction(r#""unifiedAccount""#).unwrap().as_deref(), Some("unifiedAccount"));
        assert_eq!(abstraction("null").unwrap(), None);
        assert!(abstraction(r#""somethingNew""#).is_err());
    }

    #[test]
    fn exchanges_and_children_are_listed_by_name() {
        assert_eq!(perp_dexs(r#"[null,{"name":"xyz","fullName":"X"},{"name":"flx"}]"#).unwrap(), ["xyz", "flx"]);
        let parent =
            r#"{"name":"HLP","leader":"0x1","relationship":{"type":"parent","data":{"childAddresses":["0x2"]}}}"#;
        assert_eq!(vault(parent).unwrap().unwrap().children, ["0x2"]);
        assert_eq!(
            vault(r#"{"name":"V","leader":"0x1","relationship":{"type":"normal"}}"#).unwrap().unwrap().name,
            "V"
        );
        assert_eq!(vault("null").unwrap(), None);
    }
}
