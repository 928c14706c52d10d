//! What people do to schedules while the leader moves their slots.
//!
//! The version of a schedule grows with every slot, so it is of no use to somebody who reads a schedule, thinks, and
//! writes it back. What they compare is the [`definition_tag`]: it changes when somebody changes the schedule, not when
//! the leader has dealt with a slot.

use std::hash::{DefaultHasher, Hash, Hasher};

use tidemark_queue::{Broker, Schedule, ScheduleExpect};

use crate::ensure::{ScheduleError, check};

/// How often a write is tried again because the leader was faster.
const TRIES_MAX: usize = 20;

/// What must hold for a schedule to be written or removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PutCondition {
    /// Nothing.
    #[default]
    Any,
    /// There is none of that name.
    Absent,
    /// It has this [`definition_tag`].
    Tag(String),
}

impl PutCondition {
    fn check(&self, name: &str, known: Option<&Schedule>) -> Result<(), ScheduleError> {
        match (self, known) {
            (Self::Any, _) | (Self::Absent, None) => Ok(()),
            (Self::Absent, Some(_)) => Err(ScheduleError::Exists(name.to_owned())),
            (Self::Tag(tag), Some(known)) if definition_tag(known) == *tag => Ok(()),
            (Self::Tag(_), _) => Err(ScheduleError::Changed(name.to_owned())),
        }
    }
}

/// Sixteen hexadecimal digits that change with what people say about a schedule, and not with its slots. The same in all
/// processes of one release.
#[must_use]
pub fn definition_tag(schedule: &Schedule) -> String {
    let definition = Schedule { last_due_ms: None, round: 0, version: 0, ..schedule.clone() };
    let mut hasher = DefaultHasher::new();
    format!("{definition:?}").hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Writes a schedule, which keeps the last slot of the one that it takes the place of; the schedule as it is stored, and
/// whether it is new.
///
/// # Errors
/// Says what is wrong with the schedule, that the condition does not hold, or that the broker does not answer.
pub async fn put_schedule(
    broker: &dyn Broker,
    schedule: Schedule,
    condition: &PutCondition,
) -> Result<(Schedule, bool), ScheduleError> {
    check(&schedule)?;
    for _ in 0..TRIES_MAX {
        let known = broker.schedule(&schedule.name).await?;
        condition.check(&schedule.name, known.as_ref())?;
        let (wanted, expect, is_new) = match known {
            None => (schedule.clone(), ScheduleExpect::Absent, true),
            Some(known) => {
                let expect = ScheduleExpect::Version(known.version);
                let Schedule { last_due_ms, round, version, .. } = known;
                (Schedule { last_due_ms, round, version, ..schedule.clone() }, expect, false)
            }
        };
        if let Some(version) = broker.put_schedule(wanted.clone(), expect).await? {
            return Ok((Schedule { version, ..wanted }, is_new));
        }
    }
    Err(ScheduleError::Contended(schedule.name))
}

/// Changes a schedule; as it is stored then. Nothing is written when the change changes nothing.
///
/// # Errors
/// [`ScheduleError::Missing`] when there is none of that name, and those of [`put_schedule`].
pub async fn change_schedule(
    broker: &dyn Broker,
    name: &str,
    change: impl Fn(&mut Schedule) + Send + Sync,
) -> Result<Schedule, ScheduleError> {
    for _ in 0..TRIES_MAX {
        let known = broker.schedule(name).await?.ok_or_else(|| ScheduleError::Missing(name.to_owned()))?;
        let mut wanted = known.clone();
        change(&mut wanted);
        if wanted == known {
            return Ok(known);
        }
        check(&wanted)?;
        let expect = ScheduleExpect::Version(known.version);
        if let Some(version) = broker.put_schedule(wanted.clone(), expect).await? {
            return Ok(Schedule { version, ..wanted });
        }
    }
    Err(ScheduleError::Contended(name.to_owned()))
}

/// Removes a schedule. Between the look at the condition and the removal somebody may still change it.
///
/// # Errors
/// [`ScheduleError::Missing`] when there is none of that name, [`ScheduleError::Changed`] when the condition does not hold.
pub async fn remove_schedule(broker: &dyn Broker, name: &str, condition: &PutCondition) -> Result<(), ScheduleError> {
    if *condition != PutCondition::Any {
        condition.check(name, broker.schedule(name).await?.as_ref())?;
    }
    match broker.delete_schedule(name).await? {
        true => Ok(()),
        false => Err(ScheduleError::Missing(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidemark_model::ManualClock;
    use tidemark_queue::{BrokerOptions, JobTemplate, MemoryBroker, RollupPayload, RollupStep, Timing};

    use super::*;
    use crate::new_schedule;

    fn broker() -> MemoryBroker {
        MemoryBroker::new(BrokerOptions::default(), Arc::new(ManualClock::new(1_700_000_000_000)), 1)
    }

    fn every(every_ms: u64) -> Schedule {
        let job = JobTemplate::new(&RollupPayload { step: RollupStep::Seal }).unwrap();
        new_schedule("s", Timing::Every(every_ms), job)
    }

    /// What the leader does with each slot.
    async fn move_slot(broker: &MemoryBroker, due_ms: i64) {
        let known = broker.schedule("s").await.unwrap().unwrap();
        let moved = Schedule { last_due_ms: Some(due_ms), ..known };
        assert!(broker.put_schedule(moved, ScheduleExpect::Any).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn the_leader_does_not_get_into_the_way_of_a_change_and_keeps_its_slot() {
        let broker = broker();
        let (stored, is_new) = put_schedule(&broker, every(5_000), &PutCondition::Absent).await.unwrap();
        assert!(is_new);
        let tag = definition_tag(&stored);
        move_slot(&broker, 10_000).await;
        let (stored, is_new) = put_schedule(&broker, every(6_000), &PutCondition::Tag(tag.clone())).await.unwrap();
        assert_eq!((is_new, stored.last_due_ms), (false, Some(10_000)));
        assert_eq!(broker.schedule("s").await.unwrap(), Some(stored));
        let stale = put_schedule(&broker, every(7_000), &PutCondition::Tag(tag)).await;
        assert_eq!(stale, Err(ScheduleError::Changed("s".to_owned())));
        let twice = put_schedule(&broker, every(7_000), &PutCondition::Absent).await;
        assert_eq!(twice, Err(ScheduleError::Exists("s".to_owned())));
    }

    #[tokio::test]
    async fn a_schedule_is_paused_and_removed_once() {
        let broker = broker();
        put_schedule(&broker, every(5_000), &PutCondition::Any).await.unwrap();
        let paused = change_schedule(&broker, "s", |schedule| schedule.paused = true).await.unwrap();
        let again = change_schedule(&broker, "s", |schedule| schedule.paused = true).await.unwrap();
        assert_eq!((paused.paused, again.version), (true, paused.version));
        let wrong = change_schedule(&broker, "s", |schedule| schedule.timing = Timing::Every(1)).await;
        assert!(matches!(wrong, Err(ScheduleError::Timing { .. })), "{wrong:?}");
        remove_schedule(&broker, "s", &PutCondition::Tag(definition_tag(&paused))).await.unwrap();
        let gone = remove_schedule(&broker, "s", &PutCondition::Any).await;
        assert_eq!(gone, Err(ScheduleError::Missing("s".to_owned())));
    }
}
