//! Everything that keeps `serve` from starting with settings that can be read.

use std::sync::Arc;

use anyhow::{Context, bail};
use tidemark_model::SystemClock;
use tidemark_queue::{BrokerOptions, RedisBroker};

use super::{
    agent_options, cluster, exposure,
    queues::{collect_queue, kind_limits, local_rates, queues, shared_rates},
    redis_options::redis_options,
};
use crate::config::{BrokerUrl, Role, Settings};

/// What is wrong, one sentence each; for `tidemark check`, and for `serve` before it opens anything.
pub(crate) fn problems(settings: &Settings) -> Vec<String> {
    let mut problems = settings.validate();
    let parts = [
        broker(settings),
        cluster::check(settings),
        roles(settings),
        queues(&settings.worker).map(drop),
        shared_rates(&settings.worker).map(drop),
        local_rates(&settings.worker).map(drop),
        kind_limits(&settings.worker).map(drop),
        sites(settings),
        agent_options(settings).map(drop),
        exposure::tokens(&settings.auth).map(drop),
        exposure::check(settings),
    ];
    problems.extend(parts.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")));
    problems
}

/// Refuses settings with problems.
pub(crate) fn refuse(problems: &[String]) -> anyhow::Result<()> {
    match problems {
        [] => Ok(()),
        [problem] => bail!("{problem}"),
        problems => bail!("the configuration has mistakes:\n{}", problems.join("\n")),
    }
}

fn broker(settings: &Settings) -> anyhow::Result<()> {
    if let BrokerUrl::Redis(url) = &settings.broker {
        // Connects when it is first used, which it is not.
        let redis = redis_options(&settings.redis, url)?;
        RedisBroker::new(redis, BrokerOptions::default(), Arc::new(SystemClock::new()))
            .map_err(|error| anyhow::anyhow!("setting broker: {error}"))?;
    }
    Ok(())
}

fn sites(settings: &Settings) -> anyhow::Result<()> {
    for target in &settings.collect {
        collect_queue(&target.site).with_context(|| format!("setting collect `{}`: site", target.name))?;
    }
    Ok(())
}

/// An embedded store or queue belongs to one process, and whoever takes points must then also write them.
fn roles(settings: &Settings) -> anyhow::Result<()> {
    if settings.roles.is_empty() {
        bail!("setting roles: names none; there are api, worker, scheduler and agent");
    }
    if !settings.uses_data_folder() || [Role::Api, Role::Worker].iter().all(|role| settings.roles.contains(role)) {
        return Ok(());
    }
    bail!(
        "setting roles: an embedded store or queue belongs to one process, which needs at least the roles `api` and \
         `worker`; for processes of one role name a Redis server with --broker and a FoundationDB cluster with --store"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let problems = problems(&toml::from_str(text).unwrap());
        assert!(problems.len() == 1 && problems[0].contains(expect), "{problems:?}");
    }

    #[test]
    fn each_part_says_what_is_wrong_with_its_settings() {
        assert_eq!(problems(&Settings::default()), Vec::<String>::new());
        check("roles = [\"api\"]", "setting roles");
        check("roles = []", "setting roles");
        check("listen = \"0.0.0.0:4242\"", "refusing to listen");
        check("broker = \"redis://me:pw@\"", "setting broker");
        let tls = "broker = \"rediss://h\"\n[redis]\nca_file = ";
        check(&format!("{tls}\"/none/ca.pem\""), "redis.ca_file");
        check("broker = \"redis://h\"\n[redis]\nca_file = \"ca.pem\"", "does not begin with `rediss`");
        check("broker = \"redis://h\"\n[redis]\nusername = \"me\"", "redis.password_file");
        check("broker = \"redis://h\"\n[redis]\npassword_file = \"/none\"", "redis.password_file");
        check("broker = \"redis+cluster://h/1\"", "redis.prefix");
        check("[agent]\nhost = \"a b\"", "agent.host");
        check("[worker]\nqueues = [\"write:0\"]", "worker.queues");
        check("[worker]\nsite = \"Am s\"", "worker.site");
        check("[[collect]]\nname = \"shop\"\nurl = \"http://shop/\"\nsite = \"Am s\"", "collect `shop`: site");
        check("[worker.rates]\nemail = \"1/s\"", "worker.rates");
        check("[worker.local_rates]\n\"notify:*\" = \"1/s\"", "worker.local_rates");
        check("[worker.kind_concurrency]\nnotify = 0", "worker.kind_concurrency");
        check("[[auth.tokens]]\nname = \"x\"\nsha256 = \"12\"\nroles = [\"read\"]", "auth.tokens");
        let sha256 = "0".repeat(64);
        check(&format!("[[auth.tokens]]\nname = \"x\"\nsha256 = \"{sha256}\"\nroles = [\"rule\"]"), "auth.tokens");
        check(&format!("[[auth.tokens]]\nname = \"x\"\nsha256 = \"{sha256}\"\nroles = []"), "auth.tokens");
    }

    #[test]
    fn several_problems_are_told_together() {
        assert!(refuse(&[]).is_ok());
        let error = refuse(&["one".to_owned(), "two".to_owned()]).unwrap_err().to_string();
        assert!(error.ends_with("one\ntwo"), "{error}");
    }
}
