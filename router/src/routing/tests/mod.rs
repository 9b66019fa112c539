//! Scenarios in a small language, and random walks over a model of the bus.

mod admission;
mod bus;
mod commands;
mod doubt;
mod fairness;
mod lists;
mod moves;
mod others;
mod presence;
mod queues;
mod repair;
mod sight;
mod strategies;
mod succession;
mod telling;
mod timers;
mod torn;
mod world;
