//! Planbox: see README.
pub mod clock;
pub mod crash;
pub mod error;
pub mod id;
pub mod journal;
pub mod register;
pub mod sandbox;
pub mod state;
pub mod sync;
pub use id::{Epoch, IdError, PlanId, ResourceKey, ResourceName};
