//! The mailboxes of the threads beside the driver.

use std::sync::Arc;

use althing_node::ReadWork;
use althing_storage::engine::Checkpoint;

use crate::mailbox::Mailbox;
use crate::threads::applier::Task;
use crate::threads::log::Order;

/// Where the driver puts work. Clones are the same mailboxes.
#[derive(Clone, Default)]
pub(crate) struct Ports {
    pub log: Arc<Mailbox<Order>>,
    pub applier: Arc<Mailbox<Task>>,
    pub reader: Arc<Mailbox<ReadWork>>,
    pub maintenance: Arc<Mailbox<Box<dyn Checkpoint>>>,
}

impl Ports {
    /// No more work will come: each thread ends when it has done what is there.
    pub(crate) fn close(&self) {
        self.log.close();
        self.applier.close();
        self.reader.close();
        self.maintenance.close();
    }
}
