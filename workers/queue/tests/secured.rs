//! What is said when TLS or a login does not work out; the other way round it is in the conformance suite.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::{sync::Arc, time::Duration};

use support::{RedisServer, certificates::Certificates, job, options};
use tidemark_model::SystemClock;
use tidemark_queue::{Broker, BrokerError, RedisBroker, RedisOptions, RedisTls};

async fn check(redis: RedisOptions, expect: &str) {
    let broker = RedisBroker::new(redis, options(), Arc::new(SystemClock::new())).unwrap();
    let error = broker.push(vec![job("x")]).await.unwrap_err();
    assert!(matches!(error, BrokerError::Unavailable(_)), "{error:?}");
    let health = format!("{:?}", broker.health().await);
    for text in [error.to_string(), health] {
        assert!(text.contains(expect) && !text.contains("hunter"), "{text}");
    }
}

#[tokio::test]
async fn trouble_with_tls_names_the_setting_that_helps() {
    let (Some(certificates), Some(others)) = (Certificates::make(), Certificates::make()) else { return };
    let Some(server) = RedisServer::start_tls(&certificates).await else { return };
    let good = server.options.clone();
    let with = |tls: RedisTls| RedisOptions { tls, ..good.clone() };
    check(with(RedisTls { cert_file: None, key_file: None, ..good.tls.clone() }), "`redis.cert_file`").await;
    check(with(RedisTls { ca_file: Some(others.path("ca.pem")), ..good.tls.clone() }), "`redis.ca_file`").await;
    check(with(RedisTls { server_name: None, ..good.tls.clone() }), "`redis.server_name`").await;
    let stranger = RedisTls {
        cert_file: Some(others.path("client.pem")),
        key_file: Some(others.path("client.key")),
        ..good.tls.clone()
    };
    check(with(stranger), "does not trust the certificate in `redis.cert_file`").await;
    check(RedisOptions::new(&good.url.replace("rediss:", "redis:")), "`rediss://`").await;
    let Some(plain) = RedisServer::start().await else { return };
    // It waits for the end of what it takes for a command.
    let response_timeout = Duration::from_millis(500);
    let url = plain.url().replace("redis:", "rediss:");
    check(RedisOptions { url, response_timeout, ..good.clone() }, "`redis://`").await;
}

#[tokio::test]
async fn trouble_with_a_login_names_the_user_and_never_the_password() {
    let Some(server) = RedisServer::start().await else { return };
    server.command(&["ACL", "SETUSER", "few", "on", ">hunter2", "~other:*", "+@all"]);
    let url = |login: &str| server.url().replace("//", &format!("//{login}@"));
    check(RedisOptions::new(&url("few:hunter3")), "refuses user `few` or the password").await;
    check(RedisOptions::new(&url("nobody:hunter2")), "refuses user `nobody` or the password").await;
    check(RedisOptions::new(&url("few:hunter2")), "redis-layout.md").await;
    check(RedisOptions { password: Some("hunter4".to_owned()), ..RedisOptions::new(&url("few")) }, "user `few`").await;
    server.command(&["CONFIG", "SET", "requirepass", "hunter5"]);
    check(server.options.clone(), "`redis.password_file`").await;
}

#[tokio::test]
async fn two_installations_share_a_server_by_their_prefixes() {
    let Some(server) = RedisServer::start().await else { return };
    let broker = |prefix: &str| {
        let redis = RedisOptions { prefix: prefix.to_owned(), ..server.options.clone() };
        RedisBroker::new(redis, options(), Arc::new(SystemClock::new())).unwrap()
    };
    broker("ams").push(vec![job("a"), job("b")]).await.unwrap();
    broker("fra").push(vec![job("c")]).await.unwrap();
    for (prefix, ready) in [("ams", 2), ("fra", 1)] {
        assert_eq!(broker(prefix).queues().await.unwrap()[0].ready, ready);
    }
}
