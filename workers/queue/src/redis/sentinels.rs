//! Sentinels, which know the master.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{
    address::Endpoint,
    dial::{Connection, Dialler, Login},
};

pub(super) struct Sentinels {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) master: String,
    pub(super) login: Login,
    /// The one that answered last.
    pub(super) preferred: AtomicUsize,
}

impl Sentinels {
    /// Where the master is: what the first sentinel says that answers, the one that answered last before the others.
    pub(super) async fn master(&self, dialler: &Dialler) -> Result<Endpoint, String> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut reasons = Vec::new();
        for step in 0..self.endpoints.len() {
            let place = (first + step) % self.endpoints.len();
            let Some(endpoint) = self.endpoints.get(place) else { continue };
            let asking = tokio::time::timeout(dialler.connect_timeout, self.ask(dialler, endpoint));
            let silent = || format!("redis at {endpoint} did not answer within {:?}", dialler.connect_timeout);
            match asking.await.unwrap_or_else(|_| Err(silent())) {
                Ok(Some(master)) => {
                    self.preferred.store(place, Ordering::Relaxed);
                    return Ok(master);
                }
                Ok(None) => reasons.push(format!("sentinel at {endpoint} knows no master `{}`", self.master)),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(format!("no sentinel names the master: {}", reasons.join("; ")))
    }

    async fn ask(&self, dialler: &Dialler, endpoint: &Endpoint) -> Result<Option<Endpoint>, String> {
        let connection = dialler.dial(endpoint, &self.login).await?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        let answer = connection.run(&&command, false).await;
        let found: Option<(String, u16)> = answer
            .and_then(|answer| redis::from_redis_value(answer).map_err(Into::into))
            .map_err(|error| format!("redis at {endpoint}: {error}"))?;
        Ok(found.map(|(host, port)| Endpoint::Tcp { host, port }))
    }
}

/// Refuses a server that is no master: sentinels need a moment to agree about a failover.
pub(super) async fn check_is_master(connection: &Connection) -> Result<(), String> {
    let endpoint = &connection.endpoint;
    match connection.run(&&redis::cmd("ROLE"), false).await {
        Ok(redis::Value::Array(parts)) => {
            let role: Option<String> = parts.into_iter().next().and_then(|role| redis::from_redis_value(role).ok());
            match role.as_deref() {
                Some("master") => Ok(()),
                role => Err(format!(
                    "redis at {endpoint} is named as the master and is a {}: a failover goes on",
                    role.unwrap_or("server of another kind")
                )),
            }
        }
        Ok(_) => Err(format!("redis at {endpoint} gave an unexpected answer to ROLE")),
        // Who may not ask finds out with the first write.
        Err(error) if error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoPerm) => Ok(()),
        Err(error) => Err(format!("redis at {endpoint}: {error}")),
    }
}
