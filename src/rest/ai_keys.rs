//! `/api/settings/ai-keys`: keys of AI providers, for the features that call a model. Sealed on
//! arrival; nobody is shown more of them than their last characters.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use codash_domain::{Scope, Timestamp};
use codash_store::ai_keys::AiKey;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use validator::Validate;

use super::error::ApiError;
use super::extract::Json;
use super::success;
use crate::app::App;
use crate::auth::Caller;

/// Characters of a key that its owner is shown.
const HINT: usize = 4;
const LENGTHS: std::ops::RangeInclusive<usize> = 8..=512;

/// Providers whose keys can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Provider {
    Anthropic,
    Openai,
    Google,
    Mistral,
    Xai,
    Deepseek,
    Openrouter,
}

impl Provider {
    fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Openai => "openai",
            Self::Google => "google",
            Self::Mistral => "mistral",
            Self::Xai => "xai",
            Self::Deepseek => "deepseek",
            Self::Openrouter => "openrouter",
        }
    }
}

#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PutAiKey {
    pub provider: Provider,
    /// 8 to 512 visible ASCII characters. Sealed on arrival and never shown again.
    #[serde(deserialize_with = "key")]
    #[schemars(with = "String", extend("pattern" = "^[!-~]{8,512}$"))]
    pub key: SecretString,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AiKeyAnswer {
    pub provider: String,
    /// The key's last four characters.
    pub hint: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemovedAiKey {
    pub provider: String,
    pub removed: bool,
}

/// Adds or replaces.
pub async fn put(State(app): State<App>, caller: Caller, Json(wanted): Json<PutAiKey>) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAiKeys)?;
    let (workspace, provider) = (caller.grant.workspace, wanted.provider.as_str());
    let hint = hint(&wanted.key);
    let (stored, is_new) = app.store.put_ai_key(workspace, provider, &wanted.key, &hint, caller.by(&app)).await?;
    tracing::info!(ai.provider = provider, "an AI provider's key was kept");
    Ok(success(if is_new { StatusCode::CREATED } else { StatusCode::OK }, AiKeyAnswer::from(stored)))
}

pub async fn remove(
    State(app): State<App>,
    caller: Caller,
    Path(provider): Path<String>,
) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAiKeys)?;
    let known: Provider = serde_json::from_value(json!(provider)).map_err(|_| ApiError::not_found())?;
    if !app.store.remove_ai_key(caller.grant.workspace, known.as_str(), caller.by(&app)).await? {
        return Err(ApiError::not_found());
    }
    Ok(success(StatusCode::OK, RemovedAiKey { provider, removed: true }))
}

fn hint(key: &SecretString) -> String {
    use secrecy::ExposeSecret;
    let text = key.expose_secret();
    text[text.len() - HINT..].to_owned()
}

fn key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    let text = String::deserialize(deserializer)?;
    if LENGTHS.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(text.into());
    }
    Err(serde::de::Error::custom("expected 8 to 512 visible ASCII characters without spaces"))
}

impl From<AiKey> for AiKeyAnswer {
    fn from(key: AiKey) -> Self {
        Self { provider: key.provider, hint: key.hint, created_at: key.created_at, updated_at: key.updated_at }
    }
}
