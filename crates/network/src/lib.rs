#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address;
mod allowed;
mod askers;
mod containers;
mod destination;
mod error;
mod forwarder;
mod link;
mod looks;
mod message;
mod names;
mod namespace;
mod neighbours;
mod netlink;
mod network;
mod program;
mod refusals;
mod relayed;
mod resolver;
mod router;
mod rules;
mod shares;
mod survey;
mod uplink;

pub use containers::Containers;
pub use destination::check as check_destination;
pub use error::NetworkError;
pub use network::{Attachment, Network};
pub use program::{PROGRAMS, TUN, missing};
pub use refusals::{Protocol, Refused};
pub use resolver::{answers, name_servers};
pub use survey::{Traces, survey};
