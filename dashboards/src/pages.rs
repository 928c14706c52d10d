//! Renders pages and the parts of pages that change.

use std::sync::Arc;

use minijinja::{
    Environment, context,
    value::{Serde, Value},
};
use serde::Serialize;
use thiserror::Error;

use crate::{
    assets::Assets,
    page_context::PageContext,
    templates::{self, TemplateSource},
};

/// A page could not be rendered: a template and its view model disagree.
#[derive(Debug, Error)]
#[error("render `{template}`")]
pub struct RenderError {
    template: String,
    #[source]
    source: minijinja::Error,
}

/// A whole page.
pub trait Page: Serialize {
    /// The template that shows it.
    fn template(&self) -> &'static str;

    /// Its live parts, in the order of the page; `?fragment=NAME` asks for one of them.
    fn fragments(&self) -> Vec<&dyn Fragment> {
        Vec::new()
    }
}

/// A part of a page that changes while somebody looks.
///
/// Its HTML replaces the inside of the element `data-fragment="NAME"` of the page.
pub trait Fragment {
    /// Its name: the `target` of the live protocol and the `?fragment=` of the page.
    fn name(&self) -> &'static str;

    /// The template that shows it, which finds the value under the name `part`.
    fn template(&self) -> &'static str;

    /// What the template shows.
    fn value(&self) -> Value;
}

/// Renders pages; cheap to clone.
#[derive(Clone, Debug)]
pub struct Pages {
    source: TemplateSource,
    assets: Assets,
    environment: Arc<Environment<'static>>,
}

impl Pages {
    /// Compiles the templates of `source`; pages refer to the browser files of `assets`.
    ///
    /// # Errors
    /// A template does not parse. With [`TemplateSource::Embedded`] that is ruled out by the tests.
    pub fn new(source: TemplateSource, assets: &Assets) -> Result<Self, RenderError> {
        let environment = templates::environment(&source, assets).map_err(error("templates"))?;
        Ok(Self { source, assets: assets.clone(), environment: Arc::new(environment) })
    }

    /// The HTML of a whole page. Send it with [`crate::content_security_policy`] of the same nonce.
    ///
    /// # Errors
    /// The template asks for something that the view model lacks; ruled out by the tests for the embedded templates.
    pub fn page<P: Page>(&self, context: &PageContext, page: &P) -> Result<String, RenderError> {
        let values = context! {
            context => Value::from(Serde(context)),
            now_ms => context.now_ms,
            page => Value::from(Serde(page)),
        };
        self.render(page.template(), values)
    }

    /// The HTML of one live part, at the time `now_ms` (milliseconds since the epoch) that ages are counted from.
    ///
    /// # Errors
    /// As [`Pages::page`].
    pub fn fragment(&self, now_ms: i64, fragment: &dyn Fragment) -> Result<String, RenderError> {
        self.render(fragment.template(), context! { now_ms => now_ms, part => fragment.value() })
    }

    /// The HTML of the part of `page` with that name, or nothing when the page has no such part.
    ///
    /// # Errors
    /// As [`Pages::page`].
    pub fn fragment_of<P: Page>(&self, now_ms: i64, page: &P, name: &str) -> Result<Option<String>, RenderError> {
        let fragment = page.fragments().into_iter().find(|fragment| fragment.name() == name);
        fragment.map(|fragment| self.fragment(now_ms, fragment)).transpose()
    }

    fn render(&self, template: &str, values: Value) -> Result<String, RenderError> {
        let fresh;
        let environment = match self.source {
            TemplateSource::Embedded => self.environment.as_ref(),
            TemplateSource::Folder(_) => {
                fresh = templates::environment(&self.source, &self.assets).map_err(error(template))?;
                &fresh
            }
        };
        environment.get_template(template).and_then(|found| found.render(values)).map_err(error(template))
    }
}

fn error(template: &str) -> impl FnOnce(minijinja::Error) -> RenderError {
    let template = template.to_owned();
    move |source| RenderError { template, source }
}
