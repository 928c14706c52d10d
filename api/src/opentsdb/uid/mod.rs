//! `/api/uid/…`: the ids of names, and what people noted about names and series.

mod assign;
mod kind;
mod name_meta;
mod note;
mod notes;
mod rename;
mod series_meta;

pub(crate) use self::{
    assign::{get as assign_get, post as assign_post},
    name_meta::{delete as name_delete, get as name_get, post as name_post, put as name_put},
    rename::{get as rename_get, post as rename_post},
    series_meta::{delete as series_delete, get as series_get, post as series_post, put as series_put},
};
