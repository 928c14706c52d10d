//! Certificates for tests: of a CA, of a server called `redis.test`, and of a client.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tidemark_queue::RedisTls;

use super::server::{free_port, server_command};

pub(crate) struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    /// `None` when `openssl` is not installed or the server was built without TLS, which is said loudly.
    pub(crate) fn make() -> Option<Self> {
        if !server_speaks_tls() {
            eprintln!("SKIPPED: this redis-server was built without TLS, so TLS was not tested");
            return None;
        }
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

    /// What makes a server show its certificate, and want one of the same CA.
    pub(crate) fn server_settings(&self) -> Vec<String> {
        let files =
            [("--tls-cert-file", "server.pem"), ("--tls-key-file", "server.key"), ("--tls-ca-cert-file", "ca.pem")];
        let pair = |(setting, file): (&str, &str)| [setting.to_owned(), self.path(file).display().to_string()];
        files.into_iter().flat_map(pair).collect()
    }

    /// How a client reaches such a server.
    pub(crate) fn client(&self) -> RedisTls {
        RedisTls {
            ca_file: Some(self.path("ca.pem")),
            cert_file: Some(self.path("client.pem")),
            key_file: Some(self.path("client.key")),
            server_name: Some("redis.test".to_owned()),
        }
    }

    /// `ca.pem`, `server.pem`, `server.key`, `client.pem` or `client.key`.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }
}

/// A server with TLS ends at once, since it has no certificate, and says so; one without has another reason.
fn server_speaks_tls() -> bool {
    let refused = server_command().args(["--port", "0", "--tls-port", &free_port().to_string()]).output();
    refused.is_ok_and(|output| {
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).contains("tls-cert-file")
    })
}

fn openssl(folder: &Path, arguments: &[&str]) -> bool {
    let mut command = Command::new("openssl");
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
