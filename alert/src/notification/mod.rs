//! People and programs are told: what a notification is, what it carries, and how it gets there.
//!
//! An incident asks for a delivery ([`NotificationRequest`]), a `notify` job carries it, and a [`Notifier`] makes one
//! attempt. The request holds a picture of the incident at the time, so that a message says what was true when it was
//! due, however late it arrives; the templates are those of the rules of the day. At least once: the receiver sees the
//! same `Tidemark-Delivery` header on every attempt.

mod context;
mod definition;
mod notifier;
mod read;
mod request;

pub use context::MessageContext;
pub use definition::{NotificationDefinition, RenderedMessage};
pub use notifier::{DeliveryOutcome, Notifier, NotifierOptions};
pub use request::{NotificationRequest, RequestError};

pub(crate) use read::read_notification;
