//! The names of the keys: `docs/redis-layout.md`.

use crate::{JobId, QueueName, WorkflowId};

/// Names keys. All keys of a queue have its name as their hash tag, so that one script can touch them in a cluster.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

/// The keys of one queue.
#[derive(Clone, Debug)]
pub(super) struct QueueKeys {
    base: String,
    pub(super) streams: [String; 3],
    pub(super) delayed: String,
    pub(super) delayed_items: String,
    pub(super) counters: String,
    pub(super) signal: String,
    pub(super) running: String,
    pub(super) cancelled: String,
    pub(super) discarded: String,
    pub(super) discarded_items: String,
    pub(super) history: String,
    /// Frames that nobody could read.
    pub(super) unreadable: String,
    /// Ends of jobs that their workflows have not heard of.
    pub(super) outbox: String,
    /// Jobs of nodes that wait or run, and their nodes.
    pub(super) nodes: String,
}

/// The keys of one workflow.
#[derive(Clone, Debug)]
pub(super) struct WorkflowKeys {
    pub(super) definition: String,
    pub(super) events: String,
    pub(super) happened: String,
    pub(super) pushed: String,
    /// Nodes whose jobs were among the queue's jobs of nodes.
    pub(super) registered: String,
    pub(super) finished: String,
    /// The workflow as lists show it.
    pub(super) shown: String,
}

/// The keys of all workflows together.
#[derive(Clone, Debug)]
pub(super) struct AllWorkflowsKeys {
    pub(super) running: String,
    pub(super) ended: String,
    pub(super) outbox: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(super) fn queue(&self, queue: &QueueName) -> QueueKeys {
        let base = format!("{}:{{{queue}}}:", self.prefix);
        let key = |name: &str| format!("{base}{name}");
        QueueKeys {
            streams: [key("s0"), key("s1"), key("s2")],
            delayed: key("z"),
            delayed_items: key("zb"),
            counters: key("n"),
            signal: key("sig"),
            running: key("run"),
            cancelled: key("x"),
            discarded: key("d"),
            discarded_items: key("db"),
            history: key("h"),
            unreadable: key("bad"),
            outbox: key("o"),
            nodes: key("w"),
            base,
        }
    }

    /// There while processes that know only an earlier layout may still be at work.
    pub(super) fn layout_is_new(&self) -> String {
        format!("{}:layout:new", self.prefix)
    }

    pub(super) fn layout(&self) -> String {
        format!("{}:layout", self.prefix)
    }

    /// Holds the id of the store that the jobs of these keys are for.
    pub(super) fn store(&self) -> String {
        format!("{}:store", self.prefix)
    }

    pub(super) fn queues(&self) -> String {
        format!("{}:queues", self.prefix)
    }

    pub(super) fn workers(&self) -> [String; 2] {
        [format!("{}:{{workers}}:w", self.prefix), format!("{}:{{workers}}:t", self.prefix)]
    }

    /// Commands that wait for a worker.
    pub(super) fn commands(&self, worker: &str) -> String {
        format!("{}:{{workers}}:c:{worker}", self.prefix)
    }

    /// A rate that all processes share. All are in one slot, so that one script can take turns at several of them.
    pub(super) fn rate(&self, name: &str) -> String {
        format!("{}:{{rate:all}}:{name}", self.prefix)
    }

    pub(super) fn schedules(&self) -> [String; 2] {
        [format!("{}:{{schedules}}:s", self.prefix), format!("{}:{{schedules}}:v", self.prefix)]
    }

    /// No queue has a colon in its name, so these are no queue's keys.
    pub(super) fn workflow(&self, id: WorkflowId) -> WorkflowKeys {
        let key = |name: &str| format!("{}:{{wf:{id}}}:{name}", self.prefix);
        WorkflowKeys {
            definition: key("d"),
            events: key("e"),
            happened: key("n"),
            pushed: key("p"),
            registered: key("q"),
            finished: key("f"),
            shown: key("v"),
        }
    }

    pub(super) fn workflows(&self) -> AllWorkflowsKeys {
        let key = |name: &str| format!("{}:{{wf:all}}:{name}", self.prefix);
        AllWorkflowsKeys { running: key("r"), ended: key("f"), outbox: key("o") }
    }

    pub(super) fn leader(&self, name: &str) -> [String; 2] {
        [format!("{}:{{lead:{name}}}:owner", self.prefix), format!("{}:{{lead:{name}}}:token", self.prefix)]
    }
}

impl QueueKeys {
    /// Says that the job of a node was pushed.
    pub(super) fn marker(&self, job: JobId) -> String {
        format!("{}m:{job}", self.base)
    }

    /// Tells whether this queue's data are still those that were there before.
    pub(super) fn generation(&self) -> String {
        format!("{}g", self.base)
    }

    pub(super) fn unique(&self, key: &str) -> String {
        format!("{}u:{key}", self.base)
    }

    /// What was told about a job.
    pub(super) fn told(&self, job: JobId) -> String {
        format!("{}t:{job}", self.base)
    }

    /// The payload of a job, when it has a key of its own.
    pub(super) fn payload(&self, job: JobId) -> String {
        format!("{}b:{job}", self.base)
    }

    pub(super) fn result(&self, job: JobId) -> String {
        format!("{}r:{job}", self.base)
    }
}
