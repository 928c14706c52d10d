//! Our own REST API under `/api/tidemark/v1`: jobs, queues, workers, schedules, incidents, rules, graphs.
//!
//! Reading is GET; whatever changes something is POST and, when it comes from a page, needs the page's token.

mod backup;
mod cardinality;
mod expression;
mod graph;
mod guard;
mod health;
mod incidents;
mod jobs;
mod openapi;

use actix_web::web::{self, ServiceConfig};

use crate::export;

pub use backup::{BackupPieces, BackupRefusal, BackupSource};
pub use health::{Readiness, Troubles};

/// Adds the routes.
pub(crate) fn configure(config: &mut ServiceConfig) {
    config
        .route("/-/healthy", web::get().to(health::healthy))
        .route("/-/ready", web::get().to(health::ready))
        .route("/api/expr", web::post().to(expression::evaluate))
        .route("/bosun/api/expr", web::post().to(expression::evaluate))
        .service(
            web::scope("/api/tidemark/v1")
                .route("/openapi.json", web::get().to(openapi::document))
                .route("/cardinality", web::get().to(cardinality::cardinality))
                .route("/queues", web::get().to(jobs::queues))
                .route("/queues/{name}/{action}", web::post().to(jobs::steer_queue))
                .route("/jobs", web::get().to(jobs::list))
                .route("/jobs/{id}", web::get().to(jobs::one))
                .route("/jobs/{id}/{action}", web::post().to(jobs::steer_job))
                .route("/workers", web::get().to(jobs::workers))
                .route("/schedules", web::get().to(jobs::schedules))
                .route("/schedules/{name}/run", web::post().to(jobs::run_schedule))
                .route("/backup", web::post().to(backup::take))
                .route("/export", web::get().to(export::get))
                .route("/incidents", web::get().to(incidents::list))
                .route("/incidents/{id}", web::get().to(incidents::one))
                .route("/incidents/{id}/actions", web::post().to(incidents::act))
                .route("/rules", web::get().to(incidents::rules))
                .route("/graph", web::post().to(graph::graph)),
        );
}
