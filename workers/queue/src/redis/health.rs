//! Whether Redis keeps what it is given.

use std::{collections::HashMap, sync::Arc};

use redis::Value;

use super::{RedisBroker, link::Link, trouble::meaning_of};
use crate::{BrokerError, BrokerHealth};

/// The oldest release that has what the scripts use.
const VERSION_MIN: (u32, u32) = (6, 2);

impl RedisBroker {
    pub(super) async fn check_health(&self) -> BrokerHealth {
        let description = self.shared.address.to_string();
        match self.warnings().await {
            Ok(warnings) => BrokerHealth { description, reachable: true, warnings },
            Err(error) => BrokerHealth { description, reachable: false, warnings: vec![error.to_string()] },
        }
    }

    /// What is wrong with servers that answer; fails when one does not.
    async fn warnings(&self) -> Result<Vec<String>, BrokerError> {
        self.shared.check_open()?;
        self.shared.check_owner().await?;
        let masters = self.shared.servers.masters().await?;
        let several = masters.len() > 1;
        let mut warnings = Vec::new();
        for link in masters {
            // A node that does not answer is trouble: the queues that it has take no jobs.
            let (place, found) = self.warnings_of(&link).await?;
            warnings.extend(found.into_iter().map(|warning| match several {
                true => format!("{place}: {warning}"),
                false => warning,
            }));
        }
        warnings.extend(self.shared.watch.lock().warnings(self.shared.clock.monotonic()));
        Ok(warnings)
    }

    async fn warnings_of(&self, link: &Arc<Link>) -> Result<(String, Vec<String>), BrokerError> {
        let lent = link.connection().await?;
        let endpoint = &lent.connection.endpoint;
        match link.run(&lent, &&redis::cmd("INFO"), false).await {
            Ok(answer) => {
                let text: String = redis::from_redis_value::<String>(verbatim(answer))
                    .map_err(|error| BrokerError::Corrupt(format!("redis gave an unexpected answer: {error}")))?;
                Ok((endpoint.to_string(), warnings_in(&text, self.shared.redis.wait_replicas)))
            }
            Err(error) if error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoPerm) => {
                let warning = "whether redis keeps its jobs is not known: the user may not run INFO, which `ACL SETUSER \
                               NAME +info` allows";
                Ok((endpoint.to_string(), vec![warning.to_owned()]))
            }
            Err(error) => Err(meaning_of(&error, endpoint)),
        }
    }
}

/// A text that may come with its format.
fn verbatim(value: Value) -> Value {
    match value {
        Value::VerbatimString { text, .. } => Value::BulkString(text.into_bytes()),
        value => value,
    }
}

/// What the answer to `INFO` shows. It is used in place of `CONFIG GET`, which hosted servers do not have and users may
/// seldom run.
fn warnings_in(info: &str, wait_replicas: u32) -> Vec<String> {
    let fields: HashMap<&str, &str> = info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
    let mut warnings = Vec::new();
    let mut check = |field: &str, wanted: &str, is: &str, advice: &str| match fields.get(field) {
        Some(value) if *value == wanted => {}
        Some(value) => warnings.push(format!("{is} is `{}`: {advice}", if *value == "0" { "no" } else { value })),
        None => warnings.push(format!("redis does not say what {is} is: {advice}")),
    };
    check("aof_enabled", "1", "`appendonly`", "acknowledged jobs are lost when redis ends: set `appendonly yes`");
    check(
        "maxmemory_policy",
        "noeviction",
        "`maxmemory-policy`",
        "redis may drop jobs when memory is short: set `maxmemory-policy noeviction`",
    );
    if fields.get("aof_last_write_status").is_some_and(|status| *status != "ok") {
        warnings.push("redis cannot write its append-only file: its disk may be full".to_owned());
    }
    if let Some(version) = fields.get("redis_version").filter(|version| is_too_old(version)) {
        warnings.push(format!("redis {version} is too old: 6.2 or later, or Valkey, is needed"));
    }
    let replicas = fields.get("connected_slaves").and_then(|replicas| replicas.parse::<u32>().ok()).unwrap_or(0);
    if replicas < wait_replicas {
        warnings.push(format!(
            "{replicas} replicas are connected and `redis.wait_replicas` asks for {wait_replicas}: pushes are not \
             acknowledged"
        ));
    }
    warnings
}

fn is_too_old(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) < VERSION_MIN,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_lose_jobs_is_told_with_what_to_set() {
        let info = |appendonly: &str, policy: &str, version: &str| {
            format!(
                "# Server\r\nredis_version:{version}\r\naof_enabled:{appendonly}\r\naof_last_write_status:ok\r\n\
                 maxmemory_policy:{policy}\r\nconnected_slaves:1\r\n"
            )
        };
        assert_eq!(warnings_in(&info("1", "noeviction", "7.2.4"), 1), Vec::<String>::new());
        let warnings = warnings_in(&info("0", "allkeys-lru", "6.0.16"), 2);
        assert!(warnings[0].starts_with("`appendonly` is `no`"), "{warnings:?}");
        assert!(warnings[1].starts_with("`maxmemory-policy` is `allkeys-lru`"), "{warnings:?}");
        assert!(warnings[2].starts_with("redis 6.0.16 is too old"), "{warnings:?}");
        assert!(warnings[3].starts_with("1 replicas are connected"), "{warnings:?}");
        assert_eq!(warnings_in("", 0).len(), 2);
    }
}
