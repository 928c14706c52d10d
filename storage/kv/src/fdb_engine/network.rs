//! FoundationDB's own thread, of which a process has at most one.

use std::path::{Path, PathBuf};

use foundationdb::api::{FdbApiBuilder, NetworkAutoStop, get_max_api_version};
use parking_lot::Mutex;

use super::client_library;
use crate::KvError;

/// Proof that FoundationDB's network thread runs. Start it with [`FdbNetwork::start`], once or often.
///
/// The thread must have ended before the process takes itself down, which is easily forgotten on one of the ways out. So
/// nobody has to: it is stopped when the process exits, by returning from `main` or by `std::process::exit`.
#[derive(Clone, Copy, Debug)]
pub struct FdbNetwork {
    _started: (),
}

/// The thread of this process.
static STATE: Mutex<State> = Mutex::new(State::NotStarted);

enum State {
    NotStarted,
    Running {
        library: Option<PathBuf>,
        _stops_when_dropped: NetworkAutoStop,
    },
    /// It cannot be started a second time.
    Over(&'static str),
}

impl FdbNetwork {
    /// Loads FoundationDB's client library from `library`, or from where the loader finds it, and starts its thread. Later
    /// calls find it running.
    ///
    /// # Errors
    /// [`KvError::Unavailable`] when the library is not found, is too old, does not start, or when another one runs in this
    /// process already.
    pub fn start(library: Option<&Path>) -> Result<Self, KvError> {
        let mut state = STATE.lock();
        match &*state {
            State::Running { library: running, .. } if running.as_deref() == library => {}
            State::Running { library: running, .. } => return Err(another_runs(running.as_deref())),
            State::Over(reason) => return Err(KvError::Unavailable((*reason).to_owned())),
            State::NotStarted => *state = start(library)?,
        }
        Ok(Self { _started: () })
    }
}

#[expect(unsafe_code, reason = "registers a function for the exit of the process, and starts the thread that it stops")]
fn start(library: Option<&Path>) -> Result<State, KvError> {
    unsafe extern "C" {
        safe fn atexit(function: extern "C" fn()) -> std::ffi::c_int;
    }

    client_library::load(library)?;
    let api = FdbApiBuilder::default();
    let (wanted, newest) = (api.runtime_version(), get_max_api_version());
    if newest < wanted {
        return Err(KvError::Unavailable(format!(
            "FoundationDB's client library has API version {newest}, and {wanted} is needed: install the one of FoundationDB \
             {}.{} or later",
            wanted / 100,
            wanted / 10 % 10
        )));
    }
    let network = api.build().map_err(not_started)?;
    // IMPORTANT: after the library was loaded, so that this runs before the library's own clearing up.
    if atexit(stop_at_exit) != 0 {
        return Err(KvError::Unavailable("start FoundationDB's network thread: the exit cannot be watched".to_owned()));
    }
    // SAFETY: the thread is stopped before the process exits, by `stop_at_exit`.
    let guard = unsafe { network.boot() }.map_err(not_started)?;
    Ok(State::Running { library: library.map(Path::to_owned), _stops_when_dropped: guard })
}

extern "C" fn stop_at_exit() {
    let state = std::mem::replace(&mut *STATE.lock(), State::Over("the process is exiting"));
    drop(state);
}

fn not_started(error: foundationdb::FdbError) -> KvError {
    KvError::Unavailable(format!("start FoundationDB's network thread: {error}"))
}

fn another_runs(library: Option<&Path>) -> KvError {
    let library = library.unwrap_or(Path::new("libfdb_c.so"));
    KvError::Unavailable(format!(
        "this process uses FoundationDB's client library `{}` already and cannot use a second one",
        library.display()
    ))
}
