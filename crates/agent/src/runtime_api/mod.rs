//! The Lambda Runtime API, version 2018-06-01, for runtimes that know nothing of Warren: HTTP/1.1 on loopback towards the runtime, frames
//! of one call stream towards the host. Bodies are passed on in pieces; no event and no answer is ever whole in memory.
//!
//! `server` accepts, `http` and `body` read requests, `route` says what they are for, `session` does what an endpoint means, `state` says
//! whether it may happen now, `relay` speaks to the host. `fault` has the answers that turn out to be errors, `late` when
//! the host is told of those, `extensions` what is off.

mod answer;
mod base64;
mod body;
mod extensions;
mod fault;
mod http;
mod late;
mod relay;
mod route;
mod server;
mod session;
mod state;

pub(crate) use server::ApiServer;
pub(crate) use session::Session;
