//! The table as pages.
use althing_api::ErrorKind;
use althing_storage::engine::Applied;
use althing_types::Revision;
use bytes::Bytes;

/// A table on its way out.
#[derive(Debug)]
pub struct Export {}

#[allow(unused_variables)]
impl Export {
    /// Where in the log the cut is.
    pub fn applied(&self) -> Applied {
        unimplemented!()
    }
    /// The revision at the cut.
    pub fn revision(&self) -> Revision {
        unimplemented!()
    }
    /// The next page of about `max_bytes`; `None` after the last.
    pub fn next_page(&mut self, max_bytes: usize) -> Result<Option<Bytes>, ErrorKind> {
        unimplemented!()
    }
}
