//! Which series a host has: those of the agent under the agent's names, and those of its applications.

use tidemark_model::Value;

use super::{
    figures::{
        CACHE_RESULTS, CPU_KINDS, Figures, KernelTotals, QUANTILES, QUEUES, Requests, SERVICES, STATUSES, Volume,
    },
    host_plan::{HostPlan, Role},
};

/// A series and how its points are read off a host.
pub(super) struct Series {
    pub(super) metric: &'static str,
    /// Sorted by key.
    pub(super) tags: Vec<(&'static str, String)>,
    read: Read,
}

type Read = Box<dyn Fn(&Figures) -> Value + Send + Sync>;

impl Series {
    pub(super) fn value(&self, figures: &Figures) -> Value {
        (self.read)(figures)
    }
}

/// The series of a host, in the order of the agent's collectors.
pub(super) fn series_of(plan: &HostPlan) -> Vec<Series> {
    let mut list = SeriesList { plan: *plan, series: Vec::new() };
    list.processors();
    list.load();
    list.memory();
    list.disk();
    list.file_systems();
    list.network();
    list.system();
    match plan.role {
        Role::Web => list.web(),
        Role::Db => list.database(),
        Role::Cache => list.cache(),
        Role::Queue => list.queues(),
    }
    list.series
}

struct SeriesList {
    plan: HostPlan,
    series: Vec<Series>,
}

impl SeriesList {
    /// A series of whole numbers; fractions of a total are not there yet.
    fn whole(
        &mut self,
        metric: &'static str,
        tags: &[(&'static str, &str)],
        read: impl Fn(&Figures) -> f64 + Send + Sync + 'static,
    ) {
        self.add(metric, tags, Box::new(move |figures| Value::Int(read(figures) as i64)));
    }

    /// A series of numbers with two decimals.
    fn decimal(
        &mut self,
        metric: &'static str,
        tags: &[(&'static str, &str)],
        read: impl Fn(&Figures) -> f64 + Send + Sync + 'static,
    ) {
        self.add(metric, tags, Box::new(move |figures| Value::Float((read(figures) * 100.0).round() / 100.0)));
    }

    fn add(&mut self, metric: &'static str, tags: &[(&'static str, &str)], read: Read) {
        let common = [("dc", self.plan.data_centre.name()), ("host", self.plan.name), ("role", self.plan.role.name())];
        let mut tags: Vec<_> = common.iter().chain(tags).map(|(key, value)| (*key, (*value).to_owned())).collect();
        tags.sort_unstable();
        self.series.push(Series { metric, tags, read });
    }

    fn processors(&mut self) {
        let cores = self.plan.role.size().cores;
        self.decimal("os.cpu", &[], move |figures| {
            let [user, nice, system, ..] = figures.kernel.cpu;
            // Whole numbers, as /proc/stat has them.
            (user.floor() + nice.floor() + system.floor()) / cores as f64
        });
        for (kind, name) in CPU_KINDS.into_iter().enumerate() {
            self.whole("linux.cpu", &[("type", name)], move |figures| at(&figures.kernel.cpu, kind));
        }
        self.whole("linux.intr", &[], |figures| figures.kernel.interrupts);
        self.whole("linux.ctxt", &[], |figures| figures.kernel.switches);
        self.whole("linux.processes", &[], |figures| figures.kernel.created);
        self.whole("linux.procs_running", &[], |figures| figures.levels.running);
        self.whole("linux.procs_blocked", &[], |figures| figures.levels.blocked);
        for core in 0..cores {
            let cpu = core.to_string();
            self.decimal("linux.cpu.clock", &[("cpu", &cpu)], move |figures| at(&figures.levels.clock_mhz, core));
        }
    }

    fn load(&mut self) {
        for (average, metric) in
            ["linux.loadavg_1_min", "linux.loadavg_5_min", "linux.loadavg_15_min"].into_iter().enumerate()
        {
            self.decimal(metric, &[], move |figures| at(&figures.levels.load, average));
        }
        self.whole("linux.loadavg_runnable", &[], |figures| figures.levels.running);
        self.whole("linux.loadavg_total_threads", &[], |figures| figures.levels.threads);
    }

    fn memory(&mut self) {
        self.whole("linux.mem.memtotal", &[], |figures| figures.levels.memory.total_kb);
        self.whole("linux.mem.memfree", &[], |figures| figures.levels.memory.free_kb);
        self.whole("linux.mem.memavailable", &[], |figures| figures.levels.memory.available_kb);
        self.whole("linux.mem.buffers", &[], |figures| figures.levels.memory.buffers_kb);
        self.whole("linux.mem.cached", &[], |figures| figures.levels.memory.cached_kb);
        self.whole("os.mem.total", &[], |figures| figures.levels.memory.total_kb * 1024.0);
        self.whole("os.mem.free", &[], |figures| figures.levels.memory.available_kb * 1024.0);
        self.whole("os.mem.used", &[], |figures| {
            let memory = &figures.levels.memory;
            (memory.total_kb - memory.available_kb) * 1024.0
        });
        self.decimal("os.mem.percent_free", &[], |figures| {
            figures.levels.memory.available_kb / figures.levels.memory.total_kb.max(1.0) * 100.0
        });
    }

    fn disk(&mut self) {
        let device = ("dev", "vda");
        self.requests("read", |kernel| &kernel.reads);
        self.requests("write", |kernel| &kernel.writes);
        self.whole("linux.disk.read_requests", &[device], |figures| figures.kernel.reads.count);
        self.whole("linux.disk.write_requests", &[device], |figures| figures.kernel.writes.count);
        self.whole("linux.disk.msec_read", &[device], |figures| figures.kernel.reads.time_ms);
        self.whole("linux.disk.msec_write", &[device], |figures| figures.kernel.writes.time_ms);
        self.whole("linux.disk.msec_total", &[device], |figures| figures.kernel.disk_busy_ms);
        self.decimal("linux.disk.time_per_read", &[device], |figures| figures.levels.read_ms);
        self.decimal("linux.disk.time_per_write", &[device], |figures| figures.levels.write_ms);
    }

    /// Bytes come in sectors.
    fn requests(&mut self, kind: &str, of: fn(&KernelTotals) -> &Requests) {
        self.whole("linux.disk.bytes", &[("dev", "vda"), ("type", kind)], move |figures| {
            (of(&figures.kernel).bytes / 512.0).floor() * 512.0
        });
    }

    fn file_systems(&mut self) {
        self.volume("/", |figures| &figures.levels.root);
        if self.plan.role == Role::Db {
            self.volume("/var/lib/postgresql", |figures| &figures.levels.data);
        }
    }

    fn volume(&mut self, folder: &str, of: fn(&Figures) -> &Volume) {
        let (disk, mount) = (("disk", folder), ("mount", folder));
        self.whole("os.disk.fs.space_total", &[disk], move |figures| of(figures).total);
        self.whole("os.disk.fs.space_used", &[disk], move |figures| of(figures).used);
        self.whole("os.disk.fs.space_free", &[disk], move |figures| of(figures).free());
        self.decimal("os.disk.fs.percent_free", &[disk], move |figures| of(figures).percent_free());
        self.whole("linux.disk.fs.inodes_total", &[mount], move |figures| of(figures).inodes);
        self.whole("linux.disk.fs.inodes_used", &[mount], move |figures| of(figures).inodes_used);
        self.whole("linux.disk.fs.inodes_free", &[mount], move |figures| of(figures).inodes - of(figures).inodes_used);
    }

    fn network(&mut self) {
        for inward in [true, false] {
            let tags = [("direction", if inward { "in" } else { "out" }), ("iface", "eth0")];
            let of = move |figures: &Figures| {
                let traffic = if inward { &figures.kernel.received } else { &figures.kernel.sent };
                [traffic.bytes, traffic.packets, traffic.errors, traffic.dropped]
            };
            let metrics = ["os.net.bytes", "os.net.packets", "os.net.errs", "os.net.dropped"];
            for (column, metric) in metrics.into_iter().enumerate() {
                self.whole(metric, &tags, move |figures| at(&of(figures), column));
            }
        }
        self.whole("linux.net.sockets.tcp_in_use", &[], |figures| figures.levels.sockets);
        self.whole("linux.net.sockets.tcp_time_wait", &[], |figures| figures.levels.sockets_waiting);
    }

    fn system(&mut self) {
        self.decimal("os.system.uptime", &[], |figures| figures.kernel.uptime_s);
        self.whole("linux.fs.open", &[], |figures| figures.levels.open_files);
    }

    fn web(&mut self) {
        for (service, name) in SERVICES.into_iter().enumerate() {
            for (status, code) in STATUSES.into_iter().enumerate() {
                self.whole("app.requests", &[("service", name), ("status", code)], move |figures| {
                    figures.applications.answered.get(service).map_or(0.0, |answered| at(answered, status))
                });
            }
            for (quantile, share) in QUANTILES.into_iter().enumerate() {
                self.decimal("app.latency_ms", &[("quantile", share), ("service", name)], move |figures| {
                    figures.levels.latency_ms.get(service).map_or(0.0, |latencies| at(latencies, quantile))
                });
            }
        }
    }

    fn database(&mut self) {
        self.whole("db.statements", &[], |figures| figures.applications.statements);
        self.whole("db.connections", &[], |figures| figures.levels.connections);
    }

    fn cache(&mut self) {
        for (result, name) in CACHE_RESULTS.into_iter().enumerate() {
            self.whole("cache.lookups", &[("result", name)], move |figures| {
                at(&figures.applications.looked_up, result)
            });
        }
    }

    fn queues(&mut self) {
        for (queue, name) in QUEUES.into_iter().enumerate() {
            self.whole("queue.depth", &[("queue", name)], move |figures| at(&figures.levels.depth, queue));
            self.whole("queue.completed", &[("queue", name)], move |figures| {
                at(&figures.applications.completed, queue)
            });
        }
    }
}

fn at(figures: &[f64], position: usize) -> f64 {
    figures.get(position).copied().unwrap_or_default()
}
