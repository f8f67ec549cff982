//! Redis goes away, hangs, and comes back.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Far more than a request takes; a hang would last longer.
const BOUND: Duration = Duration::from_secs(5);

/// Asks both of a pair without a pause, does `meanwhile`, and asks on for a moment. Every status, and the
/// longest that a request took.
async fn under_load(pair: &Pair, meanwhile: impl AsyncFnOnce()) -> (BTreeSet<u16>, Duration) {
    let (stop, key) = (AtomicBool::new(false), pair.key());
    let lane = async |n: usize| {
        let (mut statuses, mut longest) = (BTreeSet::new(), Duration::ZERO);
        while !stop.load(Ordering::Relaxed) {
            let reply = ping(&pair.client, pair.addresses()[n % 2], &key).await;
            statuses.insert(reply.status);
            longest = longest.max(reply.received - reply.sent);
        }
        (statuses, longest)
    };
    let course = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        meanwhile().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (lanes, ()) = tokio::join!(join_all((0..4).map(lane)), course);
    lanes.into_iter().fold((BTreeSet::new(), Duration::ZERO), |(mut all, longest), (statuses, took)| {
        all.extend(statuses);
        (all, longest.max(took))
    })
}

fn production(redis: &TestRedis, reads: u32) -> AppConfig {
    let mut config = AppConfig { shared_limits: redis.usual(), ..generous() };
    config.limits.reads_per_minute = reads;
    config
}

#[tokio::test]
async fn a_killed_redis_costs_no_request_and_is_an_alarm_until_it_is_back() {
    let mut redis = TestRedis::own();
    let pair = Pair::start(production(&redis, 60)).await;
    for to in pair.addresses() {
        until(&pair.client, to, "shared").await;
    }
    let (statuses, longest) = under_load(&pair, async || {
        redis.kill();
        for to in pair.addresses() {
            until(&pair.client, to, "alone").await;
        }
    })
    .await;
    assert!(statuses.is_subset(&BTreeSet::from([200, 429])), "{statuses:?}");
    assert!(longest < BOUND, "{longest:?}");
    redis.restart();
    for to in pair.addresses() {
        until(&pair.client, to, "shared").await;
    }
}

#[tokio::test]
async fn a_redis_that_hangs_holds_no_request_up() {
    let redis = TestRedis::own();
    let pair = Pair::start(production(&redis, 60)).await;
    for to in pair.addresses() {
        until(&pair.client, to, "shared").await;
    }
    let (statuses, longest) = under_load(&pair, async || {
        redis.signal("STOP");
        for to in pair.addresses() {
            until(&pair.client, to, "alone").await;
        }
        redis.signal("CONT");
        for to in pair.addresses() {
            until(&pair.client, to, "shared").await;
        }
    })
    .await;
    assert!(statuses.is_subset(&BTreeSet::from([200, 429])), "{statuses:?}");
    assert!(longest < BOUND, "{longest:?}");
}

/// While Redis is away a process lets through what its own window has room for: what it accepted before
/// counts, and what the other accepted does not.
#[tokio::test]
async fn without_redis_each_process_has_the_limit_for_itself_and_remembers_what_it_let_through() {
    let mut redis = TestRedis::own();
    let mut config = config(&redis);
    config.limits.reads_per_minute = 50;
    let pair = Pair::start(config).await;
    let (key, [one, two]) = (pair.key(), pair.addresses());
    let passed =
        async |to: SocketAddr, total: usize| accepted(&hammer(&pair.client, [to, to], &key, total, 4).await).len();
    assert_eq!((passed(one, 30).await, passed(two, 30).await), (30, 20));
    redis.kill();
    for to in [one, two] {
        until(&pair.client, to, "alone").await;
    }
    assert_eq!((passed(one, 60).await, passed(two, 60).await), (20, 30), "each up to its own fifty");
    redis.restart();
    for to in [one, two] {
        until(&pair.client, to, "shared").await;
    }
    assert_eq!((passed(one, 5).await, passed(two, 5).await), (0, 0), "an empty Redis frees nobody");
}

#[tokio::test]
async fn a_redis_that_takes_no_writes_is_as_good_as_away() {
    let redis = TestRedis::own();
    let pair = Pair::start(production(&redis, 60)).await;
    until(&pair.client, pair.second, "shared").await;
    let set = |memory: &str| {
        redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(memory).exec(&mut redis.connection()).unwrap();
    };
    set("1");
    let (statuses, _) = under_load(&pair, async || until(&pair.client, pair.second, "alone").await).await;
    assert!(statuses.is_subset(&BTreeSet::from([200, 429])), "{statuses:?}");
    set("0");
    until(&pair.client, pair.second, "shared").await;
}
