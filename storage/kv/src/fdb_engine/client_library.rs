//! FoundationDB's client library, loaded when it is asked for.
//!
//! The crate `foundationdb` asks the linker for `-lfdb_c`, so that a program built with it would need the library to be
//! linked and to start. The build script gives the linker a stand-in of that name (`client_library.c`) whose functions
//! jump to the real ones once [`load`] has found them. Turned down: to link the library itself, because then one binary
//! could not serve both kinds of stores; and bindings of our own through `dlsym`, because they would repeat, with much
//! more `unsafe`, what the crate has had tested for years.
//!
//! On other systems than Linux the library is linked.

use std::path::Path;

use crate::KvError;

/// Where the loader finds the library by itself, if a package of FoundationDB's is installed.
const NAME: &str = "libfdb_c.so";

/// Loads `library`, or `libfdb_c.so` from the loader's own folders. Calls after one that succeeded load another library and
/// must not be made.
///
/// # Errors
/// [`KvError::Unavailable`] says where it looked, what the loader said and where the library can be had.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "calls our own function in client_library.c")]
pub(super) fn load(library: Option<&Path>) -> Result<(), KvError> {
    use std::{
        ffi::{CStr, CString, c_char, c_int},
        os::unix::ffi::OsStrExt,
    };

    unsafe extern "C" {
        fn tidemark_fdb_load(library: *const c_char, reason: *mut c_char, reason_bytes: usize) -> c_int;
    }

    let library = library.unwrap_or(Path::new(NAME));
    let path = CString::new(library.as_os_str().as_bytes());
    let path = path.map_err(|_| not_loaded(library, "its path has a zero byte"))?;
    let mut reason = [0_u8; 1024];
    // SAFETY: the path ends with a zero; the reason has as many bytes as said; the caller holds the lock of the network's
    // state, so that no two threads are here at once.
    let loaded = unsafe { tidemark_fdb_load(path.as_ptr(), reason.as_mut_ptr().cast(), reason.len()) };
    if loaded == 1 {
        return Ok(());
    }
    let reason = CStr::from_bytes_until_nul(&reason).map(CStr::to_string_lossy).unwrap_or_default();
    Err(not_loaded(library, &reason))
}

/// The library is part of this program already.
///
/// # Errors
/// [`KvError::Unavailable`] when another is asked for.
#[cfg(not(target_os = "linux"))]
pub(super) fn load(library: Option<&Path>) -> Result<(), KvError> {
    let Some(library) = library else { return Ok(()) };
    Err(not_loaded(library, "on this system it is linked into the program and cannot be chosen"))
}

fn not_loaded(library: &Path, reason: &str) -> KvError {
    KvError::Unavailable(format!(
        "load FoundationDB's client library `{}`: {reason}; install the package `foundationdb-clients` of the cluster's \
         version from https://github.com/apple/foundationdb/releases, or say where `{NAME}` is",
        library.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(library: &Path) -> String {
        match load(Some(library)) {
            Err(KvError::Unavailable(text)) => text,
            other => panic!("expected unavailable, got {other:?}"),
        }
    }

    #[test]
    fn a_library_that_is_not_there_is_named_with_the_way_to_get_it() {
        let text = refusal(Path::new("/nowhere/libfdb_c.so"));
        assert!(text.starts_with("load FoundationDB's client library `/nowhere/libfdb_c.so`: /nowhere/"), "{text}");
        assert!(text.contains("foundationdb-clients"), "{text}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_library_of_something_else_is_refused_with_the_function_that_it_lacks() {
        let text = refusal(Path::new("libc.so.6"));
        assert!(text.contains("it has no function fdb_create_database"), "{text}");
    }
}
