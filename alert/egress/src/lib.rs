//! The only outbound HTTP client in the tree.
//!
//! Everything that Tidemark sends to somebody else's server goes through [`Client::send`]: notifications, agents'
//! batches, relays. One client means one place that knows which addresses may be reached ([`PrivateAddresses`]), how
//! long a server may take, how much of its answer is read, and that secrets stay out of logs.
//!
//! Addresses are judged twice: a literal address or a telling name when the URL is checked, before anything is sent
//! ([`check_target`], also for configuration at load), and every address that a name resolves to at the moment of
//! connecting. The connection is made to the very address that was judged, so a name that answers differently the
//! next time gains nothing. Turned down: a list of allowed URL prefixes (a redirect or a name defeats it) and
//! resolving before handing the name to the client (it would resolve again).

mod address;
mod client;
mod error;
mod options;
mod redacted;
mod request;
mod resolver;
mod target;
mod upload;

pub use address::{AddressKind, PrivateAddresses, classify};
pub use client::{Client, OpenResponse};
pub use error::{EgressError, OptionsError, TargetError};
pub use options::{ClientOptions, Redirects};
pub use redacted::Redacted;
pub use request::{Request, Response};
pub use reqwest::{
    Method, StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
pub use resolver::{Looking, Lookup, SystemLookup};
pub use target::check_target;
pub use upload::UploadBody;
pub use url::Url;
