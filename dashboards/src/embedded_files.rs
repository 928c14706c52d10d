//! The files compiled into the binary. The tests compare both lists with the folders.

macro_rules! templates {
    ($($name:literal),* $(,)?) => {
        /// Name and text of every template.
        pub(crate) const TEMPLATES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../templates/", $name)))),*];
    };
}

macro_rules! static_files {
    ($($name:literal),* $(,)?) => {
        /// Name and bytes of every file that browsers load.
        pub(crate) const STATIC_FILES: &[(&str, &[u8])] =
            &[$(($name, include_bytes!(concat!("../static/", $name)).as_slice())),*];
    };
}

templates![
    "base.html",
    "explore.html",
    "fragments/attention.html",
    "fragments/events.html",
    "fragments/graph.html",
    "fragments/host_facts.html",
    "fragments/host_incidents.html",
    "fragments/host_volumes.html",
    "fragments/hosts.html",
    "fragments/incident_detail.html",
    "fragments/incident_list.html",
    "fragments/incident_row.html",
    "fragments/incident_timeline.html",
    "fragments/ingest.html",
    "fragments/jobs.html",
    "fragments/nav.html",
    "fragments/queues.html",
    "fragments/schedules.html",
    "fragments/storage_cardinality.html",
    "fragments/storage_figures.html",
    "fragments/storage_space.html",
    "fragments/storage_work.html",
    "fragments/task_detail.html",
    "fragments/worker_detail.html",
    "fragments/workers.html",
    "fragments/workflow_detail.html",
    "fragments/workflows.html",
    "host.html",
    "hosts.html",
    "incident.html",
    "incidents.html",
    "message.html",
    "overview.html",
    "parts.html",
    "storage.html",
    "task.html",
    "tasks.html",
    "worker.html",
    "workflow.html",
];

static_files![
    "app/actions.js",
    "app/chart.js",
    "app/choices.js",
    "app/clock.js",
    "app/copy.js",
    "app/explore.js",
    "app/format.js",
    "app/graph_data.js",
    "app/graphs.js",
    "app/keys.js",
    "app/live.js",
    "app/main.js",
    "app/query_text.js",
    "app/search.js",
    "app/swap.js",
    "app/theme.js",
    "css/base.css",
    "css/components.css",
    "css/tasks.css",
    "css/tokens.css",
    "icons/favicon.svg",
    "vendor/licenses.txt",
    "vendor/uplot.css",
    "vendor/uplot.mjs",
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    fn files_in(folder: &Path, prefix: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => names.extend(files_in(&entry.path(), &format!("{name}/"))),
                false => drop(names.insert(name)),
            }
        }
        names
    }

    fn folder(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
    }

    #[test]
    fn every_template_is_compiled_in() {
        let listed: BTreeSet<String> = TEMPLATES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(listed, files_in(&folder("templates"), ""));
    }

    #[test]
    fn every_static_file_is_compiled_in() {
        let listed: BTreeSet<String> = STATIC_FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(listed, files_in(&folder("static"), ""));
    }
}
