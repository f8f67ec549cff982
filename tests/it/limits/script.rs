//! The script by itself, on a clock of the test's: the fifth argument, which production never gives.

use std::cell::RefCell;
use std::time::Duration;

use codash::limits::local::Windows;
use codash::limits::shared::SCRIPT;
use codash::limits::{Limited, Standing};
use proptest::prelude::*;

use crate::harness::TestRedis;

const MINUTE: Duration = Duration::from_secs(60);
/// Windows of the test's clock are not to expire by Redis's.
const FAR: u64 = 4_000_000_000_000_000;

struct Window<'a> {
    connection: RefCell<redis::Connection>,
    script: redis::Script,
    name: &'a str,
}

impl<'a> Window<'a> {
    fn new(redis: &TestRedis, name: &'a str) -> Self {
        let window = Self { connection: RefCell::new(redis.connection()), script: redis::Script::new(SCRIPT), name };
        window.clear();
        window
    }

    /// `now` in microseconds.
    fn take(&self, limit: u32, n: u32, held: u32, now: Option<u64>) -> Result<Standing, Limited> {
        self.take_within(MINUTE, limit, n, held, now)
    }

    fn take_within(
        &self,
        span: Duration,
        limit: u32,
        n: u32,
        held: u32,
        now: Option<u64>,
    ) -> Result<Standing, Limited> {
        let mut invocation = self.script.key(self.name);
        invocation
            .arg(limit)
            .arg(n)
            .arg(u64::try_from(span.as_micros()).unwrap())
            .arg(held)
            .arg(now.map(|now| FAR + now));
        let (accepted, remaining, reset, wait): (u8, u32, u64, u64) =
            invocation.invoke(&mut *self.connection.borrow_mut()).unwrap();
        match accepted {
            0 => Err(Limited { retry_after: Duration::from_micros(wait) }),
            _ => Ok(Standing { limit, remaining, reset: Duration::from_micros(reset) }),
        }
    }

    fn clear(&self) {
        redis::cmd("DEL").arg(self.name).exec(&mut *self.connection.borrow_mut()).unwrap();
    }

    fn size(&self) -> usize {
        redis::cmd("LLEN").arg(self.name).query(&mut *self.connection.borrow_mut()).unwrap()
    }
}

#[test]
fn the_boundary_of_two_windows_lets_nothing_more_through() {
    let redis = TestRedis::start();
    let window = Window::new(&redis, "boundary");
    let burst = |now: u64| (0..100).filter(|_| window.take(100, 1, 0, Some(now)).is_ok()).count();
    assert_eq!(burst(59_900_000), 100);
    assert_eq!(burst(60_100_000), 0);
    assert_eq!(burst(119_899_999), 0);
    assert_eq!(burst(119_900_000), 100);
    assert_eq!(window.size(), 100, "who was refused takes no memory, who left neither");
}

#[test]
fn what_a_process_knows_to_be_accepted_counts_though_redis_forgot() {
    let redis = TestRedis::start();
    let window = Window::new(&redis, "held");
    assert_eq!(window.take(10, 2, 7, Some(0)).unwrap().remaining, 1);
    assert_eq!(window.take(10, 1, 10, Some(1)), Err(Limited { retry_after: Duration::ZERO }), "who holds them knows");
    assert_eq!(window.take(10, 8, 2, Some(2)).unwrap().remaining, 0, "no more counts than the larger of the two");
    assert_eq!(window.size(), 10);
}

#[test]
fn a_window_is_gone_when_its_last_request_left() {
    let redis = TestRedis::start();
    let (short, long) = ("codash:limit:test:short", "codash:limit:test:long");
    Window::new(&redis, long).take(50, 1, 0, None).unwrap();
    let window = Window::new(&redis, short);
    for _ in 0..50 {
        window.take_within(Duration::from_millis(200), 50, 1, 0, None).ok();
    }
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(redis.windows(), [long], "the one whose minute is not over");
    let left: i64 = redis::cmd("PTTL").arg(long).query(&mut redis.connection()).unwrap();
    assert!((1..=60_001).contains(&left), "{left}");
}

/// A limit and what is asked of it: microseconds since the last time, and how many.
fn asked(clock: std::ops::Range<i64>) -> impl Strategy<Value = (u32, Vec<(i64, u32)>)> {
    (1_u32..8, proptest::collection::vec((clock, 0_u32..4), 1..60))
}

#[test]
fn the_shared_window_says_what_the_local_one_says() {
    let redis = TestRedis::start();
    let window = Window::new(&redis, "model");
    let mut runner = proptest::test_runner::TestRunner::default();
    let checked = runner.run(&asked(0..40_000_000), |(limit, steps)| {
        window.clear();
        let (local, mut now) = (Windows::<u8>::new(limit, MINUTE, 10), 0);
        for (step, n) in steps {
            now += u64::try_from(step).unwrap();
            let known = local.take(&1, n, Duration::from_micros(now));
            prop_assert_eq!(window.take(limit, n, 0, Some(now)), known);
            if let Err(Limited { retry_after }) = known
                && n <= limit
            {
                now += u64::try_from(retry_after.as_micros()).unwrap();
                prop_assert!(window.take(limit, n, 0, Some(now - 1)).is_err());
                prop_assert_eq!(window.take(limit, n, 0, Some(now)), local.take(&1, n, Duration::from_micros(now)));
            }
        }
        Ok(())
    });
    checked.unwrap();
}

/// Redis's clock is set back now and then; the time that passes is another matter.
#[test]
fn a_clock_that_is_set_back_lets_no_more_through_and_locks_nobody_out() {
    let redis = TestRedis::start();
    let window = Window::new(&redis, "back");
    let mut runner = proptest::test_runner::TestRunner::default();
    let minute = i64::try_from(MINUTE.as_micros()).unwrap();
    let checked = runner.run(&asked(-500_000_000..40_000_000), |(limit, steps)| {
        window.clear();
        let (mut passed, mut clock, mut accepted) = (0, 1_000_000_000_000_i64, Vec::<i64>::new());
        for (step, n) in steps {
            // A step forward is time that passes; one back is the clock's alone.
            passed += step.max(0);
            clock += step;
            if window.take(limit, n, 0, Some(u64::try_from(clock).unwrap())).is_ok() {
                accepted.extend((0..n).map(|_| passed));
            }
        }
        for (i, first) in accepted.iter().enumerate() {
            let inside = accepted[i..].iter().take_while(|at| **at - first < minute).count();
            prop_assert!(inside <= usize::try_from(limit).unwrap());
        }
        // However far it was set back, a window later everybody is let in.
        let later = u64::try_from(clock + minute).unwrap();
        let waited = window.take(limit, limit, 0, Some(u64::try_from(clock).unwrap()));
        prop_assert!(waited.is_ok() || window.take(limit, limit, 0, Some(later)).is_ok());
        Ok(())
    });
    checked.unwrap();
}
