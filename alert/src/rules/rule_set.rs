//! All rules and notifications of a Tidemark.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use url::Url;

use crate::{
    excerpt::excerpt,
    expression::ExpressionLimits,
    notification::{MessageContext, NotificationDefinition, read_notification},
    rules::{
        Rule, RuleError, RuleErrors, RuleOrigin,
        read_rule::read_rule,
        section::{Problems, Section, Source},
    },
    suggestion::most_similar,
};

const BUILT_IN: &str = include_str!("built_in.toml");
const BUILT_IN_FILE: &str = "built in";
/// What mistakes call a text that is no file.
const TRIED_FILE: &str = "text";
/// Bytes of one rule file.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Rule files of a folder.
const FILES_MAX: usize = 1000;
/// Rules in all.
const RULES_MAX: usize = 10_000;

/// What rule files cannot say.
#[derive(Clone, Debug, Default)]
pub struct RuleSetOptions {
    /// How much an expression may be and do.
    pub limits: ExpressionLimits,
    /// Where people reach this server; links in notifications begin with it.
    pub public_url: Option<Url>,
}

/// Rules and notifications that fit together. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RuleSet {
    rules: Arc<BTreeMap<String, Arc<Rule>>>,
    notifications: Arc<BTreeMap<String, NotificationDefinition>>,
    options: RuleSetOptions,
}

impl RuleSet {
    /// The rules that are built in, and nothing else.
    ///
    /// # Errors
    /// None that a test would not have found.
    pub fn built_in(options: RuleSetOptions) -> Result<Self, RuleErrors> {
        Self::from_files(Vec::new(), options)
    }

    /// The rules of all files `*.toml` right in a folder, and those that are built in. A folder that does not exist is
    /// an empty one.
    ///
    /// Reads the disk; call it where blocking is allowed.
    ///
    /// # Errors
    /// Every mistake in every file.
    pub fn load(folder: &Path, options: RuleSetOptions) -> Result<Self, RuleErrors> {
        let unreadable = |file: &Path, error: io::Error| {
            RuleErrors(vec![whole_file(&file.display().to_string(), format!("cannot be read: {error}"))])
        };
        let paths = rule_files(folder).map_err(|error| unreadable(folder, error))?;
        if paths.len() > FILES_MAX {
            let reason = format!("{} rule files, at most {FILES_MAX} are allowed", paths.len());
            return Err(RuleErrors(vec![whole_file(&folder.display().to_string(), reason)]));
        }
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let bytes = fs::metadata(&path).map_err(|error| unreadable(&path, error))?.len();
            if bytes > FILE_BYTES_MAX {
                let reason = format!("{bytes} bytes, at most {FILE_BYTES_MAX} are allowed");
                return Err(RuleErrors(vec![whole_file(&name, reason)]));
            }
            files.push((name, fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?));
        }
        Self::from_files(files, options)
    }

    /// The rules of these files, given as name and text, and those that are built in.
    ///
    /// # Errors
    /// Every mistake in every file.
    pub fn from_files(files: Vec<(String, String)>, options: RuleSetOptions) -> Result<Self, RuleErrors> {
        let problems = Problems::default();
        let mut reading = Reading { rules: BTreeMap::new(), notifications: BTreeMap::new(), problems: &problems };
        reading.file(Source { file: BUILT_IN_FILE, text: BUILT_IN }, &options.limits);
        for (file, text) in &files {
            reading.file(Source { file, text }, &options.limits);
        }
        let (rules, notifications) = (reading.rules, reading.notifications);
        if rules.len() > RULES_MAX {
            problems.add(whole_file("*", format!("{} rules, at most {RULES_MAX} are allowed", rules.len())));
        }
        let set = Self { rules: Arc::new(rules), notifications: Arc::new(notifications), options };
        set.check(&problems);
        let mut errors = problems.into_errors();
        errors.sort_by(|left, right| (&left.file, left.line).cmp(&(&right.file, right.line)));
        if errors.is_empty() { Ok(set) } else { Err(RuleErrors(errors)) }
    }

    /// The rule in a text of the form of a rule file, which is tried and not kept: the one of this name, or the only one. It
    /// may name the notifications of this set.
    ///
    /// # Errors
    /// Every mistake in the text, and when it has not that one rule.
    pub fn read_rule(&self, text: &str, name: Option<&str>) -> Result<Arc<Rule>, RuleErrors> {
        let problems = Problems::default();
        let notifications = BTreeMap::clone(&self.notifications);
        let mut reading = Reading { rules: BTreeMap::new(), notifications, problems: &problems };
        reading.file(Source { file: TRIED_FILE, text }, &self.options.limits);
        let Reading { rules, notifications, .. } = reading;
        let (rules, notifications) = (Arc::new(rules), Arc::new(notifications));
        let tried = Self { rules, notifications, options: self.options.clone() };
        tried.check(&problems);
        let wrong = match name {
            Some(name) if !tried.rules.contains_key(name) => {
                Some(format!("there is no rule `{}` in it", excerpt(name, 64)))
            }
            None if tried.rules.len() != 1 => {
                Some(format!("it has {} rules; say which one, or give one alone", tried.rules.len()))
            }
            _ => None,
        };
        let mut errors = problems.into_errors();
        if errors.is_empty() {
            errors.extend(wrong.map(|reason| whole_file(TRIED_FILE, reason)));
        }
        let wanted = tried.rules.iter().find(|(known, _)| name.is_none_or(|name| name == known.as_str()));
        match wanted {
            Some((_, rule)) if errors.is_empty() => Ok(Arc::clone(rule)),
            _ => Err(RuleErrors(errors)),
        }
    }

    /// The rules in the order of their names, those that are switched off included.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.values()
    }

    /// A rule by its name.
    #[must_use]
    pub fn rule(&self, name: &str) -> Option<&Arc<Rule>> {
        self.rules.get(name)
    }

    /// The notifications in the order of their names.
    pub fn notifications(&self) -> impl Iterator<Item = &NotificationDefinition> {
        self.notifications.values()
    }

    /// A notification by its name.
    #[must_use]
    pub fn notification(&self, name: &str) -> Option<&NotificationDefinition> {
        self.notifications.get(name)
    }

    /// What it was loaded with.
    #[must_use]
    pub fn options(&self) -> &RuleSetOptions {
        &self.options
    }

    /// What can only be seen with everything at hand: names that rules use, and templates on an example.
    fn check(&self, problems: &Problems) {
        for rule in self.rules.values() {
            let routes = [&rule.notify.warning, &rule.notify.critical, &rule.notify.unknown];
            let mut names: Vec<_> = routes.into_iter().flatten().collect();
            names.sort_unstable();
            names.dedup();
            for name in names.iter().filter(|name| !self.notifications.contains_key(**name)) {
                let hint = most_similar(name, self.notifications.keys().map(String::as_str));
                let hint = hint.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
                problems.add(rule_problem(rule, "notify", format!("no such notification: `{name}`{hint}")));
            }
            let context = MessageContext::example(rule, self.options.public_url.as_ref());
            for (field, template) in [("subject", Some(&rule.subject)), ("body", rule.body.as_ref())] {
                if let Some(Err(error)) = template.map(|template| template.render(&context)) {
                    problems.add(rule_problem(rule, field, format!("on an example: {error}")));
                }
            }
            for name in names {
                let Some(notification) = self.notifications.get(name) else { continue };
                if let Err(error) = notification.render(&context) {
                    let reason = format!("notification `{name}`, `body`, on an example: {error}");
                    problems.add(rule_problem(rule, "notify", reason));
                }
            }
        }
    }
}

fn rule_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_named_so = path.extension().is_some_and(|extension| extension == "toml");
        if is_named_so && !path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

fn whole_file(file: &str, reason: String) -> RuleError {
    RuleError { file: file.to_owned(), line: 0, section: String::new(), field: String::new(), reason }
}

fn rule_problem(rule: &Rule, field: &str, reason: String) -> RuleError {
    let (file, line) = match &rule.origin {
        RuleOrigin::File { file, line } => (file.clone(), *line),
        RuleOrigin::BuiltIn => (BUILT_IN_FILE.to_owned(), 0),
    };
    RuleError { file, line, section: format!("rule `{}`", rule.name), field: field.to_owned(), reason }
}

/// What has been read so far.
struct Reading<'a> {
    rules: BTreeMap<String, Arc<Rule>>,
    notifications: BTreeMap<String, NotificationDefinition>,
    problems: &'a Problems,
}

impl Reading<'_> {
    fn file(&mut self, source: Source<'_>, limits: &ExpressionLimits) {
        let document = match DeTable::parse(source.text) {
            Ok(document) => document,
            Err(error) => {
                let line = error.span().map_or(0, |span| source.line(span.start));
                let mut problem = whole_file(source.file, error.message().to_owned());
                problem.line = line;
                self.problems.add(problem);
                return;
            }
        };
        for (key, value) in document.get_ref() {
            match key.get_ref().as_ref() {
                "rule" => {
                    self.sections("rule", value, source, |reading, section| reading.rule(section, source, limits))
                }
                "notification" => self.sections("notification", value, source, Self::notification),
                other => {
                    let hint = most_similar(other, ["rule", "notification"]);
                    let hint = hint.map(|name| format!("; did you mean `[[{name}]]`?")).unwrap_or_default();
                    let mut problem = whole_file(source.file, format!("no such section: `{other}`{hint}"));
                    problem.line = source.line(key.span().start);
                    self.problems.add(problem);
                }
            }
        }
    }

    fn sections(
        &mut self,
        kind: &str,
        value: &Spanned<DeValue<'_>>,
        source: Source<'_>,
        read: impl Fn(&mut Self, Section<'_>),
    ) {
        let tables = value.get_ref().as_array().and_then(|entries| {
            entries.iter().map(|entry| Some((entry.get_ref().as_table()?, entry.span()))).collect::<Option<Vec<_>>>()
        });
        let Some(tables) = tables else {
            let mut problem = whole_file(source.file, format!("`{kind}` must be written as `[[{kind}]]`"));
            problem.line = source.line(value.span().start);
            self.problems.add(problem);
            return;
        };
        for (table, span) in tables {
            read(self, Section::new(kind, table, span, source, self.problems));
        }
    }

    fn rule(&mut self, section: Section<'_>, source: Source<'_>, limits: &ExpressionLimits) {
        let line = section.line();
        let origin = match source.file {
            BUILT_IN_FILE => RuleOrigin::BuiltIn,
            file => RuleOrigin::File { file: file.to_owned(), line },
        };
        let Some(rule) = read_rule(section, origin, limits) else { return };
        match self.rules.get(&rule.name).map(|before| &before.origin) {
            Some(RuleOrigin::File { file, line }) => {
                let reason = format!("the name is taken by the rule in `{file}`, line {line}");
                self.problems.add(rule_problem(&rule, "name", reason));
            }
            Some(RuleOrigin::BuiltIn) | None => {
                self.rules.insert(rule.name.clone(), Arc::new(rule));
            }
        }
    }

    fn notification(&mut self, section: Section<'_>) {
        let name = section.text("name").unwrap_or_default();
        if self.notifications.contains_key(&name) {
            section.problem("name", "the name is taken by another notification");
        }
        if let Some(notification) = read_notification(section) {
            self.notifications.insert(notification.name.clone(), notification);
        }
    }
}
