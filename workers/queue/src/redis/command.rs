//! What a connection can run: a command, commands in one go, a call of a script.

use redis::{
    Arg, Cmd, Pipeline, RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};

use super::{scripts::ScriptCall, slot::slot_of};

/// Something that a connection can run. All keys of one command are in one slot.
pub(super) trait Command: Send + Sync {
    /// The slot of its keys; `None` when it has no key.
    fn slot(&self) -> Option<u16>;

    /// Runs it. With `asking` it may touch a slot that a node of a cluster is just taking over.
    fn run(
        &self,
        connection: &mut MultiplexedConnection,
        asking: bool,
    ) -> impl Future<Output = RedisResult<Value>> + Send;
}

impl Command for &Cmd {
    fn slot(&self) -> Option<u16> {
        slot_of_command(self)
    }

    async fn run(&self, connection: &mut MultiplexedConnection, asking: bool) -> RedisResult<Value> {
        run_command(self, connection, asking).await
    }
}

impl Command for &mut Cmd {
    fn slot(&self) -> Option<u16> {
        slot_of_command(self)
    }

    async fn run(&self, connection: &mut MultiplexedConnection, asking: bool) -> RedisResult<Value> {
        run_command(self, connection, asking).await
    }
}

impl Command for &Pipeline {
    fn slot(&self) -> Option<u16> {
        self.cmd_iter().find_map(slot_of_command)
    }

    async fn run(&self, connection: &mut MultiplexedConnection, asking: bool) -> RedisResult<Value> {
        let mut connection = WithErrorsOfExec(connection);
        if !asking {
            return self.query_async(&mut connection).await;
        }
        // `ASKING` is about the next command alone, or about all of a transaction. What follows in a pipeline that is none
        // is refused while its slot moves.
        let _done: Value = redis::cmd("ASKING").query_async(&mut connection).await?;
        self.query_async(&mut connection).await
    }
}

/// A connection on which a transaction that is refused as a whole fails by that error. Since Valkey 9 a node of a cluster
/// looks for the keys of a transaction when it comes to `EXEC`, which it answers by a redirect; the crate takes that for an
/// answer without sense, after which nobody would know whether the transaction was done.
struct WithErrorsOfExec<'a>(&'a mut MultiplexedConnection);

impl ConnectionLike for WithErrorsOfExec<'_> {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        self.0.req_packed_command(command)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let mut answers = self.0.send_packed_commands(pipeline, offset, count).await?;
            // Of a transaction only the answer to `EXEC` is wanted; the others are passed over.
            if offset > 0
                && let Some(refusal) = answers.pop_if(|answer| matches!(answer, Value::ServerError(_)))
            {
                answers.push(refusal.extract_error()?);
            }
            Ok(answers)
        })
    }

    fn get_db(&self) -> i64 {
        self.0.get_db()
    }
}

impl Command for &ScriptCall<'_> {
    fn slot(&self) -> Option<u16> {
        self.first_key().map(slot_of)
    }

    async fn run(&self, connection: &mut MultiplexedConnection, asking: bool) -> RedisResult<Value> {
        ScriptCall::run(self, connection, asking).await
    }
}

async fn run_command(command: &Cmd, connection: &mut MultiplexedConnection, asking: bool) -> RedisResult<Value> {
    if !asking {
        return command.query_async(connection).await;
    }
    let mut pipeline = redis::pipe();
    pipeline.cmd("ASKING").ignore().add_command(command.clone());
    let (answer,): (Value,) = pipeline.query_async(connection).await?;
    Ok(answer)
}

/// The slot of a command's first key, which is its first argument but for a few commands that we use.
fn slot_of_command(command: &Cmd) -> Option<u16> {
    let argument = |place: usize| match command.args_iter().nth(place) {
        Some(Arg::Simple(bytes)) => Some(bytes),
        _ => None,
    };
    let place = match argument(0)? {
        b"PING" | b"INFO" | b"TIME" | b"ROLE" | b"WAIT" | b"CLUSTER" | b"SENTINEL" => return None,
        b"XINFO" => 2,
        _ => 1,
    };
    argument(place).map(slot_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_decides_about_the_slot() {
        let slot = |words: &[&str]| {
            let mut command = Cmd::new();
            words.iter().for_each(|word| {
                command.arg(word);
            });
            (&command).slot()
        };
        assert_eq!(slot(&["GET", "foo"]), Some(12_182));
        assert_eq!(slot(&["XINFO", "GROUPS", "foo"]), Some(12_182));
        assert_eq!(slot(&["TIME"]), None);
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME").cmd("GET").arg("foo");
        assert_eq!((&pipeline).slot(), Some(12_182));
    }
}
