//! The thread that owns the table and the file.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::store::JobStore;
use crate::{
    BrokerError, JobId,
    table::{Change, JobTable},
    table_broker::{Shared, TableAccess},
};

/// A call on the table. What it returns is called once the changes are written, or with the reason why they are not.
pub(super) type Call = Box<dyn FnOnce(&mut TableAccess<'_>) -> Finish + Send>;
pub(super) type Finish = Box<dyn FnOnce(Result<(), BrokerError>) + Send>;

/// Most calls of one transaction: enough to share an fsync, few enough that nobody waits long for the others.
const GROUP_CALLS_MAX: usize = 4_096;
/// Most changes of one transaction, for the same reason.
const GROUP_CHANGES_MAX: usize = 20_000;

pub(super) struct Owner {
    pub(super) store: JobStore,
    pub(super) table: JobTable,
    pub(super) shared: Arc<Shared>,
    /// Why the last transaction failed, for the health endpoint.
    pub(super) trouble: watch::Sender<Option<String>>,
}

impl Owner {
    pub(super) fn run(mut self, mut calls: mpsc::Receiver<Call>) {
        // Changes of groups that failed; they are written with the next group.
        let mut unwritten = Vec::new();
        while let Some(first) = calls.blocking_recv() {
            let finishes = self.run_group(first, &mut calls);
            unwritten.extend(self.table.take_changes());
            let written = self.write(&mut unwritten);
            finishes.into_iter().for_each(|finish| finish(written.clone()));
            for (waiter, result) in self.table.take_announcements() {
                // A producer that does not wait any more is none of our business.
                drop(waiter.send(result));
            }
            if self.table.take_became_ready() {
                self.shared.ready.notify_waiters();
            }
        }
        if let Err(error) = self.store.write(&unwritten).and_then(|()| self.store.close()) {
            tracing::error!(%error, "close the queue's file: finished jobs may run again");
        }
    }

    fn run_group(&mut self, first: Call, calls: &mut mpsc::Receiver<Call>) -> Vec<Finish> {
        let mut finishes = Vec::new();
        let mut next = Some(first);
        while let Some(call) = next.take() {
            let now = self.shared.now();
            finishes.push(call(&mut TableAccess::new(&mut self.table, now)));
            if finishes.len() < GROUP_CALLS_MAX && self.table.changes_len() < GROUP_CHANGES_MAX {
                next = calls.try_recv().ok();
            }
        }
        finishes
    }

    fn write(&mut self, unwritten: &mut Vec<Change>) -> Result<(), BrokerError> {
        match self.store.write(unwritten) {
            Ok(()) => {
                unwritten.clear();
                self.trouble.send_if_modified(|trouble| trouble.take().is_some());
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, changes = unwritten.len(), "write the queue's file");
                self.trouble.send_replace(Some(error.to_string()));
                let mut retracted = None;
                unwritten.retain(|change| self.stands(change, &mut retracted));
                Err(error)
            }
        }
    }

    /// Undoes what a caller is told did not happen; `true` for a change that stands and must be written later.
    fn stands(&mut self, change: &Change, retracted: &mut Option<JobId>) -> bool {
        match change {
            Change::Insert { sequence, stands: false, .. } => *retracted = self.table.retract_push(*sequence),
            Change::Lease { token, .. } => self.table.retract_lease(*token),
            Change::StartWorkflow { id, .. } => self.table.retract_workflow(*id),
            // It comes after its job.
            Change::HoldKey { job, .. } => return *retracted != Some(*job),
            _ => return true,
        }
        false
    }
}
