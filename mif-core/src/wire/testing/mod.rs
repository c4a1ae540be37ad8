//! What tests of this crate and of others share: golden octets and strategies. Behind the feature `testing`.

pub mod golden;
pub mod strategy;
