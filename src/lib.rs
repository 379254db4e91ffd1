//! Planbox: see README.
mod clock;
pub mod crash;
pub mod error;
mod fs;
pub mod id;
pub mod sandbox;
pub mod state;
pub use id::{Epoch, IdError, PlanId, ResourceKey, ResourceName};
