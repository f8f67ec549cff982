//! Turning master keys and data keys, with readers, kills and forgeries in between.
//!
//! What is stored is also opened here with code that shares nothing with the store's, by walking the
//! catalogue, so that a secret which only this file forgot would be missed by neither.

mod desk;
mod kills;
mod measure;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use codash::master_keys::{Outcome, RotateArgs, Standing, must_have_all, rotate};
use codash_domain::FixedClock;
use codash_store::idempotency::Begun;
use codash_store::sealed::SEALED;
use codash_store::{Error, Store};
use secrecy::ExposeSecret;
use sqlx::Row;

use crate::tenants::{TestStore, now};
use desk::{Desk, NEW, OLD, list, opened, store};

const REWRAP: RotateArgs = RotateArgs { dry_run: false, data_keys: false, batch: 7 };
const RENEW: RotateArgs = RotateArgs { dry_run: false, data_keys: true, batch: 7 };

async fn turn(store: &Store, args: &RotateArgs) -> Outcome {
    rotate(store, &FixedClock::at(now()), args, &|_| {}).await.unwrap()
}

async fn standing(store: &Store) -> Standing {
    Standing::read(store, &FixedClock::at(now())).await.unwrap()
}

/// A reader of every kind of secret, over and over, at a process of the fleet.
fn reader(
    store: Store,
    desks: Arc<Vec<Desk>>,
    stop: Arc<AtomicBool>,
    reads: Arc<AtomicU64>,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while !stop.load(Ordering::Relaxed) {
            for desk in desks.iter() {
                desk.read(&store).await;
                reads.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_turned_while_others_read_and_write_and_the_old_key_can_go() {
    let db = TestStore::new().await;
    let mut desks = Vec::new();
    for i in 0..12 {
        desks.push(Desk::new(&db, &format!("desk {i}")).await);
    }
    let (desks, before) = (Arc::new(desks), opened(&db, &[OLD]).await);
    assert_eq!(
        before.len(),
        12 * 7,
        "a data key, two credentials, an AI key, a trigger's and two webhook secrets each"
    );
    let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let fleet = [store(&db, &[OLD, NEW]).await, store(&db, &[NEW, OLD]).await];
    let readers: Vec<_> =
        fleet.iter().map(|store| reader(store.clone(), desks.clone(), stop.clone(), reads.clone())).collect();
    let turned = turn(&fleet[1], &REWRAP).await;
    assert_eq!((turned.rewrapped, turned.renewed, turned.failed.len()), (12, 0, 0));
    let renewed = async {
        let renewed = turn(&fleet[1], &RENEW).await;
        assert_eq!((renewed.renewed, renewed.failed.len()), (12, 0), "{renewed:?}");
    };
    let written = async {
        for desk in desks.iter() {
            for store in &fleet {
                desk.write(store).await;
            }
        }
    };
    tokio::join!(renewed, written);
    // A process that lags behind founds a workspace: one more run turns it.
    db.workspace("late").await;
    assert!(!standing(&fleet[1]).await.is_turned());
    turn(&fleet[1], &RENEW).await;
    let seen = reads.load(Ordering::Relaxed);
    while reads.load(Ordering::Relaxed) < seen + 24 {
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.expect("no read failed");
    }
    let stands = standing(&fleet[1]).await;
    assert!(stands.is_turned() && stands.is_renewed(), "{stands}");
    let after = opened(&db, &[NEW]).await;
    assert_eq!(after.len(), before.len() + 1, "one data key a workspace is left");
    let secrets = |of: &desk::Opened| of.iter().filter(|(cell, _)| !cell.starts_with("data_keys")).count();
    assert_eq!(secrets(&after), secrets(&before));
    for (cell, plain) in &before {
        match cell.starts_with("data_keys") {
            // The leaked data key opens nothing more.
            true => assert!(!after.values().any(|new| new == plain), "{cell}"),
            false if cell.starts_with("ai_keys") => assert!(after.contains_key(cell)),
            false => assert_eq!(after.get(cell), Some(plain), "{cell}"),
        }
    }
    let alone = store(&db, &[NEW]).await;
    must_have_all(&alone, &[]).await.unwrap();
    for desk in desks.iter() {
        desk.read(&alone).await;
    }
    assert_eq!(turn(&alone, &RENEW).await.renewed, 0, "there is nothing more to do");
}

#[tokio::test]
async fn a_process_without_the_key_says_which_and_one_that_would_need_it_does_not_start() {
    let db = TestStore::new().await;
    let desk = Desk::new(&db, "desk").await;
    let lacking = store(&db, &[NEW]).await;
    for error in desk.try_read(&lacking).await {
        assert!(matches!(&error, Error::UnknownMasterKey { id } if id == OLD.0), "{error:?}");
        assert!(error.to_string().contains("\"test\" is not among the configured"), "{error}");
    }
    let refused = must_have_all(&lacking, &["k0".into()]).await.unwrap_err();
    assert!(refused.contains("does not hold: test."), "{refused}");
    let stuck = turn(&lacking, &RENEW).await;
    assert_eq!((stuck.rewrapped, stuck.resealed), (0, 0));
    assert!(stuck.failed.iter().all(|f| matches!(f.error, Error::UnknownMasterKey { .. })) && !stuck.failed.is_empty());
    assert!(!standing(&lacking).await.is_turned());
    for command in ["serve", "collect", "automate"] {
        let output = binary(&db, &[NEW], &[command]);
        assert_eq!(output.0, Some(1), "{command}");
        assert!(output.1.contains("does not hold: test."), "{command}: {}", output.1);
    }
    // Lost for good, it stops nobody: there is a new data key, and what is entered again is sealed with it.
    must_have_all(&lacking, &[OLD.0.into()]).await.unwrap();
    desk.write(&lacking).await;
    // Given back, everything opens and a run goes on.
    let whole = store(&db, &[NEW, OLD]).await;
    desk.read(&whole).await;
    assert!(turn(&whole, &RENEW).await.failed.is_empty());
    desk.read(&lacking).await;
}

#[tokio::test]
async fn two_runs_at_once_do_each_other_no_harm() {
    let db = TestStore::new().await;
    let desk = Desk::new(&db, "desk").await;
    desk::fill(&db, 400, 0).await;
    let before = opened(&db, &[OLD]).await;
    let store = store(&db, &[NEW, OLD]).await;
    for args in [REWRAP, RENEW] {
        let (a, b, c) = tokio::join!(turn(&store, &args), turn(&store, &args), turn(&store, &args));
        assert!([&a, &b, &c].iter().all(|run| run.failed.is_empty()), "{a:?} {b:?} {c:?}");
        let sum = |of: fn(&Outcome) -> u64| of(&a) + of(&b) + of(&c);
        let expected = if args.data_keys { (0, 401) } else { (401, 0) };
        assert_eq!((sum(|run| run.rewrapped), sum(|run| run.renewed)), expected, "each once");
    }
    let stands = standing(&store).await;
    assert!(stands.is_turned() && stands.is_renewed(), "{stands}");
    let after = opened(&db, &[NEW]).await;
    assert_eq!(after.len(), before.len(), "one data key a workspace is left");
    desk.read(&store).await;
}

#[tokio::test]
async fn one_broken_data_key_stops_nobody_elses_and_is_named() {
    let db = TestStore::new().await;
    let (broken, whole) = (Desk::new(&db, "broken").await, Desk::new(&db, "whole").await);
    let flip = "UPDATE data_keys SET wrapped = set_byte(wrapped, 30, get_byte(wrapped, 30) # 1) WHERE workspace_id = ";
    db.admin(&format!("{flip}'{}'", broken.workspace)).await;
    let store = store(&db, &[NEW, OLD]).await;
    for args in [REWRAP, RENEW] {
        let turned = turn(&store, &args).await;
        assert!(!turned.failed.is_empty(), "{turned:?}");
        assert!(turned.failed.iter().all(|failed| failed.workspace == broken.workspace), "{turned:?}");
    }
    whole.read(&store).await;
    let stands = standing(&store).await;
    assert!(!stands.is_turned());
    assert_eq!(stands.keys.iter().find(|key| key.id == OLD.0).unwrap().wraps, 1);
    db.admin(&format!("{flip}'{}'", broken.workspace)).await;
}

#[tokio::test]
async fn a_secret_that_is_swapped_or_moved_does_not_open() {
    let db = TestStore::new().await;
    let (ours, theirs) = (Desk::new(&db, "ours").await, Desk::new(&db, "theirs").await);
    let store = store(&db, &[OLD]).await;
    let swap = |table: &str, columns: &str| {
        format!(
            "UPDATE {table} a SET ({columns}) = (SELECT {columns} FROM {table} b WHERE b.workspace_id <> a.workspace_id
                ORDER BY 1 LIMIT 1)"
        )
    };
    let closed = async |what: &str| {
        for desk in [&ours, &theirs] {
            let errors = desk.try_read(&store).await;
            assert!(errors.iter().any(|error| matches!(error, Error::Sealed(_))), "{what}: {errors:?}");
        }
    };
    for (table, column) in [("data_keys", "wrapped"), ("automations", "sealed")] {
        db.admin(&swap(table, column)).await;
        closed(table).await;
        // Put back, it opens: nothing else was wrong.
        db.admin(&swap(table, column)).await;
        ours.read(&store).await;
    }
    db.admin(&swap("account_secrets", "sealed")).await;
    closed("account_secrets").await;
    let own = Desk::new(&db, "own").await;
    db.admin(
        "UPDATE account_secrets a SET sealed = (SELECT sealed FROM account_secrets b
            WHERE b.workspace_id = a.workspace_id AND b.account_id <> a.account_id)",
    )
    .await;
    assert!(own.try_read(&store).await.iter().any(|error| matches!(error, Error::Sealed(_))), "between accounts");
    // A secret that was replaced cannot be put back: nothing would be signed with it.
    db.admin("UPDATE webhook_endpoints SET sealed = sealed_previous").await;
    let cells = desk::faults(&db, &[OLD]).await;
    assert_eq!(cells.iter().filter(|cell| cell.starts_with("webhook_endpoints:")).count(), 3, "{cells:?}");
}

#[tokio::test]
async fn a_repeated_request_is_known_over_a_rotation() {
    let db = TestStore::new().await;
    let tenant = db.workspace("desk").await;
    let begin = async |keys: &[desk::Key], body: &[u8]| {
        store(&db, keys).await.begin_once(tenant.workspace, "once", &[b"POST /api/accounts", body]).await.unwrap()
    };
    assert_eq!(begin(&[OLD], b"{}").await, Begun::Fresh { attempt: 1 });
    for keys in [&[OLD, NEW][..], &[NEW, OLD]] {
        assert_eq!(begin(keys, b"{}").await, Begun::Running, "the same request");
        assert_eq!(begin(keys, b"{ }").await, Begun::Other);
    }
    db.admin("UPDATE idempotency_keys SET started_at = now() - interval '2 minutes'").await;
    assert_eq!(begin(&[NEW, OLD], b"{}").await, Begun::Fresh { attempt: 2 }, "taken over after the rotation");
}

#[tokio::test]
async fn the_command_line_tells_counts_and_ids_and_no_key() {
    let db = TestStore::new().await;
    let _desk = Desk::new(&db, "desk").await;
    let both = [NEW, OLD];
    let dry = binary(&db, &both, &["keys", "rotate-master", "--dry-run"]);
    assert_eq!(dry.0, Some(0), "{}", dry.1);
    assert!(dry.1.contains("k2\tcurrent\twraps 0\tmade 0\ntest\tconfigured\twraps 1\tmade 1\n"), "{}", dry.1);
    let turned = binary(&db, &both, &["keys", "rotate-master"]);
    assert_eq!(turned.0, Some(0), "{}", turned.1);
    assert!(turned.1.contains("k2\tcurrent\twraps 1\tmade 0\ntest\tconfigured\twraps 0\tmade 1\n"), "{}", turned.1);
    assert!(turned.1.contains("remove it then") && turned.1.contains("--data-keys"), "{}", turned.1);
    let renewed = binary(&db, &both, &["keys", "rotate-master", "--data-keys"]);
    assert_eq!(renewed.0, Some(0), "{}", renewed.1);
    assert!(renewed.1.contains("remove it then") && !renewed.1.contains("--data-keys"), "{}", renewed.1);
    let status = binary(&db, &[NEW], &["keys", "master-status"]);
    assert_eq!((status.0, status.1.as_str()), (Some(0), "k2\tcurrent\twraps 1\tmade 1\n"));
    let lacking = binary(&db, &[OLD], &["keys", "master-status"]);
    assert!(lacking.0 == Some(1) && lacking.1.contains("k2\tmissing\twraps 1"), "{}", lacking.1);
    let keyless = binary(&db, &[], &["keys", "rotate-master"]);
    assert!(keyless.0 == Some(1) && keyless.1.contains("CODASH_MASTER_KEYS"), "{}", keyless.1);
    let audited = db.admin("SELECT actor, detail::text FROM audit WHERE verb = 'data_key.renew'").await;
    assert_eq!(audited.len(), 1);
    assert_eq!(audited[0].get::<String, _>(0), "operator");
    let all: String = [dry, turned, renewed, status, lacking, keyless].into_iter().map(|o| o.1).collect();
    let audited = all + &audited[0].get::<String, _>(1);
    for key in [OLD, NEW] {
        let bits = list(&[key]).to_text().expose_secret().split_once(':').unwrap().1.to_owned();
        assert!(!audited.contains(&bits[..12]), "{audited}");
    }
}

#[tokio::test]
async fn a_new_master_key_is_printed_whole_and_alone() {
    let db = TestStore::new().await;
    let made = binary(&db, &[], &["keys", "new-master", "--id", "k3"]);
    assert_eq!(made.0, Some(0));
    let keys = codash_store::MasterKeys::parse(&made.1).unwrap();
    assert_eq!(keys.ids().collect::<Vec<_>>(), ["k3"]);
    assert_eq!(made.1, format!("{}\n", keys.to_text().expose_secret()), "nothing else is said");
    assert_ne!(binary(&db, &[], &["keys", "new-master", "--id", "k3"]).1, made.1);
    for id in ["a:b", "a,b", ""] {
        assert_eq!(binary(&db, &[], &["keys", "new-master", "--id", id]).0, Some(1), "{id}");
    }
}

/// Bytes that are no secret: hashes and the like. A new column of bytes belongs here or in `SEALED`.
const NOT_SEALED: [&str; 11] = [
    "accounts.fingerprint",
    "api_keys.hash",
    "api_keys.old_hash",
    "audit.arguments_hash",
    "automations.token_hash",
    "data_keys.wrapped",
    "events.venue_digest",
    "idempotency_keys.request",
    "invitations.hash",
    "logins.hash",
    "quarantined_records.digest",
];

#[tokio::test]
async fn a_sealed_column_that_the_renewal_does_not_know_is_noticed() {
    let db = TestStore::new().await;
    let names = async |sql: &str| -> BTreeSet<String> {
        db.admin(sql).await.iter().map(|row| row.get::<String, _>(0)).collect()
    };
    let sealed = || SEALED.iter().flat_map(|of| of.columns.iter().map(|column| format!("{}.{column}", of.table)));
    let bytes = "SELECT table_name || '.' || column_name FROM information_schema.columns
                 WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations' AND ";
    let known: BTreeSet<String> = sealed().chain(NOT_SEALED.map(String::from)).collect();
    assert_eq!(
        names(&format!("{bytes} data_type IN ('bytea', 'ARRAY') AND udt_name IN ('bytea', '_bytea')")).await,
        known
    );
    let named = names(&format!("{bytes} column_name ~ 'sealed|wrapped$|secret|cipher'")).await;
    assert_eq!(named, sealed().chain(["data_keys.wrapped".into()]).collect());
    let tables: BTreeSet<String> = SEALED.iter().map(|of| of.table.to_owned()).collect();
    let versioned = "SELECT table_name::text FROM information_schema.columns
                     WHERE table_schema = 'public' AND column_name = 'data_key_version'";
    assert_eq!(names(versioned).await, tables);
    let bound = "SELECT conrelid::regclass::text FROM pg_constraint
                 WHERE contype = 'f' AND confrelid = 'data_keys'::regclass AND confdeltype = 'a'";
    assert_eq!(names(bound).await, tables, "a data key stays while anything is sealed with it");
    for of in SEALED {
        let keyed = format!(
            "SELECT format_type(a.atttypid, NULL) FROM pg_index i
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[1]
             WHERE i.indrelid = '{}'::regclass AND i.indisprimary AND a.attname = '{}' AND i.indnatts = 2",
            of.table, of.row
        );
        assert_eq!(names(&keyed).await, [of.row_type.to_owned()].into(), "{}", of.table);
    }
}

#[tokio::test]
async fn a_data_key_that_seals_something_cannot_be_removed() {
    use sqlx::Connection;
    let db = TestStore::new().await;
    let desk = Desk::new(&db, "desk").await;
    let mut connection = sqlx::PgConnection::connect(db.url().expose_secret()).await.unwrap();
    let refused = sqlx::query("DELETE FROM data_keys").execute(&mut connection).await.unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().code().as_deref(), Some("23503"));
    desk.read(&store(&db, &[OLD]).await).await;
}

/// Exit code, and everything that the binary said: standard output, then standard error.
fn binary(db: &TestStore, keys: &[desk::Key], args: &[&str]) -> (Option<i32>, String) {
    let output = command(db, keys).args(args).output().unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
    (output.status.code(), said.concat())
}

fn command(db: &TestStore, keys: &[desk::Key]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_codash"));
    command.env("CODASH_DATABASE_URL", db.url().expose_secret()).env("CODASH_LISTEN", "127.0.0.1:0");
    if !keys.is_empty() {
        command.env("CODASH_MASTER_KEYS", list(keys).to_text().expose_secret());
    }
    command
}

/// Until `done`, at most a minute.
async fn until(mut done: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !done().await {
        assert!(tokio::time::Instant::now() < deadline, "it takes too long");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
