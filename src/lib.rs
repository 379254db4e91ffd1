//! Planbox: see README.
pub mod crash;
pub mod error;
pub mod id;
pub mod sandbox;
pub mod state;
pub use id::{Epoch, IdError, PlanId, ResourceKey, ResourceName};
