//! One attempt to deliver a notification.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tidemark_egress::{
    Client, ClientOptions, EgressError, HeaderName, HeaderValue, Lookup, Method, OptionsError, PrivateAddresses,
    Request, Response, StatusCode, SystemLookup, Url, header,
};

use crate::{
    notification::{MessageContext, NotificationDefinition, NotificationRequest},
    rules::RuleSet,
};

const DELIVERY_HEADER: HeaderName = HeaderName::from_static("tidemark-delivery");
/// Longest wait that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// How notifications leave the house.
#[derive(Clone)]
pub struct NotifierOptions {
    /// A proxy that all go through.
    pub proxy: Option<Url>,
    /// A file of PEM certificates that are trusted besides the machine's own.
    pub extra_roots: Option<PathBuf>,
    /// Where names are looked up.
    pub lookup: Arc<dyn Lookup>,
}

impl Default for NotifierOptions {
    fn default() -> Self {
        Self { proxy: None, extra_roots: None, lookup: Arc::new(SystemLookup) }
    }
}

/// Delivers notifications. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Notifier {
    public: Client,
    anywhere: Client,
}

/// What became of an attempt. Matched exhaustively.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The receiver took it.
    Delivered,
    /// Try again: with the usual backoff, or after this time when the receiver asked for it.
    Retry {
        /// Why, without secrets.
        reason: String,
        /// How long to wait at least.
        after: Option<Duration>,
    },
    /// Trying again is no use.
    Failed {
        /// Why, without secrets.
        reason: String,
    },
}

impl Notifier {
    /// A notifier with its own connections.
    ///
    /// # Errors
    /// An option cannot be used.
    pub fn new(options: &NotifierOptions) -> Result<Self, OptionsError> {
        let client = |private_addresses| {
            Client::new(ClientOptions {
                private_addresses,
                proxy: options.proxy.clone(),
                extra_roots: options.extra_roots.clone(),
                lookup: Arc::clone(&options.lookup),
                // Notifications are rare: a kept connection is one that the receiver has closed by then.
                idle_timeout: Duration::ZERO,
                ..ClientOptions::default()
            })
        };
        Ok(Self { public: client(PrivateAddresses::Refuse)?, anywhere: client(PrivateAddresses::Allow)? })
    }

    /// Makes one attempt. Redirects are not followed, and nothing of an answer but its status is looked at.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the receiver took the notification; another attempt has the same
    /// delivery id.
    pub async fn deliver(&self, rules: &RuleSet, request: &NotificationRequest) -> DeliveryOutcome {
        let Some(definition) = rules.notification(&request.notification) else {
            let reason = format!("there is no notification `{}` any more", request.notification);
            return DeliveryOutcome::Failed { reason };
        };
        let context = MessageContext::new(request, rules);
        let body = match definition.render(&context) {
            Ok(message) => message.body,
            // Nobody is left uninformed because of a template.
            Err(error) => {
                tracing::warn!(notification = definition.name, %error, "a template failed; sending the plain message");
                definition.plain_body(&context)
            }
        };
        let client = match definition.private_addresses {
            PrivateAddresses::Refuse => &self.public,
            PrivateAddresses::Allow => &self.anywhere,
        };
        match compose(definition, request, body) {
            Ok(message) => judge(client.send(message).await),
            Err(reason) => DeliveryOutcome::Failed { reason },
        }
    }
}

fn compose(
    definition: &NotificationDefinition,
    request: &NotificationRequest,
    body: String,
) -> Result<Request, String> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|error| error.to_string());
    let mut message = Request::new(Method::POST, definition.url.clone());
    message.headers.clone_from(&definition.headers);
    message.headers.insert(header::CONTENT_TYPE, value(&definition.content_type)?);
    message.headers.insert(DELIVERY_HEADER, value(&request.delivery.to_string())?);
    message.body = body.into();
    message.timeout = Some(definition.timeout);
    Ok(message)
}

fn judge(result: Result<Response, EgressError>) -> DeliveryOutcome {
    let response = match result {
        Ok(response) => response,
        Err(error) if error.is_transient() => {
            return DeliveryOutcome::Retry { reason: error.to_string(), after: None };
        }
        Err(error) => return DeliveryOutcome::Failed { reason: error.to_string() },
    };
    let status = response.status;
    if status.is_success() {
        return DeliveryOutcome::Delivered;
    }
    let reason = format!("the receiver answered {status}");
    let transient = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    if status.is_server_error() || transient.contains(&status) {
        return DeliveryOutcome::Retry { reason, after: retry_after(&response) };
    }
    DeliveryOutcome::Failed { reason }
}

/// The wait in seconds that the receiver asks for, at most an hour.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}
