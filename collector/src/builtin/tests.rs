//! All collectors on the machine that runs the tests.

use std::collections::HashSet;

use tidemark_model::Value;

use super::{MAKERS, fixture::Fixture};
use crate::{collector::Collector, host_files::HostFiles};

fn all() -> Vec<Box<dyn Collector>> {
    MAKERS.iter().map(|make| make()).collect()
}

#[test]
fn names_of_collectors_are_unique() {
    let names: HashSet<&str> = all().iter().map(|collector| collector.name()).collect();
    assert_eq!(names.len(), all().len());
}

#[test]
fn every_collector_gathers_from_this_host_without_a_refused_point() {
    let fixture = Fixture::default();
    for mut collector in all() {
        let gathered = fixture.gather(|out| collector.collect(&HostFiles::system(), out).unwrap());
        assert_eq!((gathered.refused, gathered.first_refusal), (0, None), "{}", collector.name());
        assert!(gathered.metadata.iter().all(|entry| entry.rate.is_some() && !entry.description.is_empty()));
    }
}

#[test]
fn the_metrics_that_pages_and_rules_rely_on_are_there() {
    let fixture = Fixture::default();
    let gathered = fixture.gather(|out| {
        for mut collector in all() {
            collector.collect(&HostFiles::system(), out).unwrap();
        }
    });
    let batch = &gathered.batch;
    let metrics: HashSet<String> =
        (0..batch.series_count()).map(|at| batch.series_key(at).metric().to_owned()).collect();
    for metric in [
        "os.cpu",
        "os.mem.total",
        "os.mem.used",
        "os.mem.percent_free",
        "os.system.uptime",
        "linux.loadavg_1_min",
        "linux.mem.memavailable",
        "linux.mem.pgfault",
        "linux.net.stat.tcp.insegs",
        "linux.net.sockets.used",
    ] {
        assert!(metrics.contains(metric), "{metric} is missing");
    }
    let series: HashSet<String> = (0..batch.series_count()).map(|at| batch.series_text(at).to_owned()).collect();
    assert_eq!(series.len(), batch.len(), "a series has two points at one timestamp");
    assert!(batch.points().any(|point| matches!(point.value, Value::Float(_))));
}
