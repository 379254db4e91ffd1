//! A branch of a git repository as a participant.

mod checkout;
mod pipes;
mod program;
mod repository;
