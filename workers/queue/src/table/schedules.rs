//! Schedules, and who is the leader.

use std::time::Duration;

use super::{Change, JobTable, Leader, Now};
use crate::{Leadership, Schedule, ScheduleExpect};

impl JobTable {
    pub(crate) fn schedules(&self) -> Vec<Schedule> {
        self.schedules.values().cloned().collect()
    }

    pub(crate) fn schedule(&self, name: &str) -> Option<Schedule> {
        self.schedules.get(name).cloned()
    }

    pub(crate) fn put_schedule(&mut self, mut schedule: Schedule, expect: ScheduleExpect) -> Option<u64> {
        let version = self.schedules.get(&schedule.name).map(|known| known.version);
        let as_expected = match expect {
            ScheduleExpect::Any => true,
            ScheduleExpect::Absent => version.is_none(),
            ScheduleExpect::Version(expected) => version == Some(expected),
        };
        if !as_expected {
            return None;
        }
        schedule.version = version.unwrap_or(0) + 1;
        let version = schedule.version;
        self.changes.push(Change::PutSchedule(Box::new(schedule.clone())));
        self.schedules.insert(schedule.name.clone(), schedule);
        Some(version)
    }

    pub(crate) fn delete_schedule(&mut self, name: &str) -> bool {
        self.changes.push(Change::DeleteSchedule { name: name.to_owned() });
        self.schedules.remove(name).is_some()
    }

    pub(crate) fn try_lead(&mut self, now: Now, name: &str, owner: &str, ttl: Duration) -> Option<Leadership> {
        let known = self.leaders.get(name);
        if known.is_some_and(|leader| leader.owner != owner && leader.until > now.monotonic) {
            return None;
        }
        let token = match known {
            Some(leader) if leader.owner == owner && leader.until > now.monotonic => leader.token,
            Some(leader) => leader.token + 1,
            None => 1,
        };
        let is_new = known.is_none_or(|leader| leader.token != token);
        let leader = Leader { owner: owner.to_owned(), token, until: now.monotonic + ttl };
        self.leaders.insert(name.to_owned(), leader);
        if is_new {
            self.changes.push(Change::Lead { name: name.to_owned(), token });
        }
        Some(Leadership { token, ttl })
    }

    pub(crate) fn resign(&mut self, name: &str, owner: &str) {
        if let Some(leader) = self.leaders.get_mut(name).filter(|leader| leader.owner == owner) {
            leader.until = Duration::ZERO;
        }
    }
}
