//! A branch of a git repository as a participant.

mod pipes;
mod program;
mod repository;
