//! The protocol, step by step.
