//! The reconcilers.

use althing_types::{Instant, NodeId};

use crate::{Reports, View, Write};

/// One of those with whom the cluster was born.
#[derive(Clone, Debug)]
pub struct Founder {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Where other nodes reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
}

/// The reconcilers.
#[derive(Debug)]
pub struct Reconciler {}

impl Reconciler {
    /// New.
    #[must_use]
    pub fn new(_now: Instant, _founders: Vec<Founder>) -> Self {
        Self {}
    }

    /// One turn.
    pub fn turn(&mut self, _now: Instant, _view: &View, _reports: &Reports, _out: &mut Vec<Write>) {}
}
