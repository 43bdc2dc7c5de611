#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod auth;
mod control;
mod edge;
pub mod lambda;
mod native;
mod routes;
mod state;
mod sts;

pub use control::serve_control;
pub use native::Surroundings;
pub use routes::serve_routes;
pub use state::Api;
