//! How many connections for questions one workspace may hold at once: half, so that another always
//! finds one, however slow the first one's questions are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use codash_domain::WorkspaceId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::Error;

#[derive(Debug, Clone)]
pub(crate) struct Shares {
    most: usize,
    patience: Duration,
    /// Of workspaces that ask right now.
    of: Arc<Mutex<HashMap<WorkspaceId, Weak<Semaphore>>>>,
}

/// Given back when dropped.
pub(crate) type Share = OwnedSemaphorePermit;

impl Shares {
    /// Half of the connections, at least one. `patience` is how long a caller waits for a place.
    pub(crate) fn new(connections: u32, patience: Duration) -> Self {
        let most = usize::try_from(connections / 2).unwrap_or(1).max(1);
        Self { most, patience, of: Arc::default() }
    }

    /// A place, in turn; [`Error::Timeout`] when the workspace's own questions held all of them for too long.
    pub(crate) async fn take(&self, workspace: WorkspaceId) -> Result<Share, Error> {
        let taken = timeout(self.patience, self.places(workspace).acquire_owned()).await;
        taken.ok().and_then(Result::ok).ok_or(Error::Timeout)
    }

    fn places(&self, workspace: WorkspaceId) -> Arc<Semaphore> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = of.get(&workspace).and_then(Weak::upgrade) {
            return places;
        }
        of.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(self.most));
        of.insert(workspace, Arc::downgrade(&places));
        places
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn one_workspace_holds_half_and_leaves_the_rest_to_others() {
        let shares = Shares::new(5, Duration::from_millis(20));
        let (greedy, other) = (WorkspaceId(Uuid::from_u128(1)), WorkspaceId(Uuid::from_u128(2)));
        let first = shares.take(greedy).await.unwrap();
        let _second = shares.take(greedy).await.unwrap();
        assert!(matches!(shares.take(greedy).await, Err(Error::Timeout)));
        assert!(shares.take(other).await.is_ok());
        drop(first);
        assert!(shares.take(greedy).await.is_ok());
    }

    #[tokio::test]
    async fn who_asks_no_longer_is_forgotten() {
        let shares = Shares::new(1, Duration::from_millis(20));
        for id in 0..100 {
            drop(shares.take(WorkspaceId(Uuid::from_u128(id))).await.unwrap());
        }
        assert_eq!(shares.of.lock().unwrap().len(), 1);
    }
}
