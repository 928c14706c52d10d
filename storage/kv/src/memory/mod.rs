//! The engine `memory`: an ordered map with the misfortunes of a real engine on order. For tests and simulations.
//!
//! Every key keeps the versions that some snapshot can still see, so that a snapshot costs nothing and is isolated.
//! Turned down: an `Arc<BTreeMap>` that is copied when a snapshot is open (a commit would copy the whole store), and a
//! persistent map from a crate (one more dependency for an engine that only tests use).
//!
//! Faults come from a [`FaultPlan`] with a seed, so that a run can be replayed. An engine made by
//! [`MemoryKv::unsynced`] also loses, at [`MemoryKv::crash`], what was committed after the last [`MemoryKv::sync`]:
//! with it a test of durability can show that it would notice.

mod engine;
mod fault_plan;
mod versioned_map;

pub use engine::MemoryKv;
pub use fault_plan::FaultPlan;
