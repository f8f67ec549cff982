//! `/api/accounts`: which accounts there are, and attaching one. What owners do to them: `manage`.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use codash_analytics::list_accounts;
use codash_collector::error::VenueError;
use codash_collector::venues::{Attestation, Credentials, Needs, connect, definition};
use codash_domain::{AccountId, PortfolioId, Scope, Standing, Unfit, Venue, text};
use codash_store::accounts::Account;
use codash_store::{Credential, NewAccount};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use validator::{Validate, ValidationError};

use super::error::ApiError;
use super::extract::{self, LONGEST_NAME, NoParams, Params, fault, visible_name};
use super::idempotency::{self, Attempt, Creating, Start};
use super::versions::tagged;
use super::{Success, success};
use crate::app::App;
use crate::auth::Caller;

/// For a venue to say what a key may do; shorter than the request's deadline, so that the answer
/// names the venue.
const ATTEST_DEADLINE: Duration = Duration::from_secs(8);
const LONGEST_KEY: usize = 512;
const LONGEST_SECRET: usize = 8192;
const MOST_TAGS: usize = 20;
const LONGEST_TAG: usize = 50;
/// What [`key_text`], [`secret_text`] and [`wallet`] take, for the schema.
const KEY: &str = r"^\s*[!-~]{1,512}\s*$";
const SECRET: &str = r"^\s*([!-~]{1,512}|-----BEGIN [\u0001-\u007F]*)\s*$";
const WALLET: &str = r"^\s*0[xX][0-9a-fA-F]{40}\s*$";

pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<list_accounts::RestQuery>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadSummary)?;
    Ok(success(StatusCode::OK, list_accounts::listed(&app.ctx(&caller), query).await?))
}

pub async fn one(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    _: NoParams,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadSummary)?;
    let account = app.store.read(&caller.grant).account(extract::id(&id)?).await?;
    Ok(shown(StatusCode::OK, account))
}

/// An account with its entity tag.
pub fn shown(status: StatusCode, account: Account) -> Response {
    let version = account.version;
    tagged(version, success(status, list_accounts::Account::from(account)))
}

/// An exchange account (`venue`, `apiKey`, `apiSecret`) or a wallet (`venue`, `walletAddress`). The
/// key must be read-only: one that can trade or withdraw is refused.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attach {
    /// 1 to 100 characters.
    #[validate(custom(function = "visible_name"))]
    #[schemars(extend("minLength" = 1, "maxLength" = LONGEST_NAME, "pattern" = text::VISIBLE))]
    pub name: String,
    pub venue: Venue,
    /// Exchanges: the read-only API key.
    #[serde(default, deserialize_with = "secret")]
    #[schemars(with = "Option<String>", extend("pattern" = KEY))]
    pub api_key: Option<SecretString>,
    /// Exchanges: the secret of the key. Sealed on arrival and never shown again.
    #[serde(default, deserialize_with = "secret")]
    #[schemars(with = "Option<String>", extend("maxLength" = LONGEST_SECRET, "pattern" = SECRET))]
    pub api_secret: Option<SecretString>,
    /// Exchanges whose keys have one: the passphrase of the key. Sealed like the secret.
    #[serde(default, deserialize_with = "secret")]
    #[schemars(with = "Option<String>", extend("pattern" = KEY))]
    pub passphrase: Option<SecretString>,
    /// Wallets: `0x` and 40 hexadecimal digits.
    #[serde(default, deserialize_with = "codash_analytics::input::present")]
    #[schemars(extend("pattern" = WALLET))]
    pub wallet_address: Option<String>,
    /// Another name of `walletAddress`.
    #[serde(default, deserialize_with = "codash_analytics::input::present")]
    #[schemars(extend("pattern" = WALLET))]
    pub address: Option<String>,
    /// Up to 20 labels of 1 to 50 characters.
    #[serde(default)]
    #[validate(length(max = 20), custom(function = "visible_tags"))]
    #[schemars(extend("items" = json!({ "type": "string", "minLength": 1, "maxLength": LONGEST_TAG, "pattern": text::VISIBLE })))]
    pub tags: Vec<String>,
    /// The portfolio group to put it in.
    #[serde(default, deserialize_with = "codash_analytics::input::present")]
    pub portfolio_id: Option<PortfolioId>,
}

/// The same request under the same `Idempotency-Key` is answered once more with what it created.
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    _: NoParams,
    Creating { wanted, once }: Creating<Attach>,
) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAccounts)?;
    if caller.grant.accounts.is_some() {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "account_not_allowed",
            "the API key is limited to certain accounts: attaching one needs a key without an account allowlist",
        ));
    }
    let attempt = match idempotency::begin(&app, &caller, once).await? {
        Start::Go(attempt) => attempt,
        Start::Answered(response) => return Ok(response),
    };
    let made = attach(&app, &caller, &wanted, attempt.as_ref()).await;
    idempotency::settle(&app, &caller, attempt, made).await
}

async fn attach(app: &App, caller: &Caller, wanted: &Attach, attempt: Option<&Attempt>) -> Result<Response, ApiError> {
    let (credential, credentials) = credentials(wanted)?;
    let (streams, standing) = attest(app, wanted.venue, credentials).await?;
    let account = NewAccount {
        id: AccountId::from_random(app.random()?),
        name: text::clean(&wanted.name, LONGEST_NAME),
        venue: wanted.venue,
        credential,
        tags: clean_tags(&wanted.tags),
        streams,
        standing,
        now: app.clock.now(),
    };
    let reply = |account: &Account| idempotency::text(&Success::of(list_accounts::Account::from(account.clone())));
    let keep = attempt.map(|attempt| attempt.keep(&reply));
    let (workspace, by) = (caller.grant.workspace, caller.by(app));
    let created = app.store.attach_account(workspace, &account, by, wanted.portfolio_id, keep.as_ref()).await;
    let created = created.map_err(not_attached)?;
    tracing::info!(account.id = %created.id, venue.name = %created.venue, "an account was attached");
    Ok(shown(StatusCode::CREATED, created))
}

pub fn clean_tags(tags: &[String]) -> Vec<String> {
    tags.iter().map(|tag| text::clean(tag, LONGEST_TAG)).collect()
}

/// Asks the venue what the credentials may do. Its streams come back when that is reading, and
/// nothing else.
pub async fn attest(app: &App, venue: Venue, credentials: Credentials) -> Result<(Vec<String>, Standing), ApiError> {
    let account = connect(&app.venues, venue, credentials).map_err(|error| venue_failed(venue, error))?;
    let attested = tokio::time::timeout(ATTEST_DEADLINE, account.attest())
        .await
        .unwrap_or_else(|_| Err(VenueError::retry("no answer in time")))
        .map_err(|error| venue_failed(venue, error))?;
    match attested {
        Attestation::Accepted(standing) => Ok((account.initial_streams(), standing)),
        Attestation::TooPowerful { rights } => Err(too_powerful(venue, &rights)),
        Attestation::NotAnAccount { reason } => {
            let message = format!("{venue} has no account to read there: {}", text::clean(&reason, 300));
            Err(ApiError::new(StatusCode::BAD_REQUEST, "not_an_account", message))
        }
    }
}

fn too_powerful(venue: Venue, rights: &[String]) -> ApiError {
    let rights: Vec<String> = rights.iter().map(|right| text::clean(right, 100)).collect();
    let message = format!(
        "the key can do more than read. Remove these rights at {venue}, or make a read-only key: {}",
        rights.join(", ")
    );
    ApiError::new(StatusCode::BAD_REQUEST, "key_too_powerful", message)
        .with_details(json!({ "rightsToRemove": rights }))
}

/// The venue's failures in the contract's statuses. There is no 502 in it: a venue that does not
/// answer is a 504.
fn venue_failed(venue: Venue, error: VenueError) -> ApiError {
    match error {
        VenueError::KeyRefused { reason } => {
            let message = format!("{venue} refuses the credentials: {}", text::clean(&reason, 300));
            ApiError::new(StatusCode::BAD_REQUEST, "venue_refused_key", message)
        }
        VenueError::PermissionMissing { reason } => {
            let message = format!("the key lacks a permission at {venue}: {}", text::clean(&reason, 300));
            ApiError::new(StatusCode::BAD_REQUEST, "venue_refused_key", message)
        }
        VenueError::Retry { after, .. } => unavailable(venue, after, error),
        VenueError::Banned { after, .. } => unavailable(venue, Some(after), error),
        VenueError::Unreadable { .. } | VenueError::Expired { .. } => unavailable(venue, None, error),
        VenueError::NotListed { .. } => ApiError::internal().caused_by(error),
    }
}

fn unavailable(venue: Venue, after: Option<Duration>, error: VenueError) -> ApiError {
    let message = format!("{venue} could not be asked what the key may do: try again later");
    ApiError::new(StatusCode::GATEWAY_TIMEOUT, "venue_unavailable", message)
        .with_retry_after(after.unwrap_or(Duration::from_secs(5)))
        .caused_by(error)
}

/// Why the store did not take the account, or the credential.
pub fn not_attached(error: codash_store::Error) -> ApiError {
    match error {
        codash_store::Error::Unfit(Unfit::NoGroup) => {
            ApiError::invalid_field("portfolioId", "is no group that GET /api/portfolios returns")
        }
        codash_store::Error::Conflict { .. } => {
            ApiError::conflict("an account with these credentials is attached already")
        }
        error => error.into(),
    }
}

/// The same credentials twice: as the store seals them, and as the venue is asked with them. Fields
/// of the other kind of account are refused, not ignored.
pub fn credentials(wanted: &Attach) -> Result<(Credential, Credentials), ApiError> {
    let venue = wanted.venue;
    let Some(definition) = definition(venue) else {
        return Err(ApiError::invalid_field("venue", "is not collected from yet"));
    };
    let address = [("walletAddress", wanted.wallet_address.is_some()), ("address", wanted.address.is_some())];
    let key = [("apiKey", wanted.api_key.is_some()), ("apiSecret", wanted.api_secret.is_some())];
    let passphrase = [("passphrase", wanted.passphrase.is_some())];
    let passphrase = match definition.needs {
        Needs::Address => {
            refuse_fields(venue, &key)?;
            refuse_fields(venue, &passphrase)?;
            let address = wallet(wanted)?;
            return Ok((Credential::Wallet { address: address.clone() }, Credentials::Wallet { address }));
        }
        Needs::KeyAndSecret => {
            refuse_fields(venue, &address)?;
            refuse_fields(venue, &passphrase)?;
            None
        }
        Needs::KeySecretAndPassphrase => {
            refuse_fields(venue, &address)?;
            Some(SecretString::from(key_text("passphrase", venue, wanted.passphrase.as_ref())?))
        }
    };
    let key = key_text("apiKey", venue, wanted.api_key.as_ref())?.to_owned();
    let secret = SecretString::from(secret_text("apiSecret", venue, wanted.api_secret.as_ref())?);
    Ok((
        Credential::ApiKey { key: key.clone(), secret: secret.clone(), passphrase: passphrase.clone() },
        Credentials::ApiKey { key, secret, passphrase },
    ))
}

fn refuse_fields(venue: Venue, unwanted: &[(&str, bool)]) -> Result<(), ApiError> {
    match unwanted.iter().find(|(_, is_sent)| *is_sent) {
        Some((field, _)) => Err(ApiError::invalid_field(field, format!("is not used by an account of {venue}"))),
        None => Ok(()),
    }
}

/// Keys travel in headers and signatures: printable ASCII without spaces.
fn key_text<'a>(field: &str, venue: Venue, value: Option<&'a SecretString>) -> Result<&'a str, ApiError> {
    use secrecy::ExposeSecret;
    let Some(value) = value else {
        return Err(ApiError::invalid_field(field, format!("is required for an account of {venue}")));
    };
    let text = value.expose_secret().trim();
    let is_plain = !text.is_empty() && text.len() <= LONGEST_KEY && text.bytes().all(|b| b.is_ascii_graphic());
    if is_plain {
        Ok(text)
    } else {
        Err(ApiError::invalid_field(field, "must be 1 to 512 printable characters without spaces"))
    }
}

/// A secret may be a PEM file of several lines.
fn secret_text<'a>(field: &str, venue: Venue, value: Option<&'a SecretString>) -> Result<&'a str, ApiError> {
    use secrecy::ExposeSecret;
    match value.map(|value| value.expose_secret().trim()) {
        Some(text) if text.starts_with("-----BEGIN ") && text.is_ascii() && text.len() <= LONGEST_SECRET => Ok(text),
        _ => key_text(field, venue, value),
    }
}

fn wallet(wanted: &Attach) -> Result<String, ApiError> {
    let (field, text) = match (&wanted.wallet_address, &wanted.address) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid_field("address", "send walletAddress or address, not both"));
        }
        (Some(text), None) => ("walletAddress", text),
        (None, Some(text)) => ("address", text),
        (None, None) => {
            return Err(ApiError::invalid_field(
                "walletAddress",
                format!("is required for an account of {}", wanted.venue),
            ));
        }
    };
    let address = text.trim().to_ascii_lowercase();
    let is_address =
        address.strip_prefix("0x").is_some_and(|hex| hex.len() == 40 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
    if is_address { Ok(address) } else { Err(ApiError::invalid_field(field, "must be 0x and 40 hexadecimal digits")) }
}

pub fn visible_tags(tags: &[String]) -> Result<(), ValidationError> {
    let is_good = |tag: &String| (1..=LONGEST_TAG).contains(&text::clean(tag, usize::MAX).chars().count());
    if tags.len() <= MOST_TAGS && tags.iter().all(is_good) {
        Ok(())
    } else {
        Err(fault("each tag must be 1 to 50 visible characters"))
    }
}

/// A wrong type is told without repeating what was sent.
pub fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    let text = String::deserialize(deserializer).map_err(|_| serde::de::Error::custom("expected a string"))?;
    Ok(Some(text.into()))
}

#[cfg(test)]
mod tests {
    use codash_analytics::input;
    use serde_json::Value;

    use super::*;

    fn wanted(body: Value) -> Result<(Credential, Credentials), ApiError> {
        let attach: Attach = input::read(&body).map_err(|faults| ApiError::invalid_fields(&faults))?;
        credentials(&attach)
    }

    fn fault_of(body: Value) -> String {
        wanted(body).unwrap_err().envelope(None)["details"]["errors"][0]["path"].as_str().unwrap().to_owned()
    }

    #[test]
    fn an_exchange_takes_key_and_secret_and_a_wallet_an_address() {
        let exchange = json!({ "name": "a", "venue": "binance", "apiKey": "k", "apiSecret": "s" });
        assert!(matches!(wanted(exchange).unwrap().0, Credential::ApiKey { .. }));
        let upper = format!("0x{}", "AB".repeat(20));
        for field in ["walletAddress", "address"] {
            let (stored, _) = wanted(json!({ "name": "a", "venue": "hyperliquid", field: upper })).unwrap();
            assert!(matches!(stored, Credential::Wallet { address } if address == upper.to_lowercase()));
        }
    }

    #[test]
    fn a_wrong_combination_says_which_field() {
        let wallet = format!("0x{}", "ab".repeat(20));
        let cases = [
            (json!({ "name": "a", "venue": "binance" }), "apiKey"),
            (json!({ "name": "a", "venue": "binance", "apiKey": "k" }), "apiSecret"),
            (json!({ "name": "a", "venue": "binance", "apiKey": "k", "apiSecret": "s", "address": wallet }), "address"),
            (json!({ "name": "a", "venue": "binance", "apiKey": "two words", "apiSecret": "s" }), "apiKey"),
            (json!({ "name": "a", "venue": "hyperliquid" }), "walletAddress"),
            (json!({ "name": "a", "venue": "hyperliquid", "address": "0x12" }), "address"),
            (json!({ "name": "a", "venue": "hyperliquid", "address": wallet, "apiSecret": "s" }), "apiSecret"),
            (json!({ "name": "a", "venue": "hyperliquid", "address": wallet, "walletAddress": wallet }), "address"),
            (json!({ "name": "a", "venue": "mtgox", "apiKey": "k", "apiSecret": "s" }), "venue"),
            (
                json!({ "name": "a", "venue": "binance", "apiKey": "k", "apiSecret": "s", "passphrase": "p" }),
                "passphrase",
            ),
            (json!({ "name": "", "venue": "binance", "apiKey": "k", "apiSecret": "s" }), "name"),
            (json!({ "name": "a", "venue": "hyperliquid", "address": wallet, "tags": [""] }), "tags"),
            (json!({ "name": "a", "venue": "hyperliquid", "address": wallet, "tags": vec!["t"; 21] }), "tags"),
        ];
        for (body, field) in cases {
            assert_eq!(fault_of(body.clone()), field, "{body}");
        }
    }

    #[test]
    fn a_secret_is_never_repeated() {
        let body = json!({ "name": "a", "venue": "binance", "apiKey": "k", "apiSecret": ["hush"] });
        let error = wanted(body).unwrap_err().envelope(None).to_string();
        assert!(!error.contains("hush"), "{error}");
        let body = json!({ "name": "a", "venue": "binance", "apiKey": "k", "apiSecret": "hush" });
        let attach: Attach = input::read(&body).unwrap();
        assert!(!format!("{attach:?}").contains("hush"));
    }

    #[test]
    fn a_powerful_key_is_told_which_rights_to_remove() {
        let error = too_powerful(Venue::Binance, &["enableWithdrawals".into()]);
        assert_eq!((error.status(), error.code()), (StatusCode::BAD_REQUEST, "key_too_powerful"));
        assert_eq!(error.envelope(None)["details"]["rightsToRemove"][0], "enableWithdrawals");
    }

    #[test]
    fn a_venue_that_does_not_answer_is_a_504_with_a_time_to_come_back() {
        let error =
            venue_failed(Venue::Binance, VenueError::Banned { after: Duration::from_secs(90), reason: "x".into() });
        assert_eq!((error.status(), error.code()), (StatusCode::GATEWAY_TIMEOUT, "venue_unavailable"));
        let error = venue_failed(Venue::Binance, VenueError::KeyRefused { reason: "no".into() });
        assert_eq!((error.status(), error.code()), (StatusCode::BAD_REQUEST, "venue_refused_key"));
    }
}
