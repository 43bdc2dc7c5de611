#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address;
mod destination;
mod error;
mod link;
mod namespace;
mod neighbours;
mod netlink;
mod network;
mod program;
mod resolver;
mod router;
mod rules;
mod uplink;

pub use error::NetworkError;
pub use network::{Attachment, Network};
pub use program::{PROGRAMS, TUN, missing};
