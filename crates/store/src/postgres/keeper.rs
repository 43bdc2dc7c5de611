//! Keeps the ownership, for as long as the store lives: watches the database, and comes back to it when it was away.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tracing::{error, info, warn};
use warren_model::chain;

use super::session::Session;
use super::tenure::Tenure;
use crate::{Standing, StoreError};

/// Between two tries to reach a database that is away.
const RETRY: Duration = Duration::from_millis(250);

pub(super) fn start(session: Session, tenure: Arc<Tenure>) -> AbortHandle {
    tokio::spawn(keep(session, tenure)).abort_handle()
}

async fn keep(mut session: Session, tenure: Arc<Tenure>) {
    for connection in 0.. {
        let cause = reason(&watch(&mut session, connection, &tenure).await);
        warn!(
            cause,
            "the database is away: functions are called as before, changes are refused until it is back"
        );
        tenure.away(cause);
        session = loop {
            tokio::time::sleep(RETRY).await;
            match session.again().await {
                Ok(session) => break session,
                Err(error) => tenure.away(reason(&error)),
            }
        };
    }
}

/// Looks at the database at each notice and at least once a second; gives why that is not possible any more.
async fn watch(session: &mut Session, connection: u64, tenure: &Tenure) -> StoreError {
    loop {
        if let Err(error) = look(session, connection, tenure).await {
            return error;
        }
    }
}

async fn look(session: &mut Session, connection: u64, tenure: &Tenure) -> Result<(), StoreError> {
    let mark = session.mark().await?;
    let (before, now) = tenure.met(&mark, connection);
    if before != now {
        match &now {
            Standing::Lost(holder) => error!(
                holder,
                "the database is lost: another Warren took it, or an older state was put in its place. This one calls functions as it knows them and changes nothing any more, until it is restarted"
            ),
            Standing::Ours => info!("the database is back"),
            Standing::Away(_) => {}
        }
    }
    session.settle(now == Standing::Ours).await?;
    session.news().await
}

/// All that led to it; that the database is not available is said elsewhere.
fn reason(error: &StoreError) -> String {
    chain(error.source().unwrap_or(error))
}
