//! Accounts and portfolio groups, and what can be done with them.

use codash_analytics::input::input_schema;
use codash_analytics::{list_accounts, portfolios};
use codash_domain::Scope;
use serde_json::{Value, json};

use super::{attach_body, body, guarded, parameters, scope};
use crate::rest::{Success, manage, portfolios as groups};

pub(super) fn paths() -> Value {
    json!({
        "/api/accounts": {
            "get": {
                "operationId": "listAccounts",
                "summary": "List the accounts that this key can see",
                "description": scope(Scope::ReadSummary),
                "parameters": parameters::<list_accounts::RestQuery>(),
                "responses": guarded::<Success<list_accounts::Answer>>("200", "The accounts", &["400"]),
            },
            "post": {
                "operationId": "attachAccount",
                "summary": "Attach an exchange account or a wallet",
                "description": format!("{} The key must be read-only at the venue: one that can trade or withdraw is \
                    refused with code key_too_powerful and the rights to remove. A venue that does not answer is a 504 \
                    with code venue_unavailable. {ONCE}", scope(Scope::WriteAccounts)),
                "parameters": [idempotency_key()],
                "requestBody": attach_body(),
                "responses": tagged(guarded::<Success<list_accounts::Account>>("201", "The account, not yet read",
                    &["400", "408", "409", "413", "415"])),
            },
        },
        "/api/accounts/{id}": account(),
        "/api/accounts/{id}/sync": { "post": {
            "operationId": "syncAccount",
            "summary": "Read an account now, or its history again",
            "description": format!("{} Without a body, what is new is read now. With from, every stream that the venue \
                can give again is read again from there on; nothing is counted twice.", scope(Scope::WriteAccounts)),
            "parameters": [path_id()],
            "requestBody": { "required": false, "content": { "application/json": { "schema": input_schema::<manage::Sync>() } } },
            "responses": guarded::<Success<manage::Syncing>>("202", "It is due now",
                &["400", "404", "408", "409", "413", "415"]),
        }},
        "/api/accounts/{id}/credentials": { "put": {
            "operationId": "replaceCredentials",
            "summary": "Replace the credentials of an account, or bring a removed one back",
            "description": format!("{} The venue is asked as on attaching; the account is of the same venue, and a \
                wallet keeps its address. The old credentials are gone, and status is pending until it is read.",
                scope(Scope::WriteAccounts)),
            "parameters": [path_id(), if_match()],
            "requestBody": body::<manage::ReplaceCredentials>(),
            "responses": tagged(guarded::<Success<list_accounts::Account>>("200", "The account",
                &["400", "404", "408", "409", "412", "413", "415"])),
        }},
        "/api/portfolios": {
            "get": {
                "operationId": "listPortfolios",
                "summary": "List portfolio groups, flat or as a tree",
                "description": format!("{} A key with an account allowlist sees the groups in which one of its accounts \
                    is, at whatever depth, and no others.", scope(Scope::ReadSummary)),
                "parameters": parameters::<portfolios::Query>(),
                "responses": guarded::<Success<portfolios::Answer>>("200", "The groups", &["400"]),
            },
            "post": {
                "operationId": "createPortfolio",
                "summary": "Create a portfolio group",
                "description": format!("{} Groups are nested 10 deep at most, 1000 in a workspace. {ONCE}",
                    scope(Scope::WriteAccounts)),
                "parameters": [idempotency_key()],
                "requestBody": body::<groups::CreatePortfolio>(),
                "responses": tagged(guarded::<Success<portfolios::Named>>("201", "The group, empty",
                    &["400", "408", "409", "413", "415"])),
            },
        },
        "/api/portfolios/{id}": portfolio(),
    })
}

fn account() -> Value {
    json!({
        "get": {
            "operationId": "getAccount",
            "summary": "One account, removed or not",
            "description": scope(Scope::ReadSummary),
            "parameters": [path_id()],
            "responses": tagged(guarded::<Success<list_accounts::Account>>("200", "The account", &["400", "404"])),
        },
        "patch": {
            "operationId": "changeAccount",
            "summary": "Rename, tag, group, pause or resume an account",
            "description": scope(Scope::WriteAccounts),
            "parameters": [path_id(), if_match()],
            "requestBody": body::<manage::ChangeAccount>(),
            "responses": tagged(guarded::<Success<list_accounts::Account>>("200", "The account as it is now",
                &["400", "404", "408", "409", "412", "413", "415"])),
        },
        "delete": {
            "operationId": "removeAccount",
            "summary": "Stop collecting an account and destroy its credentials; its history stays, or goes too",
            "description": format!("{} Kept history stays in every sum over a past window; what is worth something now \
                does not count it. With history=delete no answer counts it from now on: 202 while rows are still \
                being taken away.", scope(Scope::WriteAccounts)),
            "parameters": both(&[path_id(), if_match()], parameters::<manage::RemoveQuery>()),
            "responses": guarded::<Success<manage::RemovedAccount>>("200", "It is removed", &["400", "404", "412"]),
        },
    })
}

fn portfolio() -> Value {
    json!({
        "get": {
            "operationId": "getPortfolioGroup",
            "summary": "One portfolio group",
            "description": scope(Scope::ReadSummary),
            "parameters": [path_id()],
            "responses": tagged(guarded::<Success<portfolios::Portfolio>>("200", "The group", &["400", "404"])),
        },
        "patch": {
            "operationId": "changePortfolio",
            "summary": "Rename or move a portfolio group",
            "description": format!("{} A key with an account allowlist may change a group only where it sees every \
                group and account beside it and in it.", scope(Scope::WriteAccounts)),
            "parameters": [path_id(), if_match()],
            "requestBody": body::<groups::ChangePortfolio>(),
            "responses": tagged(guarded::<Success<portfolios::Named>>("200", "The group as it is now",
                &["400", "404", "408", "409", "412", "413", "415"])),
        },
        "delete": {
            "operationId": "removePortfolio",
            "summary": "Remove a portfolio group; what is in it moves up to its parent",
            "description": scope(Scope::WriteAccounts),
            "parameters": [path_id(), if_match()],
            "responses": guarded::<Success<groups::RemovedPortfolio>>("200", "It is gone", &["400", "404", "409", "412"]),
        },
    })
}

const ONCE: &str = "With an Idempotency-Key the same request within 24 hours gets the same answer and creates nothing \
    more; a failed one leaves its key free.";

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header",
        "description": "1 to 255 visible ASCII characters, new for every new request.",
        "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
    })
}

fn if_match() -> Value {
    json!({
        "name": "If-Match", "in": "header",
        "description": "The ETag of what was read: the change is refused with 412 when another came between.",
        "schema": { "type": "string" },
    })
}

fn path_id() -> Value {
    json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "string", "format": "uuid" } })
}

fn both(first: &[Value], more: Value) -> Value {
    first.iter().chain(more.as_array().into_iter().flatten()).cloned().collect()
}

/// Adds the entity tag to the good answers.
fn tagged(mut responses: Value) -> Value {
    for (status, response) in responses.as_object_mut().into_iter().flatten() {
        if status.starts_with('2') {
            response["headers"]["ETag"] = json!({
                "description": "The version, for If-Match.", "schema": { "type": "string" },
            });
        }
    }
    responses
}
