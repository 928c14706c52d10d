//! What templates can name.

use std::collections::BTreeMap;

use serde::Serialize;
use url::Url;

use crate::{
    AlertKey, Incident, IncidentId, Status,
    book::IncidentView,
    expression::Group,
    incident::{NotifyReason, Observation, Outcome, Step},
    notification::NotificationRequest,
    rules::{Rule, RuleSet, Variables},
};

/// What templates of subjects and bodies can name: the fields of the incident, and these.
#[derive(Clone, Debug, Serialize)]
pub struct MessageContext {
    #[serde(flatten)]
    incident: IncidentView,
    /// Why somebody is told: a status, or an action.
    reason: String,
    /// Who acted.
    user: String,
    /// In their words.
    message: String,
    /// What the rule is about.
    description: String,
    /// The rule's labels.
    labels: BTreeMap<String, String>,
    /// The rule's variables.
    vars: Variables,
    /// Where the incident is shown; empty when nobody said where people reach this server.
    url: String,
    /// The rule's body, rendered.
    body: String,
}

impl MessageContext {
    /// The context of a request. A rule that is gone leaves its fields empty.
    ///
    /// A body that fails to render says so in its place: nobody is left uninformed because of a template.
    #[must_use]
    pub fn new(request: &NotificationRequest, rules: &RuleSet) -> Self {
        let rule = rules.rule(&request.incident.rule);
        let url = rules.options().public_url.as_ref();
        let mut context = Self::of(request.incident.clone(), rule.map(|rule| &**rule), url);
        context.reason = reason_text(request.reason);
        context.user.clone_from(&request.user);
        context.message.clone_from(&request.message);
        if let Some(template) = rule.and_then(|rule| rule.body.as_ref()) {
            context.body =
                template.render(&context).unwrap_or_else(|error| format!("(the body failed to render: {error})"));
        }
        context
    }

    /// The subject of an incident by its rule's template.
    pub(crate) fn subject_of(incident: &Incident, rule: &Rule, url: Option<&Url>) -> String {
        let context = Self::of(IncidentView::new(incident), Some(rule), url);
        let rendered = rule.subject.render(&context);
        let subject = rendered.unwrap_or_else(|_| format!("{}: {}", incident.current, incident.key));
        one_line(&subject)
    }

    /// An incident that a rule might have, to see its templates fail when it is loaded.
    pub(crate) fn example(rule: &Rule, url: Option<&Url>) -> Self {
        let expression = rule.crit.as_ref().or(rule.warn.as_ref());
        let keys = expression.and_then(|expression| expression.tag_keys().ok()).unwrap_or_default();
        let group: Group = keys.into_iter().map(|key| (key, "example")).collect();
        let outcome = Outcome { value: 1.0, expression: "1".to_owned() };
        let observation = Observation {
            at: 0,
            status: Status::Critical,
            warn: Some(outcome.clone()),
            crit: Some(outcome),
            computations: vec![Step { text: "1".to_owned(), value: 1.0 }],
        };
        let incident = Incident::open(IncidentId(1), AlertKey::new(&rule.name, group), observation, Vec::new());
        let mut context = Self::of(IncidentView::new(&incident), Some(rule), url);
        context.incident.subject = "example".to_owned();
        context
    }

    /// One line about the incident.
    pub(crate) fn subject(&self) -> &str {
        &self.incident.subject
    }

    /// The rule's body.
    pub(crate) fn body(&self) -> &str {
        &self.body
    }

    /// Everything, as JSON.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    fn of(incident: IncidentView, rule: Option<&Rule>, url: Option<&Url>) -> Self {
        let link = url.and_then(|url| url.join(&format!("incidents/{}", incident.id)).ok());
        Self {
            reason: incident.status.as_str().to_owned(),
            incident,
            user: String::new(),
            message: String::new(),
            description: rule.map(|rule| rule.description.clone()).unwrap_or_default(),
            labels: rule.map(|rule| rule.labels.clone()).unwrap_or_default(),
            vars: rule.map(|rule| rule.variables.clone()).unwrap_or_default(),
            url: link.map(String::from).unwrap_or_default(),
            body: String::new(),
        }
    }
}

fn reason_text(reason: NotifyReason) -> String {
    match reason {
        NotifyReason::Status(status) => status.as_str().to_owned(),
        NotifyReason::Action(kind) => kind.as_str().to_owned(),
    }
}

/// A subject is one line of at most 500 characters.
fn one_line(text: &str) -> String {
    const CHARACTERS_MAX: usize = 500;
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(CHARACTERS_MAX).collect()
}
