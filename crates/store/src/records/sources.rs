use std::{collections::HashMap, sync::Arc};

use warren_model::CallSource;

/// More than there are instances at one time. What is forgotten is written anew, as another row.
const MOST: usize = 16_384;
/// How much later than a record another one of its source may be without another write to the source's row: an hour, as a place.
const AHEAD: i64 = (3_600 * 1_000_000) << super::PLACE_BITS;

/// A row of `call_sources` that this process has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: i64,
    /// No record behind this place refers to it: once all up to it are removed, it can go.
    pub(super) until: i64,
}

/// Up to where a source's row serves whose record is at this place.
pub(super) fn until(place: i64) -> i64 {
    place.saturating_add(AHEAD)
}

/// The rows of sources, by where the source is in memory: an instance's records share it.
#[derive(Debug, Default)]
pub(super) struct Sources {
    rows: HashMap<usize, (Arc<CallSource>, Row)>,
}

impl Sources {
    pub(super) fn row(&self, source: &Arc<CallSource>) -> Option<Row> {
        // The entry keeps the source, so that no other can be at its address.
        self.rows.get(&address(source)).map(|(_, row)| *row)
    }

    pub(super) fn insert(&mut self, source: &Arc<CallSource>, row: Row) {
        self.rows.insert(address(source), (Arc::clone(source), row));
    }

    /// Takes over what was committed.
    pub(super) fn extend(&mut self, fresh: Self) {
        if self.rows.len() + fresh.rows.len() > MOST {
            self.rows.clear();
        }
        self.rows.extend(fresh.rows);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Forgets those that may be removed where the oldest record is at this place.
    pub(super) fn forget_before(&mut self, oldest: i64) {
        self.rows.retain(|_, (_, row)| row.until >= oldest);
    }
}

fn address(source: &Arc<CallSource>) -> usize {
    Arc::as_ptr(source).addr()
}
