//! Our own REST API under `/api/tidemark/v1`: jobs, queues, workers, schedules, incidents, rules, graphs.
//!
//! Reading is GET; whatever changes something is POST, PUT or DELETE and, when it comes from a page, needs the page's token.

mod backup;
mod broker_call;
mod cardinality;
mod dead_letters;
mod enqueue;
mod expression;
mod graph;
mod guard;
mod health;
mod incidents;
mod job_json;
mod jobs;
mod json_body;
mod losses;
mod moments;
mod openapi;
mod payload_json;
mod queues;
mod running_queries;
mod schedules;
mod uploads;
mod work;
mod workers;
mod workflows;

use actix_web::web::{self, ServiceConfig};

use crate::{export, opentsdb::reading};

pub(crate) use self::{
    job_json::{job_json, result_of},
    payload_json::payload_json,
};
pub use backup::{BackupPieces, BackupRefusal, BackupSource};
pub use health::{Readiness, Troubles};
pub use payload_json::without_password;

/// Adds the routes.
pub(crate) fn configure(config: &mut ServiceConfig) {
    config
        .route("/-/healthy", web::get().to(health::healthy))
        .route("/-/ready", web::get().to(health::ready))
        .service(reading(web::resource("/api/expr")).route(web::post().to(expression::evaluate)))
        .service(reading(web::resource("/bosun/api/expr")).route(web::post().to(expression::evaluate)))
        .service(
            web::scope("/api/tidemark/v1")
                .route("/openapi.json", web::get().to(openapi::document))
                .route("/cardinality", web::get().to(cardinality::cardinality))
                .route("/queries", web::get().to(running_queries::list))
                .route("/queries/{id}/cancel", web::post().to(running_queries::cancel))
                .route("/queues", web::get().to(queues::list))
                .route("/queues/{name}", web::get().to(queues::one))
                .route("/queues/{name}/settings", web::put().to(queues::set))
                .route("/queues/{name}/{action}", web::post().to(queues::steer))
                .route("/losses", web::get().to(losses::list))
                .route("/jobs", web::get().to(jobs::list))
                .route("/jobs", web::post().to(enqueue::enqueue))
                .route("/jobs/retry", web::post().to(dead_letters::retry))
                .route("/jobs/purge", web::post().to(dead_letters::purge))
                .route("/jobs/{id}", web::get().to(jobs::one))
                .route("/jobs/{id}", web::delete().to(dead_letters::forget))
                .route("/jobs/{id}/output", web::get().to(uploads::output))
                .route("/jobs/{id}/{action}", web::post().to(jobs::steer))
                .route("/uploads", web::get().to(uploads::list))
                .route("/uploads/{name}", web::put().to(uploads::put))
                .route("/uploads/{name}", web::delete().to(uploads::delete))
                .route("/workers", web::get().to(workers::list))
                .route("/workers/{name}", web::get().to(workers::one))
                .route("/workers/{name}/{action}", web::post().to(workers::steer))
                .route("/schedules", web::get().to(schedules::list))
                .route("/schedules/{name}", web::get().to(schedules::one))
                .route("/schedules/{name}", web::put().to(schedules::put))
                .route("/schedules/{name}", web::delete().to(schedules::delete))
                .route("/schedules/{name}/{action}", web::post().to(schedules::steer))
                .route("/workflows", web::get().to(workflows::list))
                .route("/workflows", web::post().to(workflows::start))
                .route("/workflows/{id}", web::get().to(workflows::one))
                .route("/workflows/{id}/cancel", web::post().to(workflows::cancel))
                .route("/backup", web::post().to(backup::take))
                .route("/export", web::get().to(export::get))
                .route("/incidents", web::get().to(incidents::list))
                .route("/incidents/{id}", web::get().to(incidents::one))
                .route("/incidents/{id}/actions", web::post().to(incidents::act))
                .route("/rules", web::get().to(incidents::rules))
                .route("/graph", web::post().to(graph::graph)),
        );
}
