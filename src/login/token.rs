//! The two tokens of a login. The access token is a JWT (HS256: its issuer is its only reader); the
//! refresh token is random bits, kept as their SHA-256 and exchanged at each use.
//!
//! The signing key is derived from the master key and the day, so it changes every day, is the same on
//! every instance, is kept nowhere, and one day's key tells nothing of another's.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use codash_domain::{LoginId, PersonId, Timestamp, WorkspaceId};
use codash_store::Derived;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ACCESS_SECONDS;

const ISSUER: &str = "codash";
/// Between the clocks of two instances.
const LEEWAY_SECONDS: i64 = 30;
const DAY_MILLIS: i64 = 86_400_000;
const REFRESH_PREFIX: &str = "kvr_";
/// A token of ours is shorter; nothing longer is looked at.
const LONGEST: usize = 1024;

/// Who a token speaks for. Their role is looked up at each use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessClaims {
    iss: String,
    pub sub: PersonId,
    pub ws: WorkspaceId,
    pub sid: LoginId,
    iat: i64,
    exp: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    /// Days since 1970.
    kid: String,
}

/// Makes an access token; `key` gives the keys of a purpose.
pub fn access_token(
    key: &dyn Fn(&str) -> Derived,
    (person, workspace, login): (PersonId, WorkspaceId, LoginId),
    now: Timestamp,
) -> String {
    let day = now.millis() / DAY_MILLIS;
    let seconds = now.millis() / 1000;
    let claims = AccessClaims {
        iss: ISSUER.into(),
        sub: person,
        ws: workspace,
        sid: login,
        iat: seconds,
        exp: seconds + ACCESS_SECONDS,
    };
    let header = Header { alg: "HS256".into(), typ: "JWT".into(), kid: day.to_string() };
    let signed = format!("{}.{}", part(&header), part(&claims));
    let tag = mac(purpose(key, day).signing(), signed.as_bytes()).finalize().into_bytes();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// The claims of a genuine token that has not expired; `None` for every other.
pub fn read_access_token(key: &dyn Fn(&str) -> Derived, token: &str, now: Timestamp) -> Option<AccessClaims> {
    if token.len() > LONGEST {
        return None;
    }
    let (signed, tag) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let header: Header = read(header)?;
    let (day, today) = (header.kid.parse::<i64>().ok()?, now.millis() / DAY_MILLIS);
    if header.alg != "HS256" || header.typ != "JWT" || !(today - 1..=today + 1).contains(&day) {
        return None;
    }
    let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
    purpose(key, day).all().find(|key| mac(key, signed.as_bytes()).verify_slice(&tag).is_ok())?;
    let claims: AccessClaims = read(claims)?;
    let seconds = now.millis() / 1000;
    let is_young = seconds < claims.exp + LEEWAY_SECONDS && claims.iat <= seconds + LEEWAY_SECONDS;
    (claims.iss == ISSUER && is_young).then_some(claims)
}

fn part<T: Serialize>(value: &T) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).unwrap_or_default())
}

fn read<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn purpose(key: &dyn Fn(&str) -> Derived, day: i64) -> Derived {
    key(&format!("access-token:{day}"))
}

fn mac(key: &[u8; 32], signed: &[u8]) -> Hmac<Sha256> {
    // HMAC pads a key to the block of 64 bytes with zeros.
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(signed);
    mac
}

/// `kvr_` and 48 bytes: the login, and a secret that is good once.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    pub login: LoginId,
    secret: [u8; 32],
}

impl RefreshToken {
    pub fn new(login: LoginId, secret: [u8; 32]) -> Self {
        Self { login, secret }
    }

    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix(REFRESH_PREFIX).filter(|rest| rest.len() == 64)?;
        let bytes: [u8; 48] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (login, secret) = bytes.split_first_chunk::<16>()?;
        Some(Self { login: LoginId(uuid::Uuid::from_bytes(*login)), secret: secret.try_into().ok()? })
    }

    /// What is stored.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret).into()
    }

    pub fn reveal(&self) -> String {
        format!("{REFRESH_PREFIX}{}", URL_SAFE_NO_PAD.encode([self.login.0.as_bytes(), &self.secret[..]].concat()))
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RefreshToken({})", self.login)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use codash_store::MasterKeys;

    use super::*;

    fn key(purpose: &str) -> Derived {
        <[u8; 32]>::from(Sha256::digest(purpose.as_bytes())).into()
    }

    fn other(purpose: &str) -> Derived {
        <[u8; 32]>::from(Sha256::digest(format!("other {purpose}").as_bytes())).into()
    }

    fn now() -> Timestamp {
        Timestamp::from_millis(1_780_000_000_000).unwrap()
    }

    fn who() -> (PersonId, WorkspaceId, LoginId) {
        (PersonId::from_random([1; 16]), WorkspaceId::from_random([2; 16]), LoginId::from_random([3; 16]))
    }

    #[test]
    fn a_token_is_read_until_it_expires_and_by_its_own_key_alone() {
        let token = access_token(&key, who(), now());
        let claims = read_access_token(&key, &token, now()).unwrap();
        assert_eq!((claims.sub, claims.ws, claims.sid), who());
        let after = |seconds| now().plus(TimeDelta::seconds(seconds));
        assert!(read_access_token(&key, &token, after(ACCESS_SECONDS + LEEWAY_SECONDS - 1)).is_some());
        assert!(read_access_token(&key, &token, after(ACCESS_SECONDS + LEEWAY_SECONDS)).is_none());
        assert!(read_access_token(&key, &token, after(-LEEWAY_SECONDS - 1)).is_none(), "from the future");
        assert!(read_access_token(&other, &token, now()).is_none());
    }

    #[test]
    fn a_token_outlives_the_turn_of_the_master_key() {
        let list = |text: &str| MasterKeys::parse(text).unwrap();
        let (k1, k2) =
            ("k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "k2:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=");
        let (before, after) = (list(&format!("{k1},{k2}")), list(&format!("{k2},{k1}")));
        for (signer, reader) in [(&before, &after), (&after, &before)] {
            let token = access_token(&|purpose| signer.derive(purpose), who(), now());
            assert!(read_access_token(&|purpose| reader.derive(purpose), &token, now()).is_some());
            assert_eq!(
                read_access_token(&|purpose| list(k1).derive(purpose), &token, now()).is_some(),
                std::ptr::eq(signer, &before)
            );
        }
    }

    #[test]
    fn no_mutation_of_a_token_is_read() {
        let token = access_token(&key, who(), now());
        for at in 0..token.len() {
            for c in [b'A', b'b', b'-', b'.'] {
                let mut bytes = token.clone().into_bytes();
                if bytes[at] != c {
                    bytes[at] = c;
                    let text = String::from_utf8(bytes).unwrap();
                    assert!(read_access_token(&key, &text, now()).is_none(), "{at}");
                }
            }
        }
    }

    #[test]
    fn another_algorithm_is_no_algorithm() {
        let token = access_token(&key, who(), now());
        let claims = token.split('.').nth(1).unwrap();
        let day = (now().millis() / DAY_MILLIS).to_string();
        for alg in ["none", "None", "RS256", "HS512", "hs256"] {
            let header = part(&Header { alg: alg.into(), typ: "JWT".into(), kid: day.clone() });
            let signed = format!("{header}.{claims}");
            let tag =
                mac(purpose(&key, now().millis() / DAY_MILLIS).signing(), signed.as_bytes()).finalize().into_bytes();
            for forged in [format!("{signed}."), format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))] {
                assert!(read_access_token(&key, &forged, now()).is_none(), "{alg}");
            }
        }
        for bad in ["", ".", "..", "a.b.c", &"a".repeat(100_000)] {
            assert!(read_access_token(&key, bad, now()).is_none());
        }
    }

    #[test]
    fn yesterdays_key_still_reads_and_the_day_befores_does_not() {
        let midnight = Timestamp::from_millis(20_000 * DAY_MILLIS).unwrap();
        let token = access_token(&key, who(), midnight.minus(TimeDelta::seconds(1)));
        assert!(read_access_token(&key, &token, midnight.plus(TimeDelta::seconds(60))).is_some());
        assert!(read_access_token(&key, &token, midnight.plus(TimeDelta::days(1))).is_none());
    }

    #[test]
    fn a_refresh_token_reads_back_and_hides_itself() {
        let token = RefreshToken::new(who().2, [9; 32]);
        assert_eq!(RefreshToken::parse(&token.reveal()), Some(token.clone()));
        assert!(!format!("{token:?}").contains("CQkJ"));
        for bad in ["", "kvr_", "kv_live_x", &token.reveal()[1..], &format!("{}A", token.reveal())] {
            assert!(RefreshToken::parse(bad).is_none(), "{bad}");
        }
    }
}
