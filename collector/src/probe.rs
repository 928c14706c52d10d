//! Polling a remote target once: what a `collect` job does.

use std::{sync::Arc, time::Duration};

use tidemark_egress::{Client, Method, Request, Url};
use tidemark_model::{Clock, PointBatch, PointBatchBuilder, PointError, Value};

/// A target that answers HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeTarget {
    /// Value of the tag `target`.
    pub name: String,
    /// What to fetch.
    pub url: Url,
    /// How long the answer may take, until its last byte.
    pub timeout: Duration,
}

/// Fetches targets and says how that went, as points.
#[derive(Clone)]
pub struct Probe {
    client: Client,
    clock: Arc<dyn Clock>,
}

impl Probe {
    /// A probe that fetches with `client`.
    #[must_use]
    pub fn new(client: Client, clock: Arc<dyn Clock>) -> Self {
        Self { client, clock }
    }

    /// Fetches a target once. A target that does not answer is a result, not an error: `http.check.up` is 0.
    ///
    /// The points are `http.check.up` (1 for an answer below 400, else 0), `http.check.duration_ms` and, when there was
    /// an answer, `http.check.status` and `http.check.bytes`.
    ///
    /// # Errors
    /// The target's name is no legal tag value.
    pub async fn run(&self, target: &ProbeTarget) -> Result<PointBatch, PointError> {
        let began = self.clock.monotonic();
        let mut request = Request::new(Method::GET, target.url.clone());
        request.timeout = Some(target.timeout);
        let answer = self.client.send(request).await;
        let took = self.clock.monotonic().saturating_sub(began);
        let now_ms = self.clock.now_ms();
        let mut builder = PointBatchBuilder::default();
        let mut add = |metric: &str, value: Value| builder.push(metric, &mut [("target", &target.name)], now_ms, value);
        add("http.check.duration_ms", Value::Float(took.as_secs_f64() * 1000.0))?;
        match answer {
            Ok(answer) => {
                let status = answer.status.as_u16();
                add("http.check.up", Value::Int(i64::from(status < 400)))?;
                add("http.check.status", Value::Int(i64::from(status)))?;
                add("http.check.bytes", Value::Int(i64::try_from(answer.body.len()).unwrap_or(i64::MAX)))?;
            }
            Err(error) => {
                tracing::debug!(target = target.name, %error, "a target does not answer");
                add("http.check.up", Value::Int(0))?;
            }
        }
        Ok(builder.finish())
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Probe").field("client", &self.client).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use tidemark_egress::{ClientOptions, PrivateAddresses};
    use tidemark_model::SystemClock;

    use super::*;

    async fn probed(url: &str) -> Vec<(String, Value)> {
        let options = ClientOptions { private_addresses: PrivateAddresses::Allow, ..ClientOptions::default() };
        let probe = Probe::new(Client::new(options).unwrap(), Arc::new(SystemClock::new()));
        let target =
            ProbeTarget { name: "shop".to_owned(), url: url.parse().unwrap(), timeout: Duration::from_secs(5) };
        let batch = probe.run(&target).await.unwrap();
        batch.points().map(|point| (batch.series_key(point.series).to_string(), point.value)).collect()
    }

    #[tokio::test]
    async fn an_answer_and_its_absence_are_points() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let read = stream.read(&mut [0; 1024]).unwrap();
            assert!(read > 0);
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").unwrap();
        });
        let points = probed(&format!("http://{address}/")).await;
        serving.join().unwrap();
        assert!(points.contains(&("http.check.up{target=shop}".to_owned(), Value::Int(0))));
        assert!(points.contains(&("http.check.status{target=shop}".to_owned(), Value::Int(404))));
        assert!(points.contains(&("http.check.bytes{target=shop}".to_owned(), Value::Int(2))));
        // Nobody listens there any more.
        let points = probed(&format!("http://{address}/")).await;
        assert!(points.contains(&("http.check.up{target=shop}".to_owned(), Value::Int(0))));
        assert_eq!(points.len(), 2);
    }
}
