//! How a key makes a narrower one: never more than it holds itself, in any direction.
//!
//! What a wish leaves out is taken over from the maker, not opened to everyone.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{AccountId, Scope, Scopes, Timestamp};

/// Everything that bounds a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    pub scopes: Scopes,
    /// `None`: every account of the workspace, also those attached later.
    pub accounts: Option<Vec<AccountId>>,
    /// Empty: from anywhere.
    pub addresses: Vec<IpNet>,
    /// `None`: never.
    pub expires_at: Option<Timestamp>,
    /// Requests accepted in any 60 seconds. `None`: the service's default.
    pub reads_per_minute: Option<u32>,
}

/// What is asked for a new key; what is left out is as the maker's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wish {
    pub scopes: Option<Vec<Scope>>,
    pub accounts: Option<Vec<AccountId>>,
    pub addresses: Option<Vec<IpNet>>,
    pub expires_at: Option<Timestamp>,
    pub reads_per_minute: Option<u32>,
}

/// Where a wish goes beyond its maker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooWide {
    /// The argument, in the words of the contract.
    pub field: &'static str,
    /// What to change.
    pub reason: String,
}

impl Reach {
    /// The reach of a child, or every fault of the wish. `default_reads` is the limit of a key that has
    /// none of its own.
    pub fn narrowed(&self, wish: Wish, default_reads: u32) -> Result<Self, Vec<TooWide>> {
        let mut faults = Vec::new();
        let child = Self {
            scopes: self.fewer_scopes(wish.scopes, &mut faults),
            accounts: self.fewer_accounts(wish.accounts, &mut faults),
            addresses: self.fewer_addresses(wish.addresses, &mut faults),
            expires_at: self.shorter_life(wish.expires_at, &mut faults),
            reads_per_minute: self.fewer_reads(wish.reads_per_minute, default_reads, &mut faults),
        };
        if faults.is_empty() { Ok(child) } else { Err(faults) }
    }

    fn fewer_scopes(&self, wanted: Option<Vec<Scope>>, faults: &mut Vec<TooWide>) -> Scopes {
        let Some(wanted) = wanted else { return self.scopes.clone() };
        if wanted.is_empty() {
            faults.push(TooWide { field: "scopes", reason: "must name at least one scope".into() });
        }
        for scope in wanted.iter().filter(|scope| !self.scopes.allows(**scope)) {
            let reason = format!("{scope} is not held by the key that makes this one");
            faults.push(TooWide { field: "scopes", reason });
        }
        Scopes::new(wanted)
    }

    fn fewer_accounts(&self, wanted: Option<Vec<AccountId>>, faults: &mut Vec<TooWide>) -> Option<Vec<AccountId>> {
        let Some(mut wanted) = wanted else { return self.accounts.clone() };
        wanted.sort_unstable();
        wanted.dedup();
        if let Some(own) = &self.accounts
            && let Some(other) = wanted.iter().find(|account| !own.contains(account))
        {
            let reason = format!("{other} is not visible to the key that makes this one");
            faults.push(TooWide { field: "accountIds", reason });
        }
        Some(wanted)
    }

    fn fewer_addresses(&self, wanted: Option<Vec<IpNet>>, faults: &mut Vec<TooWide>) -> Vec<IpNet> {
        let Some(wanted) = wanted else { return self.addresses.clone() };
        if wanted.is_empty() && !self.addresses.is_empty() {
            let reason = "an empty list would open the key to every address: leave it out to take over the list";
            faults.push(TooWide { field: "addresses", reason: reason.into() });
        }
        let is_inside = |net: &&IpNet| self.addresses.is_empty() || self.addresses.iter().any(|own| own.contains(*net));
        for net in wanted.iter().filter(|net| !is_inside(net)) {
            let reason = format!("{net} is not inside the networks of the key that makes this one");
            faults.push(TooWide { field: "addresses", reason });
        }
        wanted
    }

    fn shorter_life(&self, wanted: Option<Timestamp>, faults: &mut Vec<TooWide>) -> Option<Timestamp> {
        match (wanted, self.expires_at) {
            (Some(wanted), Some(own)) if wanted > own => {
                let reason = format!("must not be after {own}, when the key that makes this one expires");
                faults.push(TooWide { field: "expiresAt", reason });
                Some(own)
            }
            (wanted, own) => wanted.or(own),
        }
    }

    fn fewer_reads(&self, wanted: Option<u32>, default_reads: u32, faults: &mut Vec<TooWide>) -> Option<u32> {
        let most = self.reads_per_minute.unwrap_or(default_reads);
        if let Some(wanted) = wanted.filter(|wanted| *wanted > most) {
            let reason = format!("{wanted} is more than the {most} of the key that makes this one");
            faults.push(TooWide { field: "readsPerMinute", reason });
        }
        wanted.or(self.reads_per_minute)
    }

    /// True for an address that the key may be used from. A mapped IPv4 address is an IPv4 address.
    pub fn admits(addresses: &[IpNet], address: IpAddr) -> bool {
        addresses.is_empty() || addresses.iter().any(|net| net.contains(&address.to_canonical()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEFAULT_READS: u32 = 100;

    fn account(n: u8) -> AccountId {
        AccountId::from_random([n; 16])
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn scopes() -> impl Strategy<Value = Vec<Scope>> {
        proptest::sample::subsequence(Scope::ALL.to_vec(), 0..=8)
    }

    fn accounts() -> impl Strategy<Value = Option<Vec<AccountId>>> {
        proptest::option::of(proptest::collection::vec((0_u8..5).prop_map(account), 0..5))
    }

    fn networks() -> impl Strategy<Value = Vec<IpNet>> {
        let one = prop_oneof![
            (0_u32..4, 28_u8..=32).prop_map(|(n, len)| {
                let address = std::net::Ipv4Addr::from(0xC000_0200 + n * 4);
                IpNet::new(address.into(), len).unwrap().trunc()
            }),
            (0_u128..4, 124_u8..=128).prop_map(|(n, len)| {
                let address = std::net::Ipv6Addr::from((0x2001_0db8 << 96) + n * 4);
                IpNet::new(address.into(), len).unwrap().trunc()
            }),
        ];
        proptest::collection::vec(one, 0..4)
    }

    fn instants() -> impl Strategy<Value = Option<Timestamp>> {
        proptest::option::of((0_i64..6).prop_map(at))
    }

    fn limits() -> impl Strategy<Value = Option<u32>> {
        proptest::option::of(prop_oneof![1_u32..5, 98_u32..103])
    }

    prop_compose! {
        fn reaches()(s in scopes(), accounts in accounts(), addresses in networks(), expires_at in instants(),
                     reads in proptest::option::of(1_u32..=DEFAULT_READS)) -> Reach {
            Reach { scopes: Scopes::new(s), accounts, addresses, expires_at, reads_per_minute: reads }
        }
    }

    prop_compose! {
        fn wishes()(scopes in proptest::option::of(scopes()), accounts in accounts(),
                    addresses in proptest::option::of(networks()), expires_at in instants(),
                    reads_per_minute in limits()) -> Wish {
            Wish { scopes, accounts, addresses, expires_at, reads_per_minute }
        }
    }

    /// What a reach lets through, told by asking and not by comparing its parts.
    fn opens(reach: &Reach, scope: Scope, seen: AccountId, from: IpAddr, when: Timestamp) -> bool {
        reach.scopes.allows(scope)
            && reach.accounts.as_ref().is_none_or(|own| own.contains(&seen))
            && Reach::admits(&reach.addresses, from)
            && reach.expires_at.is_none_or(|end| when < end)
    }

    proptest! {
        #[test]
        fn a_child_opens_nothing_that_its_parent_does_not(parent in reaches(), wish in wishes(), further in wishes()) {
            let Ok(child) = parent.narrowed(wish, DEFAULT_READS) else { return Ok(()) };
            let grandchild = child.narrowed(further, DEFAULT_READS).unwrap_or_else(|_| child.clone());
            let reads = |reach: &Reach| reach.reads_per_minute.unwrap_or(DEFAULT_READS);
            prop_assert!(reads(&child) <= reads(&parent) && reads(&grandchild) <= reads(&child));
            let addresses = (0_u32..20).map(|n| IpAddr::from(std::net::Ipv4Addr::from(0xC000_01FC + n)))
                .chain((0_u128..20).map(|n| IpAddr::from(std::net::Ipv6Addr::from((0x2001_0db8 << 96) + n))));
            for from in addresses {
                for seen in (0..6).map(account) {
                    for when in (0..7).map(at) {
                        for scope in Scope::ALL {
                            let opened = opens(&child, scope, seen, from, when);
                            prop_assert!(!opened || opens(&parent, scope, seen, from, when));
                            prop_assert!(!opens(&grandchild, scope, seen, from, when) || opened);
                        }
                    }
                }
            }
        }

        #[test]
        fn a_wish_for_nothing_of_its_own_gives_the_parents_reach(parent in reaches()) {
            prop_assert_eq!(parent.narrowed(Wish::default(), DEFAULT_READS), Ok(parent));
        }
    }

    #[test]
    fn every_way_to_be_wider_is_refused_and_named() {
        let parent = Reach {
            scopes: Scopes::new([Scope::ReadSummary]),
            accounts: Some(vec![account(1)]),
            addresses: vec!["192.0.2.0/24".parse().unwrap()],
            expires_at: Some(at(5)),
            reads_per_minute: Some(10),
        };
        let wish = Wish {
            scopes: Some(vec![Scope::Read]),
            accounts: Some(vec![account(1), account(2)]),
            addresses: Some(vec!["192.0.0.0/16".parse().unwrap()]),
            expires_at: Some(at(6)),
            reads_per_minute: Some(11),
        };
        let faults = parent.narrowed(wish, DEFAULT_READS).unwrap_err();
        let fields: Vec<&str> = faults.iter().map(|fault| fault.field).collect();
        assert_eq!(fields, ["scopes", "accountIds", "addresses", "expiresAt", "readsPerMinute"]);
        let anywhere = Wish { addresses: Some(vec![]), ..Wish::default() };
        assert_eq!(parent.narrowed(anywhere, DEFAULT_READS).unwrap_err()[0].field, "addresses");
    }
}
