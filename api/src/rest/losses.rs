//! Jobs that the broker lost, and jobs that it has again.

use actix_web::{HttpResponse, web::Data};
use serde_json::{Value, json};
use tidemark_queue::QueueLoss;

use super::broker_call::look;
use crate::{console::Console, error::ApiError};

/// `GET /losses`: the newest first.
pub(super) async fn list(console: Data<Console>) -> Result<HttpResponse, ApiError> {
    let losses = look(console.seams.broker.losses()).await?;
    Ok(HttpResponse::Ok().json(json!({ "losses": losses.iter().map(loss_json).collect::<Vec<_>>() })))
}

fn loss_json(loss: &QueueLoss) -> Value {
    json!({
        "queue": loss.queue.to_string(),
        "kind": loss.kind,
        "noticed_ms": loss.noticed_ms,
        "jobs_before": loss.jobs_before,
        "jobs_after": loss.jobs_after,
        "found": loss.found,
    })
}

#[cfg(test)]
mod tests {
    use tidemark_queue::{JobId, LossFound, LossKind};

    use super::*;

    #[test]
    fn the_jobs_of_a_loss_are_named_by_their_ids() {
        let found = LossFound { lost: vec![JobId::from_bytes([1; 16])], lost_jobs: 1, ..LossFound::default() };
        let loss = QueueLoss {
            queue: "notify".parse().unwrap(),
            kind: LossKind::WentBack,
            generation: String::new(),
            noticed_ms: 9,
            jobs_before: 2,
            jobs_after: 1,
            found: Some(found),
        };
        let shown = loss_json(&loss);
        assert_eq!((&shown["kind"], &shown["found"]["lost_jobs"]), (&json!("went_back"), &json!(1)));
        assert_eq!(shown["found"]["lost"], json!(["01010101-0101-0101-0101-010101010101"]));
        assert_eq!(loss_json(&QueueLoss { found: None, ..loss })["found"], Value::Null);
    }
}
