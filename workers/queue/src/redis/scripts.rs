//! The scripts; a server that does not know one (after a restart, a flush, a failover) gets it again.

use redis::Script;

pub(super) struct Scripts {
    pub(super) push: Script,
    pub(super) fetch: Script,
    pub(super) transition: Script,
    pub(super) note: Script,
    pub(super) wf_append: Script,
    pub(super) promote: Script,
    pub(super) lead: Script,
    pub(super) resign: Script,
    pub(super) put_schedule: Script,
    pub(super) heartbeat: Script,
    pub(super) workers: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            push: Script::new(include_str!("scripts/push.lua")),
            fetch: Script::new(include_str!("scripts/fetch.lua")),
            transition: Script::new(include_str!("scripts/transition.lua")),
            wf_append: Script::new(include_str!("scripts/wf_append.lua")),
            note: Script::new(include_str!("scripts/note.lua")),
            promote: Script::new(include_str!("scripts/promote.lua")),
            lead: Script::new(include_str!("scripts/lead.lua")),
            resign: Script::new(include_str!("scripts/resign.lua")),
            put_schedule: Script::new(include_str!("scripts/put_schedule.lua")),
            heartbeat: Script::new(include_str!("scripts/heartbeat.lua")),
            workers: Script::new(include_str!("scripts/workers.lua")),
        }
    }
}
