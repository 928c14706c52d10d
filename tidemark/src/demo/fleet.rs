//! The hosts together.

use tidemark_model::{PointBatch, PointBatchBuilder, PointError, TimestampMs};

use super::{
    Progress,
    dice::Dice,
    figures::Figures,
    history::{History, Moments},
    host::Host,
    host_plan::HOSTS,
    series::{Series, series_of},
    story::Story,
};

/// Twelve hosts of four roles in two data centres. It lives as far as it was asked for points and never goes back.
pub(crate) struct Fleet {
    story: Story,
    history: Moments,
    members: Vec<Member>,
}

struct Member {
    host: Host,
    series: Vec<Series>,
}

impl Fleet {
    /// A fleet whose week ends at `now_ms`. Equal seeds and times give equal points.
    pub(crate) fn new(seed: u64, now_ms: TimestampMs) -> Self {
        let history = Moments::until(now_ms);
        // The first points come one moment after the beginning of the simulation.
        let begin_ms = history.begin_ms() - Moments::INTERVAL_MS;
        let member = |(number, plan)| {
            let host = Host::new(plan, Dice::new(seed, number), begin_ms);
            Member { series: series_of(&host.plan), host }
        };
        Self { story: Story::ending_at(now_ms), history, members: (0..).zip(HOSTS).map(member).collect() }
    }

    /// The same fleet with a history that begins at `from_ms`.
    #[cfg(test)]
    pub(super) fn since(mut self, from_ms: TimestampMs) -> Self {
        self.history.by_ref().take_while(|moment| *moment < from_ms).for_each(drop);
        self
    }

    /// Number of series.
    pub(crate) fn series_count(&self) -> usize {
        self.members.iter().map(|member| member.series.len()).sum()
    }

    /// The points of the seven days before the time that the fleet was made with; a second call gives none.
    pub(crate) fn history(&mut self) -> History<'_> {
        let moments = self.history.clone();
        let total = self.points_in(moments.clone());
        self.history.by_ref().for_each(drop);
        History { fleet: self, moments, progress: Progress { done: 0, total } }
    }

    /// The points of all hosts at one moment after the last one; none when it is not after.
    ///
    /// # Errors
    /// Never but for a name that the store does not allow, which a test rules out.
    pub(crate) fn moment(&mut self, timestamp: TimestampMs) -> Result<PointBatch, PointError> {
        self.live_through(&[timestamp])
    }

    pub(super) fn live_through(&mut self, moments: &[TimestampMs]) -> Result<PointBatch, PointError> {
        let mut builder = PointBatchBuilder::default();
        builder.reserve(moments.len() * self.series_count());
        for member in &mut self.members {
            let lived: Vec<Figures> =
                moments.iter().filter_map(|&moment| member.host.advance(&self.story, moment).cloned()).collect();
            member.series.iter().try_for_each(|series| push(&mut builder, series, &lived))?;
        }
        Ok(builder.finish())
    }

    fn points_in(&self, moments: Moments) -> u64 {
        let of = |member: &Member, moment| {
            if self.story.is_down(&member.host.plan, moment) { 0 } else { member.series.len() as u64 }
        };
        moments.map(|moment| self.members.iter().map(|member| of(member, moment)).sum::<u64>()).sum()
    }
}

fn push(builder: &mut PointBatchBuilder, series: &Series, lived: &[Figures]) -> Result<(), PointError> {
    let Some((first, others)) = lived.split_first() else { return Ok(()) };
    let mut tags: Vec<(&str, &str)> = series.tags.iter().map(|(key, value)| (*key, value.as_str())).collect();
    builder.push(series.metric, &mut tags, first.timestamp, series.value(first))?;
    for figures in others {
        let value = series.value(figures);
        match builder.push_with_last_tags(series.metric, figures.timestamp, value) {
            Some(pushed) => pushed?,
            None => builder.push(series.metric, &mut tags, figures.timestamp, value)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        sync::LazyLock,
    };

    use tidemark_model::{Point, RateKind, SeriesKey, Value};

    use super::*;
    use crate::demo::{
        history::BATCH_POINTS_MAX,
        meanings,
        rhythm::{DAY_MS, MINUTE_MS},
    };

    /// Thursday 2026-01-01 00:01:18.901 UTC.
    const NOW_MS: TimestampMs = 1_767_225_678_901;

    fn fleet() -> Fleet {
        Fleet::new(1, NOW_MS)
    }

    type Points = BTreeMap<SeriesKey, Vec<Point>>;

    /// What [`fleet`] gives, once for all tests.
    static WEEK: LazyLock<Points> = LazyLock::new(|| {
        let mut series = Points::new();
        for batch in fleet().history() {
            add(&mut series, &batch.unwrap().0);
        }
        series
    });

    fn add(series: &mut Points, batch: &PointBatch) {
        let points: Vec<_> = batch.points().collect();
        for of_one in points.chunk_by(|left, right| left.series == right.series) {
            let points = of_one.iter().map(|point| Point { timestamp: point.timestamp, value: point.value });
            series.entry(batch.series_key(of_one[0].series)).or_default().extend(points);
        }
    }

    fn points_of(metric: &str, tags: &[(&str, &str)]) -> &'static [Point] {
        let wanted = |key: &SeriesKey| key.metric() == metric && tags.iter().all(|(k, v)| key.tag(k) == Some(v));
        let mut found = WEEK.iter().filter(|(key, _)| wanted(key));
        let (_, points) = found.next().unwrap();
        assert!(found.next().is_none(), "more than one series");
        points
    }

    fn mean(points: &[Point], from_ms: TimestampMs, to_ms: TimestampMs) -> f64 {
        let within = points.iter().filter(|point| (from_ms..to_ms).contains(&point.timestamp));
        let values: Vec<f64> = within.map(|point| point.value.as_f64()).collect();
        values.iter().sum::<f64>() / values.len() as f64
    }

    #[test]
    fn equal_seeds_and_times_give_equal_points_and_others_do_not() {
        let week = |seed| -> Vec<PointBatch> {
            Fleet::new(seed, NOW_MS).history().take(20).map(|batch| batch.unwrap().0).collect()
        };
        assert_eq!(week(1), week(1));
        assert_ne!(week(1), week(2));
    }

    #[test]
    fn the_history_has_the_points_that_it_says_in_batches_of_limited_size() {
        let mut fleet = fleet();
        let (mut points, mut newest) = (0, TimestampMs::MIN);
        let mut last = None;
        for batch in fleet.history() {
            let (batch, progress) = batch.unwrap();
            assert!((1..=BATCH_POINTS_MAX).contains(&batch.len()));
            assert!(batch.points().all(|point| point.timestamp > newest), "batches follow each other in time");
            newest = batch.points().map(|point| point.timestamp).max().unwrap();
            points += batch.len() as u64;
            assert_eq!(progress.done, points);
            last = Some(progress);
        }
        assert_eq!(last, Some(Progress { done: points, total: points }));
        // A week of minutes, the last of them at the interval of the agent, but for the outage.
        let (first, last_minutes) = (NOW_MS - NOW_MS % MINUTE_MS - 7 * DAY_MS, NOW_MS - 15 * MINUTE_MS);
        let minutes = (last_minutes - first) / MINUTE_MS + 1;
        let recent = (NOW_MS - (first + minutes * MINUTE_MS)) / 10_000 + 1;
        let series_of_cache02 =
            fleet.members.iter().find(|member| member.host.plan.name == "cache02").unwrap().series.len();
        let expected = (minutes + recent) as u64 * fleet.series_count() as u64 - 40 * series_of_cache02 as u64;
        assert_eq!(points, expected);
        assert_eq!(newest, NOW_MS - NOW_MS % 10_000);
        assert_eq!(fleet.history().count(), 0, "a second history is empty");
    }

    #[test]
    fn every_series_reaches_from_a_week_ago_until_now_and_every_metric_has_a_meaning() {
        assert_eq!(WEEK.len(), fleet().series_count());
        for (key, points) in WEEK.iter() {
            assert!(points.first().unwrap().timestamp <= NOW_MS - 7 * DAY_MS, "{key}");
            assert_eq!(points.last().unwrap().timestamp, NOW_MS - NOW_MS % 10_000, "{key}");
            assert!(points.iter().all(|point| point.value.is_int() == points[0].value.is_int()), "{key}");
            assert!(points.iter().all(|point| point.value.as_f64() >= 0.0), "{key}");
        }
        let metrics: BTreeSet<String> = WEEK.keys().map(|key| key.metric().to_owned()).collect();
        let known: BTreeSet<String> = meanings().into_iter().map(|meaning| meaning.metric).collect();
        assert_eq!(metrics, known);
        assert_eq!(WEEK.keys().map(|key| key.tag("host").unwrap()).collect::<BTreeSet<_>>().len(), 12);
    }

    #[test]
    fn totals_never_fall_but_at_the_restarts_of_the_story() {
        let counters: BTreeSet<String> = meanings()
            .into_iter()
            .filter(|meaning| meaning.rate == Some(RateKind::Counter))
            .map(|meaning| meaning.metric)
            .collect();
        let story = Story::ending_at(NOW_MS);
        let mut falls = BTreeSet::new();
        for (key, points) in WEEK.iter().filter(|(key, _)| counters.contains(key.metric())) {
            for pair in points.windows(2) {
                if pair[1].value.as_f64() < pair[0].value.as_f64() {
                    let restart = if key.tag("host") == Some("web03") { story.restarted_ms } else { story.outage.end };
                    assert!(pair[0].timestamp < restart && restart <= pair[1].timestamp, "{key} fell at {pair:?}");
                    falls.insert((key.tag("host").unwrap().to_owned(), key.metric().to_owned()));
                }
            }
        }
        let fell = |host: &str, metric: &str| falls.contains(&(host.to_owned(), metric.to_owned()));
        assert!(fell("web03", "app.requests") && !fell("web03", "os.cpu"), "only the application was restarted");
        assert!(fell("cache02", "os.cpu") && fell("cache02", "cache.lookups"), "the host was without power");
        assert!(falls.iter().all(|(host, _)| host == "web03" || host == "cache02"), "{falls:?}");
    }

    #[test]
    fn totals_go_on_from_the_history() {
        let mut fleet = fleet().since(NOW_MS - 30 * MINUTE_MS);
        let mut series = Points::new();
        fleet.history().for_each(|batch| add(&mut series, &batch.unwrap().0));
        for round in 1..=10 {
            add(&mut series, &fleet.moment(NOW_MS + round * 10_000).unwrap());
        }
        for (key, points) in series.iter().filter(|(key, _)| key.metric() == "os.net.bytes") {
            assert!(points.windows(2).all(|pair| pair[0].value.as_f64() < pair[1].value.as_f64()), "{key}");
            assert_eq!(points.last().unwrap().timestamp, NOW_MS + 100_000);
        }
    }

    #[test]
    fn a_host_without_power_has_no_points_for_forty_minutes_and_starts_from_nothing() {
        let story = Story::ending_at(NOW_MS);
        assert_eq!(story.outage.end - story.outage.start, 40 * MINUTE_MS);
        let during = |host: &str| {
            let of_host = WEEK.iter().filter(|(key, _)| key.tag("host") == Some(host));
            of_host.flat_map(|(_, points)| points).filter(|point| story.outage.contains(&point.timestamp)).count()
        };
        assert_eq!(during("cache02"), 0);
        assert!(during("cache01") > 1_000);
        let uptime = points_of("os.system.uptime", &[("host", "cache02")]);
        let back = uptime.iter().find(|point| point.timestamp >= story.outage.end).unwrap();
        assert!(back.value.as_f64() < 300.0, "{back:?}");
        assert!(uptime.first().unwrap().value.as_f64() > 20.0 * 86_400.0);
    }

    #[test]
    fn the_filling_disk_is_above_95_percent_at_the_end_and_stays_there_for_a_year() {
        let tags = [("host", "db01"), ("disk", "/var/lib/postgresql")];
        let free = points_of("os.disk.fs.percent_free", &tags);
        assert!(free.first().unwrap().value.as_f64() > 40.0);
        assert!(free.last().unwrap().value.as_f64() < 5.0);
        let mut fleet = fleet();
        for day in 1..365 {
            let mut series = BTreeMap::new();
            add(&mut series, &fleet.moment(NOW_MS + day * DAY_MS).unwrap());
            let key = SeriesKey::new(
                "os.disk.fs.percent_free",
                &[("dc", "ams"), ("disk", "/var/lib/postgresql"), ("host", "db01"), ("role", "db")],
            );
            let free = series[&key][0].value.as_f64();
            assert!((0.5..5.0).contains(&free), "day {day}: {free}");
        }
    }

    #[test]
    fn the_deployment_makes_pages_slow() {
        let story = Story::ending_at(NOW_MS);
        let tags = [("host", "web01"), ("service", "shop"), ("quantile", "p95")];
        let latency = points_of("app.latency_ms", &tags);
        let (before, after) = (story.deployed_ms - 20 * MINUTE_MS, story.deployed_ms + 20 * MINUTE_MS);
        let (fast, slow) = (mean(latency, before, story.deployed_ms), mean(latency, story.deployed_ms, after));
        assert!(slow > 1.6 * fast, "{fast} {slow}");
        assert!((NOW_MS - 3 * DAY_MS..NOW_MS - 2 * DAY_MS).contains(&story.deployed_ms), "on the fifth day");
    }

    #[test]
    fn the_leak_takes_the_memory_until_the_restart_gives_it_back() {
        let story = Story::ending_at(NOW_MS);
        let free = points_of("os.mem.percent_free", &[("host", "web03")]);
        let before = mean(free, story.restarted_ms - 30 * MINUTE_MS, story.restarted_ms);
        let after = mean(free, story.restarted_ms, story.restarted_ms + 30 * MINUTE_MS);
        assert!(before < 12.0, "{before}");
        assert!(after > 50.0, "{after}");
    }

    #[test]
    fn figures_that_belong_together_add_up() {
        let mut fleet = fleet();
        let mut series = BTreeMap::new();
        for batch in fleet.history().skip(30).take(3) {
            add(&mut series, &batch.unwrap().0);
        }
        let tags = [("dc", "ams"), ("host", "web01"), ("role", "web")];
        let at = |metric: &str, point: usize| series[&SeriesKey::new(metric, &tags)][point];
        let (total, free, used) = (at("os.mem.total", 0), at("os.mem.free", 0), at("os.mem.used", 0));
        assert_eq!(total.value.as_f64(), free.value.as_f64() + used.value.as_f64());
        let seconds = (at("os.cpu", 10).timestamp - at("os.cpu", 0).timestamp) as f64 / 1_000.0;
        let busy = (at("os.cpu", 10).value.as_f64() - at("os.cpu", 0).value.as_f64()) / seconds;
        assert!((1.0..95.0).contains(&busy), "{busy} %");
        let cpu = |kind: &str, point: usize| {
            let key = SeriesKey::new("linux.cpu", &[tags.as_slice(), &[("type", kind)]].concat());
            series[&key][point].value.as_f64()
        };
        let kinds = crate::demo::figures::CPU_KINDS;
        let spent: f64 = kinds.iter().map(|kind| cpu(kind, 10) - cpu(kind, 0)).sum();
        assert!((spent / (seconds * 400.0) - 1.0).abs() < 0.001, "four processors are always doing something: {spent}");
    }

    #[test]
    fn time_that_goes_back_gives_no_points() {
        let mut fleet = fleet();
        assert_eq!(fleet.moment(NOW_MS).unwrap().len(), fleet.series_count());
        assert!(fleet.moment(NOW_MS).unwrap().is_empty());
        assert!(fleet.moment(NOW_MS - DAY_MS).unwrap().is_empty());
        let later = fleet.moment(NOW_MS + 1).unwrap();
        assert!(later.points().all(|point| !matches!(point.value, Value::Float(float) if !float.is_finite())));
    }
}
