//! The templates, compiled into the binary or read from a folder while somebody works on them.

use std::path::{Path, PathBuf};

use minijinja::{AutoEscape, Environment, Output, State, UndefinedBehavior, Value, syntax::SyntaxConfig};

use crate::{assets::Assets, embedded_files::TEMPLATES, filters, svg::escaped, units::MISSING};

/// Where templates come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TemplateSource {
    /// From the binary.
    #[default]
    Embedded,
    /// From a folder, read anew for every page: for work on the templates.
    Folder(PathBuf),
}

/// An environment with every template of `source`, our filters, and names that are missing reported as errors.
pub(crate) fn environment(source: &TemplateSource, assets: &Assets) -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // Everything is HTML; a template that forgot its ending must not go out unescaped.
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_formatter(write_escaped);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    filters::add_to(&mut environment, assets);
    match source {
        TemplateSource::Embedded => {
            for (name, text) in TEMPLATES {
                environment.add_template(name, text)?;
            }
        }
        TemplateSource::Folder(folder) => {
            for (name, _) in TEMPLATES {
                environment.add_template_owned(*name, read(folder, name)?)?;
            }
        }
    }
    Ok(environment)
}

/// Writes a value into HTML: markup of ours as it is, everything else escaped, what is not known as a dash.
fn write_escaped(out: &mut Output<'_>, _state: &mut State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    let written = match value {
        value if value.is_safe() => write!(out, "{value}"),
        value if value.is_none() => out.write_str(MISSING),
        value => write!(out, "{}", escaped(&value.to_string())),
    };
    written.map_err(minijinja::Error::from)
}

fn read(folder: &Path, name: &str) -> Result<String, minijinja::Error> {
    let path = folder.join(name);
    std::fs::read_to_string(&path).map_err(|error| {
        let detail = format!("read `{}`", path.display());
        minijinja::Error::new(minijinja::ErrorKind::TemplateNotFound, detail).with_source(error)
    })
}
