//! Renders every page with made-up values into a folder, to be looked at in a browser.
//!
//! `cargo run -p tidemark-dashboards --example preview -- FOLDER [TEMPLATES_AND_STATIC_FOLDER]`
//!
//! With the second folder (`dashboards`), templates and browser files are read from there rather than from the program.

mod fixtures;

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use tidemark_dashboards::{Assets, MessagePage, Page, PageContext, Pages, TemplateSource};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments.next().ok_or("name the folder to write into")?;
    let (source, assets) = match arguments.next() {
        Some(from) => (TemplateSource::Folder(from.join("templates")), Assets::from_folder(&from.join("static"))?),
        None => (TemplateSource::Embedded, Assets::embedded()),
    };
    let preview = Preview { folder, pages: Pages::new(source, &assets)?, context: fixtures::context() };

    preview.write("overview", &fixtures::overview())?;
    preview.write("overview-empty", &fixtures::overview_empty())?;
    preview.write("hosts", &fixtures::hosts())?;
    preview.write("host", &fixtures::host())?;
    preview.write("host-empty", &fixtures::host_empty())?;
    preview.write("explore", &fixtures::explore())?;
    preview.write("explore-start", &fixtures::explore_start())?;
    preview.write("explore-empty", &fixtures::explore_empty())?;
    preview.write("incidents", &fixtures::incidents())?;
    preview.write("incidents-empty", &fixtures::incidents_empty())?;
    preview.write("incident", &fixtures::incident())?;
    preview.write("tasks", &fixtures::tasks())?;
    preview.write("tasks-empty", &fixtures::tasks_empty())?;
    preview.write("task", &fixtures::task())?;
    preview.write("worker", &fixtures::worker())?;
    preview.write("workflow", &fixtures::workflow())?;
    preview.write("storage", &fixtures::storage())?;
    preview.write("not-found", &MessagePage::not_found("/nowhere"))?;
    preview.write("error", &fixtures::failure())?;
    for (_, asset) in assets.iter() {
        preview.write_bytes(asset.path.trim_start_matches('/'), &asset.bytes)?;
    }
    Ok(())
}

struct Preview {
    folder: PathBuf,
    pages: Pages,
    context: PageContext,
}

impl Preview {
    fn write(&self, name: &str, page: &impl Page) -> Result<(), Box<dyn Error>> {
        self.write_bytes(&format!("{name}.html"), self.pages.page(&self.context, page)?.as_bytes())
    }

    fn write_bytes(&self, name: &str, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        Ok(fs::write(path, bytes)?)
    }
}
