use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;

/// Memory that request bodies, and the events made of them, may take together.
const BODIES: usize = 512 << 20;

/// What is left of a number of bytes; clones are the same number.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<AtomicUsize>);

impl Default for Budget {
    fn default() -> Self {
        Self::new(BODIES)
    }
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    #[cfg(test)]
    pub(crate) fn left(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Nothing yet, to be grown.
    pub(super) fn share(&self) -> Share {
        Share {
            budget: self.clone(),
            bytes: 0,
        }
    }

    /// Counts bytes until their last clone is gone; `None` where they are too many.
    pub(crate) fn hold(&self, bytes: Vec<u8>) -> Option<Bytes> {
        let mut share = self.share();
        share.grow(bytes.len()).then(|| share.bind(bytes.into()))
    }
}

/// A part of a budget, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Budget,
    bytes: usize,
}

impl Share {
    /// Takes more, all or nothing.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let left = &self.budget.0;
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(bytes)
        });
        if taken.is_ok() {
            self.bytes += bytes;
        }
        taken.is_ok()
    }

    /// Keeps the share as long as any clone of the bytes.
    pub(super) fn bind(self, bytes: Bytes) -> Bytes {
        match bytes.is_empty() {
            true => bytes,
            false => Bytes::from_owner(Bound {
                bytes,
                _share: self,
            }),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

struct Bound {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Bound {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_until_their_last_clone_is_gone() {
        let budget = Budget::new(10);
        let first = budget.hold(vec![1; 6]).unwrap();
        assert_eq!(&first[..], [1; 6]);
        assert!(budget.hold(vec![1; 5]).is_none());
        let clone = first.clone();
        drop(first);
        assert!(budget.hold(vec![1; 5]).is_none());
        drop(clone);
        assert!(budget.hold(vec![1; 10]).is_some());
        assert!(budget.hold(vec![1; 10]).is_some());
    }
}
