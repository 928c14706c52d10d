//! Builds the stand-in for FoundationDB's client library, if the feature `fdb` is on.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "fdb")]
    stand_in();
}

/// Compiles `client_library.c` into a `libfdb_c.a` and has the linker find it where the crate `foundationdb` asks for
/// `-lfdb_c`. See the module `fdb_engine::client_library`. On other systems than Linux the real library is linked.
#[cfg(feature = "fdb")]
#[expect(clippy::expect_used, reason = "cargo sets these variables, and a build script fails by panicking")]
fn stand_in() {
    const SOURCE: &str = "src/fdb_engine/client_library.c";
    println!("cargo::rerun-if-changed={SOURCE}");
    let target = std::env::var_os("CARGO_CFG_TARGET_OS").expect("cargo names the target's system");
    if target != "linux" {
        return;
    }
    let folder = std::env::var_os("OUT_DIR").expect("cargo names the folder for what is built");
    // Without cc's own lines for cargo: they would link the stand-in a second time, into the library of this crate.
    cc::Build::new().file(SOURCE).warnings_into_errors(true).cargo_metadata(false).compile("fdb_c");
    println!("cargo::rustc-link-search=native={}", folder.display());
}
