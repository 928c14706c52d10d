//! Programs as collectors: real child processes in a directory of their own.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, test_kill_process};
use support::{MemoryStore, Running, clock, options};
use tidemark_collector::{Activity, AgentOptions, CollectorStatus, ExternalOptions, list, preview, run_once};
use tidemark_model::{RateKind, Value, WriteOutcome};

struct Programs(tempfile::TempDir);

impl Programs {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(self, path: &str, body: &str) -> Self {
        self.write(path, body);
        self
    }

    /// Puts a program in its place at once, so that no half of it is ever run.
    fn write(&self, path: &str, body: &str) -> PathBuf {
        let (target, draft) = (self.0.path().join(path), self.0.path().join("draft"));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(&draft, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(draft, &target).unwrap();
        target
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Nothing built in, and no pause longer than needed.
    fn options(&self) -> AgentOptions {
        let external = ExternalOptions {
            rescan_every: Duration::from_millis(20),
            stop_grace: Duration::from_millis(200),
            failure_first: Duration::from_millis(20),
            ..ExternalOptions::in_directory(self.path())
        };
        let builtins = list(&options()).unwrap().collectors.into_iter().map(|one| one.name).collect();
        AgentOptions { disabled: builtins, external: Some(external), ..options() }
    }

    fn changed(&self, change: impl FnOnce(&mut ExternalOptions)) -> AgentOptions {
        let mut options = self.options();
        change(options.external.as_mut().unwrap());
        options
    }
}

fn has(statuses: &[CollectorStatus], name: &str, wanted: impl Fn(&CollectorStatus) -> bool) -> bool {
    statuses.iter().any(|status| status.name == name && wanted(status))
}

/// Waits until a program has written its process id, and reads it.
async fn process_id(path: &Path) -> Pid {
    loop {
        if let Some(id) = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()) {
            return Pid::from_raw(id).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until a process is gone. A zombie that nobody reaps counts as gone.
async fn until_gone(process: Pid) {
    let gone = || {
        test_kill_process(process).is_err()
            || fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()))
                .map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !gone() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "process {process:?} is still there");
}

#[tokio::test]
async fn lines_of_both_formats_arrive_with_the_tags_of_the_host() {
    let programs = Programs::new().with(
        "1/mixed.sh",
        r#"echo "app.requests 1795343205 7 queue=email"
           echo '{"metric":"app.latency","timestamp":1795343205,"value":0.5,"tags":{"queue":"email"}}'
           echo '{"metric":"app.latency","name":"unit","value":"seconds"}'
           echo '{"metric":"app.latency","name":"rate","value":"gauge"}'"#,
    );
    let store = MemoryStore::new();
    let running = Running::start(programs.options(), &store);
    store
        .until("points and metadata", |contents| {
            contents.has("app.requests") && contents.has("app.latency") && !contents.metadata.is_empty()
        })
        .await;
    running.stop().await;
    store.look(|contents| {
        let (key, at, value) = contents.of("app.requests").next().unwrap();
        assert_eq!(key.to_string(), "app.requests{dc=ams,host=web07,queue=email}");
        assert_eq!((at, value), (1_795_343_205_000, Value::Int(7)));
        let latency = &contents.metadata["app.latency"];
        assert_eq!((latency.unit.as_str(), latency.rate), ("seconds", Some(RateKind::Gauge)));
    });
}

#[tokio::test]
async fn exit_status_13_means_not_again() {
    let programs = Programs::new();
    let runs = programs.path().join("runs");
    programs.write("0/absent.sh", &format!("echo run >> {}; exit 13", runs.display()));
    programs.write("1/other.sh", "echo \"other $(date +%s) 1\"");
    let store = MemoryStore::new();
    let running = Running::start(programs.options(), &store);
    running.until("it rests", |all| has(all, "absent.sh", |it| it.activity == Activity::NothingToDo)).await;
    store.until("two runs of the other", |contents| contents.of("other").count() >= 2).await;
    let status = running.status("absent.sh");
    assert_eq!((status.errors_total, status.last_error), (0, None));
    let rest = status.next_run.unwrap() - status.last_run.unwrap();
    assert!((3_600_000..3_700_000).contains(&rest), "{rest}");
    running.stop().await;
    assert_eq!(fs::read_to_string(runs).unwrap(), "run\n");
}

#[tokio::test]
async fn a_program_that_fails_is_tried_again_and_stops_no_other() {
    let programs = Programs::new()
        .with("0/broken.sh", "echo 'half 1795343205 1'; echo 'no config' >&2; exit 3")
        .with("0/missing", "")
        .with("1/fine.sh", "echo \"fine $(date +%s) 1\"");
    programs.write("0/missing", "");
    fs::write(programs.path().join("0/missing"), "#!/no/such/interpreter\n").unwrap();
    let store = MemoryStore::new();
    let running = Running::start(programs.options(), &store);
    running.until("three failures", |all| has(all, "broken.sh", |it| it.errors_total >= 3)).await;
    running.until("it cannot be run", |all| has(all, "missing", |it| it.errors_total >= 1)).await;
    store.until("the others", |contents| contents.has("fine") && contents.has("half")).await;
    assert!(running.status("broken.sh").last_error.unwrap().ends_with("exit status: 3: no config"));
    assert!(running.status("missing").last_error.unwrap().starts_with("it could not be run"));
    running.stop().await;
}

#[tokio::test]
async fn a_program_that_overstays_is_ended_with_everything_it_started() {
    let programs = Programs::new();
    let (own, child) = (programs.path().join("own"), programs.path().join("child"));
    programs.write(
        "1/stuck.sh",
        &format!(
            "trap '' TERM; echo $$ > {}; sleep 1000 & echo $! > {}; wait; sleep 1000",
            own.display(),
            child.display()
        ),
    );
    let store = MemoryStore::new();
    let running = Running::start(programs.options(), &store);
    let (own, child) = (process_id(&own).await, process_id(&child).await);
    running.until("it is ended", |all| has(all, "stuck.sh", |it| it.errors_total >= 1)).await;
    until_gone(own).await;
    until_gone(child).await;
    assert!(running.status("stuck.sh").last_error.unwrap().contains("longer than its interval of 1s"));
    running.stop().await;
}

#[tokio::test]
async fn a_program_that_ends_but_leaves_its_pipe_to_another_is_not_waited_for() {
    let programs = Programs::new();
    let child = programs.path().join("child");
    programs.write("60/forks.sh", &format!("echo 'a 1795343205 1'; sleep 1000 & echo $! > {}", child.display()));
    let store = MemoryStore::new();
    let running = Running::start(programs.options(), &store);
    let child = process_id(&child).await;
    running
        .until("it has ended", |all| has(all, "forks.sh", |it| it.activity == Activity::Waiting && it.took.is_some()))
        .await;
    until_gone(child).await;
    assert_eq!(running.status("forks.sh").errors_total, 0);
    running.stop().await;
    assert!(store.look(|contents| contents.has("a")));
}

#[tokio::test]
async fn programs_come_go_and_change_without_a_restart() {
    let programs = Programs::new().with("15/README", "not run before");
    let store = MemoryStore::new();
    let running = Running::start(programs.options(), &store);
    let id = programs.path().join("id");
    let body =
        |version: u32| format!("echo $$ > {}; echo \"version.{version} 1795343205 1\"; sleep 1000", id.display());
    let path = programs.write("0/tool.sh", &body(1));
    store.until("the new program", |contents| contents.has("version.1")).await;
    let first = process_id(&id).await;

    programs.write("0/tool.sh", &body(2));
    let later = fs::metadata(&path).unwrap().modified().unwrap() + Duration::from_secs(5);
    fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    store.until("the changed program", |contents| contents.has("version.2")).await;
    until_gone(first).await;

    let second = process_id(&id).await;
    fs::remove_file(&path).unwrap();
    until_gone(second).await;
    running.until("it is forgotten", |all| !has(all, "tool.sh", |_| true)).await;
    running.stop().await;
}

#[tokio::test]
async fn silent_programs_of_folder_0_are_started_again() {
    let programs = Programs::new();
    let runs = programs.path().join("runs");
    programs.write("0/silent.sh", &format!("echo run >> {}; sleep 1000", runs.display()));
    let store = MemoryStore::new();
    let options = programs.changed(|external| external.silence_max = Duration::from_millis(100));
    let running = Running::start(options, &store);
    running.until("two ends", |all| has(all, "silent.sh", |it| it.errors_total >= 2)).await;
    assert!(running.status("silent.sh").last_error.unwrap().contains("printed nothing for 100ms"));
    running.stop().await;
    assert!(fs::read_to_string(runs).unwrap().lines().count() >= 2);
}

#[tokio::test]
async fn refused_lines_are_counted_and_spoil_no_good_one() {
    let programs = Programs::new().with(
        "60/messy.sh",
        "echo 'good 1795343205 1'; echo 'bad'; printf '\\377\\376\\n'; head -c 100000 /dev/zero | tr '\\0' x; echo; \
         echo 'nan 1795343205 nan'; echo; echo 'good 1795343206 2'; printf 'good 1795343207 3'",
    );
    let store = MemoryStore::new();
    let running = Running::start(programs.options(), &store);
    store.until("the good lines", |contents| contents.of("good").count() == 3).await;
    running.until("it waits", |all| has(all, "messy.sh", |it| it.activity == Activity::Waiting)).await;
    let status = running.status("messy.sh");
    assert_eq!((status.points, status.errors_total, status.errors_last_hour), (3, 4, 4));
    assert!(status.last_error.unwrap().contains("NaN"));
    running.stop().await;
}

#[tokio::test]
async fn a_program_that_prints_too_fast_has_to_wait_and_ends_with_the_agent() {
    let programs = Programs::new()
        .with("0/fast.sh", "i=1795343205; while :; do echo \"fast $i 1\"; i=$((i + 1)); done")
        .with("1/other.sh", "echo \"other $(date +%s) 1\"");
    let store = MemoryStore::new();
    let running = Running::start(programs.changed(|external| external.lines_per_minute_max = 50), &store);
    store
        .until("its share and more of the other", |contents| {
            contents.of("fast").count() >= 50 && contents.of("other").count() >= 3
        })
        .await;
    running.stop().await;
    assert_eq!(store.look(|contents| contents.of("fast").count()), 50);
}

#[tokio::test]
async fn programs_get_the_environment_they_are_given_and_the_python_path_of_their_tree() {
    let programs = Programs::new();
    fs::create_dir_all(programs.path().join("lib")).unwrap();
    programs
        .write("60/env.sh", "echo \"env 1795343205 1 python=$PYTHONPATH answer=$ANSWER rest=$(env | grep -c CARGO)\"");
    let options = programs.changed(|external| external.environment.push(("ANSWER".into(), "42".into())));
    let shown = preview(&options, &clock(), "env.sh").await.unwrap();
    assert_eq!(shown.errors, Vec::<String>::new());
    let series = &shown.points[0].series;
    assert_eq!(series.tag("python"), programs.path().join("lib").to_str());
    assert_eq!((series.tag("answer"), series.tag("rest")), (Some("42"), Some("0")));
}

#[tokio::test]
async fn a_preview_of_a_program_that_never_ends_shows_its_first_points_and_ends_it() {
    let programs = Programs::new();
    let id = programs.path().join("id");
    programs.write(
        "0/daemon.sh",
        &format!("echo $$ > {}; echo 'a 1795343205 1'; echo nonsense; echo 'b 1795343205 2'; sleep 1000", id.display()),
    );
    let (options, clock) = (programs.options(), clock());
    let shown = preview(&options, &clock, "daemon.sh").await.unwrap();
    assert_eq!(shown.points.iter().map(|point| point.series.metric()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(shown.errors[0].contains("nonsense"), "{:?}", shown.errors);
    until_gone(process_id(&id).await).await;
}

#[tokio::test]
async fn a_program_can_be_run_once_into_a_sink() {
    let programs = Programs::new().with("60/once.sh", "echo 'a 1795343205 1'");
    let (store, options, clock) = (MemoryStore::new(), programs.options(), clock());
    let (_, outcome) = run_once(&options, &clock, "once.sh", &*store).await.unwrap();
    assert!(matches!(outcome, WriteOutcome::Done(receipt) if receipt.stored == 1));
    assert!(store.look(|contents| contents.has("a")));
}

#[tokio::test]
async fn an_absent_directory_is_reported_and_read_when_it_comes() {
    let programs = Programs::new();
    let later = programs.path().join("later");
    let options = programs.changed(|external| external.directory = later.clone());
    assert!(list(&options).is_err());
    let store = MemoryStore::new();
    let running = Running::start(options, &store);
    programs.write("later/1/a.sh", "echo \"a $(date +%s) 1\"");
    store.until("its points", |contents| contents.has("a")).await;
    running.stop().await;
}
