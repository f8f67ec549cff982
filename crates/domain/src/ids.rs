//! Identifiers. An event's id is derived from its source, so that collecting it twice changes nothing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::time::Timestamp;

macro_rules! uuid_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(transparent)]
        #[schemars(inline)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A version 4 id from 16 random bytes.
            pub fn from_random(bytes: [u8; 16]) -> Self {
                Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(s: &str) -> Result<Self, uuid::Error> {
                Uuid::try_parse(s).map(Self)
            }
        }
    };
}

uuid_newtype!(
    /// A tenant.
    WorkspaceId
);
uuid_newtype!(
    /// An exchange account or wallet inside a workspace.
    AccountId
);
uuid_newtype!(
    /// A group of accounts inside a workspace.
    PortfolioId
);
uuid_newtype!(
    /// An API key, as owners and logs name it. It opens nothing.
    KeyId
);
uuid_newtype!(
    /// A person who logs in. People belong to workspaces, through a role in each.
    PersonId
);
uuid_newtype!(
    /// A login: from a password to its logout, through every refresh.
    LoginId
);
uuid_newtype!(
    /// An invitation to a workspace.
    InvitationId
);

uuid_newtype!(
    /// An automation: when, what, to whom.
    AutomationId
);
uuid_newtype!(
    /// One run of an automation; the same cause makes the same id.
    RunId
);
uuid_newtype!(
    /// Where results are sent.
    EndpointId
);
uuid_newtype!(
    /// One message to one endpoint, however often it is tried.
    DeliveryId
);

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// 128 bits in ULID form: the 48-bit millisecond of `occurredAt`, then 80 bits of a hash of
/// (account, stream, native id). Ids sort by time; shown as `evt_` and 26 Crockford digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(u128);

impl EventId {
    pub fn derive(account: AccountId, stream: &str, native_id: &str, occurred_at: Timestamp) -> Self {
        let mut hash = Sha256::new();
        hash.update(account.0.as_bytes());
        for part in [stream, native_id] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        let mut low = [0_u8; 16];
        low[6..].copy_from_slice(&digest[..10]);
        Self(Self::first_at(occurred_at.millis()).0 | u128::from_be_bytes(low))
    }

    /// The smallest id of a millisecond: range bounds for windows, half-open at the end.
    pub fn first_at(millis: i64) -> Self {
        Self(u128::try_from(millis.clamp(0, (1 << 48) - 1)).unwrap_or_default() << 80)
    }

    pub fn millis(self) -> i64 {
        i64::try_from(self.0 >> 80).unwrap_or_default()
    }

    pub fn uuid(self) -> Uuid {
        Uuid::from_u128(self.0)
    }

    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid.as_u128())
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = *b"evt_00000000000000000000000000";
        for (i, slot) in text[4..].iter_mut().enumerate() {
            *slot = CROCKFORD[(self.0 >> (125 - 5 * i) & 31) as usize];
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}
impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Text that is not `evt_` and 26 Crockford base32 digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an event id such as evt_01HK153X00ZZZZZZZZZZZZZZZZ")]
pub struct NotEventId;

impl FromStr for EventId {
    type Err = NotEventId;
    fn from_str(s: &str) -> Result<Self, NotEventId> {
        let digits = s.strip_prefix("evt_").filter(|d| d.len() == 26).ok_or(NotEventId)?;
        let mut value = 0_u128;
        for (i, c) in digits.bytes().enumerate() {
            let digit = CROCKFORD.iter().position(|&d| d == c).ok_or(NotEventId)?;
            if i == 0 && digit > 7 {
                return Err(NotEventId);
            }
            value = value << 5 | digit as u128;
        }
        Ok(Self(value))
    }
}
impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
impl schemars::JsonSchema for EventId {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EventId".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^evt_[0-7][0-9A-HJKMNP-TV-Z]{25}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> AccountId {
        AccountId::from_random([7; 16])
    }

    #[test]
    fn the_same_record_makes_the_same_id_and_any_other_source_another() {
        let at = Timestamp::from_millis(1_767_225_600_123).unwrap();
        let id = EventId::derive(account(), "usdm.fills", "a:1", at);
        assert_eq!(id, EventId::derive(account(), "usdm.fills", "a:1", at));
        assert_ne!(id, EventId::derive(account(), "usdm.fillsa", ":1", at));
        assert_ne!(id, EventId::derive(AccountId::from_random([8; 16]), "usdm.fills", "a:1", at));
        assert_eq!(id.millis(), at.millis());
    }

    #[test]
    fn ids_sort_by_time_as_text_as_number_and_as_uuid() {
        let ids: Vec<EventId> = (0..50)
            .map(|i| EventId::derive(account(), "s", &i.to_string(), Timestamp::from_millis(1_000 * i).unwrap()))
            .collect();
        assert!(ids.is_sorted());
        assert!(ids.iter().map(ToString::to_string).is_sorted());
        assert!(ids.iter().map(|i| i.uuid()).is_sorted());
    }

    #[test]
    fn an_id_reads_back_what_it_prints() {
        let id = EventId::derive(account(), "s", "x", Timestamp::from_millis(1).unwrap());
        assert_eq!(id.to_string().parse::<EventId>().unwrap(), id);
        assert_eq!(EventId::from_uuid(id.uuid()), id);
        assert!("evt_8ZZZZZZZZZZZZZZZZZZZZZZZZZ".parse::<EventId>().is_err());
    }
}
