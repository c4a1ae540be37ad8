//! What the kernel programs and user space of `mif` agree on.
//!
//! * [`addr`]: the one 128-bit address form, IPv4 stored v4-mapped.
//! * [`abi`]: keys and values of every map, `repr(C)` without padding.
//! * [`limits`]: every cap, with its reason.
//! * [`reason`]: why a hook did what it did; each outcome has one and is counted.
//! * [`mod@decide`]: the decision functions, generic over the table lookups. The hooks run them on maps,
//!   `mif explain` on pinned maps, the tests on plain collections.
#![no_std]

pub mod abi;
pub mod addr;
pub mod decide;
pub mod limits;
pub mod reason;

pub use addr::Addr;
pub use reason::Reason;
