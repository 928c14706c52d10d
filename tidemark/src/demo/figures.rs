//! Everything that can be read off a host at one moment.

use tidemark_model::TimestampMs;

/// Most processors of a host.
pub(super) const CORES_MAX: usize = 8;
/// What a processor does, in the order of `/proc/stat`.
pub(super) const CPU_KINDS: [&str; 10] =
    ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice"];
/// The applications of a web host.
pub(super) const SERVICES: [&str; 2] = ["shop", "api"];
/// What they answer.
pub(super) const STATUSES: [&str; 3] = ["200", "404", "500"];
/// Which latencies they report.
pub(super) const QUANTILES: [&str; 3] = ["p50", "p95", "p99"];
/// The queues of a queue host.
pub(super) const QUEUES: [&str; 3] = ["email", "thumbnails", "invoices"];
/// What a cache answers.
pub(super) const CACHE_RESULTS: [&str; 2] = ["hit", "miss"];

/// One moment of one host. Totals are kept with their fractions and read as whole numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) timestamp: TimestampMs,
    pub(super) kernel: KernelTotals,
    pub(super) applications: ApplicationTotals,
    pub(super) levels: Levels,
}

/// Totals that begin at zero when the host starts.
#[derive(Clone, Debug, Default)]
pub(super) struct KernelTotals {
    pub(super) uptime_s: f64,
    /// Hundredths of a second by [`CPU_KINDS`], of all processors.
    pub(super) cpu: [f64; CPU_KINDS.len()],
    pub(super) interrupts: f64,
    pub(super) switches: f64,
    pub(super) created: f64,
    pub(super) received: Traffic,
    pub(super) sent: Traffic,
    pub(super) reads: Requests,
    pub(super) writes: Requests,
    /// Milliseconds with at least one request in flight.
    pub(super) disk_busy_ms: f64,
}

/// What went through a network card in one direction.
#[derive(Clone, Debug, Default)]
pub(super) struct Traffic {
    pub(super) bytes: f64,
    pub(super) packets: f64,
    pub(super) errors: f64,
    pub(super) dropped: f64,
}

/// What a disk served in one direction.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    pub(super) count: f64,
    pub(super) bytes: f64,
    pub(super) time_ms: f64,
}

/// Totals that begin at zero when the application starts.
#[derive(Clone, Debug, Default)]
pub(super) struct ApplicationTotals {
    /// By service and status.
    pub(super) answered: [[f64; STATUSES.len()]; SERVICES.len()],
    pub(super) completed: [f64; QUEUES.len()],
    pub(super) looked_up: [f64; CACHE_RESULTS.len()],
    pub(super) statements: f64,
}

/// What goes up and down.
#[derive(Clone, Debug, Default)]
pub(super) struct Levels {
    pub(super) clock_mhz: [f64; CORES_MAX],
    pub(super) running: f64,
    pub(super) blocked: f64,
    pub(super) threads: f64,
    /// Over 1, 5 and 15 minutes.
    pub(super) load: [f64; 3],
    pub(super) memory: Memory,
    pub(super) root: Volume,
    pub(super) data: Volume,
    pub(super) read_ms: f64,
    pub(super) write_ms: f64,
    pub(super) open_files: f64,
    pub(super) sockets: f64,
    pub(super) sockets_waiting: f64,
    /// By service and quantile.
    pub(super) latency_ms: [[f64; QUANTILES.len()]; SERVICES.len()],
    pub(super) depth: [f64; QUEUES.len()],
    pub(super) connections: f64,
}

/// Memory in whole kilobytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub(super) total_kb: f64,
    pub(super) available_kb: f64,
    pub(super) free_kb: f64,
    pub(super) buffers_kb: f64,
    pub(super) cached_kb: f64,
}

/// A file system in whole bytes and inodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Volume {
    pub(super) total: f64,
    pub(super) used: f64,
    pub(super) inodes: f64,
    pub(super) inodes_used: f64,
}

impl Volume {
    pub(super) fn free(&self) -> f64 {
        self.total - self.used
    }

    pub(super) fn percent_free(&self) -> f64 {
        if self.total > 0.0 { self.free() / self.total * 100.0 } else { 0.0 }
    }
}
