//! Hosts, as the agent's metrics describe them: any series with a tag `host`.
//!
//! A table first finds out when each host was last heard of, chooses the rows, and asks for lines of the chosen alone:
//! what it costs grows with the rows and hardly with the hosts, and the number of queries with neither.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use tidemark_dashboards::{
    DiskUse, Fact, Graph, GraphQuery, HostFacts, HostIncidents, HostPage, HostRow, HostTable, HostVolumes,
    IncidentSummary, MetricRow, NetworkInterface, Status, Unit, Volume,
};
use tidemark_model::{LastPoint, SeriesSelector, TagMatch, TagPredicate, TimestampMs, check_name};
use tidemark_query::{Filter, GroupResult};

use super::{
    Console,
    asking::{AskError, Window},
};

/// How far back the small lines of a row reach.
const RECENT_MS: i64 = 10 * 60_000;
/// Points of a small line.
const RECENT: &str = "20s";
/// The same in milliseconds.
const RECENT_BIN_MS: i64 = 20_000;
/// A host that was silent for longer is not listed any more.
const LISTED_MS: i64 = 24 * 3_600_000;
/// Most hosts of the table of all hosts, which is sent again and again.
const ROWS_MAX: usize = 100;
/// Most hosts of a table of those with a certain name.
const FOUND_MAX: usize = 150;
/// Longest list of hosts, in bytes, that is put into a query.
const FILTER_BYTES_MAX: usize = 12 * 1024;
/// Most metrics of a host's page.
const METRICS_MAX: usize = 500;
/// Width of a graph on the host page in pixels.
const GRAPH_PX: u32 = 600;

/// Values of one small line by host.
type Lines = HashMap<String, Vec<Option<f64>>>;

/// What is known of a host before its lines are asked for.
struct Found {
    host: String,
    last_point_ms: TimestampMs,
    status: Status,
    problems: u32,
}

impl Console {
    /// The table of hosts whose name contains `search`, the worst first.
    pub(crate) async fn host_table(&self, search: &str) -> Result<HostTable, AskError> {
        let incidents = self.open_incidents().await;
        let mut found = self.hosts_found(None, &incidents).await?;
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let total = count(found.len());
        found.retain(|found| found.host.contains(search));
        let shown = if search.is_empty() { ROWS_MAX } else { FOUND_MAX };
        let left_out = count(found.len().saturating_sub(shown));
        found.truncate(shown);
        let rows = self.host_rows(found).await?;
        Ok(HostTable { rows, total, left_out, search: search.to_owned(), base_url: self.base_url() })
    }

    /// All hosts or one, the worst first.
    async fn hosts_found(&self, host: Option<&str>, incidents: &[IncidentSummary]) -> Result<Vec<Found>, AskError> {
        let now_ms = self.seams.clock.now_ms();
        let seen = self.hosts_seen(host, now_ms).await?;
        let silence = self.silence(&seen, now_ms).await?;
        let by_host = problems_by_host(incidents);
        let found = |(host, last_point_ms): (String, TimestampMs)| {
            let (worst, problems) = by_host.get(host.as_str()).copied().unwrap_or_default();
            let is_silent = silence.is_silent(&host, now_ms - last_point_ms);
            Found { status: if is_silent { Status::Unknown } else { worst }, host, last_point_ms, problems }
        };
        let mut found: Vec<Found> = seen.into_iter().map(found).collect();
        found.sort_by(|left, right| (Reverse(left.status), &left.host).cmp(&(Reverse(right.status), &right.host)));
        Ok(found)
    }

    /// The rows of these hosts.
    async fn host_rows(&self, found: Vec<Found>) -> Result<Vec<HostRow>, AskError> {
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let hosts: Vec<&str> = found.iter().map(|found| found.host.as_str()).collect();
        let filter = hosts_filter(&hosts);
        let cpu = self.lines(&format!("sum:rate{{dropcounter}}:os.cpu{{host={filter}}}")).await?;
        let used = self.lines(&format!("sum:{RECENT}-avg:os.mem.used{{host={filter}}}")).await?;
        let total = self.lines(&format!("sum:{RECENT}-last:os.mem.total{{host={filter}}}")).await?;
        let network =
            |direction: &str| format!("sum:rate{{dropcounter}}:os.net.bytes{{host={filter}}}{{direction={direction}}}");
        let (inward, outward) = (self.lines(&network("in")).await?, self.lines(&network("out")).await?);
        let load = self.lines(&format!("sum:{RECENT}-last:linux.loadavg_1_min{{host={filter}}}")).await?;
        let mut disks = self.disks(&hosts).await?;
        let row = |Found { host, last_point_ms, status, problems }| {
            let of = |lines: &Lines| lines.get(&host).cloned().unwrap_or_default();
            let (of_used, of_total) = (of(&used), of(&total));
            HostRow {
                status,
                problems,
                last_point_ms: Some(last_point_ms),
                cpu_percent: newest(&of(&cpu)),
                recent_cpu_percent: of(&cpu),
                memory_used_bytes: newest(&of_used),
                memory_total_bytes: newest(&of_total),
                recent_memory_percent: percents(&of_used, newest(&of_total)),
                network_in: newest(&of(&inward)),
                network_out: newest(&of(&outward)),
                recent_network: sums(&of(&inward), &of(&outward)),
                load_1: newest(&of(&load)),
                disks: disks.remove(&host).unwrap_or_default(),
                host,
            }
        };
        Ok(found.into_iter().map(row).collect())
    }

    /// When each host was last heard of.
    async fn hosts_seen(
        &self,
        host: Option<&str>,
        now_ms: TimestampMs,
    ) -> Result<BTreeMap<String, TimestampMs>, AskError> {
        let mut seen = BTreeMap::new();
        for metric in ["os.cpu", "linux.loadavg_1_min", "os.mem.total"] {
            for last in self.last(metric, host.as_slice(), now_ms - LISTED_MS).await? {
                if let Some(host) = last.series.key.tag("host") {
                    let newest = seen.entry(host.to_owned()).or_insert(last.point.timestamp);
                    *newest = last.point.timestamp.max(*newest);
                }
            }
        }
        Ok(seen)
    }

    /// The newest point of each series of a metric, of these hosts or, when there are none, of all; none when nobody ever
    /// wrote it.
    async fn last(&self, metric: &str, hosts: &[&str], since_ms: TimestampMs) -> Result<Vec<LastPoint>, AskError> {
        let matches = match hosts {
            [] => TagMatch::Any,
            hosts => TagMatch::OneOf(hosts.iter().map(|&host| host.to_owned()).collect()),
        };
        let selector = SeriesSelector::Tags {
            metric: Some(metric.to_owned()),
            predicates: vec![TagPredicate { key: "host".to_owned(), matches }],
            exact_keys: false,
        };
        match self.seams.catalog.last(&selector, since_ms).await {
            Ok(points) => Ok(points),
            Err(error) if is_unknown_name(&error.0) => Ok(Vec::new()),
            Err(error) => Err(error.0.into()),
        }
    }

    /// The small lines of a query that groups by host, all on the same timestamps. Rates are to be taken of the points
    /// as they came and averaged here: rates of averages would be wrong as long as the newest average is of half its
    /// points.
    async fn lines(&self, m: &str) -> Result<Lines, AskError> {
        let now_ms = self.seams.clock.now_ms();
        let window = Window { start_ms: now_ms - RECENT_MS, end_ms: now_ms };
        Ok(lines_of(&self.asker.groups(m, window).await?))
    }

    async fn disks(&self, hosts: &[&str]) -> Result<HashMap<String, Vec<DiskUse>>, AskError> {
        let mut disks: HashMap<String, Vec<DiskUse>> = HashMap::new();
        let since_ms = self.seams.clock.now_ms() - LISTED_MS;
        for last in self.last("os.disk.fs.percent_free", hosts, since_ms).await? {
            let (Some(host), Some(mount)) = (last.series.key.tag("host"), last.series.key.tag("disk")) else {
                continue;
            };
            let used_percent = 100.0 - last.point.value.as_f64();
            disks.entry(host.to_owned()).or_default().push(DiskUse { mount: mount.to_owned(), used_percent });
        }
        for of_host in disks.values_mut() {
            of_host.sort_by(|left, right| right.used_percent.total_cmp(&left.used_percent));
        }
        Ok(disks)
    }

    /// The page of one host, or nothing when it was never heard of.
    pub(crate) async fn host_page(&self, host: &str, from: &str) -> Result<Option<HostPage>, AskError> {
        let window = self.asker.window(from, "now")?;
        let Some(facts) = self.host_facts(host).await? else { return Ok(None) };
        let mut graphs = Vec::new();
        for graph in graphs_of(host, from, window) {
            let data = self.asker.graph_or_empty(&graph.queries, window, GRAPH_PX).await?;
            graphs.push(Graph { data, ..graph });
        }
        let (metrics, metrics_left_out) = self.metrics_of(host).await?;
        Ok(Some(HostPage {
            host: host.to_owned(),
            host_filter: Filter::text_for(host),
            from: from.to_owned(),
            facts,
            incidents: self.host_incidents(host).await,
            graphs,
            volumes: self.host_volumes(host).await?,
            metrics,
            metrics_left_out,
        }))
    }

    /// The head of a host's page.
    pub(crate) async fn host_facts(&self, host: &str) -> Result<Option<HostFacts>, AskError> {
        let incidents = self.open_incidents().await;
        let found = self.hosts_found(Some(host), &incidents).await?;
        let Some(row) = self.host_rows(found).await?.into_iter().next() else { return Ok(None) };
        let now_ms = self.seams.clock.now_ms();
        let mut facts = Vec::new();
        if let Some(last) = self.last("os.system.uptime", &[host], now_ms - LISTED_MS).await?.first() {
            let uptime = tidemark_dashboards::format_duration(last.point.value.as_f64() * 1000.0);
            facts.push(Fact { name: "uptime".to_owned(), text: uptime });
        }
        let cores = self.last("linux.cpu.clock", &[host], now_ms - LISTED_MS).await?.len();
        if cores > 0 {
            facts.push(Fact { name: "processors".to_owned(), text: cores.to_string() });
        }
        Ok(Some(HostFacts { row, facts }))
    }

    pub(crate) async fn host_incidents(&self, host: &str) -> HostIncidents {
        let about = |incident: &IncidentSummary| incident.tags.iter().any(|tag| tag.key == "host" && tag.value == host);
        HostIncidents { incidents: self.open_incidents().await.into_iter().filter(about).collect() }
    }

    /// Filesystems and interfaces of a host.
    pub(crate) async fn host_volumes(&self, host: &str) -> Result<HostVolumes, AskError> {
        let since = self.seams.clock.now_ms() - LISTED_MS;
        let mut volumes: BTreeMap<String, Volume> = BTreeMap::new();
        for last in self.last("os.disk.fs.space_total", &[host], since).await? {
            volume(&mut volumes, &last, "disk").total_bytes = Some(last.point.value.as_f64());
        }
        for last in self.last("os.disk.fs.space_used", &[host], since).await? {
            volume(&mut volumes, &last, "disk").used_bytes = Some(last.point.value.as_f64());
        }
        let total = self.last("linux.disk.fs.inodes_total", &[host], since).await?;
        for used in self.last("linux.disk.fs.inodes_used", &[host], since).await? {
            let same = |other: &&LastPoint| other.series.key.tag("mount") == used.series.key.tag("mount");
            let total = total.iter().find(same).map(|total| total.point.value.as_f64()).filter(|total| *total > 0.0);
            volume(&mut volumes, &used, "mount").inodes_used_percent =
                total.map(|total| used.point.value.as_f64() / total * 100.0);
        }
        volumes.remove("");
        Ok(HostVolumes { filesystems: volumes.into_values().collect(), interfaces: self.interfaces(host).await? })
    }

    async fn interfaces(&self, host: &str) -> Result<Vec<NetworkInterface>, AskError> {
        let now_ms = self.seams.clock.now_ms();
        let window = Window { start_ms: now_ms - RECENT_MS, end_ms: now_ms };
        let query = |metric: &str, direction: &str| GraphQuery {
            m: format!(
                "sum:rate{{dropcounter}}:{metric}{{iface=*}}{{host={},direction={direction}}}",
                Filter::text_for(host)
            ),
            label_tag: Some("iface".to_owned()),
        };
        let queries = [
            query("os.net.bytes", "in"),
            query("os.net.bytes", "out"),
            query("os.net.errs", "*"),
            query("os.net.dropped", "*"),
        ];
        let mut interfaces: BTreeMap<String, NetworkInterface> = BTreeMap::new();
        for (position, query) in queries.into_iter().enumerate() {
            for series in self.asker.graph_or_empty(&[query], window, GRAPH_PX).await?.series {
                let interface = interfaces.entry(series.label.clone()).or_default();
                interface.name = series.label;
                let value = newest(&series.values);
                match position {
                    0 => (interface.bytes_in, interface.recent) = (value, series.values),
                    1 => {
                        interface.bytes_out = value;
                        interface.recent = sums(&interface.recent, &series.values);
                    }
                    _ => interface.errors = Some(interface.errors.unwrap_or_default() + value.unwrap_or_default()),
                }
            }
        }
        Ok(interfaces.into_values().collect())
    }

    /// Every metric that a host sends, and how many were left out.
    async fn metrics_of(&self, host: &str) -> Result<(Vec<MetricRow>, u32), AskError> {
        let selector = SeriesSelector::Tags {
            metric: None,
            predicates: vec![TagPredicate { key: "host".to_owned(), matches: TagMatch::OneOf(vec![host.to_owned()]) }],
            exact_keys: false,
        };
        let since = self.seams.clock.now_ms() - LISTED_MS;
        let points = match self.seams.catalog.last(&selector, since).await {
            Ok(points) => points,
            Err(error) if is_unknown_name(&error.0) => Vec::new(),
            Err(error) => return Err(error.0.into()),
        };
        let mut by_metric: BTreeMap<String, Vec<LastPoint>> = BTreeMap::new();
        for point in points {
            by_metric.entry(point.series.key.metric().to_owned()).or_default().push(point);
        }
        let left_out = u32::try_from(by_metric.len().saturating_sub(METRICS_MAX)).unwrap_or(u32::MAX);
        let mut rows = Vec::new();
        for (metric, points) in by_metric.into_iter().take(METRICS_MAX) {
            rows.push(self.metric_row(metric, &points).await);
        }
        Ok((rows, left_out))
    }

    async fn metric_row(&self, metric: String, points: &[LastPoint]) -> MetricRow {
        // What a metric means is a nicety: a page without it is better than none.
        let metadata = self.seams.metadata.metadata(&metric).await.ok().flatten().unwrap_or_default();
        MetricRow {
            series: u32::try_from(points.len()).unwrap_or(u32::MAX),
            unit: Unit::from_metadata(&metadata.unit, false),
            description: metadata.description,
            rate_kind: metadata.rate.map(|rate| rate.as_str().to_owned()).unwrap_or_default(),
            last_value: points.first().filter(|_| points.len() == 1).map(|last| last.point.value.as_f64()),
            last_point_ms: points.iter().map(|last| last.point.timestamp).max(),
            metric,
        }
    }
}

fn is_unknown_name(error: &tidemark_model::ReadError) -> bool {
    matches!(error, tidemark_model::ReadError::UnknownName { .. })
}

fn volume<'a>(volumes: &'a mut BTreeMap<String, Volume>, last: &LastPoint, key: &str) -> &'a mut Volume {
    let mount = last.series.key.tag(key).unwrap_or_default();
    let volume = volumes.entry(mount.to_owned()).or_default();
    volume.mount = mount.to_owned();
    volume
}

fn lines_of(groups: &[GroupResult]) -> Lines {
    let bin = |time: &TimestampMs| time.div_euclid(RECENT_BIN_MS);
    let bins: BTreeSet<i64> = groups.iter().flat_map(|group| group.timestamps.iter().map(bin)).collect();
    let line = |group: &GroupResult| {
        let host = group.tags.iter().find(|(key, _)| key == "host")?.1.clone();
        let mut sums: HashMap<i64, (f64, f64)> = HashMap::new();
        let values = group.values.iter().map(|value| value.as_f64());
        for (time, value) in group.timestamps.iter().zip(values).filter(|(_, value)| value.is_finite()) {
            let (sum, count) = sums.entry(bin(time)).or_default();
            (*sum, *count) = (*sum + value, *count + 1.0);
        }
        Some((host, bins.iter().map(|bin| sums.get(bin).map(|(sum, count)| sum / count)).collect()))
    };
    groups.iter().filter_map(line).collect()
}

/// The worst status and the number of open incidents about each host.
fn problems_by_host(incidents: &[IncidentSummary]) -> HashMap<&str, (Status, u32)> {
    let mut by_host: HashMap<&str, (Status, u32)> = HashMap::new();
    for incident in incidents {
        for tag in incident.tags.iter().filter(|tag| tag.key == "host") {
            let (worst, problems) = by_host.entry(&tag.value).or_default();
            *worst = incident.current.max(*worst);
            *problems = problems.saturating_add(1);
        }
    }
    by_host
}

/// A filter for these hosts. When their names are too long for a query, or one has characters that mean something there,
/// it lets all hosts through, and what comes of others is not used.
pub(super) fn hosts_filter(hosts: &[&str]) -> String {
    let length: usize = hosts.iter().map(|host| host.len() + 1).sum();
    let is_literal = |host: &&str| check_name(host).is_ok();
    if length > FILTER_BYTES_MAX || !hosts.iter().all(is_literal) {
        "*".to_owned()
    } else {
        format!("literal_or({})", hosts.join("|"))
    }
}

fn newest(values: &[Option<f64>]) -> Option<f64> {
    values.iter().rev().find_map(|value| *value)
}

fn sums(left: &[Option<f64>], right: &[Option<f64>]) -> Vec<Option<f64>> {
    let length = left.len().max(right.len());
    let sum = |index: usize| match (left.get(index).copied().flatten(), right.get(index).copied().flatten()) {
        (None, None) => None,
        (left, right) => Some(left.unwrap_or_default() + right.unwrap_or_default()),
    };
    (0..length).map(sum).collect()
}

fn percents(values: &[Option<f64>], whole: Option<f64>) -> Vec<Option<f64>> {
    let whole = whole.filter(|whole| *whole > 0.0);
    values.iter().map(|value| Some((*value)? / whole? * 100.0)).collect()
}

/// The graphs of a host's page, without their data.
fn graphs_of(host: &str, from: &str, window: Window) -> Vec<Graph> {
    let query = |m: String, label_tag: Option<&str>| GraphQuery { m, label_tag: label_tag.map(str::to_owned) };
    let only = format!("host={}", Filter::text_for(host));
    let graph = |id: &str, title: &str, unit: Unit, queries: Vec<GraphQuery>| Graph {
        id: id.to_owned(),
        title: title.to_owned(),
        unit,
        queries,
        from: from.to_owned(),
        to: "now".to_owned(),
        start_ms: window.start_ms,
        end_ms: window.end_ms,
        minimum: Some(0.0),
        ..Graph::default()
    };
    let rate = |metric: &str, group: &str, more: &str| {
        format!("sum:auto-avg:rate{{dropcounter}}:{metric}{{{group}}}{{{only}{more}}}")
    };
    let level = |metric: &str, group: &str| format!("sum:auto-avg:{metric}{{{group}}}{{{only}}}");
    // Hundredths of a second per second: percent of one processor.
    let mut cpu = graph(
        "cpu",
        "CPU by mode",
        Unit::Percent,
        vec![query(rate("linux.cpu", "type=*", ",type=not_literal_or(idle)"), Some("type"))],
    );
    cpu.stacked = true;
    vec![
        graph("cpu-use", "CPU", Unit::Percent, vec![query(rate("os.cpu", "", ""), None)]),
        cpu,
        graph(
            "memory",
            "Memory",
            Unit::Bytes,
            vec![query(level("os.mem.used", ""), None), query(level("os.mem.total", ""), None)],
        ),
        graph(
            "load",
            "Load",
            Unit::None,
            ["linux.loadavg_1_min", "linux.loadavg_5_min", "linux.loadavg_15_min"]
                .map(|metric| query(level(metric, ""), None))
                .to_vec(),
        ),
        graph(
            "network",
            "Network",
            Unit::BytesPerSecond,
            vec![query(rate("os.net.bytes", "iface=*,direction=*", ""), None)],
        ),
        graph(
            "disks",
            "Disk traffic",
            Unit::BytesPerSecond,
            vec![query(rate("linux.disk.bytes", "dev=*,type=*", ""), None)],
        ),
        graph(
            "filesystems",
            "Filesystems in use",
            Unit::Bytes,
            vec![query(level("os.disk.fs.space_used", "disk=*"), Some("disk"))],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use tidemark_dashboards::Tag;
    use tidemark_model::ValueColumn;
    use tidemark_query::Fill;

    use super::*;

    #[test]
    fn the_worst_open_incident_of_a_host_is_its_status() {
        let about = |host: &str, current| IncidentSummary {
            tags: vec![Tag { key: "host".to_owned(), value: host.to_owned() }],
            current,
            ..IncidentSummary::default()
        };
        let incidents = [about("a", Status::Warning), about("b", Status::Warning), about("a", Status::Critical)];
        let by_host = problems_by_host(&incidents);
        assert_eq!((by_host["a"], by_host["b"]), ((Status::Critical, 2), (Status::Warning, 1)));
    }

    #[test]
    fn lines_share_bins_and_average_what_is_in_them() {
        let of_host = |host: &str, timestamps: Vec<TimestampMs>, values: Vec<f64>| GroupResult {
            metric: "m".to_owned(),
            tags: vec![("host".to_owned(), host.to_owned())],
            aggregate_tags: Vec::new(),
            tsuids: Vec::new(),
            timestamps,
            values: ValueColumn::Float(values),
            fill: Fill::None,
        };
        let a = of_host("a", vec![0, 10_000, 20_000], vec![1.0, 3.0, 5.0]);
        let b = of_host("b", vec![65_000, 70_000], vec![f64::NAN, 7.0]);
        let lines = lines_of(&[a, b]);
        assert_eq!(lines["a"], [Some(2.0), Some(5.0), None]);
        assert_eq!(lines["b"], [None, None, Some(7.0)]);
    }

    #[test]
    fn a_filter_of_too_many_names_lets_all_hosts_through() {
        assert_eq!(hosts_filter(&["a", "b"]), "literal_or(a|b)");
        assert_eq!(hosts_filter(&["a", "b)"]), "*");
        let long = "x".repeat(250);
        assert_eq!(hosts_filter(&[long.as_str(); 60]), "*");
    }
}
