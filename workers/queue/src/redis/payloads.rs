//! Large payloads, which go around the scripts: Lua copies and hashes every byte that it is given, once when a job is
//! pushed and once when it is handed out.
//!
//! Such a payload has a key of its own for as long as its job waits or runs; the job's item says how long it is, and every
//! move of the job carries that alone. A push is one transaction: its script makes the keys of the jobs that it takes,
//! empty, and the commands behind it fill those that are there. So nobody ever sees a job without its payload, and a
//! push that is refused, fails or is cut off leaves none behind. Whoever fetches jobs reads their payloads next. The
//! script that ends a job deletes its payload; of a job that is kept with its payload the finished job has it.
//!
//! We turned down writing the payloads first, with an expiry that the script takes away: what is refused would fill a
//! server that has no room, and a push that took too long would find some of its payloads gone.

use bytes::Bytes;
use redis::{RedisResult, Value, aio::MultiplexedConnection};

use super::{
    RedisBroker, Shared,
    command::Command,
    frame::Item,
    scripts::{ScriptCall, is_unknown_script},
    slot::slot_of,
};
use crate::{BrokerError, QueueName};

/// Payloads of so many bytes and more have keys of their own.
const APART_BYTES_MIN: usize = 4 * 1024;
/// Most bytes of payload of one read, but one payload at least.
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most payloads of one read.
const READ_JOBS_MAX: usize = 512;

/// A call of a script that makes keys, and what they are to hold.
pub(super) struct FillingCall<'a> {
    pub(super) call: ScriptCall<'a>,
    pub(super) payloads: Vec<(String, Bytes)>,
}

impl Command for &FillingCall<'_> {
    fn slot(&self) -> Option<u16> {
        self.call.first_key().map(slot_of)
    }

    async fn run(&self, connection: &mut MultiplexedConnection, asking: bool) -> RedisResult<Value> {
        if self.payloads.is_empty() {
            return self.call.run(connection, asking).await;
        }
        let transaction = self.transaction();
        match run_transaction(&transaction, connection, asking).await {
            // It has made no keys, so nothing was filled.
            Err(error) if is_unknown_script(&error) => {
                self.call.load(connection).await?;
                run_transaction(&transaction, connection, asking).await
            }
            answer => answer,
        }
    }
}

impl FillingCall<'_> {
    fn transaction(&self) -> redis::Pipeline {
        let mut pipeline = redis::Pipeline::with_capacity(1 + self.payloads.len());
        pipeline.atomic().add_command(self.call.command());
        for (key, payload) in &self.payloads {
            let mut set = redis::Cmd::with_capacity(4, payload.len() + key.len() + 8);
            set.arg("SET").arg(key).arg(&payload[..]).arg("XX");
            pipeline.add_command(set).ignore();
        }
        pipeline
    }
}

/// The answer of the script.
async fn run_transaction(
    transaction: &redis::Pipeline,
    connection: &mut MultiplexedConnection,
    asking: bool,
) -> RedisResult<Value> {
    let answer = Command::run(&transaction, connection, asking).await?;
    match answer {
        Value::Array(answers) => Ok(answers.into_iter().next().unwrap_or(Value::Nil)),
        answer => Ok(answer),
    }
}

impl Shared {
    /// Gives a large payload a key of its own, unless somebody may be at work who would not look there. It is for the caller
    /// to put it there.
    pub(super) fn keep_apart(&self, item: &mut Item) {
        let bytes = item.record.payload.len();
        if bytes >= APART_BYTES_MIN && !self.layout_is_new.load(std::sync::atomic::Ordering::Relaxed) {
            item.apart = u32::try_from(bytes).ok();
        }
    }
}

impl RedisBroker {
    /// Reads the payloads of jobs that have keys of their own. What is not there, or has another length, stays away.
    pub(super) async fn read_payloads<'a>(
        &self,
        queue: &QueueName,
        items: impl IntoIterator<Item = &'a mut Item>,
    ) -> Result<(), BrokerError> {
        let mut wanted: Vec<&mut Item> = items.into_iter().filter(|item| item.lacks_payload()).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let keys = self.shared.keys.queue(queue);
        while !wanted.is_empty() {
            let rest = wanted.split_off(count_of_one_read(&wanted));
            let mut command = redis::cmd("MGET");
            wanted.iter().for_each(|item| {
                command.arg(keys.payload(item.id()));
            });
            let found: Vec<Value> = self.shared.run(&command).await?;
            for (item, found) in wanted.into_iter().zip(found) {
                if let Value::BulkString(payload) = found
                    && payload.len() == item.payload_len()
                {
                    item.set_payload(payload.into());
                }
            }
            wanted = rest;
        }
        Ok(())
    }
}

fn count_of_one_read(items: &[&mut Item]) -> usize {
    let mut bytes = 0_usize;
    let fits = |item: &&&mut Item| {
        bytes = bytes.saturating_add(item.payload_len());
        bytes <= READ_BYTES_MAX
    };
    items.iter().take(READ_JOBS_MAX).take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{JobIdSource, JobKind, NewJob};

    #[test]
    fn one_read_has_so_many_payloads_and_bytes_but_one_at_least() {
        let ids = JobIdSource::new(Arc::new(tidemark_model::ManualClock::new(5)), 1);
        let check = |lengths: &[u32], expect: usize| {
            let item = |bytes: &u32| {
                let record = NewJob::from_bytes(JobKind::Write, "".into()).into_record(ids.next_id(), 5);
                Item { apart: Some(*bytes), ..Item::new(record) }
            };
            let mut items: Vec<Item> = lengths.iter().map(item).collect();
            assert_eq!(count_of_one_read(&items.iter_mut().collect::<Vec<_>>()), expect, "{lengths:?}");
        };
        let most = u32::try_from(READ_BYTES_MAX).unwrap();
        check(&[most - 1, 1, 1], 2);
        check(&[u32::MAX, 1], 1);
        check(&[1; READ_JOBS_MAX + 1], READ_JOBS_MAX);
    }
}
