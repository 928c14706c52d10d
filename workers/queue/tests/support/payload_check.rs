//! Whether Redis has the payloads that its jobs speak of, and no others.

use std::collections::BTreeSet;

use tidemark_queue::JobId;

/// Entries of a stream: ids, and names and values.
type Entries = Vec<(String, Vec<(Vec<u8>, Vec<u8>)>)>;

/// Looks when it is dropped, so at the end of each test.
pub(crate) struct PayloadCheck {
    pub(crate) url: String,
}

impl Drop for PayloadCheck {
    fn drop(&mut self) {
        // A test that failed has said why; one that ended its server has no payloads to look for.
        if std::thread::panicking() {
            return;
        }
        let client = redis::Client::open(self.url.as_str()).unwrap();
        let Ok(mut connection) = client.get_connection() else { return };
        assert_eq!(payloads(&mut connection, "tidemark"), payloads_spoken_of(&mut connection, "tidemark"));
    }
}

/// Keys of payloads that do not expire.
pub(crate) fn payloads(connection: &mut redis::Connection, prefix: &str) -> BTreeSet<String> {
    let keys: Vec<String> = redis::cmd("KEYS").arg(format!("{prefix}:{{*}}:b:*")).query(connection).unwrap();
    let stays = |key: &String| redis::cmd("PTTL").arg(key).query::<i64>(connection).unwrap() == -1;
    keys.into_iter().filter(stays).collect()
}

/// Keys of payloads that jobs which wait or run should have.
fn payloads_spoken_of(connection: &mut redis::Connection, prefix: &str) -> BTreeSet<String> {
    let mut wanted = BTreeSet::new();
    let queues: Vec<String> = redis::cmd("SMEMBERS").arg(format!("{prefix}:queues")).query(connection).unwrap();
    for queue in queues {
        let base = format!("{prefix}:{{{queue}}}:");
        let mut add = |id: &[u8]| {
            wanted.insert(format!("{base}b:{}", JobId::from_slice(id).unwrap()));
        };
        for level in 0..3 {
            let mut command = redis::cmd("XRANGE");
            let entries: Entries = command.arg(format!("{base}s{level}")).arg("-").arg("+").query(connection).unwrap();
            let fields = entries.into_iter().flat_map(|(_, fields)| fields);
            fields.filter(|(name, _)| name == b"b").for_each(|(_, ids)| ids.chunks(16).for_each(&mut add));
        }
        let mut command = redis::cmd("HGETALL");
        let delayed: Vec<(Vec<u8>, Vec<u8>)> = command.arg(format!("{base}zb")).query(connection).unwrap();
        delayed.iter().filter(|(_, item)| item[1].is_ascii_uppercase()).for_each(|(id, _)| add(id));
    }
    wanted
}
