//! How Redis is reached, from the settings.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use tidemark_queue::{RedisOptions, RedisTls};

use crate::config::RedisSettings;

/// Longest password of a file in bytes.
const PASSWORD_BYTES_MAX: usize = 4_096;

/// The options for the address that the setting `broker` has. Reads the files with passwords.
pub(crate) fn redis_options(settings: &RedisSettings, url: &str) -> anyhow::Result<RedisOptions> {
    Ok(RedisOptions {
        prefix: settings.prefix.clone(),
        username: text(&settings.username),
        password: password("redis.password", &settings.password, &settings.password_file)?,
        sentinel_username: text(&settings.sentinel_username),
        sentinel_password: password(
            "redis.sentinel_password",
            &settings.sentinel_password,
            &settings.sentinel_password_file,
        )?,
        tls: RedisTls {
            ca_file: file(&settings.ca_file),
            cert_file: file(&settings.cert_file),
            key_file: file(&settings.key_file),
            server_name: text(&settings.server_name),
        },
        wait_replicas: settings.wait_replicas,
        ..RedisOptions::new(url)
    })
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn file(path: &Path) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then(|| path.to_owned())
}

fn password(setting: &str, password: &str, path: &Path) -> anyhow::Result<Option<String>> {
    let Some(path) = file(path) else { return Ok(text(password)) };
    if !password.is_empty() {
        bail!("settings {setting} and {setting}_file: set one of them");
    }
    let read = fs::read_to_string(&path).with_context(|| format!("setting {setting}_file: read {}", path.display()))?;
    let password = read.trim_end_matches(['\r', '\n']);
    if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
        bail!("setting {setting}_file: {} has no password of 1 to {PASSWORD_BYTES_MAX} bytes", path.display());
    }
    Ok(Some(password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_comes_from_a_file_or_from_the_settings() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, "hunter2\n").unwrap();
        let settings = RedisSettings { password_file: path.clone(), ..RedisSettings::default() };
        let options = redis_options(&settings, "redis://h").unwrap();
        assert_eq!(options.password.as_deref(), Some("hunter2"));
        assert!(!format!("{options:?} {settings:?}").contains("hunter2"));
        let check = |settings: RedisSettings, expect: &str| {
            let error = redis_options(&settings, "redis://h").unwrap_err().to_string();
            assert!(error.contains(expect) && !error.contains("hunter"), "{error}");
        };
        check(RedisSettings { password: "hunter3".to_owned(), ..settings }, "set one of them");
        fs::write(&path, "\n").unwrap();
        check(RedisSettings { password_file: path, ..RedisSettings::default() }, "has no password");
    }
}
