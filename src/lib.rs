//! Planbox: see README.
mod clock;
pub mod crash;
pub mod error;
pub mod id;
pub mod lock;
pub mod sandbox;
pub mod state;
pub mod sync;
pub use id::{Epoch, IdError, PlanId, ResourceKey, ResourceName};
