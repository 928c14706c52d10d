//! Whether this process can take writes and answer queries.

use std::sync::Arc;

use tidemark_api::{Readiness, Troubles};
use tidemark_kv::Kv;
use tidemark_model::BoxFuture;
use tidemark_queue::Broker;

/// Asks the parts.
pub(crate) struct OfProcess {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) engine: Arc<dyn Kv>,
}

impl Readiness for OfProcess {
    fn troubles(&self) -> BoxFuture<'_, Troubles> {
        Box::pin(async {
            let mut troubles = Troubles::default();
            if let Some(reason) = self.engine.trouble() {
                troubles.fatal.push(format!("the store takes no more writes: {reason}"));
            }
            let broker = self.broker.health().await;
            if !broker.reachable {
                troubles.fatal.push(format!("the broker does not answer: {}", broker.description));
            }
            troubles.degrading.extend(broker.warnings);
            troubles
        })
    }
}
