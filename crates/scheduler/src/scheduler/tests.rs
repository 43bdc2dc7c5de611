mod properties;
mod rules;
mod simulation;
mod world;
