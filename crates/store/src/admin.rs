//! Whole databases: for `codash dev` and for tests, which give each its own.

use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::Error;

/// Creates a database unless it exists. `url` names any database of the same cluster.
pub async fn create_database(url: &SecretString, name: &str) -> Result<(), Error> {
    let mut connection = PgConnection::connect(url.expose_secret()).await?;
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(name)
        .fetch_one(&mut connection)
        .await?;
    if !exists {
        run(&mut connection, format!("CREATE DATABASE {}", quoted(name)?)).await?;
    }
    connection.close().await?;
    Ok(())
}

/// Copies a database that nobody is connected to.
pub async fn clone_database(url: &SecretString, template: &str, name: &str) -> Result<(), Error> {
    let mut connection = PgConnection::connect(url.expose_secret()).await?;
    run(&mut connection, format!("CREATE DATABASE {} TEMPLATE {}", quoted(name)?, quoted(template)?)).await?;
    connection.close().await?;
    Ok(())
}

/// Drops a database, ending whoever is connected to it.
pub async fn drop_database(url: &SecretString, name: &str) -> Result<(), Error> {
    let mut connection = PgConnection::connect(url.expose_secret()).await?;
    run(&mut connection, format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name)?)).await?;
    connection.close().await?;
    Ok(())
}

async fn run(connection: &mut PgConnection, sql: String) -> Result<(), Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// Only plain lower-case names: there is no other way to pass an identifier.
fn quoted(name: &str) -> Result<String, Error> {
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain { Ok(format!("\"{name}\"")) } else { Err(Error::NotFound) }
}
