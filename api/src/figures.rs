//! Figures about ourselves: the same list becomes `/metrics` (Prometheus' text) and the series `tidemark.*` in the own
//! store.

use std::{collections::BTreeMap, sync::Arc};

use tidemark_model::BoxFuture;

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its name in dotted words after `tidemark.`, such as `store.points_written`.
    pub name: &'static str,
    /// A sentence about it, with its unit.
    pub help: &'static str,
    /// How it behaves.
    pub kind: FigureKind,
    /// What it is about, such as the queue.
    pub labels: Vec<(&'static str, String)>,
    /// Its value now.
    pub value: f64,
}

/// How a figure behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FigureKind {
    /// A total that only grows, but for restarts.
    Counter,
    /// A level that goes up and down.
    Gauge,
}

impl Figure {
    /// A total without labels.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: FigureKind::Counter, labels: Vec::new(), value: value as f64 }
    }

    /// A total that is no whole number, such as seconds, without labels.
    #[must_use]
    pub fn total(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, kind: FigureKind::Counter, labels: Vec::new(), value }
    }

    /// A level without labels.
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, kind: FigureKind::Gauge, labels: Vec::new(), value }
    }

    /// Says what it is about.
    #[must_use]
    pub fn of(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((label, value.into()));
        self
    }
}

/// A part of the system that has figures.
pub trait FigureSource: Send + Sync {
    /// Its figures now.
    fn figures(&self) -> BoxFuture<'_, Vec<Figure>>;
}

/// The figures of all parts, in their order.
pub async fn gather(sources: &[Arc<dyn FigureSource>]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for source in sources {
        figures.extend(source.figures().await);
    }
    figures
}

/// Figures in the text format of Prometheus, version 0.0.4: a block for each name, with its help and its type.
#[must_use]
pub fn to_prometheus(figures: &[Figure]) -> String {
    let mut by_name: BTreeMap<&str, Vec<&Figure>> = BTreeMap::new();
    for figure in figures {
        by_name.entry(figure.name).or_default().push(figure);
    }
    let mut text = String::new();
    for (name, figures) in by_name {
        let Some(first) = figures.first() else { continue };
        let (suffix, kind) = match first.kind {
            FigureKind::Counter => ("_total", "counter"),
            FigureKind::Gauge => ("", "gauge"),
        };
        let name = format!("tidemark_{}{suffix}", name.replace('.', "_"));
        let help = first.help.replace('\\', "\\\\").replace('\n', " ");
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for figure in figures {
            text.push_str(&name);
            push_labels(&mut text, &figure.labels);
            text.push_str(&format!(" {}\n", figure.value));
        }
    }
    text
}

fn push_labels(text: &mut String, labels: &[(&'static str, String)]) {
    if labels.is_empty() {
        return;
    }
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
    text.push('{');
    text.push_str(&labels.join(","));
    text.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_one_name_share_their_help() {
        let figures = [
            Figure::gauge("queue.ready", "Jobs that wait.", 3.0).of("queue", "write"),
            Figure::counter("store.points_written", "Points.", 7),
            Figure::gauge("queue.ready", "Jobs that wait.", 1.5).of("queue", "a\"b"),
        ];
        assert_eq!(
            to_prometheus(&figures),
            "# HELP tidemark_queue_ready Jobs that wait.\n# TYPE tidemark_queue_ready gauge\n\
             tidemark_queue_ready{queue=\"write\"} 3\ntidemark_queue_ready{queue=\"a\\\"b\"} 1.5\n\
             # HELP tidemark_store_points_written_total Points.\n# TYPE tidemark_store_points_written_total counter\n\
             tidemark_store_points_written_total 7\n"
        );
    }
}
