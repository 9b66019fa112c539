//! Scenarios in a small language, and random walks over a model of the bus.

mod bus;
mod commands;
mod lists;
mod moves;
mod presence;
mod queues;
mod telling;
mod walk;
mod world;
