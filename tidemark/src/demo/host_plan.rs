//! Which hosts there are and how large they are.

/// A host of the fleet.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostPlan {
    pub(super) name: &'static str,
    pub(super) role: Role,
    pub(super) data_centre: DataCentre,
}

/// What a host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Web,
    Db,
    Cache,
    Queue,
}

/// Where a host stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataCentre {
    Amsterdam,
    NewYork,
}

/// All of them.
pub(super) const HOSTS: [HostPlan; 12] = {
    use DataCentre::{Amsterdam, NewYork};
    use Role::{Cache, Db, Queue, Web};
    [
        HostPlan { name: "web01", role: Web, data_centre: Amsterdam },
        HostPlan { name: "web02", role: Web, data_centre: Amsterdam },
        HostPlan { name: "web03", role: Web, data_centre: Amsterdam },
        HostPlan { name: "web04", role: Web, data_centre: NewYork },
        HostPlan { name: "web05", role: Web, data_centre: NewYork },
        HostPlan { name: "db01", role: Db, data_centre: Amsterdam },
        HostPlan { name: "db02", role: Db, data_centre: Amsterdam },
        HostPlan { name: "db03", role: Db, data_centre: NewYork },
        HostPlan { name: "cache01", role: Cache, data_centre: Amsterdam },
        HostPlan { name: "cache02", role: Cache, data_centre: NewYork },
        HostPlan { name: "queue01", role: Queue, data_centre: Amsterdam },
        HostPlan { name: "queue02", role: Queue, data_centre: NewYork },
    ]
};

/// The size of a role's hosts, and what full activity costs them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) cores: usize,
    pub(super) memory_bytes: f64,
    /// Share of the memory in use when nobody comes.
    pub(super) memory_idle: f64,
    /// Share of the processors in use when nobody comes, and what full activity adds.
    pub(super) busy_idle: f64,
    pub(super) busy_active: f64,
    /// Share of the time for which a disk is awaited, at full activity.
    pub(super) iowait: f64,
    /// Bytes a second at full activity: received, sent, read, written.
    pub(super) received: f64,
    pub(super) sent: f64,
    pub(super) read: f64,
    pub(super) written: f64,
}

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Db => "db",
            Self::Cache => "cache",
            Self::Queue => "queue",
        }
    }

    pub(super) fn size(self) -> Size {
        match self {
            Self::Web => Size {
                cores: 4,
                memory_bytes: 16.0 * GIB,
                memory_idle: 0.31,
                busy_idle: 0.04,
                busy_active: 0.55,
                iowait: 0.01,
                received: 9e6,
                sent: 38e6,
                read: 0.2e6,
                written: 2.4e6,
            },
            Self::Db => Size {
                cores: 8,
                memory_bytes: 64.0 * GIB,
                memory_idle: 0.58,
                busy_idle: 0.03,
                busy_active: 0.42,
                iowait: 0.09,
                received: 14e6,
                sent: 22e6,
                read: 31e6,
                written: 18e6,
            },
            Self::Cache => Size {
                cores: 4,
                memory_bytes: 32.0 * GIB,
                memory_idle: 0.72,
                busy_idle: 0.02,
                busy_active: 0.21,
                iowait: 0.005,
                received: 17e6,
                sent: 61e6,
                read: 0.1e6,
                written: 0.9e6,
            },
            Self::Queue => Size {
                cores: 4,
                memory_bytes: 8.0 * GIB,
                memory_idle: 0.36,
                busy_idle: 0.05,
                busy_active: 0.48,
                iowait: 0.03,
                received: 6e6,
                sent: 5e6,
                read: 1.1e6,
                written: 6.5e6,
            },
        }
    }
}

impl DataCentre {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Amsterdam => "ams",
            Self::NewYork => "nyc",
        }
    }

    /// How far its clocks are ahead of UTC.
    pub(super) fn hours_ahead(self) -> i64 {
        match self {
            Self::Amsterdam => 1,
            Self::NewYork => -5,
        }
    }
}
