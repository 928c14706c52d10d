//! A notification as rule files define it.

use std::{collections::BTreeSet, fmt, time::Duration};

use tidemark_egress::{HeaderMap, PrivateAddresses, Redacted, Url};

use crate::{
    incident::{ActionKind, NotifyReason},
    notification::MessageContext,
    template::{Template, TemplateError},
};

/// Where and how to tell somebody: an HTTP POST.
#[derive(Clone)]
pub struct NotificationDefinition {
    /// Its name.
    pub name: String,
    /// Where to; the whole URL is a secret.
    pub url: Url,
    /// What kind of text the body is.
    pub content_type: String,
    /// The body; without one, JSON with the whole message, or subject and body as text.
    pub body: Option<Template>,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// More header fields; their values are secrets.
    pub headers: HeaderMap,
    /// Of which actions it tells.
    pub actions: BTreeSet<&'static str>,
    /// Whether the URL may lead to a private address.
    pub private_addresses: PrivateAddresses,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedMessage {
    /// One line.
    pub subject: String,
    /// The body of the request.
    pub body: String,
}

impl NotificationDefinition {
    /// Whether it tells of this.
    #[must_use]
    pub fn tells_of(&self, reason: NotifyReason) -> bool {
        match reason {
            NotifyReason::Status(_) => true,
            NotifyReason::Action(kind) => self.tells_of_action(kind),
        }
    }

    fn tells_of_action(&self, kind: ActionKind) -> bool {
        self.actions.contains(kind.as_str())
    }

    /// The message for a context.
    ///
    /// # Errors
    /// The template fails on this context.
    pub fn render(&self, context: &MessageContext) -> Result<RenderedMessage, TemplateError> {
        let body = match &self.body {
            Some(template) => template.render(context)?,
            None => self.plain_body(context),
        };
        Ok(RenderedMessage { subject: context.subject().to_owned(), body })
    }

    /// The body without a template: everything as JSON, or subject and body as text.
    pub(crate) fn plain_body(&self, context: &MessageContext) -> String {
        if self.is_json() { context.to_json() } else { format!("{}\n\n{}\n", context.subject(), context.body()) }
    }

    fn is_json(&self) -> bool {
        crate::template::Escape::for_content_type(&self.content_type) == crate::template::Escape::Json
    }
}

impl fmt::Debug for NotificationDefinition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("NotificationDefinition")
            .field("name", &self.name)
            .field("url", &Redacted(&self.url))
            .field("content_type", &self.content_type)
            .field("timeout", &self.timeout)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("actions", &self.actions)
            .field("private_addresses", &self.private_addresses)
            .finish_non_exhaustive()
    }
}
