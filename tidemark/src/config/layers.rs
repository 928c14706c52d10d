//! One layer over the other.

use std::{fs, path::PathBuf};

use anyhow::{Context, bail};
use toml::{Table, Value};

use super::Settings;
use crate::usage::UsageError;

/// Start of the variables that are settings.
const PREFIX: &str = "TIDEMARK_";
/// Variables with that start which are none: what clients use.
const NOT_SETTINGS: [&str; 3] = ["TIDEMARK_CONFIG", "TIDEMARK_URL", "TIDEMARK_TOKEN"];
/// Read when it is there and no other file is named.
const DEFAULT_FILE: &str = "tidemark.toml";

/// Parts of the names of settings whose values nobody is to see.
const SECRETS: [&str; 4] = ["token", "proxy", "sha256", "password"];

/// Where settings come from, the strongest last.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// The file named by the user.
    pub(crate) file: Option<PathBuf>,
    /// The environment.
    pub(crate) variables: Vec<(String, String)>,
    /// Settings of flags, by dotted name.
    pub(crate) flags: Vec<(&'static str, String)>,
}

/// Reads all layers.
pub(crate) fn load(sources: &Sources) -> anyhow::Result<Settings> {
    let kinds = Table::try_from(Settings::default()).context("write the default settings as TOML")?;
    let mut merged = Table::new();
    if let Some((path, text)) = read_file(sources.file.as_ref())? {
        let origin = || format!("configuration file {}", path.display());
        merged = toml::from_str(&text).map_err(|error| sentence(&error, &text)).with_context(origin)?;
        toml::from_str::<Settings>(&text).map_err(|error| sentence(&error, &text)).with_context(origin)?;
    }
    for (name, text) in &sources.variables {
        let Some(setting) = name.strip_prefix(PREFIX).filter(|_| !NOT_SETTINGS.contains(&name.as_str())) else {
            continue;
        };
        let path: Vec<String> = setting.split("__").map(str::to_ascii_lowercase).collect();
        set(&mut merged, &kinds, &path, text).with_context(|| format!("environment variable {name}"))?;
    }
    for (name, text) in &sources.flags {
        let path: Vec<String> = name.split('.').map(str::to_owned).collect();
        set(&mut merged, &kinds, &path, text).with_context(|| UsageError(format!("option --{name}")))?;
    }
    Ok(merged.try_into()?)
}

/// What is wrong in a file and where, without showing the line as TOML's own text does: it may hold a token.
fn sentence(error: &toml::de::Error, text: &str) -> anyhow::Error {
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return anyhow::anyhow!("{}", error.message());
    };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let key = text.lines().nth(line - 1).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim());
    let is_secret = key.is_some_and(|key| SECRETS.iter().any(|secret| key.contains(secret)));
    let message = match error.message() {
        // The message has the value.
        message if is_secret && message.contains('"') => "invalid type or form",
        message => message,
    };
    let key = key.filter(|key| !key.contains(['"', '\''])).map(|key| format!(" (`{key}`)")).unwrap_or_default();
    anyhow::anyhow!("line {line}, column {column}{key}: {message}")
}

fn read_file(named: Option<&PathBuf>) -> anyhow::Result<Option<(PathBuf, String)>> {
    let path = match named {
        Some(path) => path.clone(),
        None if PathBuf::from(DEFAULT_FILE).is_file() => DEFAULT_FILE.into(),
        None => return Ok(None),
    };
    let text = fs::read_to_string(&path).with_context(|| format!("configuration file {}", path.display()))?;
    Ok(Some((path, text)))
}

/// Sets one setting from a text, in the type that its default has, and checks at once that the settings are still
/// sound, so that the error names the variable or flag that broke them.
fn set(merged: &mut Table, kinds: &Table, path: &[String], text: &str) -> anyhow::Result<()> {
    let mut candidate = merged.clone();
    insert(&mut candidate, kinds, path, text)?;
    let sound: Result<Settings, _> = candidate.clone().try_into();
    sound.map_err(|error: toml::de::Error| anyhow::anyhow!("{}", error.message().trim()))?;
    *merged = candidate;
    Ok(())
}

fn insert(table: &mut Table, kinds: &Table, path: &[String], text: &str) -> anyhow::Result<()> {
    let Some((key, rest)) = path.split_first() else { bail!("names no setting") };
    let Some(kind) = kinds.get(key) else {
        // A map of free keys, such as the agent's tags: its entries are texts.
        if kinds.is_empty() && rest.is_empty() {
            table.insert(key.clone(), Value::String(text.to_owned()));
            return Ok(());
        }
        bail!("no such setting: `{key}`; there are: {}", kinds.keys().cloned().collect::<Vec<_>>().join(", "));
    };
    if let Value::Table(kinds) = kind {
        let inner = table.entry(key.clone()).or_insert_with(|| Value::Table(Table::new()));
        let Some(inner) = inner.as_table_mut() else { bail!("`{key}` is no group of settings") };
        if rest.is_empty() {
            bail!("`{key}` is a group of settings; name one of them, such as `{key}__{}`", first_key(kinds));
        }
        return insert(inner, kinds, rest, text);
    }
    if !rest.is_empty() {
        bail!("`{key}` is one setting, it has no `{}`", rest.join("__"));
    }
    table.insert(key.clone(), value(kind, text)?);
    Ok(())
}

fn first_key(table: &Table) -> &str {
    table.keys().next().map_or("NAME", String::as_str)
}

/// The text as a value of the same type as `kind`.
fn value(kind: &Value, text: &str) -> anyhow::Result<Value> {
    Ok(match kind {
        Value::Integer(_) => Value::Integer(text.parse().with_context(|| format!("expected a number, got `{text}`"))?),
        Value::Boolean(_) => {
            Value::Boolean(text.parse().with_context(|| format!("expected `true` or `false`, got `{text}`"))?)
        }
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
        _ => Value::String(text.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BrokerUrl, Role};

    fn sources(
        file: Option<&str>,
        variables: &[(&str, &str)],
        flags: &[(&'static str, &str)],
    ) -> (Sources, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tidemark.toml");
        fs::write(&path, file.unwrap_or_default()).unwrap();
        let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let flags = flags.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        (Sources { file: Some(path), variables, flags }, folder)
    }

    #[test]
    fn flags_win_over_variables_over_the_file_over_defaults() {
        let file = "listen = \"127.0.0.1:1\"\nroles = [\"api\"]\n[limits]\nqueries = 3\n[agent.tags]\ndc = \"ams\"\n";
        let variables =
            [("TIDEMARK_LISTEN", "127.0.0.1:2"), ("TIDEMARK_LIMITS__BODY_BYTES", "1MiB"), ("HOME", "/root")];
        let (sources, _folder) =
            sources(Some(file), &variables, &[("listen", "127.0.0.1:3"), ("broker", "redis://h:1")]);
        let settings = load(&sources).unwrap();
        assert_eq!(settings.listen.port(), 3);
        assert_eq!(settings.roles, [Role::Api]);
        assert_eq!((settings.limits.queries, settings.limits.body_bytes.0), (3, 1 << 20));
        assert_eq!(settings.agent.tags.get("dc").map(String::as_str), Some("ams"));
        assert_eq!(settings.broker, BrokerUrl::Redis("redis://h:1".to_owned()));
        assert_eq!(settings.shutdown, Settings::default().shutdown);
    }

    #[test]
    fn lists_and_tags_come_from_variables_too() {
        let variables = [("TIDEMARK_ROLES", "api, worker"), ("TIDEMARK_AGENT__TAGS__DC", "ams")];
        let (sources, _folder) = sources(None, &variables, &[]);
        let settings = load(&sources).unwrap();
        assert_eq!(settings.roles, [Role::Api, Role::Worker]);
        assert_eq!(settings.agent.tags.get("dc").map(String::as_str), Some("ams"));
    }

    #[test]
    fn an_error_names_where_it_comes_from() {
        let check = |file: Option<&str>, variable: Option<(&str, &str)>, expect: &[&str]| {
            let (sources, _folder) = sources(file, &variable.into_iter().collect::<Vec<_>>(), &[]);
            let error = format!("{:#}", load(&sources).unwrap_err());
            assert!(expect.iter().all(|part| error.contains(part)), "{error}");
        };
        check(Some("listne = 1"), None, &["tidemark.toml", "line 1", "listne"]);
        check(None, Some(("TIDEMARK_LIMITS__QUERIES", "many")), &["TIDEMARK_LIMITS__QUERIES", "expected a number"]);
        check(None, Some(("TIDEMARK_LIMITS__BODY_BYTES", "64")), &["TIDEMARK_LIMITS__BODY_BYTES", "64MiB"]);
        check(None, Some(("TIDEMARK_LIMTS__BODY", "64")), &["no such setting: `limts`"]);
        check(None, Some(("TIDEMARK_BROKER", "amqp://x")), &["TIDEMARK_BROKER", "redis://"]);
        check(Some("broker = 5"), None, &["line 1, column 10 (`broker`): invalid type"]);
        check(None, Some(("TIDEMARK_OPENTSDB__MODE", "r")), &["TIDEMARK_OPENTSDB__MODE", "`rw`, `ro`, `wo`"]);
        check(None, Some(("TIDEMARK_ROLES", "api,wroker")), &["TIDEMARK_ROLES", "wroker"]);
    }

    #[test]
    fn no_error_shows_a_secret() {
        let check = |file: Option<&str>, variable: Option<(&str, &str)>| {
            let (sources, _folder) = sources(file, &variable.into_iter().collect::<Vec<_>>(), &[]);
            let error = format!("{:#}", load(&sources).unwrap_err());
            assert!(!error.contains("hunter2"), "{error}");
        };
        check(Some("[agent]\ntoken = \"hunter2"), None);
        check(Some("[agent]\ntoken = [\"hunter2\"]"), None);
        check(Some("[agent]\ntokn = \"hunter2\""), None);
        check(Some("[auth]\ntokens = \"hunter2\""), None);
        check(Some("broker = \"redix://:hunter2@h\""), None);
        check(Some("[redis]\npassword = [\"hunter2\"]"), None);
        check(None, Some(("TIDEMARK_BROKER", "amqp://me:hunter2@h")));
    }
}
