//! The scripts; a server that does not know one (after a restart, a flush, a failover) gets it again.

use redis::{RedisError, RedisResult, ServerErrorKind, ToRedisArgs, Value, aio::MultiplexedConnection};

pub(super) struct Scripts {
    pub(super) push: Script,
    pub(super) fetch: Script,
    pub(super) transition: Script,
    pub(super) note: Script,
    pub(super) wf_append: Script,
    pub(super) promote: Script,
    pub(super) lead: Script,
    pub(super) look: Script,
    pub(super) raise_layout: Script,
    pub(super) resign: Script,
    pub(super) put_schedule: Script,
    pub(super) heartbeat: Script,
    pub(super) workers: Script,
    pub(super) command: Script,
    pub(super) admit: Script,
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
            look: Script::new(include_str!("scripts/look.lua")),
            raise_layout: Script::new(include_str!("scripts/raise_layout.lua")),
            resign: Script::new(include_str!("scripts/resign.lua")),
            put_schedule: Script::new(include_str!("scripts/put_schedule.lua")),
            heartbeat: Script::new(include_str!("scripts/heartbeat.lua")),
            workers: Script::new(include_str!("scripts/workers.lua")),
            command: Script::new(include_str!("scripts/command.lua")),
            admit: Script::new(include_str!("scripts/admit.lua")),
        }
    }
}

/// A script and its hash. Not the crate's own type, whose calls show neither their keys, which decide about the node of a
/// cluster, nor a command that can follow `ASKING`.
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

/// A call of a script. All its keys have one hash tag.
pub(super) struct ScriptCall<'a> {
    script: &'a Script,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    /// A call without keys and arguments so far.
    pub(super) fn prepare_invoke(&self) -> ScriptCall<'_> {
        ScriptCall { script: self, keys: Vec::new(), arguments: Vec::new() }
    }
}

impl ScriptCall<'_> {
    /// Adds to `KEYS`.
    pub(super) fn key(&mut self, key: impl ToRedisArgs) -> &mut Self {
        key.write_redis_args(&mut self.keys);
        self
    }

    /// Adds to `ARGV`.
    pub(super) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        argument.write_redis_args(&mut self.arguments);
        self
    }

    pub(super) fn first_key(&self) -> Option<&[u8]> {
        self.keys.first().map(Vec::as_slice)
    }

    pub(super) async fn run(&self, connection: &mut MultiplexedConnection, asking: bool) -> RedisResult<Value> {
        match self.call(connection, asking).await {
            Err(error) if is_unknown_script(&error) => {
                self.load(connection).await?;
                self.call(connection, asking).await
            }
            answer => answer,
        }
    }

    /// Tells the server the script.
    pub(super) async fn load(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        redis::cmd("SCRIPT").arg("LOAD").arg(self.script.text).query_async(connection).await
    }

    pub(super) fn command(&self) -> redis::Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.script.hash).arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
        command
    }

    async fn call(&self, connection: &mut MultiplexedConnection, asking: bool) -> RedisResult<Value> {
        let command = self.command();
        if !asking {
            return command.query_async(connection).await;
        }
        let mut pipeline = redis::pipe();
        pipeline.cmd("ASKING").ignore().add_command(command);
        let (answer,): (Value,) = pipeline.query_async(connection).await?;
        Ok(answer)
    }
}

pub(super) fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript)
}
