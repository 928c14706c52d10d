//! Gathers from captured text in tests.

use tidemark_model::Value;

use crate::{
    gathering::{Gathered, Gathering},
    host_files::HostFiles,
    host_tags::HostTags,
};

/// The moment at which the fixture's collectors run.
pub(crate) const NOW_MS: i64 = 1_795_611_106_000;

/// A host `h` with the files that a test writes.
pub(crate) struct Fixture {
    folder: tempfile::TempDir,
    tags: HostTags,
}

impl Default for Fixture {
    fn default() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), tags: HostTags::new("h", &[]).unwrap() }
    }
}

impl Fixture {
    pub(crate) fn with(self, path: &str, text: &str) -> Self {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    pub(crate) fn files(&self) -> HostFiles {
        HostFiles::below(self.folder.path())
    }

    pub(crate) fn gather(&self, collect: impl FnOnce(&mut Gathering<'_>)) -> Gathered {
        let mut out = Gathering::new(&self.tags, NOW_MS);
        collect(&mut out);
        out.finish()
    }
}

/// The value of the one point of a series.
pub(crate) fn value(gathered: &Gathered, series: &str) -> Option<Value> {
    let batch = &gathered.batch;
    batch.points().find(|point| batch.series_key(point.series).to_string() == series).map(|point| point.value)
}

/// The value of the one point of a series, as a double.
pub(crate) fn number(gathered: &Gathered, series: &str) -> Option<f64> {
    value(gathered, series).map(Value::as_f64)
}
