use std::{collections::HashMap, sync::Arc};

use warren_model::CallSource;

/// More than there are instances at one time. What is forgotten is written anew, as another row.
const MOST: usize = 16_384;

/// The rows of `call_sources` that this process has written, by where the source is in memory: an instance's records share it.
#[derive(Debug, Default)]
pub(super) struct Sources {
    ids: HashMap<usize, (Arc<CallSource>, i64)>,
}

impl Sources {
    pub(super) fn id(&self, source: &Arc<CallSource>) -> Option<i64> {
        // The entry keeps the source, so that no other can be at its address.
        self.ids.get(&address(source)).map(|(_, id)| *id)
    }

    pub(super) fn insert(&mut self, source: &Arc<CallSource>, id: i64) {
        self.ids.insert(address(source), (Arc::clone(source), id));
    }

    /// Takes over what was committed.
    pub(super) fn extend(&mut self, fresh: Self) {
        if self.ids.len() + fresh.ids.len() > MOST {
            self.ids.clear();
        }
        self.ids.extend(fresh.ids);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.ids.clear();
    }
}

fn address(source: &Arc<CallSource>) -> usize {
    Arc::as_ptr(source).addr()
}
