//! The cloud: commands against an emulator of its API, with real machines behind it where it matters.

mod careless;
mod compose;
mod deploy;
mod emulator;
mod faults;
mod features;
mod generations;
mod import;
mod interrupt;
mod listings;
mod logs;
mod rollout;
mod schema;
mod sdk;
mod token;
mod tunnel;
mod web;
