//! What the metrics of the demo mean, for the units of the graphs.

use tidemark_model::{MetricMetadata, RateKind};

use RateKind::{Counter, Gauge, Rate};

/// Metric, unit, kind, and a sentence for people. Units of the agent's metrics are the agent's.
const MEANINGS: [(&str, &str, RateKind, &str); 52] = [
    ("app.latency_ms", "milliseconds", Gauge, "Time of an answer by service; p95 is what 95 % are faster than."),
    ("app.requests", "requests", Counter, "Requests that a service answered, by status."),
    ("cache.lookups", "lookups", Counter, "Lookups of the cache by whether they found something."),
    ("db.connections", "connections", Gauge, "Connections to the database."),
    ("db.statements", "statements", Counter, "Statements that the database executed."),
    ("linux.cpu", "CentiHertz", Counter, "Time of the processors by what they did; 100 is a second of one."),
    ("linux.cpu.clock", "MHz", Gauge, "Current clock of the processor."),
    ("linux.ctxt", "context switches", Counter, "Changes from one thread to another."),
    ("linux.disk.bytes", "bytes", Counter, "Bytes moved."),
    ("linux.disk.fs.inodes_free", "inodes", Gauge, "Inodes that can still be used."),
    ("linux.disk.fs.inodes_total", "inodes", Gauge, "Inodes of the file system."),
    ("linux.disk.fs.inodes_used", "inodes", Gauge, "Inodes in use."),
    ("linux.disk.msec_read", "milliseconds", Counter, "Time of all reads, summed."),
    ("linux.disk.msec_total", "milliseconds", Counter, "Time with at least one request in flight."),
    ("linux.disk.msec_write", "milliseconds", Counter, "Time of all writes, summed."),
    ("linux.disk.read_requests", "requests", Counter, "Reads that the device has served."),
    ("linux.disk.time_per_read", "milliseconds", Rate, "Time of a read since the run before, on average."),
    ("linux.disk.time_per_write", "milliseconds", Rate, "Time of a write since the run before, on average."),
    ("linux.disk.write_requests", "requests", Counter, "Writes that the device has served."),
    ("linux.fs.open", "files", Gauge, "Files that are open."),
    ("linux.intr", "interrupts", Counter, "Interrupts served."),
    ("linux.loadavg_15_min", "load", Gauge, "Threads that ran, could run or waited for a disk, on average."),
    ("linux.loadavg_1_min", "load", Gauge, "Threads that ran, could run or waited for a disk, on average."),
    ("linux.loadavg_5_min", "load", Gauge, "Threads that ran, could run or waited for a disk, on average."),
    ("linux.loadavg_runnable", "processes", Gauge, "Threads that run or could run."),
    ("linux.loadavg_total_threads", "processes", Gauge, "Threads that exist."),
    ("linux.mem.buffers", "kbytes", Gauge, "As the field of the same name in /proc/meminfo."),
    ("linux.mem.cached", "kbytes", Gauge, "As the field of the same name in /proc/meminfo."),
    ("linux.mem.memavailable", "kbytes", Gauge, "As the field of the same name in /proc/meminfo."),
    ("linux.mem.memfree", "kbytes", Gauge, "As the field of the same name in /proc/meminfo."),
    ("linux.mem.memtotal", "kbytes", Gauge, "As the field of the same name in /proc/meminfo."),
    ("linux.net.sockets.tcp_in_use", "sockets", Gauge, "Sockets that are open."),
    ("linux.net.sockets.tcp_time_wait", "sockets", Gauge, "Sockets that wait for stray packets."),
    ("linux.processes", "processes", Counter, "Processes and threads started."),
    ("linux.procs_blocked", "processes", Gauge, "Threads that wait for a disk."),
    ("linux.procs_running", "processes", Gauge, "Threads that run or could run."),
    ("os.cpu", "percent", Counter, "Use of the processors in user mode and in the kernel; its rate is the percentage."),
    ("os.disk.fs.percent_free", "percent", Gauge, "Share of the space that can still be filled."),
    ("os.disk.fs.space_free", "bytes", Gauge, "Space that can still be filled."),
    ("os.disk.fs.space_total", "bytes", Gauge, "Size of the file system."),
    ("os.disk.fs.space_used", "bytes", Gauge, "Space in use."),
    ("os.mem.free", "bytes", Gauge, "Memory that could be had for a new program, caches included."),
    ("os.mem.percent_free", "percent", Gauge, "Share of the memory that could be had for a new program."),
    ("os.mem.total", "bytes", Gauge, "Memory of the machine."),
    ("os.mem.used", "bytes", Gauge, "Memory that could not be had for a new program."),
    ("os.net.bytes", "bytes", Counter, "Bytes received or sent."),
    ("os.net.dropped", "packets", Counter, "Packets that were dropped though they were in order."),
    ("os.net.errs", "packets", Counter, "Packets that were lost to errors."),
    ("os.net.packets", "packets", Counter, "Packets received or sent."),
    ("os.system.uptime", "seconds", Gauge, "Time since the host was started."),
    ("queue.completed", "jobs", Counter, "Jobs that were done, by queue."),
    ("queue.depth", "jobs", Gauge, "Jobs that wait, by queue."),
];

/// One entry for each metric of a [`super::Fleet`].
pub(crate) fn meanings() -> Vec<MetricMetadata> {
    let meaning = |(metric, unit, rate, description): (&str, &str, RateKind, &str)| MetricMetadata {
        metric: metric.to_owned(),
        unit: unit.to_owned(),
        rate: Some(rate),
        description: description.to_owned(),
    };
    MEANINGS.into_iter().map(meaning).collect()
}
