//! The interface over a socket, asked by the client that people use: a real registry, invoker and log, and an engine that starts nothing.

mod given_up;
mod kit;
mod lifecycle;
mod refusals;
mod runs;
mod surface;

use kit::World;
