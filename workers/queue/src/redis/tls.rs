//! TLS to Redis: whom we trust and who we are.

use std::{fs, path::Path, sync::Arc};

use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use super::RedisTls;
use crate::BrokerError;

/// What is needed to speak TLS to a server.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    /// Name that the server's certificate must have, in place of the host that is dialled.
    pub(super) server_name: Option<ServerName<'static>>,
}

impl Tls {
    /// Reads the files, once: certificates that are renewed are taken up with the next start.
    pub(super) fn new(files: &RedisTls) -> Result<Self, BrokerError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| BrokerError::Invalid(format!("prepare TLS: {error}")))?
            .with_root_certificates(roots(files.ca_file.as_deref())?);
        let config = match (&files.cert_file, &files.key_file) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert_file), Some(key_file)) => {
                let chain = certificates(cert_file, "redis.cert_file")?;
                let key = PrivateKeyDer::from_pem_slice(&read(key_file, "redis.key_file")?).map_err(|_| {
                    let path = key_file.display();
                    BrokerError::Invalid(format!("redis.key_file: {path} has no private key in PEM form"))
                })?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    BrokerError::Invalid(format!("redis.cert_file and redis.key_file do not fit: {error}"))
                })?
            }
            _ => {
                return Err(BrokerError::Invalid(
                    "redis.cert_file and redis.key_file belong together: set both or none".to_owned(),
                ));
            }
        };
        let server_name = match &files.server_name {
            None => None,
            Some(name) => Some(ServerName::try_from(name.clone()).map_err(|_| {
                BrokerError::Invalid(format!("redis.server_name: `{}` is no name of a host", name.escape_debug()))
            })?),
        };
        Ok(Self { config: Arc::new(config), server_name })
    }
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, BrokerError> {
    let mut store = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            for certificate in certificates(path, "redis.ca_file")? {
                store
                    .add(certificate)
                    .map_err(|error| BrokerError::Invalid(format!("redis.ca_file: {}: {error}", path.display())))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            let _counts = store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                return Err(BrokerError::Invalid(
                    "this machine has no CA certificates: name the one that signed the server's in redis.ca_file"
                        .to_owned(),
                ));
            }
        }
    }
    Ok(store)
}

fn certificates(path: &Path, setting: &str) -> Result<Vec<CertificateDer<'static>>, BrokerError> {
    let pem = read(path, setting)?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    found
        .ok()
        .filter(|found| !found.is_empty())
        .ok_or_else(|| BrokerError::Invalid(format!("{setting}: {} has no certificate in PEM form", path.display())))
}

fn read(path: &Path, setting: &str) -> Result<Vec<u8>, BrokerError> {
    fs::read(path).map_err(|error| BrokerError::Invalid(format!("{setting}: read {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_the_files_is_said_with_the_setting() {
        let folder = tempfile::tempdir().unwrap();
        let junk = folder.path().join("junk.pem");
        fs::write(&junk, "no certificate").unwrap();
        let check = |files: RedisTls, expect: &str| {
            let error = Tls::new(&files).err().unwrap().to_string();
            assert!(error.contains(expect), "{error}");
        };
        let none = RedisTls { ca_file: None, cert_file: None, key_file: None, server_name: None };
        let missing = folder.path().join("missing.pem");
        check(RedisTls { ca_file: Some(missing), ..none.clone() }, "redis.ca_file: read");
        check(RedisTls { ca_file: Some(junk.clone()), ..none.clone() }, "has no certificate in PEM form");
        check(RedisTls { cert_file: Some(junk), ..none }, "belong together");
    }
}
