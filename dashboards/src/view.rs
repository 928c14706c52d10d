//! View models: what each page shows, as plain values. Times are milliseconds since the epoch, UTC; numbers are raw
//! and formatted by the templates; a value that is not known is `None` and shown as a dash, never as zero.

mod bindings;
mod explore;
mod graph;
mod host;
mod incident;
mod message;
mod overview;
mod status;
mod storage;
mod task;
mod tasks;

pub use explore::ExplorePage;
pub use graph::{Graph, GraphData, GraphQuery, GraphSeries};
pub use host::{
    DiskUse, Fact, HostFacts, HostIncidents, HostPage, HostRow, HostTable, HostVolumes, HostsPage, MetricRow,
    NetworkInterface, Volume,
};
pub use incident::{
    Computation, IncidentDetail, IncidentEvent, IncidentList, IncidentPage, IncidentStateFilter, IncidentSummary,
    IncidentTimeline, IncidentsPage, Tag,
};
pub use message::MessagePage;
pub use overview::{Attention, IngestHealth, OverviewPage, RecentEvent, RecentEvents};
pub use status::Status;
pub use storage::{
    CardinalityRow, FigureRow, LatencyRow, StorageCardinality, StorageFigures, StoragePage, StorageSpace, StorageWork,
};
pub use task::{
    AttemptRow, LogRow, NodeRow, TaskDetail, TaskPage, WorkerDetail, WorkerPage, WorkerQueueRow, WorkflowDetail,
    WorkflowPage,
};
pub use tasks::{
    JobRow, JobTable, QueueRow, QueueTable, ScheduleRow, ScheduleTable, TasksPage, WorkerRow, WorkerTable, WorkflowRow,
    WorkflowTable,
};
