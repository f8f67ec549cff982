//! A tenant's answers are those of a server that holds nobody else's data.
//!
//! Two servers, two databases. In one two tenants live, in the other the first of them alone: the same
//! keys, the same accounts, the same records. The second tenant reads and writes beside the first, with
//! names, ids of records and idempotency keys of its own that are the first's too. The first asks both
//! servers the same random questions, of every route and tool, also for what is the second's: what is
//! another's must be answered as what does not exist. Any difference is a leak.

mod sides;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::rest::Dice;
use crate::tenants::Tenant;
use sides::{Reply, Side, Twins};
use wishes::{Pools, Wish, Wishes};

/// More of them: `CODASH_INTERFERENCE_REQUESTS=100000`, and another run: `CODASH_INTERFERENCE_SEED=7`.
fn setting(name: &str, usual: u64) -> u64 {
    std::env::var_os(name).map_or(usual, |text| text.to_string_lossy().parse().expect("a whole number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_answers_are_those_of_a_server_that_holds_its_data_alone() {
    let requests = setting("CODASH_INTERFERENCE_REQUESTS", 600);
    let mut dice = Dice(setting("CODASH_INTERFERENCE_SEED", 5));
    let (ours, theirs) = (Tenant::number(1), Tenant::number(2));
    let (both, alone) = (Side::start().await, Side::start().await);
    // The stranger was there first, so that whatever is counted across tenants differs from the start.
    both.move_in(&theirs, "Theirs", 2).await;
    for chapter in 0..6 {
        both.live(&theirs, 2, 1_000 + chapter).await;
    }
    for side in [&both, &alone] {
        side.move_in(&ours, "Ours", 1).await;
    }
    let wishes = Wishes::of(&both, &ours).await;
    let mut twins = Twins::default();
    let (mut our_pools, mut their_pools) = (Pools::new(1), Pools::new(2));
    let (mut seen, mut said) = (Seen::default(), String::new());
    for n in 0..requests {
        if n % 40 == 0 {
            both.live(&theirs, 2, 2_000 + n).await;
            for side in [&both, &alone] {
                side.live(&ours, 1, n).await;
                side.work().await;
            }
        }
        if n % 4 == 0 {
            let wish = wishes.any(&mut dice, &their_pools, &our_pools);
            let reply = both.ask(&theirs, &wish.as_is()).await;
            assert!(reply.status < 500, "{wish:?}: {reply:?}");
            their_pools.learn(&wish, &reply);
        }
        let wish = wishes.any(&mut dice, &our_pools, &their_pools);
        let there = wish.translated(|text| twins.to_alone(text));
        let here = wish.as_is();
        let (one, other) = tokio::join!(both.ask(&ours, &here), alone.ask(&ours, &there));
        assert!(one.status < 500, "{wish:?}: {one:?}");
        if wish.shows_what_was_made() {
            twins.meet(&one, &other);
        }
        assert_eq!(twins.seen(&one), twins.seen_alone(&other), "request {n}: {wish:?}");
        assert!(one.text != other.text || one.tag() == other.tag(), "{wish:?}: the same bytes, another tag");
        said.push_str(&format!("{here:?}"));
        assert_no_stranger(&said, &one, &their_pools);
        seen.note(&wish, &one);
        our_pools.learn(&wish, &one);
    }
    seen.assert_enough(&wishes, requests);
}

/// Beside the comparison: nothing of the other's that we never said ourselves.
fn assert_no_stranger(said: &str, reply: &Reply, theirs: &Pools) {
    for word in theirs.ids().chain(["THEIRCOIN", "Theirs"]) {
        assert!(!reply.text.contains(word) || said.contains(word), "{word}: {}", reply.text);
    }
}

/// What was asked and answered: a comparison of refusals alone proves nothing.
#[derive(Default)]
struct Seen {
    answered: BTreeMap<String, usize>,
    asked: BTreeSet<String>,
    good: u64,
    foreign: u64,
}

impl Seen {
    fn note(&mut self, wish: &Wish, reply: &Reply) {
        let is_good = reply.status < 300 && reply.json()["result"]["isError"] != json!(true);
        self.asked.insert(wish.name.clone());
        *self.answered.entry(wish.name.clone()).or_default() += usize::from(is_good);
        self.good += u64::from(is_good);
        self.foreign += u64::from(wish.is_foreign);
    }

    fn assert_enough(&self, wishes: &Wishes, requests: u64) {
        eprintln!("{requests} requests, {} good, {} for what is another's", self.good, self.foreign);
        assert!(self.good * 3 > requests, "a third and more were answered: {self:?}");
        assert!(self.foreign * 8 > requests, "an eighth and more named the other's: {}", self.foreign);
        if requests >= 500 {
            let unasked: Vec<&String> = wishes.names().filter(|name| !self.asked.contains(*name)).collect();
            assert!(unasked.is_empty(), "never asked: {unasked:?}");
            let refused = self.answered.iter().filter(|(name, good)| **good == 0 && !wishes.is_closed(name));
            assert_eq!(refused.map(|(name, _)| name).collect::<Vec<_>>(), Vec::<&String>::new(), "never answered");
        }
    }
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.answered)
    }
}

/// Every text in a value.
fn texts(value: &Value, each: &mut dyn FnMut(&str, &str), name: &str) {
    match value {
        Value::String(text) => each(name, text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, each, name)),
        Value::Object(members) => members.iter().for_each(|(name, member)| texts(member, each, name)),
        _ => {}
    }
}
