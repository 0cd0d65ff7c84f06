//! The reader's thread: reads that would keep the driver from its turns.

use std::sync::Arc;

use althing_node::{ReadDone, ReadWork, read};

use super::Fatal;
use crate::mailbox::Mailbox;

/// What the thread needs.
pub(crate) struct ReaderThread {
    pub reads: Arc<Mailbox<ReadWork>>,
    pub report: Box<dyn Fn(ReadDone) + Send>,
}

impl ReaderThread {
    /// Works until the mailbox is closed.
    pub(crate) fn run(self) -> Result<(), Fatal> {
        let mut reads = Vec::new();
        while self.reads.take(&mut reads) {
            for work in reads.drain(..) {
                (self.report)(read(work));
            }
        }
        Ok(())
    }
}
