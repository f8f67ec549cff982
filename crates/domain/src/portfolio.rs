//! The tree of portfolio groups: who is above whom, and what would spoil it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{AccountId, PortfolioId};

/// A group at the root is at level 1.
pub const MOST_LEVELS: usize = 10;
/// Groups of a workspace.
pub const MOST_GROUPS: usize = 1000;

/// Why groups cannot be arranged as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("there is no such group")]
    NoGroup,
    #[error("a group cannot be moved below itself")]
    Cycle,
    #[error("groups would be nested more than {MOST_LEVELS} deep")]
    TooDeep,
    #[error("a workspace has at most {MOST_GROUPS} groups")]
    TooMany,
}

/// Each group's parent; `None` at the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forest {
    parents: BTreeMap<PortfolioId, Option<PortfolioId>>,
}

impl FromIterator<(PortfolioId, Option<PortfolioId>)> for Forest {
    fn from_iter<I: IntoIterator<Item = (PortfolioId, Option<PortfolioId>)>>(groups: I) -> Self {
        Self { parents: groups.into_iter().collect() }
    }
}

impl Forest {
    pub fn contains(&self, group: PortfolioId) -> bool {
        self.parents.contains_key(&group)
    }

    pub fn parent(&self, group: PortfolioId) -> Option<PortfolioId> {
        self.parents.get(&group).copied().flatten()
    }

    /// The group, its parent, and so on to the root. Empty for a group that is not here.
    pub fn path(&self, group: PortfolioId) -> impl Iterator<Item = PortfolioId> {
        let first = Some(group).filter(|group| self.contains(*group));
        // A spoilt tree must not hold us up.
        std::iter::successors(first, |group| self.parent(*group)).take(self.parents.len())
    }

    pub fn is_below(&self, group: PortfolioId, top: PortfolioId) -> bool {
        self.path(group).any(|above| above == top)
    }

    /// The group and everything below it.
    pub fn subtree(&self, top: PortfolioId) -> BTreeSet<PortfolioId> {
        self.parents.keys().copied().filter(|group| self.is_below(*group, top)).collect()
    }

    /// Groups in whose subtrees these groups are: themselves and all above.
    pub fn above(&self, groups: impl IntoIterator<Item = PortfolioId>) -> BTreeSet<PortfolioId> {
        groups.into_iter().flat_map(|group| self.path(group)).collect()
    }

    /// A new group fits below `parent`.
    pub fn may_add(&self, parent: Option<PortfolioId>) -> Result<(), Unfit> {
        if self.parents.len() >= MOST_GROUPS {
            return Err(Unfit::TooMany);
        }
        self.fits(1, parent)
    }

    /// The group and its subtree fit below `parent`.
    pub fn may_move(&self, group: PortfolioId, parent: Option<PortfolioId>) -> Result<(), Unfit> {
        if !self.contains(group) {
            return Err(Unfit::NoGroup);
        }
        if parent.is_some_and(|parent| self.is_below(parent, group)) {
            return Err(Unfit::Cycle);
        }
        let level = |group: PortfolioId| self.path(group).count();
        let deepest = self.subtree(group).into_iter().map(level).max().unwrap_or(1);
        self.fits(deepest + 1 - level(group), parent)
    }

    fn fits(&self, levels: usize, parent: Option<PortfolioId>) -> Result<(), Unfit> {
        let above = match parent {
            Some(parent) if !self.contains(parent) => return Err(Unfit::NoGroup),
            Some(parent) => self.path(parent).count(),
            None => 0,
        };
        if above + levels > MOST_LEVELS { Err(Unfit::TooDeep) } else { Ok(()) }
    }
}

/// What a key sees of the tree. One with an account allowlist sees the groups in whose subtree one of
/// its accounts is, and no other: not even that there are any.
#[derive(Debug, Clone)]
pub struct Sight<'a> {
    forest: &'a Forest,
    /// Every account of the workspace and its group.
    accounts: &'a [(AccountId, Option<PortfolioId>)],
    /// `None`: all accounts, also those to come.
    only: Option<&'a [AccountId]>,
}

impl<'a> Sight<'a> {
    pub fn new(
        forest: &'a Forest,
        accounts: &'a [(AccountId, Option<PortfolioId>)],
        only: Option<&'a [AccountId]>,
    ) -> Self {
        Self { forest, accounts, only }
    }

    fn is_mine(&self, account: AccountId) -> bool {
        self.only.is_none_or(|only| only.contains(&account))
    }

    pub fn sees(&self, group: PortfolioId) -> bool {
        let mine = |(account, home): &(AccountId, Option<PortfolioId>)| {
            self.is_mine(*account) && home.is_some_and(|home| self.forest.is_below(home, group))
        };
        self.forest.contains(group) && (self.only.is_none() || self.accounts.iter().any(mine))
    }

    /// Sees the group, every group below it and all their accounts. The root (`None`) is wholly seen by a
    /// key without an allowlist alone.
    pub fn sees_wholly(&self, group: Option<PortfolioId>) -> bool {
        let (Some(_), Some(group)) = (self.only, group) else { return self.only.is_none() };
        let below = self.forest.subtree(group);
        below.iter().all(|group| self.sees(*group))
            && self
                .accounts
                .iter()
                .filter(|(_, home)| home.is_some_and(|home| below.contains(&home)))
                .all(|(account, _)| self.is_mine(*account))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(n: u8) -> PortfolioId {
        PortfolioId::from_random([n; 16])
    }

    /// A chain 1 ← 2 ← 3, and 4 beside it.
    fn forest() -> Forest {
        [(group(1), None), (group(2), Some(group(1))), (group(3), Some(group(2))), (group(4), None)]
            .into_iter()
            .collect()
    }

    #[test]
    fn a_group_never_comes_below_itself() {
        let forest = forest();
        for below in [1, 2, 3] {
            assert_eq!(forest.may_move(group(1), Some(group(below))), Err(Unfit::Cycle));
        }
        assert_eq!(forest.may_move(group(1), Some(group(4))), Ok(()));
        assert_eq!(forest.may_move(group(3), None), Ok(()));
        assert_eq!(forest.may_move(group(9), None), Err(Unfit::NoGroup));
        assert_eq!(forest.may_move(group(1), Some(group(9))), Err(Unfit::NoGroup));
    }

    #[test]
    fn a_move_counts_the_levels_that_it_carries() {
        let chain =
            |length: u8| -> Vec<_> { (1..=length).map(|n| (group(n), (n > 1).then(|| group(n - 1)))).collect() };
        let mut groups = chain(8);
        groups.extend([(group(20), None), (group(21), Some(group(20))), (group(22), Some(group(21)))]);
        let forest: Forest = groups.into_iter().collect();
        assert_eq!(forest.may_move(group(20), Some(group(7))), Ok(()));
        assert_eq!(forest.may_move(group(20), Some(group(8))), Err(Unfit::TooDeep));
        assert_eq!(forest.may_move(group(21), Some(group(8))), Ok(()));
        let full: Forest = chain(10).into_iter().collect();
        assert_eq!(full.may_add(Some(group(10))), Err(Unfit::TooDeep));
        assert_eq!(full.may_add(Some(group(9))), Ok(()));
    }

    #[test]
    fn a_workspace_has_a_thousand_groups_at_most() {
        let id = |n: u16| {
            let mut bytes = [0; 16];
            bytes[..2].copy_from_slice(&n.to_be_bytes());
            PortfolioId::from_random(bytes)
        };
        let forest: Forest = (0..1000).map(|n| (id(n), None)).collect();
        assert_eq!(forest.may_add(None), Err(Unfit::TooMany));
    }

    #[test]
    fn a_narrow_key_sees_the_way_to_its_accounts_and_nothing_beside() {
        let forest = forest();
        let account = |n: u8| AccountId::from_random([n; 16]);
        let accounts = [(account(1), Some(group(3))), (account(2), Some(group(4))), (account(3), None)];
        let only = [account(1)];
        let narrow = Sight::new(&forest, &accounts, Some(&only));
        let seen: Vec<bool> = (1..=4).map(|n| narrow.sees(group(n))).collect();
        assert_eq!(seen, [true, true, true, false]);
        assert!(narrow.sees_wholly(Some(group(1))) && !narrow.sees_wholly(Some(group(4))) && !narrow.sees_wholly(None));
        let shared = [(account(1), Some(group(3))), (account(2), Some(group(2)))];
        let narrow = Sight::new(&forest, &shared, Some(&only));
        assert!(narrow.sees_wholly(Some(group(3))) && !narrow.sees_wholly(Some(group(2))));
        assert!(Sight::new(&forest, &accounts, None).sees_wholly(None));
    }
}
