//! The collectors of this Linux host, under the metric names of Bosun's scollector.
//!
//! Where scollector's numbers are wrong, ours are right under the same name: kernels since 4.18 add fields to
//! `/proc/diskstats`, at which scollector gives up; sectors there have 512 bytes on every disk; `nr_*` of
//! `/proc/vmstat` are levels. Parsing is pure and lenient: a line of an unknown shape is skipped, a file without the
//! one line that must be there is an error.

mod cpu;
mod disks;
mod filesystems;
mod interrupts;
mod load;
mod memory;
mod network;
mod pressure;
mod protocols;
mod sockets;
mod system;
mod virtual_memory;

use crate::collector::Collector;

/// Makes one of them.
pub(crate) type MakeCollector = fn() -> Box<dyn Collector>;

/// All of them, in the order in which `agent list` shows them.
pub(crate) const MAKERS: [MakeCollector; 12] = [
    || Box::new(cpu::Cpu),
    || Box::new(load::Load),
    || Box::new(memory::Memory),
    || Box::new(virtual_memory::VirtualMemory),
    || Box::new(disks::Disks::default()),
    || Box::new(filesystems::Filesystems),
    || Box::new(network::Network),
    || Box::new(protocols::Protocols),
    || Box::new(sockets::Sockets),
    || Box::new(interrupts::Interrupts),
    || Box::new(pressure::Pressure),
    || Box::new(system::System),
];

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
