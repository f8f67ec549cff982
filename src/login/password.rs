//! Passwords: argon2id, off the threads that serve requests, a few at a time.
//!
//! Parameters are OWASP's first choice for argon2id (19 MiB, 2 passes, 1 lane). A hash says which it
//! was made with; one made with others is made anew at the next login.

use std::sync::Arc;
use std::time::Duration;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::app::random;
use crate::rest::error::ApiError;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT: usize = 16;
const HASH: usize = 32;
/// Hashes at once: each takes 19 MiB and a core.
const AT_ONCE: usize = 2;
/// How long a login waits for its turn.
const PATIENCE: Duration = Duration::from_secs(3);

/// Makes and checks hashes of passwords.
#[derive(Debug, Clone)]
pub struct Passwords {
    places: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub is_right: bool,
    /// The hash to keep from now on, when the password is right and its hash was made with other parameters.
    pub upgraded: Option<String>,
}

impl Passwords {
    /// The hash of a new password, in the PHC form.
    pub async fn hash(&self, password: &SecretString) -> Result<String, ApiError> {
        let salt: [u8; SALT] = random().map_err(|error| ApiError::internal().caused_by(error))?;
        let password = password.clone();
        self.run(move || hash(password.expose_secret(), &salt)).await?.ok_or_else(ApiError::internal)
    }

    /// Checks a password against the hash of the person, or, when there is no such person, against
    /// nothing in as much time.
    pub async fn check(&self, password: &SecretString, phc: Option<&str>) -> Result<Checked, ApiError> {
        let salt: [u8; SALT] = random().map_err(|error| ApiError::internal().caused_by(error))?;
        let (password, phc) = (password.clone(), phc.map(str::to_owned));
        self.run(move || {
            let password = password.expose_secret();
            let Some(phc) = phc else {
                drop(hash(password, &salt));
                return Checked { is_right: false, upgraded: None };
            };
            let is_right = matches(password, &phc);
            let upgraded = if is_right && !is_current(&phc) { hash(password, &salt) } else { None };
            Checked { is_right, upgraded }
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
        let place = timeout(PATIENCE, Arc::clone(&self.places).acquire_owned())
            .await
            .map_err(|_| ApiError::rate_limited("passwords at once", PATIENCE))?
            .map_err(|error| ApiError::internal().caused_by(error))?;
        let worked = tokio::task::spawn_blocking(move || {
            let _place = place;
            work()
        });
        worked.await.map_err(|error| ApiError::internal().caused_by(error))
    }
}

/// `$argon2id$v=19$m=…,t=…,p=…$salt$hash`
fn hash(password: &str, salt: &[u8]) -> Option<String> {
    let out = derive(password, salt, (MEMORY_KIB, PASSES, LANES), HASH)?;
    let (salt, out) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(out));
    Some(format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${out}"))
}

fn matches(password: &str, phc: &str) -> bool {
    let Some((costs, salt, kept)) = read(phc) else { return false };
    derive(password, &salt, costs, kept.len()).is_some_and(|out| is_equal(&out, &kept))
}

/// Looks at every byte, whichever differs.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

fn is_current(phc: &str) -> bool {
    read(phc).is_some_and(|(costs, salt, kept)| {
        costs == (MEMORY_KIB, PASSES, LANES) && salt.len() == SALT && kept.len() == HASH
    })
}

type Costs = (u32, u32, u32);

fn read(phc: &str) -> Option<(Costs, Vec<u8>, Vec<u8>)> {
    let rest = phc.strip_prefix("$argon2id$v=19$")?;
    let mut parts = rest.split('$');
    let mut costs = parts.next()?.split(',');
    let mut cost = |name: &str| costs.next()?.strip_prefix(name)?.parse::<u32>().ok();
    let costs = (cost("m=")?, cost("t=")?, cost("p=")?);
    let (salt, kept) = (STANDARD_NO_PAD.decode(parts.next()?).ok()?, STANDARD_NO_PAD.decode(parts.next()?).ok()?);
    (parts.next().is_none() && !kept.is_empty()).then_some((costs, salt, kept))
}

fn derive(password: &str, salt: &[u8], (memory, passes, lanes): Costs, length: usize) -> Option<Vec<u8>> {
    let params = Params::new(memory, passes, lanes, Some(length)).ok()?;
    let mut blocks = vec![Block::default(); params.block_count()];
    let mut out = vec![0; length];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password.as_bytes(), salt, &mut out, &mut blocks)
        .ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_of_its_password_and_salt_alone() {
        let made = hash("correct horse battery", &[7; SALT]).unwrap();
        assert!(made.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{made}");
        assert!(matches("correct horse battery", &made) && is_current(&made));
        assert!(!matches("correct horse batterz", &made));
        assert_ne!(hash("correct horse battery", &[8; SALT]).unwrap(), made);
    }

    #[test]
    fn the_derivation_is_the_published_algorithm() {
        // Made with the reference implementation: echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32.
        let out = derive("password", b"somesalt", (65_536, 2, 1), 32).unwrap();
        assert_eq!(hex::encode(out), "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7");
    }

    #[test]
    fn what_is_no_hash_matches_no_password() {
        for bad in ["", "$argon2id$v=19$m=8,t=1,p=1$$", "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAA", "plain"] {
            assert!(!matches("", bad) && !is_current(bad), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_weaker_hash_is_made_anew_when_its_password_is_right() {
        let weak = derive("a long enough one", b"saltsaltsaltsalt", (64, 1, 1), 32).unwrap();
        let phc = format!(
            "$argon2id$v=19$m=64,t=1,p=1${}${}",
            STANDARD_NO_PAD.encode("saltsaltsaltsalt"),
            STANDARD_NO_PAD.encode(weak)
        );
        let passwords = Passwords::default();
        let right = passwords.check(&"a long enough one".into(), Some(&phc)).await.unwrap();
        assert!(right.is_right && is_current(&right.upgraded.unwrap()));
        let wrong = passwords.check(&"another long one".into(), Some(&phc)).await.unwrap();
        assert_eq!(wrong, Checked { is_right: false, upgraded: None });
        assert!(!passwords.check(&"whatever".into(), None).await.unwrap().is_right);
    }
}
