//! What this process knows of its ownership.

use std::sync::{PoisonError, RwLock};

use tokio::sync::watch;

use crate::{Sighting, Standing, StoreError};

/// The row `meta` at one moment.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Mark {
    pub(super) revision: i64,
    /// The random id of the last owner.
    pub(super) owner: String,
    /// The last owner, for people.
    pub(super) holder: String,
}

/// The ownership of a database under one id.
#[derive(Debug)]
pub(super) struct Tenure {
    owner: String,
    /// What was seen last, whoever wrote it.
    seen: watch::Sender<Sighting>,
    standing: RwLock<Standing>,
}

impl Tenure {
    pub(super) fn new(mark: &Mark) -> Self {
        Self {
            owner: mark.owner.clone(),
            seen: watch::Sender::new(Sighting {
                revision: revision(mark),
                connection: 0,
            }),
            standing: RwLock::new(Standing::Ours),
        }
    }

    pub(super) fn sightings(&self) -> watch::Receiver<Sighting> {
        self.seen.subscribe()
    }

    /// Refuses at once what would only wait for a database that is known to be away, and everything once it is lost.
    pub(super) fn usable(&self) -> Result<(), StoreError> {
        match self.standing() {
            Standing::Ours => Ok(()),
            Standing::Away(why) => Err(StoreError::Unavailable(why.into())),
            Standing::Lost(holder) => Err(StoreError::Owned { holder }),
        }
    }

    /// Refuses what another process owns by now: the database is lost then.
    pub(super) fn own(&self, mark: &Mark) -> Result<(), StoreError> {
        if mark.owner == self.owner {
            return Ok(());
        }
        self.stand(Standing::Lost(mark.holder.clone()));
        Err(StoreError::Owned {
            holder: mark.holder.clone(),
        })
    }

    /// Refuses a change of what another process owns, or of something that another writer changed since it was read at `based_on`.
    pub(super) fn admit(&self, mark: &Mark, based_on: u64) -> Result<(), StoreError> {
        self.own(mark)?;
        match revision(mark) == based_on {
            true => Ok(()),
            false => Err(StoreError::Conflict {
                what: "the revision".to_owned(),
            }),
        }
    }

    /// The database answered on this connection, which is counted; gives how it stood before and stands now.
    pub(super) fn met(&self, mark: &Mark, connection: u64) -> (Standing, Standing) {
        let sighting = Sighting {
            revision: revision(mark),
            connection,
        };
        // Seen first: whoever finds the database ours again knows that it is another connection.
        self.seen
            .send_if_modified(|seen| std::mem::replace(seen, sighting) != sighting);
        let before = match mark.owner == self.owner {
            true => self.stand(Standing::Ours),
            false => self.stand(Standing::Lost(mark.holder.clone())),
        };
        (before, self.standing())
    }

    /// The database can't be reached.
    pub(super) fn away(&self, why: String) {
        self.stand(Standing::Away(why));
    }

    /// Gives how it stood before. What is lost stays lost.
    fn stand(&self, now: Standing) -> Standing {
        let mut standing = self
            .standing
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        match *standing {
            Standing::Lost(_) => standing.clone(),
            _ => std::mem::replace(&mut *standing, now),
        }
    }

    pub(super) fn standing(&self) -> Standing {
        let standing = self.standing.read();
        standing.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One that can't be is 0: reading everything names it.
fn revision(mark: &Mark) -> u64 {
    u64::try_from(mark.revision).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(revision: i64, owner: &str) -> Mark {
        Mark {
            revision,
            owner: owner.to_owned(),
            holder: "someone".to_owned(),
        }
    }

    #[test]
    fn a_change_needs_the_owner_and_the_revision_that_it_was_computed_from() {
        let tenure = Tenure::new(&mark(4, "us"));
        assert!(tenure.admit(&mark(4, "us"), 4).is_ok());
        for other in [3, 5] {
            assert!(matches!(
                tenure.admit(&mark(other, "us"), 4),
                Err(StoreError::Conflict { .. })
            ));
        }
        assert!(tenure.usable().is_ok());
        assert!(matches!(
            tenure.admit(&mark(4, "them"), 4),
            Err(StoreError::Owned { .. })
        ));
        assert!(matches!(tenure.usable(), Err(StoreError::Owned { .. })));
    }

    #[test]
    fn what_is_lost_stays_lost() {
        let tenure = Tenure::new(&mark(4, "us"));
        tenure.met(&mark(4, "them"), 1);
        tenure.away("cut".to_owned());
        let (_, now) = tenure.met(&mark(4, "us"), 2);
        assert_eq!(now, Standing::Lost("someone".to_owned()));
    }

    #[test]
    fn only_what_is_away_is_refused_at_once() {
        let tenure = Tenure::new(&mark(1, "us"));
        tenure.away("cut".to_owned());
        assert!(matches!(tenure.usable(), Err(StoreError::Unavailable(_))));
        let (before, now) = tenure.met(&mark(2, "us"), 1);
        assert_eq!(
            (before, now),
            (Standing::Away("cut".to_owned()), Standing::Ours)
        );
        assert!(tenure.usable().is_ok());
        let seen = *tenure.sightings().borrow();
        assert_eq!((seen.revision, seen.connection), (2, 1));
    }
}
