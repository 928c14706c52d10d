//! Which template shows which view model, and which parts of a page are live: the one table to look at.

use minijinja::value::{Serde, Value};

use super::{
    Attention, ExplorePage, HostFacts, HostIncidents, HostPage, HostTable, HostVolumes, HostsPage, IncidentDetail,
    IncidentList, IncidentPage, IncidentTimeline, IncidentsPage, IngestHealth, JobTable, MessagePage, OverviewPage,
    QueueTable, RecentEvents, ScheduleTable, StorageCardinality, StorageFigures, StoragePage, StorageSpace,
    StorageWork, TaskDetail, TaskPage, TasksPage, WorkerDetail, WorkerPage, WorkerTable, WorkflowDetail, WorkflowPage,
    WorkflowTable,
};
use crate::{
    page_context::ProblemCount,
    pages::{Fragment, Page},
};

macro_rules! pages {
    ($($page:ident: $template:literal [$($part:ident),*];)*) => {$(
        impl Page for $page {
            fn template(&self) -> &'static str {
                $template
            }

            fn fragments(&self) -> Vec<&dyn Fragment> {
                vec![$(&self.$part),*]
            }
        }
    )*};
}

macro_rules! fragments {
    ($($fragment:ident: $name:literal $template:literal;)*) => {$(
        impl Fragment for $fragment {
            fn name(&self) -> &'static str {
                $name
            }

            fn template(&self) -> &'static str {
                $template
            }

            fn value(&self) -> Value {
                Value::from(Serde(self))
            }
        }
    )*};
}

pages! {
    OverviewPage: "overview.html" [attention, hosts, events, ingest];
    HostsPage: "hosts.html" [hosts];
    HostPage: "host.html" [facts, incidents, volumes];
    ExplorePage: "explore.html" [];
    IncidentsPage: "incidents.html" [list];
    IncidentPage: "incident.html" [detail, timeline];
    TasksPage: "tasks.html" [queues, jobs, workflows, workers, schedules];
    TaskPage: "task.html" [detail];
    WorkerPage: "worker.html" [detail];
    WorkflowPage: "workflow.html" [detail];
    StoragePage: "storage.html" [space, work, cardinality, figures];
    MessagePage: "message.html" [];
}

fragments! {
    ProblemCount: "nav" "fragments/nav.html";
    Attention: "attention" "fragments/attention.html";
    HostTable: "hosts" "fragments/hosts.html";
    RecentEvents: "events" "fragments/events.html";
    IngestHealth: "ingest" "fragments/ingest.html";
    HostFacts: "host-facts" "fragments/host_facts.html";
    HostIncidents: "host-incidents" "fragments/host_incidents.html";
    HostVolumes: "host-volumes" "fragments/host_volumes.html";
    IncidentList: "incident-list" "fragments/incident_list.html";
    IncidentDetail: "incident-detail" "fragments/incident_detail.html";
    IncidentTimeline: "incident-timeline" "fragments/incident_timeline.html";
    QueueTable: "queues" "fragments/queues.html";
    JobTable: "jobs" "fragments/jobs.html";
    WorkflowTable: "workflows" "fragments/workflows.html";
    WorkerTable: "workers" "fragments/workers.html";
    ScheduleTable: "schedules" "fragments/schedules.html";
    TaskDetail: "task-detail" "fragments/task_detail.html";
    WorkerDetail: "worker-detail" "fragments/worker_detail.html";
    WorkflowDetail: "workflow-detail" "fragments/workflow_detail.html";
    StorageSpace: "storage-space" "fragments/storage_space.html";
    StorageWork: "storage-work" "fragments/storage_work.html";
    StorageCardinality: "storage-cardinality" "fragments/storage_cardinality.html";
    StorageFigures: "storage-figures" "fragments/storage_figures.html";
}
