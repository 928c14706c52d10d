//! A `[[notification]]` of a file becomes a [`NotificationDefinition`].

use std::{collections::BTreeSet, time::Duration};

use tidemark_egress::{HeaderMap, HeaderName, HeaderValue, PrivateAddresses, Url, check_target};

use crate::{
    incident::ActionKind,
    notification::NotificationDefinition,
    rules::{read_name, section::Section},
    suggestion::most_similar,
    template::{Escape, Template},
};

const CONTENT_TYPE_DEFAULT: &str = "application/json";
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// Header fields that belong to the connection or are set here.
const HEADERS_RESERVED: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "host",
    "te",
    "tidemark-delivery",
    "transfer-encoding",
    "upgrade",
];

/// Reads a notification; mistakes go to the section's problems, and then there may be none.
pub(crate) fn read_notification(section: Section<'_>) -> Option<NotificationDefinition> {
    let name = read_name(&section);
    let private_addresses = section.choice("private_addresses", PRIVATE_ADDRESSES).unwrap_or_default();
    let url = read_url(&section, private_addresses);
    let content_type = section.text("content_type").unwrap_or_else(|| CONTENT_TYPE_DEFAULT.to_owned());
    if HeaderValue::from_str(&content_type).is_err() {
        section.problem("content_type", "has characters that a header field cannot have");
    }
    let escape = Escape::for_content_type(&content_type);
    let body = section.text("body").and_then(|source| {
        Template::parse(source.trim(), escape).map_err(|error| section.problem("body", error.to_string())).ok()
    });
    let timeout = section.duration("timeout").unwrap_or(TIMEOUT_DEFAULT);
    if timeout.is_zero() || timeout > TIMEOUT_MAX {
        section.problem("timeout", format!("must be more than 0s and at most {TIMEOUT_MAX:?}, got {timeout:?}"));
    }
    let headers = read_headers(&section);
    let actions = read_actions(&section);
    section.finish();
    Some(NotificationDefinition {
        name: name?,
        url: url?,
        content_type,
        body,
        timeout,
        headers,
        actions,
        private_addresses,
    })
}

const PRIVATE_ADDRESSES: &[(&str, PrivateAddresses)] =
    &[("refuse", PrivateAddresses::Refuse), ("allow", PrivateAddresses::Allow)];

fn read_url(section: &Section<'_>, private_addresses: PrivateAddresses) -> Option<Url> {
    let Some(text) = section.text("url") else {
        section.problem("url", "a URL is missing");
        return None;
    };
    let url = match Url::parse(&text) {
        Ok(url) => url,
        Err(error) => {
            section.problem("url", error.to_string());
            return None;
        }
    };
    if let Err(refused) = check_target(&url, private_addresses) {
        section.problem("url", format!("{refused}; see `private_addresses`"));
    }
    Some(url)
}

fn read_headers(section: &Section<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in section.table_of_texts("headers").unwrap_or_default() {
        if HEADERS_RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            section.problem("headers", format!("`{name}` cannot be set here"));
            continue;
        }
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            _ => section.problem("headers", format!("`{name}` has characters that a header field cannot have")),
        }
    }
    headers
}

/// All actions, as in Bosun, unless there is a list.
fn read_actions(section: &Section<'_>) -> BTreeSet<&'static str> {
    let Some(names) = section.texts("on_actions") else {
        return ActionKind::ALL.iter().map(|(name, _)| *name).collect();
    };
    let mut actions = BTreeSet::new();
    for name in names {
        match ActionKind::from_name(&name) {
            Some(kind) => {
                actions.insert(kind.as_str());
            }
            None => {
                let hint = most_similar(&name, ActionKind::ALL.iter().map(|(name, _)| *name));
                let hint = hint.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
                section.problem("on_actions", format!("no such action: `{name}`{hint}"));
            }
        }
    }
    actions
}
