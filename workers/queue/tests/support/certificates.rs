//! Certificates for tests: of a CA, of a server called `redis.test`, and of a client.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

pub(crate) struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    /// `None` when `openssl` is not installed, which is said loudly.
    pub(crate) fn make() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let ca = ["req", "-x509", "-days", "2", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem"];
        if !openssl(folder.path(), &[&ca[..], &new_key[..]].concat()) {
            eprintln!("SKIPPED: openssl is not installed, so TLS was not tested");
            return None;
        }
        for (name, extensions) in
            [("server", "subjectAltName=DNS:redis.test\n"), ("client", "extendedKeyUsage=clientAuth\n")]
        {
            let file = |kind: &str| format!("{name}.{kind}");
            std::fs::write(folder.path().join(file("ext")), extensions).unwrap();
            let subject = format!("/CN={name}");
            let (key, request, certificate, extensions) = (file("key"), file("csr"), file("pem"), file("ext"));
            let asking = ["req", "-subj", &subject, "-keyout", &key, "-out", &request];
            assert!(openssl(folder.path(), &[&asking[..], &new_key[..]].concat()));
            let signing = ["x509", "-req", "-days", "2", "-in", &request, "-out", &certificate];
            let by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", &extensions];
            assert!(openssl(folder.path(), &[&signing[..], &by[..]].concat()));
        }
        Some(Self { folder })
    }

    /// `ca.pem`, `server.pem`, `server.key`, `client.pem` or `client.key`.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }
}

fn openssl(folder: &Path, arguments: &[&str]) -> bool {
    let mut command = Command::new("openssl");
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
