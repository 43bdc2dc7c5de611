use std::sync::Arc;

use crate::{Entry, RegistryError, Snapshot};

/// Concurrent calls of all functions together: Lambda's default limit of an account.
pub const ACCOUNT_CONCURRENCY: u32 = 1000;
/// What reservations must leave of it (Developer Guide, "Configuring reserved concurrency").
const MIN_UNRESERVED: u32 = 100;

impl Snapshot {
    /// What all functions reserve together, those included that can't be read.
    pub fn reserved_concurrency(&self) -> u32 {
        self.functions
            .values()
            .filter_map(|entry| entry.function.reserved_concurrency)
            .chain(self.damaged.values().filter_map(|it| it.reserved))
            .fold(0, u32::saturating_add)
    }
}

/// Refuses a reservation that leaves too little to the functions without one; `entry` is the function's as it is, if there is one. Lowering one is never
/// refused.
pub(crate) fn check(
    snapshot: &Snapshot,
    entry: Option<&Arc<Entry>>,
    reserved: Option<u32>,
) -> Result<(), RegistryError> {
    let before = entry
        .and_then(|entry| entry.function.reserved_concurrency)
        .unwrap_or_default();
    let wanted = reserved.unwrap_or_default();
    let others = snapshot.reserved_concurrency().saturating_sub(before);
    if wanted > before && others.saturating_add(wanted) > ACCOUNT_CONCURRENCY - MIN_UNRESERVED {
        return Err(RegistryError::TooMuchReserved {
            min_unreserved: MIN_UNRESERVED,
        });
    }
    Ok(())
}
