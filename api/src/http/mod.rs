//! What is the same for every HTTP request: paths, query strings, bodies, compression, origins, ids and logs.

pub(crate) mod body;
pub(crate) mod body_budget;
pub(crate) mod callback;
pub(crate) mod capped_decoder;
pub(crate) mod compressed_body;
pub(crate) mod cors;
pub(crate) mod normal_path;
pub(crate) mod old_error;
pub(crate) mod own_host;
pub(crate) mod pipeline;
pub(crate) mod query_string;
pub(crate) mod same_origin;
pub(crate) mod trace_context;
pub(crate) mod unread_body;
