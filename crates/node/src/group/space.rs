//! The alarm that this node's disk is short of space.
//!
//! It goes through the log, as an alarm of etcd does, so every node refuses what adds data from the same entry on, while
//! removals, compactions and reads go on. It is lowered the same way once there is room again. Only an alarm that this run
//! has seen the reason of is lowered by itself: after a restart an operator does it, as on etcd.

use althing_api::cluster::{Alarm, AlarmAction, AlarmKind};
use althing_strong::Command;
use althing_types::{Duration, Instant};

use super::Group;
use crate::context::Context;
use crate::input::DiskSpace;

/// How long between two tries to raise or to lower the alarm.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What the cluster was told of this node's disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SpaceAlarm {
    /// The alarm stands as this says.
    Told(DiskSpace),
    /// The contrary was proposed at this moment.
    Changing(Instant, DiskSpace),
}

impl Default for SpaceAlarm {
    fn default() -> Self {
        Self::Told(DiskSpace::default())
    }
}

impl Group {
    /// Sees to it that the alarm stands as the disk does.
    pub(super) fn tell_space(&mut self, cx: &mut Context<'_>) {
        let space = cx.shared.disk_space;
        match self.space_alarm {
            SpaceAlarm::Told(told) if told == space => return,
            SpaceAlarm::Changing(at, to) if to == space && cx.now.since(at) < TELL_EVERY => return,
            SpaceAlarm::Told(_) | SpaceAlarm::Changing(..) => {}
        }
        let (member, kind) = (cx.shared.node(), AlarmKind::NoSpace);
        let is_raised = self.reader.alarms().unwrap_or_default().contains(&Alarm { member, kind });
        let action = match (space, is_raised) {
            (DiskSpace::Short, true) | (DiskSpace::Ample, false) => {
                self.space_alarm = SpaceAlarm::Told(space);
                return;
            }
            (DiskSpace::Short, false) => AlarmAction::Activate,
            (DiskSpace::Ample, true) => AlarmAction::Deactivate,
        };
        if self.leader().is_none() {
            return;
        }
        self.space_alarm = SpaceAlarm::Changing(cx.now, space);
        let (ticket, deadline) = (cx.shared.internal_ticket(), cx.now + TELL_EVERY);
        self.propose(cx, ticket, Command::Alarm { action, member, kind: Some(kind) }, deadline);
    }
}
