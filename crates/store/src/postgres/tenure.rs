//! What this process knows of its ownership.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock};

use tokio::sync::watch;

use crate::StoreError;

/// The row `meta` at one moment.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Mark {
    pub(super) revision: i64,
    /// Raised by each owner.
    pub(super) epoch: i64,
    /// The last owner, for people.
    pub(super) holder: String,
}

/// How the database stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is ours.
    Ours,
    /// It can't be reached.
    Away(String),
    /// Another process took it while it could not be reached.
    Lost(String),
}

/// The ownership of a database under one epoch.
#[derive(Debug)]
pub(super) struct Tenure {
    epoch: i64,
    /// The last revision that was read or written here: what the program believes.
    believed: AtomicI64,
    /// The last revision that was seen, whoever raised it.
    seen: watch::Sender<u64>,
    standing: RwLock<Standing>,
}

impl Tenure {
    pub(super) fn new(mark: &Mark) -> Self {
        Self {
            epoch: mark.epoch,
            believed: AtomicI64::new(mark.revision),
            seen: watch::Sender::new(u64::try_from(mark.revision).unwrap_or_default()),
            standing: RwLock::new(Standing::Ours),
        }
    }

    pub(super) fn revisions(&self) -> watch::Receiver<u64> {
        self.seen.subscribe()
    }

    /// Refuses at once what would only wait for a database that is known to be away.
    pub(super) fn reachable(&self) -> Result<(), StoreError> {
        match self.standing() {
            Standing::Away(why) => Err(StoreError::Unavailable(why.into())),
            Standing::Ours | Standing::Lost(_) => Ok(()),
        }
    }

    /// Refuses a change under an epoch that is over, or of something that another writer changed meanwhile.
    pub(super) fn admit(&self, mark: &Mark) -> Result<(), StoreError> {
        if mark.epoch != self.epoch {
            return Err(StoreError::Owned {
                holder: mark.holder.clone(),
            });
        }
        match mark.revision == self.believed.load(Ordering::Acquire) {
            true => Ok(()),
            false => Err(StoreError::Conflict {
                what: "the revision".to_owned(),
            }),
        }
    }

    /// Everything was read at this revision.
    pub(super) fn read(&self, revision: i64) {
        self.believed.store(revision, Ordering::Release);
    }

    /// A change of ours has this revision.
    pub(super) fn wrote(&self, revision: u64) {
        self.read(i64::try_from(revision).unwrap_or(i64::MAX));
    }

    /// The database answered; gives how it stood before and stands now.
    pub(super) fn met(&self, mark: &Mark) -> (Standing, Standing) {
        let now = match mark.epoch == self.epoch {
            true => Standing::Ours,
            false => Standing::Lost(mark.holder.clone()),
        };
        let revision = u64::try_from(mark.revision).unwrap_or_default();
        self.seen
            .send_if_modified(|seen| std::mem::replace(seen, revision) != revision);
        (self.stand(now.clone()), now)
    }

    /// The database can't be reached.
    pub(super) fn away(&self, why: String) {
        self.stand(Standing::Away(why));
    }

    fn stand(&self, now: Standing) -> Standing {
        let mut standing = self
            .standing
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *standing, now)
    }

    fn standing(&self) -> Standing {
        let standing = self.standing.read();
        standing.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(revision: i64, epoch: i64) -> Mark {
        Mark {
            revision,
            epoch,
            holder: "someone".to_owned(),
        }
    }

    #[test]
    fn a_change_needs_the_epoch_and_the_revision() {
        let tenure = Tenure::new(&mark(4, 7));
        assert!(tenure.admit(&mark(4, 7)).is_ok());
        assert!(matches!(
            tenure.admit(&mark(5, 7)),
            Err(StoreError::Conflict { .. })
        ));
        assert!(matches!(
            tenure.admit(&mark(4, 8)),
            Err(StoreError::Owned { .. })
        ));
        tenure.wrote(5);
        assert!(tenure.admit(&mark(5, 7)).is_ok());
    }

    #[test]
    fn only_what_is_away_is_refused_at_once() {
        let tenure = Tenure::new(&mark(1, 1));
        tenure.away("cut".to_owned());
        assert!(matches!(
            tenure.reachable(),
            Err(StoreError::Unavailable(_))
        ));
        let (before, now) = tenure.met(&mark(2, 1));
        assert_eq!(
            (before, now),
            (Standing::Away("cut".to_owned()), Standing::Ours)
        );
        assert!(tenure.reachable().is_ok());
        assert_eq!(*tenure.revisions().borrow(), 2);
    }
}
