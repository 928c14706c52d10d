//! The simulation of one host.

use tidemark_model::TimestampMs;

use super::{
    dice::Dice,
    figures::{ApplicationTotals, Figures, Memory, Volume},
    host_plan::{HostPlan, Role, Size},
    rhythm::{DAY_MS, MINUTE_MS, activity, hour_of_day},
    story::{FILLING_HOST, Story},
};

/// How long the whims of a host's users last.
const DRIFT_S: f64 = 1_800.0;
/// How long a host needs from power to the first point.
const BOOT_MS: i64 = MINUTE_MS;
/// Share of the memory that a leak takes before the application is restarted.
const LEAK_SHARE: f64 = 0.58;
/// Jobs a second at full activity, and how many of them the workers can do: they fall behind in the busy hours.
const ARRIVING: [f64; 3] = [9.0, 4.0, 1.5];
const WORKERS: [f64; 3] = [8.6, 3.1, 1.45];

/// A host and where it stands.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) plan: HostPlan,
    size: Size,
    dice: Dice,
    /// Slow noise around 0 with variance 1.
    drift: f64,
    /// How much more or less it has to do than its peers.
    bias: f64,
    is_down: bool,
    now: Figures,
}

/// What a step is made of.
struct Step {
    timestamp: TimestampMs,
    seconds: f64,
    activity: f64,
    is_slow: bool,
    /// From 0 to 1, the nightly backup of a database.
    backup: f64,
}

/// How the processors spend a step, in shares of their time.
struct Shares {
    busy: f64,
    iowait: f64,
}

impl Host {
    /// A host that was started some weeks before `begin_ms` and did what it does on an ordinary day.
    pub(super) fn new(plan: HostPlan, mut dice: Dice, begin_ms: TimestampMs) -> Self {
        let bias = dice.factor(0.07);
        let uptime_s = (20.0 + 70.0 * dice.share()) * 86_400.0;
        let mut host = Self {
            plan,
            size: plan.role.size(),
            dice,
            drift: 0.0,
            bias,
            is_down: false,
            now: Figures { timestamp: begin_ms, ..Figures::default() },
        };
        // One step with the traffic of an average moment stands for all the time before.
        let past = Step { timestamp: begin_ms, seconds: uptime_s, activity: 0.45, is_slow: false, backup: 0.0 };
        host.count(&past);
        host
    }

    /// Lives until `timestamp`. `None` while the host is down, or when it is there already.
    pub(super) fn advance(&mut self, story: &Story, timestamp: TimestampMs) -> Option<&Figures> {
        if story.is_down(&self.plan, timestamp) {
            self.is_down = true;
            return None;
        }
        if self.is_down {
            self.reboot(story.outage.end - BOOT_MS);
        }
        if timestamp <= self.now.timestamp {
            return None;
        }
        if story.is_restarted(&self.plan, self.now.timestamp, timestamp) {
            self.now.applications = ApplicationTotals::default();
        }
        let step = self.step(story, timestamp);
        let shares = self.count(&step);
        self.look(story, &step, &shares);
        Some(&self.now)
    }

    fn reboot(&mut self, started_ms: TimestampMs) {
        self.is_down = false;
        self.now = Figures { timestamp: started_ms, ..Figures::default() };
    }

    fn step(&mut self, story: &Story, timestamp: TimestampMs) -> Step {
        let seconds = (timestamp - self.now.timestamp) as f64 / 1_000.0;
        let kept = (-seconds / DRIFT_S).exp();
        self.drift = self.drift * kept + (1.0 - kept * kept).sqrt() * self.dice.deviation();
        let hours_ahead = self.plan.data_centre.hours_ahead();
        let whim = (1.0 + 0.10 * self.drift) * self.dice.factor(0.03);
        let activity = (activity(timestamp, hours_ahead) * self.bias * whim).clamp(0.02, 1.2);
        let hour = hour_of_day(timestamp + hours_ahead * 3_600_000);
        let backup = if self.plan.role == Role::Db && (2.0..2.7).contains(&hour) { 1.0 } else { 0.0 };
        Step { timestamp, seconds, activity, is_slow: story.is_slow(&self.plan, timestamp), backup }
    }

    /// Adds to the totals.
    fn count(&mut self, step: &Step) -> Shares {
        let shares = self.shares(step);
        self.count_processors(step, &shares);
        self.count_network(step);
        self.count_disk(step);
        self.count_applications(step);
        self.now.timestamp = step.timestamp;
        shares
    }

    fn shares(&mut self, step: &Step) -> Shares {
        let slow = if step.is_slow { 1.22 } else { 1.0 };
        let busy = (self.size.busy_idle + self.size.busy_active * step.activity) * slow + 0.12 * step.backup;
        let iowait = self.size.iowait * step.activity + 0.16 * step.backup;
        Shares {
            busy: (busy * self.dice.factor(0.05)).clamp(0.004, 0.93),
            iowait: (iowait * self.dice.factor(0.15)).clamp(0.0, 0.3 * (1.0 - busy.min(0.93))),
        }
    }

    fn count_processors(&mut self, step: &Step, shares: &Shares) {
        let steal = 0.003 * shares.busy;
        let nice = 0.08 * step.backup;
        let work = shares.busy - nice.min(shares.busy);
        let kinds = [
            work * 0.73,
            shares.busy - work,
            work * 0.21,
            (1.0 - shares.busy - shares.iowait - steal).max(0.0),
            shares.iowait,
            work * 0.01,
            work * 0.05,
            steal,
            0.0,
            0.0,
        ];
        let hundredths = step.seconds * 100.0 * self.size.cores as f64;
        let kernel = &mut self.now.kernel;
        for (total, share) in kernel.cpu.iter_mut().zip(kinds) {
            *total += share * hundredths;
        }
        kernel.uptime_s += step.seconds;
        kernel.interrupts += step.seconds * (900.0 + 21_000.0 * step.activity) * self.dice.factor(0.04);
        kernel.switches += step.seconds * (1_800.0 + 34_000.0 * step.activity) * self.dice.factor(0.04);
        kernel.created += step.seconds * (1.5 + 6.0 * step.activity) * self.dice.factor(0.1);
    }

    fn count_network(&mut self, step: &Step) {
        let kernel = &mut self.now.kernel;
        let sent = self.size.sent * (1.0 + 1.5 * step.backup);
        for (traffic, full) in [(&mut kernel.received, self.size.received), (&mut kernel.sent, sent)] {
            let bytes = step.seconds * (20_000.0 + full * step.activity) * self.dice.factor(0.05);
            traffic.bytes += bytes;
            traffic.packets += bytes / (640.0 + 80.0 * self.dice.share());
            // A cable is bad now and then, a buffer is full when there is most to do.
            traffic.errors += if self.dice.share() < 0.001 { 1.0 + (3.0 * self.dice.share()).floor() } else { 0.0 };
            traffic.dropped += if step.activity > 0.85 { (2.0 * self.dice.share()).floor() } else { 0.0 };
        }
    }

    fn count_disk(&mut self, step: &Step) {
        let busy = step.activity * (1.0 + 2.5 * step.backup);
        let levels = &mut self.now.levels;
        levels.read_ms = (0.35 + 0.9 * self.size.iowait * 10.0 * busy) * self.dice.factor(0.1);
        levels.write_ms = (0.6 + 1.6 * self.size.iowait * 10.0 * busy) * self.dice.factor(0.1);
        let read = (4_000.0 + self.size.read * step.activity + 90e6 * step.backup) * self.dice.factor(0.12);
        let written = (30_000.0 + self.size.written * step.activity) * self.dice.factor(0.12);
        let kernel = &mut self.now.kernel;
        let mut in_flight = 0.0;
        for (requests, rate, request_bytes, latency) in [
            (&mut kernel.reads, read, 24_576.0, levels.read_ms),
            (&mut kernel.writes, written, 32_768.0, levels.write_ms),
        ] {
            let count = step.seconds * rate / request_bytes;
            requests.count += count;
            requests.bytes += step.seconds * rate;
            requests.time_ms += count * latency;
            in_flight += rate / request_bytes * latency / 1_000.0;
        }
        // With n requests in flight on average, none is for e^-n of the time.
        kernel.disk_busy_ms += step.seconds * 1_000.0 * (1.0 - (-in_flight).exp());
    }

    fn count_applications(&mut self, step: &Step) {
        match self.plan.role {
            Role::Web => self.count_answers(step),
            Role::Queue => self.count_jobs(step),
            Role::Cache => {
                let lookups = step.seconds * 2_600.0 * step.activity * self.dice.factor(0.04);
                let hits = (0.955 + 0.01 * self.drift).clamp(0.5, 0.995);
                let [hit, miss] = &mut self.now.applications.looked_up;
                *hit += lookups * hits;
                *miss += lookups * (1.0 - hits);
            }
            Role::Db => {
                self.now.applications.statements += step.seconds * 1_450.0 * step.activity * self.dice.factor(0.05);
            }
        }
    }

    fn count_answers(&mut self, step: &Step) {
        let failing = if step.is_slow { 0.004 } else { 0.000_5 };
        for (answered, per_second) in self.now.applications.answered.iter_mut().zip([140.0, 65.0]) {
            let requests = step.seconds * per_second * step.activity * self.dice.factor(0.05);
            let not_found = 0.012 * self.dice.factor(0.2);
            let failed = failing * self.dice.factor(0.35);
            let shares = [1.0 - not_found - failed, not_found, failed];
            answered.iter_mut().zip(shares).for_each(|(total, share)| *total += requests * share);
        }
    }

    fn count_jobs(&mut self, step: &Step) {
        let queues = self.now.levels.depth.iter_mut().zip(&mut self.now.applications.completed);
        for ((depth, completed), (arriving, workers)) in queues.zip(ARRIVING.iter().zip(WORKERS)) {
            let arrived = step.seconds * arriving * step.activity * self.dice.factor(0.08);
            let done = (step.seconds * workers).min(*depth + arrived);
            *completed += done;
            // Some jobs are always on their way.
            *depth = (*depth + arrived - done).max(arriving * step.activity * self.dice.share());
        }
    }

    /// Takes the levels of this moment.
    fn look(&mut self, story: &Story, step: &Step, shares: &Shares) {
        self.look_at_processors(step, shares);
        self.look_at_memory(story, step);
        self.look_at_volumes(story, step);
        self.look_at_applications(step);
    }

    fn look_at_processors(&mut self, step: &Step, shares: &Shares) {
        let cores = self.size.cores as f64;
        let levels = &mut self.now.levels;
        for clock in levels.clock_mhz.iter_mut().take(self.size.cores) {
            *clock = 2_000.0 + 1_300.0 * shares.busy.sqrt() * self.dice.factor(0.04);
        }
        let wanted = (shares.busy + shares.iowait) * cores;
        levels.running = 1.0 + (shares.busy * cores * self.dice.factor(0.4)).round();
        levels.blocked = (shares.iowait * cores * self.dice.factor(0.6)).round();
        levels.threads = (210.0 + 380.0 * step.activity * self.dice.factor(0.02)).round();
        for (load, minutes) in levels.load.iter_mut().zip([1.0, 5.0, 15.0]) {
            let kept = (-step.seconds / (60.0 * minutes)).exp();
            *load = *load * kept + (1.0 - kept) * wanted * self.dice.factor(0.25);
        }
        levels.open_files = (1_900.0 + 6_500.0 * step.activity * self.dice.factor(0.02)).round();
        levels.sockets = (40.0 + 900.0 * step.activity * self.dice.factor(0.03)).round();
        levels.sockets_waiting = (15.0 + 1_400.0 * step.activity * self.dice.factor(0.08)).round();
    }

    fn look_at_memory(&mut self, story: &Story, step: &Step) {
        let leaked = LEAK_SHARE * story.leaked(&self.plan, step.timestamp);
        let used = self.size.memory_idle + 0.07 * step.activity + 0.004 * self.drift + leaked;
        let total_kb = (self.size.memory_bytes / 1024.0).round();
        let available_kb = (total_kb * (1.0 - used.clamp(0.05, 0.985))).round();
        let free_kb = (total_kb * 0.05 * self.dice.factor(0.1)).min(available_kb * 0.6).round();
        let buffers_kb = (total_kb * 0.012).min(available_kb * 0.1).round();
        let cached_kb = (available_kb - free_kb - buffers_kb).max(0.0);
        self.now.levels.memory = Memory { total_kb, available_kb, free_kb, buffers_kb, cached_kb };
    }

    fn look_at_volumes(&mut self, story: &Story, step: &Step) {
        let hour = hour_of_day(step.timestamp);
        // Logs grow through the day and are rotated at midnight.
        self.now.levels.root = volume(40e9, 0.27 + 0.06 * self.bias + 0.035 * hour / 24.0, 2_621_440.0);
        if self.plan.role == Role::Db {
            let days = (step.timestamp - story.restarted_ms) as f64 / DAY_MS as f64;
            let filled =
                if self.plan.name == FILLING_HOST { story.filling_disk(step.timestamp) } else { 0.51 + 0.004 * days };
            self.now.levels.data = volume(400e9, filled.clamp(0.0, 0.99) + 0.000_3 * self.dice.share(), 26_214_400.0);
        }
    }

    fn look_at_applications(&mut self, step: &Step) {
        let slow = if step.is_slow { [1.7, 2.1, 2.6] } else { [1.0, 1.0, 1.0] };
        for (latencies, service) in self.now.levels.latency_ms.iter_mut().zip([1.0, 0.6]) {
            let median = (17.0 + 26.0 * step.activity * step.activity) * service;
            for ((latency, above), slow) in latencies.iter_mut().zip([1.0, 2.7, 5.4]).zip(slow) {
                *latency = median * above * slow * self.dice.factor(0.04 * above.sqrt());
            }
        }
        self.now.levels.connections = (12.0 + 240.0 * step.activity * self.dice.factor(0.04)).round();
    }
}

fn volume(total: f64, used: f64, inodes: f64) -> Volume {
    // Both in whole blocks.
    let blocks = |bytes: f64| (bytes / 4_096.0).round() * 4_096.0;
    Volume { total: blocks(total), used: blocks(total * used), inodes, inodes_used: (inodes * used * 0.31).round() }
}
