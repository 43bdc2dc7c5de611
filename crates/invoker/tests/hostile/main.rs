//! The invoker driven by an agent that lies, floods, hangs or goes away (decision 0001, point 3), on its call stream, on its control stream and before either is open:
//! that instance ends, its caller is told, and the next call is right.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can not go on says so by a panic"
)]

mod call_stream;
mod control_stream;
mod elsewhere;
mod engine;
mod hello;
mod neighbour;
mod program;
mod recording;
mod run;
mod run_life;
mod starting;
mod world;
