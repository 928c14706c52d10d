//! What templates can do with raw values. Everything that returns markup escapes what it is given.

mod addresses;
mod graphs;
mod numbers;
mod times;

use minijinja::{Environment, Error, ErrorKind, Value};

use crate::assets::Assets;

/// Adds our filters and functions to an environment.
pub(crate) fn add_to(environment: &mut Environment<'static>, assets: &Assets) {
    numbers::add_to(environment);
    times::add_to(environment);
    graphs::add_to(environment);
    addresses::add_to(environment);

    let import_map = Value::from_safe_string(assets.import_map());
    environment.add_function("import_map", move || import_map.clone());
    let assets = assets.clone();
    environment.add_function("asset", move |name: &str| match assets.path_of(name) {
        Some(path) => Ok(path.to_owned()),
        None => Err(Error::new(ErrorKind::InvalidOperation, format!("no static file `{name}`"))),
    });
}
