mod changes;
mod code;
mod crash;
mod kit;
mod lifecycle;
mod removal;
mod routing;
mod writers;
