//! Believable values for every page. Used by the preview and by the tests.

use std::collections::BTreeMap;

use tidemark_dashboards::*;

/// Wed 25 November 2026, 13:05:09 UTC.
pub(crate) const NOW_MS: i64 = 1_795_611_909_000;
const MINUTE_MS: i64 = 60_000;
const GIB: f64 = 1_073_741_824.0;

pub(crate) fn context() -> PageContext {
    PageContext {
        nonce: "cHJldmlldy1ub25jZQ".to_owned(),
        csrf_token: "preview-token".to_owned(),
        installation: "prod".to_owned(),
        version: "0.1.0".to_owned(),
        now_ms: NOW_MS,
        base_url: "http://127.0.0.1:4242".to_owned(),
        problems: ProblemCount { critical: 1, warning: 2, unknown: 1 },
    }
}

/// A wave with some noise: the same for the same seed.
fn wave(seed: u64, count: usize, middle: f64, swing: f64) -> Vec<Option<f64>> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let phase = noise() * 6.0;
    (0..count)
        .map(|at| {
            let slow = (at as f64 / count as f64 * 9.0 + phase).sin();
            Some((middle + swing * (0.6 * slow + 0.8 * (noise() - 0.5))).max(0.0))
        })
        .collect()
}

fn tags(pairs: &[(&str, &str)]) -> Vec<Tag> {
    pairs.iter().map(|(key, value)| Tag { key: (*key).to_owned(), value: (*value).to_owned() }).collect()
}

fn incident_row(id: u64, rule: &str, current: Status, pairs: &[(&str, &str)], value: Option<f64>) -> IncidentSummary {
    IncidentSummary {
        id,
        rule: rule.to_owned(),
        subject: String::new(),
        tags: tags(pairs),
        current,
        worst: if id.is_multiple_of(2) { Status::Critical } else { current },
        open: true,
        acknowledged_by: None,
        silenced: false,
        opened_ms: NOW_MS - (id as i64 % 50) * MINUTE_MS - 14_000,
        closed_ms: None,
        value,
        unit: Unit::Percent,
        recent_values: wave(id, 40, value.unwrap_or(20.0), 9.0),
    }
}

fn open_incidents() -> Vec<IncidentSummary> {
    let mut full =
        incident_row(23412, "disk.full", Status::Critical, &[("host", "db03"), ("disk", "/var")], Some(96.1));
    full.subject = "Disk /var on db03 is 96 % full".to_owned();
    let cpu = incident_row(23415, "cpu.high", Status::Warning, &[("host", "web07")], Some(91.3));
    let swap =
        incident_row(23409, "memory.low", Status::Warning, &[("host", "build-runner-17.ams.example")], Some(88.4));
    let gone = incident_row(23414, "app.latency", Status::Unknown, &[("service", "checkout")], None);
    vec![full, cpu, swap, gone]
}

fn more_incidents() -> Vec<IncidentSummary> {
    let mut acknowledged = incident_row(23381, "queue.long", Status::Warning, &[("queue", "mail")], Some(42.0));
    acknowledged.acknowledged_by = Some("ada".to_owned());
    let mut silenced = incident_row(23380, "backup.late", Status::Critical, &[("host", "db01")], Some(3.0));
    silenced.silenced = true;
    let mut closed =
        incident_row(23377, "disk.full", Status::Normal, &[("host", "db03"), ("disk", "/var")], Some(71.0));
    (closed.open, closed.closed_ms) = (false, Some(NOW_MS - 3 * 86_400_000));
    vec![acknowledged, silenced, closed]
}

fn host_row(name: &str, seed: u64, status: Status, cpu: f64) -> HostRow {
    let total = if seed.is_multiple_of(3) { 64.0 } else { 16.0 };
    HostRow {
        host: name.to_owned(),
        status,
        problems: u32::from(status != Status::Normal),
        last_point_ms: Some(NOW_MS - 4_000 - (seed as i64 % 7) * 1000),
        cpu_percent: Some(cpu),
        recent_cpu_percent: wave(seed, 60, cpu, 14.0),
        memory_used_bytes: Some(total * GIB * (0.35 + (seed % 6) as f64 / 10.0)),
        memory_total_bytes: Some(total * GIB),
        recent_memory_percent: wave(seed + 1, 60, 50.0, 4.0),
        network_in: Some(1_234_000.0 * (1 + seed % 9) as f64),
        network_out: Some(820_000.0 * (1 + seed % 5) as f64),
        recent_network: wave(seed + 2, 60, 40.0, 30.0),
        load_1: Some(cpu / 24.0),
        disks: vec![
            DiskUse {
                mount: "/var".to_owned(),
                used_percent: if status == Status::Critical { 96.1 } else { 41.0 + seed as f64 },
            },
            DiskUse { mount: "/".to_owned(), used_percent: 34.0 },
            DiskUse { mount: "/srv".to_owned(), used_percent: 12.0 },
        ],
    }
}

fn host_table() -> HostTable {
    let mut rows = vec![
        host_row("db03", 3, Status::Critical, 38.2),
        host_row("web07", 7, Status::Warning, 91.3),
        host_row("build-runner-17.ams.example", 17, Status::Warning, 77.0),
    ];
    let names = ["db01", "db02", "web01", "web02", "web03", "web04", "web05", "web06"];
    rows.extend(
        names
            .iter()
            .enumerate()
            .map(|(at, name)| host_row(name, 20 + at as u64, Status::Normal, 9.0 + at as f64 * 3.7)),
    );
    let silent = HostRow {
        host: "edge-old".to_owned(),
        status: Status::Unknown,
        last_point_ms: Some(NOW_MS - 42 * MINUTE_MS),
        ..HostRow::default()
    };
    rows.insert(3, silent);
    HostTable {
        total: 12,
        left_out: 12 - u32::try_from(rows.len()).unwrap_or(12),
        rows,
        search: String::new(),
        base_url: "http://127.0.0.1:4242".to_owned(),
    }
}

fn event(minutes: i64, kind: &str, text: &str, href: &str) -> RecentEvent {
    RecentEvent {
        at_ms: NOW_MS - minutes * MINUTE_MS,
        kind: kind.to_owned(),
        text: text.to_owned(),
        href: href.to_owned(),
    }
}

pub(crate) fn overview() -> OverviewPage {
    OverviewPage {
        attention: Attention {
            incidents: open_incidents(),
            left_out: 0,
            acknowledged_count: 4,
            silenced_count: 2,
            rule_count: 12,
            last_closed_ms: Some(NOW_MS - 55 * MINUTE_MS),
        },
        hosts: host_table(),
        events: RecentEvents {
            events: vec![
                event(4, "opened", "cpu.high host=web07 is warning", "/incidents/23415"),
                event(9, "opened", "app.latency service=checkout is unknown", "/incidents/23414"),
                event(12, "worsened", "disk.full host=db03 disk=/var is critical", "/incidents/23412"),
                event(31, "acknowledged", "ada took queue.long queue=mail", "/incidents/23381"),
                event(55, "closed", "cpu.high host=web02 after 6 m", "/incidents/23370"),
                event(190, "started", "tidemark 0.1.0", ""),
            ],
        },
        ingest: IngestHealth {
            points_per_second: Some(42_123.0),
            recent_points_per_second: wave(5, 60, 42_000.0, 6_000.0),
            refused_per_second: Some(0.0),
            series: Some(1_204_332),
            jobs_waiting: Some(3),
            oldest_job_age_ms: Some(140),
            jobs_discarded: Some(1),
            query_p95_ms: Some(34.2),
            store_bytes: Some(65_498_251_264),
            disk_free_bytes: Some(412_316_860_416),
            writes_refused_because: String::new(),
        },
    }
}

pub(crate) fn overview_empty() -> OverviewPage {
    OverviewPage {
        hosts: HostTable { base_url: "http://127.0.0.1:4242".to_owned(), ..HostTable::default() },
        attention: Attention { rule_count: 3, ..Attention::default() },
        ..OverviewPage::default()
    }
}

pub(crate) fn hosts() -> HostsPage {
    HostsPage { hosts: host_table() }
}

fn graph(id: &str, title: &str, unit: Unit, stacked: bool, maximum: Option<f64>, lines: &[(&str, f64, f64)]) -> Graph {
    let start_ms = NOW_MS - 60 * MINUTE_MS;
    let times_ms: Vec<i64> = (0..361).map(|at| start_ms + at * 10_000).collect();
    let series = lines.iter().enumerate().map(|(at, (label, middle, swing))| {
        let mut values = wave(at as u64 * 31 + id.len() as u64, times_ms.len(), *middle, *swing);
        values.iter_mut().skip(200).take(16).for_each(|value| *value = None);
        GraphSeries {
            query: 0,
            metric: format!("os.{id}"),
            tags: BTreeMap::from([("host".to_owned(), "db03".to_owned()), ("type".to_owned(), (*label).to_owned())]),
            label: (*label).to_owned(),
            unit,
            values,
        }
    });
    let series = series.collect();
    Graph {
        id: id.to_owned(),
        title: title.to_owned(),
        unit,
        queries: vec![GraphQuery {
            m: format!("sum:auto-avg:os.{id}{{host=db03,type=*}}"),
            label_tag: Some("type".to_owned()),
        }],
        from: "1h-ago".to_owned(),
        to: "now".to_owned(),
        start_ms,
        end_ms: NOW_MS,
        stacked,
        minimum: Some(0.0),
        maximum,
        data: GraphData { times_ms, series },
    }
}

fn fact(name: &str, text: &str) -> Fact {
    Fact { name: name.to_owned(), text: text.to_owned() }
}

fn metric(name: &str, unit: Unit, value: Option<f64>, kind: &str, description: &str) -> MetricRow {
    MetricRow {
        metric: name.to_owned(),
        series: if value.is_some() { 1 } else { 8 },
        unit,
        description: description.to_owned(),
        rate_kind: kind.to_owned(),
        last_value: value,
        last_point_ms: Some(NOW_MS - 6_000),
    }
}

pub(crate) fn host() -> HostPage {
    HostPage {
        host: "db03".to_owned(),
        host_filter: "db03".to_owned(),
        from: "1h-ago".to_owned(),
        facts: HostFacts {
            row: host_row("db03", 3, Status::Critical, 38.2),
            facts: vec![
                fact("system", "Debian GNU/Linux 12"),
                fact("kernel", "6.1.0-40-amd64"),
                fact("processors", "8"),
                fact("memory", "64.0 GiB"),
                fact("up", "41 d 3 h"),
                fact("agent", "0.1.0"),
            ],
        },
        incidents: HostIncidents { incidents: open_incidents().into_iter().take(1).collect() },
        graphs: vec![
            graph(
                "cpu",
                "CPU",
                Unit::Percent,
                true,
                Some(100.0),
                &[("user", 24.0, 9.0), ("system", 8.0, 4.0), ("iowait", 4.0, 5.0), ("irq", 1.0, 0.6)],
            ),
            graph(
                "memory",
                "Memory",
                Unit::Bytes,
                true,
                None,
                &[("used", 31.0 * GIB, 2.0 * GIB), ("cached", 14.0 * GIB, GIB), ("free", 6.0 * GIB, GIB)],
            ),
            graph("load", "Load", Unit::None, false, None, &[("1 m", 1.6, 1.2), ("5 m", 1.5, 0.5), ("15 m", 1.4, 0.2)]),
            graph(
                "disk-bytes",
                "Disks",
                Unit::BytesPerSecond,
                false,
                None,
                &[("read nvme0n1", 9e6, 8e6), ("write nvme0n1", 22e6, 14e6)],
            ),
            graph(
                "filesystems",
                "Filesystems",
                Unit::Percent,
                false,
                Some(100.0),
                &[("/", 34.0, 0.2), ("/srv", 12.0, 0.1), ("/var", 93.0, 5.0)],
            ),
            graph(
                "network",
                "Network",
                Unit::BytesPerSecond,
                false,
                None,
                &[("in eth0", 3.7e6, 2e6), ("out eth0", 3.2e6, 1.5e6)],
            ),
        ],
        volumes: HostVolumes {
            filesystems: vec![
                Volume {
                    mount: "/".to_owned(),
                    used_bytes: Some(17.0 * GIB),
                    total_bytes: Some(50.0 * GIB),
                    inodes_used_percent: Some(8.0),
                },
                Volume {
                    mount: "/srv".to_owned(),
                    used_bytes: Some(121.0 * GIB),
                    total_bytes: Some(1000.0 * GIB),
                    inodes_used_percent: Some(2.4),
                },
                Volume {
                    mount: "/var".to_owned(),
                    used_bytes: Some(192.2 * GIB),
                    total_bytes: Some(200.0 * GIB),
                    inodes_used_percent: None,
                },
            ],
            interfaces: vec![
                NetworkInterface {
                    name: "eth0".to_owned(),
                    bytes_in: Some(3.7e6),
                    bytes_out: Some(3.2e6),
                    errors: Some(0.0),
                    recent: wave(77, 60, 40.0, 30.0),
                },
                NetworkInterface {
                    name: "eth1".to_owned(),
                    bytes_in: Some(0.0),
                    bytes_out: Some(0.0),
                    errors: None,
                    recent: vec![Some(0.0); 60],
                },
            ],
        },
        metrics: vec![
            metric("linux.cpu", Unit::Percent, None, "counter", "CPU time by mode."),
            metric("os.cpu", Unit::Percent, Some(38.2), "counter", "CPU in use, of all processors."),
            metric("os.disk.fs.percent_free", Unit::Percent, None, "gauge", "Space left on each filesystem."),
            metric("os.mem.used", Unit::Bytes, Some(31.0 * GIB), "gauge", "Memory in use."),
            metric("os.net.bytes", Unit::BytesPerSecond, None, "counter", "Bytes over each interface and direction."),
            metric("postgres.transactions", Unit::PerSecond, Some(1_843.0), "rate", ""),
        ],
        metrics_left_out: 112,
    }
}

pub(crate) fn host_empty() -> HostPage {
    HostPage {
        host: "new-host".to_owned(),
        host_filter: "new-host".to_owned(),
        from: "1h-ago".to_owned(),
        facts: HostFacts {
            row: HostRow { host: "new-host".to_owned(), status: Status::Unknown, ..HostRow::default() },
            facts: Vec::new(),
        },
        ..HostPage::default()
    }
}

fn aggregators() -> Vec<String> {
    ["sum", "min", "max", "avg", "count", "dev", "none", "first", "last", "zimsum", "mimmin", "mimmax"]
        .map(str::to_owned)
        .to_vec()
}

pub(crate) fn explore() -> ExplorePage {
    let mut graph = graph(
        "explore",
        "sum:auto-avg:rate:os.cpu{host=*}",
        Unit::Percent,
        false,
        None,
        &[("os.cpu{host=db03}", 38.0, 10.0), ("os.cpu{host=web01}", 12.0, 5.0), ("os.cpu{host=web07}", 88.0, 9.0)],
    );
    graph.queries = vec![GraphQuery { m: "sum:auto-avg:rate:os.cpu{host=*}".to_owned(), label_tag: None }];
    ExplorePage {
        queries: vec!["sum:auto-avg:rate:os.cpu{host=*}".to_owned()],
        from: "1h-ago".to_owned(),
        to: "now".to_owned(),
        aggregators: aggregators(),
        graph: Some(graph),
        error: String::new(),
        some_metrics: Vec::new(),
        base_url: "http://127.0.0.1:4242".to_owned(),
    }
}

pub(crate) fn explore_start() -> ExplorePage {
    let some_metrics = [
        "os.cpu",
        "os.mem.used",
        "os.net.bytes",
        "os.disk.fs.percent_free",
        "linux.loadavg_1_min",
        "tidemark.ingest.points",
    ];
    ExplorePage {
        queries: Vec::new(),
        graph: None,
        some_metrics: some_metrics.map(str::to_owned).to_vec(),
        ..explore()
    }
}

pub(crate) fn explore_empty() -> ExplorePage {
    ExplorePage { queries: Vec::new(), graph: None, ..explore() }
}

pub(crate) fn incidents() -> IncidentsPage {
    let mut incidents = open_incidents();
    incidents.extend(more_incidents());
    let list = IncidentList {
        state: IncidentStateFilter::Open,
        search: String::new(),
        needs_ack_count: 4,
        open_count: 6,
        acknowledged_count: 1,
        incidents,
        left_out: 0,
        any_ever: true,
    };
    IncidentsPage { list }
}

pub(crate) fn incidents_empty() -> IncidentsPage {
    IncidentsPage::default()
}

fn incident_event(minutes: i64, kind: &str, status: Option<Status>, who: &str, text: &str) -> IncidentEvent {
    IncidentEvent {
        at_ms: NOW_MS - minutes * MINUTE_MS,
        kind: kind.to_owned(),
        status,
        who: who.to_owned(),
        text: text.to_owned(),
    }
}

pub(crate) fn incident() -> IncidentPage {
    let incident = open_incidents().swap_remove(0);
    let mut graph = graph(
        "incident",
        "100 - os.disk.fs.percent_free",
        Unit::Percent,
        false,
        Some(100.0),
        &[("host=db03 disk=/var", 90.0, 8.0)],
    );
    graph.queries =
        vec![GraphQuery { m: "sum:auto-avg:os.disk.fs.percent_used{host=db03,disk=/var}".to_owned(), label_tag: None }];
    IncidentPage {
        detail: IncidentDetail {
            incident,
            changed_ms: NOW_MS - 12 * MINUTE_MS,
            expression: "avg(q(\"sum:os.disk.fs.percent_used{host=*,disk=*}\", \"5m\", \"\")) > 95".to_owned(),
            computations: vec![
                Computation { expression: "avg(q(\"sum:os.disk.fs.percent_used{host=db03,disk=/var}\", \"5m\", \"\"))".to_owned(), value: "96.1".to_owned() },
                Computation { expression: "96.1 > 95".to_owned(), value: "1".to_owned() },
            ],
        },
        timeline: IncidentTimeline {
            events: vec![
                incident_event(2, "note", None, "ada", "cleaning old WAL segments"),
                incident_event(11, "notified", None, "", "POST to https://chat.example/hook: 200"),
                incident_event(12, "status", Some(Status::Critical), "", "96.1 > 95"),
                incident_event(34, "opened", Some(Status::Warning), "", "90.4 > 90"),
            ],
        },
        graph: Some(graph),
        message: "Disk /var on db03 is 96 % full.\n\nIt fills at 1.2 GiB an hour; 7 GiB are left.\nRunbook: make room in /var/lib/postgresql/wal_archive.".to_owned(),
        earlier: more_incidents().into_iter().skip(2).collect(),
        related: Vec::new(),
    }
}

fn queue(name: &str, seed: u64, available: u64, discarded: u64) -> QueueRow {
    QueueRow {
        name: name.to_owned(),
        paused: name == "relay",
        draining: name == "ingest",
        limits: if name == "notify" { "60/m, at most 4 at a time" } else { "" }.to_owned(),
        available,
        running: seed % 3,
        scheduled: seed % 2,
        retryable: u64::from(discarded > 0) * 2,
        discarded,
        oldest_age_ms: (available > 0).then_some(14_000),
        completed_per_minute: Some(118.0 / seed as f64),
        recent_completed_per_minute: wave(seed, 40, 60.0, 30.0),
    }
}

fn job(at: u64, kind: &str, state: &str, error: &str) -> JobRow {
    let started = !matches!(state, "available" | "scheduled");
    JobRow {
        id: format!("019ab2c4-7d1e-7c31-9a55-0000000{at:05x}"),
        kind: kind.to_owned(),
        queue: if kind == "write" { "ingest" } else { "default" }.to_owned(),
        state: state.to_owned(),
        attempt: if error.is_empty() { 1 } else { 3 },
        attempts_max: 8,
        enqueued_ms: NOW_MS - at as i64 * 9_000,
        not_before_ms: (state == "retryable").then_some(NOW_MS + 14_000),
        started_ms: started.then_some(NOW_MS - at as i64 * 9_000 + 12),
        finished_ms: matches!(state, "completed" | "discarded").then_some(NOW_MS - at as i64 * 9_000 + 57),
        worker: if started { "w1" } else { "" }.to_owned(),
        progress: (kind == "import").then_some(0.63),
        doing: if kind == "import" { "reads dump.txt" } else { "" }.to_owned(),
        error: error.to_owned(),
        can_retry: matches!(state, "retryable" | "discarded"),
        can_cancel: matches!(state, "available" | "scheduled" | "running" | "retryable"),
    }
}

pub(crate) fn tasks() -> TasksPage {
    TasksPage {
        queues: QueueTable {
            broker: "embedded".to_owned(),
            warnings: Vec::new(),
            queues: vec![
                queue("evaluate", 1, 0, 0),
                queue("ingest", 2, 1, 0),
                queue("notify", 13, 3, 1),
                queue("relay", 5, 0, 0),
            ],
        },
        jobs: JobTable {
            jobs: vec![
                job(1, "evaluate", "running", ""),
                job(2, "import", "running", ""),
                job(3, "write", "available", ""),
                job(
                    4,
                    "notify",
                    "retryable",
                    "post to chat.example: no answer within 10 s; retrying in 14 s (attempt 3 of 8)",
                ),
                job(5, "rollup", "completed", ""),
                job(6, "evaluate", "completed", ""),
                job(9, "notify", "discarded", "post to hooks.example: 410 Gone"),
                job(12, "collect", "cancelled", ""),
            ],
            older: "019ab2c4-7d1e-7c31-9a55-0000000000ff".to_owned(),
            ..JobTable::default()
        },
        workers: WorkerTable {
            workers: vec![WorkerRow {
                id: "w1".to_owned(),
                host: "db03".to_owned(),
                version: "0.1.0".to_owned(),
                queues: vec!["evaluate".to_owned(), "ingest".to_owned(), "notify".to_owned()],
                concurrency: 8,
                running: 2,
                heartbeat_ms: NOW_MS - 3_000,
                started_ms: Some(NOW_MS - 190 * MINUTE_MS),
                attempts: 48_218,
            }],
        },
        workflows: WorkflowTable {
            workflows: vec![WorkflowRow {
                id: "019385f2-7c00-7000-8000-0000000000f1".to_owned(),
                name: "nightly".to_owned(),
                state: "running".to_owned(),
                created_ms: NOW_MS - 40_000,
                nodes_total: 5,
                nodes_ended: 2,
            }],
            more: false,
        },
        schedules: ScheduleTable {
            leader: "db03".to_owned(),
            schedules: vec![
                ScheduleRow {
                    name: "rules".to_owned(),
                    kind: "evaluate".to_owned(),
                    when: "every 15s".to_owned(),
                    paused: false,
                    next_ms: (0..5).map(|slot| NOW_MS + 9_000 + slot * 15_000).collect(),
                    last_ms: Some(NOW_MS - 6_000),
                },
                ScheduleRow {
                    name: "seal".to_owned(),
                    kind: "rollup".to_owned(),
                    when: "0 */2 * * *".to_owned(),
                    paused: true,
                    next_ms: Vec::new(),
                    last_ms: Some(NOW_MS - 65 * MINUTE_MS),
                },
            ],
        },
    }
}

pub(crate) fn task() -> TaskPage {
    let attempt = |number: u32, from_percent: f64, error: &str| AttemptRow {
        number,
        worker: "w1".to_owned(),
        started_ms: Some(NOW_MS - 60_000 + i64::from(number) * 20_000),
        ended_ms: (!error.is_empty()).then_some(NOW_MS - 52_000 + i64::from(number) * 20_000),
        error: error.to_owned(),
        from_percent,
        width_percent: 14.0,
    };
    TaskPage {
        detail: TaskDetail {
            job: job(4, "import", "running", "read dump.txt: line 17 is no point"),
            priority: "normal".to_owned(),
            unique_key: "nightly@1764075600000".to_owned(),
            trace: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
            time_limit_ms: 60 * MINUTE_MS,
            soft_limit_ms: Some(54 * MINUTE_MS),
            expires_ms: Some(NOW_MS + 5 * MINUTE_MS),
            rescues: 1,
            attempts: vec![
                attempt(1, 0.0, "read dump.txt: line 17 is no point"),
                attempt(2, 40.0, "worker w2 was lost"),
                attempt(3, 80.0, ""),
            ],
            log: vec![
                LogRow { at_ms: NOW_MS - 4_000, text: "read 1000 lines".to_owned() },
                LogRow { at_ms: NOW_MS - 1_000, text: "read 2000 lines".to_owned() },
            ],
            payload: "{\n  \"file\": \"dump.txt\"\n}".to_owned(),
            result: "{\n  \"points\": 3\n}".to_owned(),
            parent: "019ab2c4-7d1e-7c31-9a55-000000000001".to_owned(),
            children: vec![job(9, "notify", "discarded", "post to hooks.example: 410 Gone")],
            workflow: "019ab2c4-7d1e-7c31-9a55-000000000002".to_owned(),
        },
    }
}

pub(crate) fn worker() -> WorkerPage {
    WorkerPage {
        detail: WorkerDetail {
            id: "db03-4711".to_owned(),
            host: "db03".to_owned(),
            version: "0.1.0".to_owned(),
            heartbeat_ms: NOW_MS - 3_000,
            started_ms: NOW_MS - 190 * MINUTE_MS,
            attempts: 48_218,
            running: 1,
            queues: vec![WorkerQueueRow { name: "evaluate".to_owned(), concurrency: 8 }],
            jobs: vec![job(1, "evaluate", "running", "")],
        },
    }
}

pub(crate) fn workflow() -> WorkflowPage {
    let node = |number: u32, state: &str, after: Vec<u32>| NodeRow {
        number,
        job: format!("019ab2c4-7d1e-7c31-9a55-00000000000{number}"),
        kind: "rollup".to_owned(),
        state: state.to_owned(),
        after,
        always: number == 2,
        error: if state == "discarded" { "out of attempts" } else { "" }.to_owned(),
    };
    WorkflowPage {
        detail: WorkflowDetail {
            id: "019ab2c4-7d1e-7c31-9a55-000000000002".to_owned(),
            name: "tidy up".to_owned(),
            state: "running".to_owned(),
            on_failure: "the rest is called off".to_owned(),
            created_ms: NOW_MS - 9_000,
            ended_ms: None,
            nodes_total: 3,
            nodes_ended: 2,
            nodes: vec![node(0, "completed", vec![]), node(1, "discarded", vec![0]), node(2, "ready", vec![0, 1])],
            left_out: 0,
        },
    }
}

pub(crate) fn tasks_empty() -> TasksPage {
    TasksPage::default()
}

pub(crate) fn storage() -> StoragePage {
    let latency =
        |more_than_ms, at_most_ms, commits, percent| LatencyRow { at_most_ms, more_than_ms, commits, percent };
    let figure = |name: &str, labels: &str, value, help: &str| FigureRow {
        name: name.to_owned(),
        labels: labels.to_owned(),
        value,
        is_bytes: name.ends_with("bytes"),
        help: help.to_owned(),
    };
    StoragePage {
        space: StorageSpace {
            store_bytes: Some(1_540_000_000),
            disk_free_bytes: Some(64_200_000_000),
            series: Some(12_345),
            block_points: Some(987_654_321),
            block_bytes: Some(1_510_000_000),
            bytes_per_point: Some(1.53),
            head_points: Some(2_345_678),
            head_bytes: Some(9_876_543),
            log_bytes: Some(10_240_000),
        },
        work: StorageWork {
            points_per_second: Some(823.0),
            recent_points_per_second: wave(7, 40, 800.0, 60.0),
            commits: Some(86_400),
            commit_mean_ms: Some(2.4),
            commits_refused: Some(3),
            commits_unknown: Some(0),
            seals: Some(12),
            seal_mean_ms: Some(1_834.0),
            seals_failed: Some(0),
            merges: Some(144),
            latencies: vec![
                latency(0.0, Some(1.0), 12_345, 14.3),
                latency(1.0, Some(5.0), 73_000, 84.5),
                latency(5_000.0, None, 1_055, 1.2),
            ],
        },
        cardinality: StorageCardinality {
            minutes: 10,
            rows: vec![CardinalityRow {
                metric: "app.requests".to_owned(),
                series: 8_120,
                new_series: 312,
                fastest_tag_key: "session".to_owned(),
            }],
        },
        figures: StorageFigures {
            rows: vec![
                figure("store.block_bytes", "", 1_510_000_000.0, "Bytes of sealed blocks."),
                figure("store.block_points", "tier=day", 987_000_000.0, "Points in sealed blocks."),
            ],
        },
    }
}

pub(crate) fn failure() -> MessagePage {
    MessagePage {
        code: 503,
        title: "the store does not answer".to_owned(),
        text: "The store did not answer within 10 s. Agents keep what they collect meanwhile; reload the page in a moment.".to_owned(),
        request_id: "019ab2c4-7d1e".to_owned(),
    }
}
