//! How time passes: minute by minute in meaning, from event to event in fact.
//!
//! The grid is the whole minute. At each one, in this order: funding, delivery, waiting orders, liquidations,
//! bots. An hour at a time the engine works out at which of its minutes anything can happen, and visits
//! only those. What it leaves out is what would have changed nothing.

use std::sync::Arc;

use super::Exchange;
use super::money::{FUNDING_EVERY, HOUR, MINUTE};
use super::triggers::next_wake;
use crate::model::*;

/// What is known of an account's next minute at which an order or a liquidation acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    /// Something changed; it has to be worked out again.
    Unknown,
    At(usize),
    /// Not in this hour.
    Never,
}

impl Exchange {
    /// Lets time pass: bots trade, orders fill, funding is paid. An instant in the past changes nothing, and
    /// however the way is cut into steps, the end of it is the same.
    pub fn advance_to(&mut self, now: Millis) {
        self.pass_to(now, false);
    }

    /// With `every_minute`, the walk that leaves nothing out: what the other one is compared with.
    pub(super) fn pass_to(&mut self, now: Millis, every_minute: bool) {
        if now <= self.now {
            return;
        }
        let last = now - now.rem_euclid(MINUTE);
        let mut next = self.now - self.now.rem_euclid(MINUTE) + MINUTE;
        while next <= last {
            let hour = next - next.rem_euclid(HOUR);
            let until = last.min(hour + HOUR - MINUTE);
            self.pass_hour(hour, place_in(hour, next), place_in(hour, until), every_minute);
            next = hour + HOUR;
        }
        self.now = now;
    }

    fn pass_hour(&mut self, hour: Millis, from: usize, until: usize, every_minute: bool) {
        self.sheet.turn_to(hour);
        self.wakes.fill(Wake::Unknown);
        let agenda = self.agenda(hour);
        let mut minute = from;
        loop {
            if !every_minute {
                // A whole hour may bring funding or a delivery.
                let busy = if minute == 0 { Some(0) } else { self.next_minute(&agenda, minute) };
                let Some(busy) = busy else { return };
                minute = busy;
            }
            if minute > until {
                return;
            }
            self.now = hour + minute as Millis * MINUTE;
            self.visit(minute, &agenda, every_minute);
            minute += 1;
        }
    }

    fn next_minute(&mut self, agenda: &[(usize, usize)], from: usize) -> Option<usize> {
        let market = Arc::clone(&self.market);
        let start = agenda.partition_point(|(minute, _)| *minute < from);
        let mut next = agenda.get(start).map(|(minute, _)| *minute);
        for (desk, wake) in self.desks.iter().zip(&mut self.wakes) {
            if *wake == Wake::Unknown {
                let found = next_wake(desk, market.universe(), &mut self.sheet, from);
                *wake = found.map_or(Wake::Never, Wake::At);
            }
            if let Wake::At(minute) = *wake {
                next = Some(next.map_or(minute, |next| next.min(minute)));
            }
        }
        next
    }

    fn visit(&mut self, minute: usize, agenda: &[(usize, usize)], every_minute: bool) {
        if self.now.rem_euclid(FUNDING_EVERY) == 0 {
            self.settle_funding();
        }
        if self.deliveries.contains_key(&self.now) {
            self.deliver();
        }
        for a in 0..self.desks.len() {
            if every_minute || self.is_awake(a, minute) {
                self.act_on_orders(a);
            }
        }
        for a in 0..self.desks.len() {
            if every_minute || self.is_awake(a, minute) {
                self.liquidate_if_broke(a);
            }
        }
        for (at, a) in agenda {
            if *at == minute {
                self.let_bot_act(*a);
            }
        }
        // What was due at this minute is done, or did not come about after all.
        for wake in &mut self.wakes {
            if *wake == Wake::At(minute) {
                *wake = Wake::Unknown;
            }
        }
    }

    fn is_awake(&self, a: usize, minute: usize) -> bool {
        matches!(self.wakes[a], Wake::Unknown) || self.wakes[a] == Wake::At(minute)
    }
}

fn place_in(hour: Millis, at: Millis) -> usize {
    usize::try_from((at - hour) / MINUTE).unwrap_or(0)
}
