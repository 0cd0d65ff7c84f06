//! The table's quota, which is part of the replicated state.
//!
//! A table is founded with the default, the same on every member. Whoever leads and was told another quota proposes it:
//! so a changed setting takes effect with the next leader that has it. A node that was told none leaves it as it is.

use althing_strong::Command;
use althing_types::Duration;

use super::{Group, Leading};
use crate::context::Context;

/// How long between two proposals of the quota, should the first one get lost.
const PROPOSE_EVERY: Duration = Duration::from_secs(2);

impl Group {
    /// Proposes this node's quota if it leads, knows what the table says, and was told another one.
    pub(super) fn tend_quota(&mut self, cx: &mut Context<'_>) {
        match self.leading {
            Leading::Serving { .. } => {}
            Leading::Elected { .. } | Leading::No => return,
        }
        let Some(bytes) = self.quota.filter(|bytes| *bytes != self.reader.quota_bytes()) else { return };
        if self.quota_proposed.is_some_and(|at| cx.now.since(at) < PROPOSE_EVERY) {
            return;
        }
        if self.propose_own(cx, Command::SetQuota { bytes }) {
            self.quota_proposed = Some(cx.now);
        }
    }
}
