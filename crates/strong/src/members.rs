//! The members' table: who belongs to the cluster, and whose id never comes back.

use std::collections::{BTreeMap, BTreeSet};

use althing_api::ErrorKind;
use althing_api::cluster::{Alarm, Member};
use althing_api::wire::cluster::{alarm_kind_tag, read_alarm_kind, read_member, write_member};
use althing_codec::{DecodeError, Reader, Writer};
use althing_types::NodeId;
use bytes::Bytes;

use crate::command::Command;
use crate::error::StrongError;

/// Learners that a cluster may have at the same time; etcd's `--max-learners`.
pub const MAX_LEARNERS: usize = 1;

/// The members and the ids that were removed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Members {
    members: BTreeMap<NodeId, Member>,
    removed: BTreeSet<NodeId>,
}

impl Members {
    /// The first members of a cluster.
    #[must_use]
    pub fn new(members: &[Member]) -> Self {
        Self { members: members.iter().map(|member| (member.id, member.clone())).collect(), removed: BTreeSet::new() }
    }

    /// All members, by id.
    #[must_use]
    pub fn list(&self) -> Vec<Member> {
        self.members.values().cloned().collect()
    }

    /// One member.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// What speaks against a change of the members. The driver asks before it lets Raft change its configuration, the
    /// machine when it applies the same entry: both see the same table, so they agree.
    pub fn check(&self, command: &Command) -> Result<(), ErrorKind> {
        match command {
            Command::MemberAdd(member) => self.check_add(member),
            Command::MemberUpsert(member) => {
                self.existing(member.id)?;
                self.check_urls(member)
            }
            Command::MemberRemove(id) => self.existing(*id).map(|_| ()),
            Command::MemberPromote(id) => {
                if self.existing(*id)?.is_learner {
                    Ok(())
                } else {
                    Err(ErrorKind::NotLearner(*id))
                }
            }
            Command::Put(_)
            | Command::DeleteRange(_)
            | Command::Txn(_)
            | Command::Compact { .. }
            | Command::LeaseGrant { .. }
            | Command::LeaseRevoke { .. }
            | Command::LeaseCheckpoint { .. }
            | Command::Alarm { .. }
            | Command::Ingest(_)
            | Command::Seal { .. }
            | Command::Bar { .. }
            | Command::Activate { .. }
            | Command::Operate { .. }
            | Command::Transact { .. }
            | Command::Flush
            | Command::Expire { .. }
            | Command::SetQuota { .. } => Ok(()),
        }
    }

    /// Makes a change that was checked.
    pub(crate) fn change(&mut self, command: &Command) {
        match command {
            Command::MemberAdd(member) => {
                self.members.insert(member.id, member.clone());
            }
            Command::MemberUpsert(member) => {
                let is_learner = self.members.get(&member.id).is_some_and(|known| known.is_learner);
                self.members.insert(member.id, Member { is_learner, ..member.clone() });
            }
            Command::MemberRemove(id) => {
                self.members.remove(id);
                self.removed.insert(*id);
            }
            Command::MemberPromote(id) => {
                if let Some(member) = self.members.get_mut(id) {
                    member.is_learner = false;
                }
            }
            Command::Put(_)
            | Command::DeleteRange(_)
            | Command::Txn(_)
            | Command::Compact { .. }
            | Command::LeaseGrant { .. }
            | Command::LeaseRevoke { .. }
            | Command::LeaseCheckpoint { .. }
            | Command::Alarm { .. }
            | Command::Ingest(_)
            | Command::Seal { .. }
            | Command::Bar { .. }
            | Command::Activate { .. }
            | Command::Operate { .. }
            | Command::Transact { .. }
            | Command::Flush
            | Command::Expire { .. }
            | Command::SetQuota { .. } => {}
        }
    }

    fn check_add(&self, member: &Member) -> Result<(), ErrorKind> {
        if member.id == NodeId::NONE || self.removed.contains(&member.id) {
            return Err(ErrorKind::MemberNotFound(member.id));
        }
        if self.members.contains_key(&member.id) {
            return Err(ErrorKind::MemberExists(member.id));
        }
        self.check_urls(member)?;
        let learners = self.members.values().filter(|member| member.is_learner).count();
        if member.is_learner && learners >= MAX_LEARNERS {
            return Err(ErrorKind::TooManyLearners);
        }
        Ok(())
    }

    fn check_urls(&self, member: &Member) -> Result<(), ErrorKind> {
        let others = self.members.values().filter(|other| other.id != member.id);
        if others.flat_map(|other| &other.peer_urls).any(|url| member.peer_urls.contains(url)) {
            return Err(ErrorKind::PeerUrlExists);
        }
        Ok(())
    }

    fn existing(&self, id: NodeId) -> Result<&Member, ErrorKind> {
        self.members.get(&id).ok_or(ErrorKind::MemberNotFound(id))
    }

    /// The ids of all who were removed; none of them is ever given again.
    #[must_use]
    pub const fn removed(&self) -> &BTreeSet<NodeId> {
        &self.removed
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.u64(self.members.len() as u64);
        for member in self.members.values() {
            write_member(&mut writer, member);
        }
        writer.u64(self.removed.len() as u64);
        for id in &self.removed {
            writer.u64(id.0);
        }
        writer.finish()
    }

    /// From its bytes.
    pub fn decode(bytes: Bytes) -> Result<Self, StrongError> {
        Self::read(bytes).map_err(|source| StrongError::Record { what: "members", source })
    }

    fn read(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let count = reader.count("members")?;
        let one = |reader: &mut Reader| read_member(reader).map(|member| (member.id, member));
        let members = (0..count).map(|_| one(&mut reader)).collect::<Result<_, _>>()?;
        let count = reader.count("removed members")?;
        let removed = (0..count).map(|_| reader.u64("member").map(NodeId)).collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { members, removed })
    }
}

/// The bytes of the alarms that are raised.
pub(crate) fn encode_alarms(alarms: &BTreeSet<Alarm>) -> Bytes {
    let mut writer = Writer::default();
    writer.u64(alarms.len() as u64);
    for alarm in alarms {
        writer.u64(alarm.member.0);
        writer.u8(alarm_kind_tag(alarm.kind));
    }
    writer.finish()
}

/// The alarms from their bytes.
pub(crate) fn decode_alarms(bytes: Bytes) -> Result<BTreeSet<Alarm>, StrongError> {
    let mut reader = Reader::new(bytes);
    let mut read = || {
        let count = reader.count("alarms")?;
        let mut alarms = BTreeSet::new();
        for _ in 0..count {
            let member = NodeId(reader.u64("member")?);
            let Some(kind) = read_alarm_kind(&mut reader)? else {
                return Err(DecodeError::Unknown { field: "the kind of an alarm", value: 0 });
            };
            alarms.insert(Alarm { member, kind });
        }
        Ok(alarms)
    };
    read().map_err(|source| StrongError::Record { what: "alarms", source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, is_learner: bool) -> Member {
        let peer_urls = vec![format!("http://10.0.0.{id}:2380")];
        Member { id: NodeId(id), name: format!("n{id}"), peer_urls, client_urls: Vec::new(), is_learner }
    }

    #[test]
    fn an_id_that_was_removed_never_comes_back() {
        let mut members = Members::new(&[member(1, false), member(2, false)]);
        let remove = Command::MemberRemove(NodeId(2));
        assert_eq!(members.check(&remove), Ok(()));
        members.change(&remove);
        assert_eq!(members.check(&remove), Err(ErrorKind::MemberNotFound(NodeId(2))));
        let add = Command::MemberAdd(member(2, false));
        assert_eq!(members.check(&add), Err(ErrorKind::MemberNotFound(NodeId(2))));
        assert_eq!(Members::decode(members.encode()), Ok(members));
    }

    #[test]
    fn one_learner_at_a_time_and_only_a_learner_is_promoted() {
        let mut members = Members::new(&[member(1, false)]);
        let add = Command::MemberAdd(member(2, true));
        assert_eq!(members.check(&add), Ok(()));
        members.change(&add);
        assert_eq!(members.check(&Command::MemberAdd(member(3, true))), Err(ErrorKind::TooManyLearners));
        assert_eq!(members.check(&Command::MemberPromote(NodeId(1))), Err(ErrorKind::NotLearner(NodeId(1))));
        members.change(&Command::MemberPromote(NodeId(2)));
        assert!(!members.get(NodeId(2)).unwrap().is_learner);
    }

    #[test]
    fn a_peer_url_belongs_to_one_member() {
        let members = Members::new(&[member(1, false), member(2, false)]);
        let add = Command::MemberAdd(Member { id: NodeId(3), ..member(1, false) });
        assert_eq!(members.check(&add), Err(ErrorKind::PeerUrlExists));
        let update = Command::MemberUpsert(Member { id: NodeId(2), ..member(1, false) });
        assert_eq!(members.check(&update), Err(ErrorKind::PeerUrlExists));
        assert_eq!(members.check(&Command::MemberUpsert(member(1, false))), Ok(()));
    }
}
