//! Provisioning domains from events.

pub mod event;
