//! The Lambda Runtime API, version 2018-06-01, for runtimes that know nothing of Warren: HTTP/1.1 on loopback towards the runtime, frames
//! of one call stream towards the host. Bodies are passed on in pieces; no event and no answer is ever whole in memory.
//!
//! `server` accepts and routes, `http` and `body` read requests, `session` does what an endpoint means, `state` says whether it may
//! happen now, `relay` speaks to the host.

mod answer;
mod base64;
mod body;
mod http;
mod relay;
mod server;
mod session;
mod state;

pub(crate) use server::ApiServer;
pub(crate) use session::Session;
