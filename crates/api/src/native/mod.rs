//! Warren's own interface.

mod health;

pub(crate) use health::health;
