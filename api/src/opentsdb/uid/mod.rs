//! `/api/uid/…`: the ids of names, and what people noted about names and series.

mod assign;
mod kind;
mod name_meta;
mod note;
mod noted;
mod notes;
mod rename;
mod series_meta;

pub(crate) use self::{
    assign::{get as assign_get, post as assign_post},
    name_meta::{KnownName, get as name_get},
    noted::{delete, post, put},
    rename::{get as rename_get, post as rename_post},
    series_meta::get as series_get,
};
