//! What a point costs on its way from the bytes of a client into a batch: bodies and lines as the load generator sends
//! them, 1000 points of 50 hosts, 20 metrics side by side, three tags.

use std::fmt::Write;

use divan::{Bencher, counter::ItemsCount};
use tidemark_api::bench::{read_body_of_points, read_lines_of_points};

const POINTS: usize = 1000;
const METRICS: usize = 20;

fn main() {
    divan::main();
}

/// The value and host of a point; `alternate` puts neighbours on different hosts.
fn parts(number: usize, alternate: bool) -> (usize, usize, String) {
    let (metric, host) = if alternate { (number / 50, number % 50) } else { (number % METRICS, number / METRICS) };
    let value = if metric % 3 == 0 {
        format!("{}.{:02}", number * 7 % 1000, number % 100)
    } else {
        format!("{}", number * 1_234_567)
    };
    (metric, host, value)
}

fn json(alternate: bool) -> String {
    let mut body = String::from("[");
    for number in 0..POINTS {
        let (metric, host, value) = parts(number, alternate);
        let comma = if number == 0 { "" } else { "," };
        write!(
            body,
            r#"{comma}{{"metric":"sys.metric.name{metric}","timestamp":1789948800,"value":{value},"tags":{{"host":"web{host:04}","dc":"dc{}","role":"r{}"}}}}"#,
            host % 4,
            host % 7,
        )
        .unwrap_or_default();
    }
    body + "]"
}

fn lines(alternate: bool) -> String {
    (0..POINTS).fold(String::new(), |mut lines, number| {
        let (metric, host, value) = parts(number, alternate);
        let (dc, role) = (host % 4, host % 7);
        writeln!(lines, "put sys.metric.name{metric} 1789948800 {value} host=web{host:04} dc=dc{dc} role=r{role}")
            .unwrap_or_default();
        lines
    })
}

#[divan::bench(args = [false, true])]
fn json_put(bencher: Bencher<'_, '_>, alternate: bool) {
    let body = json(alternate);
    bencher.counter(ItemsCount::new(POINTS)).bench_local(|| read_body_of_points(&body));
}

#[divan::bench(args = [false, true])]
fn telnet_put(bencher: Bencher<'_, '_>, alternate: bool) {
    let lines = lines(alternate);
    bencher.counter(ItemsCount::new(POINTS)).bench_local(|| read_lines_of_points(&lines));
}
