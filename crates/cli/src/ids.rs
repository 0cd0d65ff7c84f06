//! Where the ids of a new cluster come from: its name and its members, so that every node of it computes the same ones
//! without asking anybody.

use althing_api::cluster::Member;
use althing_types::{ClusterId, NodeId};
use xxhash_rust::xxh3::Xxh3;

use crate::config::MemberSetting;

/// A new cluster, as each of its members computes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Founding {
    /// Its id.
    pub cluster: ClusterId,
    /// Its members, in the order of their names.
    pub members: Vec<Member>,
}

/// A hash that is never zero, which is nobody's id. Parts are delimited, so that no two lists of them are alike.
fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hasher = Xxh3::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.digest().max(1)
}

impl Founding {
    /// The cluster of this name with these members. `origin` tells apart clusters that are alike in both: it is empty for
    /// one that begins with nothing, and names the snapshot of one that is restored.
    #[must_use]
    pub fn new(name: &str, members: &[MemberSetting], origin: &[u8]) -> Self {
        let mut sorted = members.to_vec();
        sorted.sort();
        let parts = sorted.iter().flat_map(|member| [member.name.as_bytes(), member.peer_url.as_bytes()]);
        let cluster = hash([&b"althing cluster"[..], name.as_bytes(), origin].into_iter().chain(parts));
        let member = |setting: &MemberSetting| Member {
            id: NodeId(hash([&b"althing node"[..], &cluster.to_le_bytes(), setting.name.as_bytes()])),
            name: setting.name.clone(),
            peer_urls: vec![setting.peer_url.clone()],
            client_urls: Vec::new(),
            is_learner: false,
        };
        Self { cluster: ClusterId(cluster), members: sorted.iter().map(member).collect() }
    }

    /// The id of the member with this name.
    #[must_use]
    pub fn id_of(&self, name: &str) -> Option<NodeId> {
        self.members.iter().find(|member| member.name == name).map(|member| member.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(members: &[(&str, &str)]) -> Vec<MemberSetting> {
        let setting = |(name, url): &(&str, &str)| MemberSetting { name: (*name).into(), peer_url: (*url).into() };
        members.iter().map(setting).collect()
    }

    #[test]
    fn every_member_computes_the_same_ids_in_whatever_order_it_lists_the_others() {
        let one = Founding::new("prod", &settings(&[("a", "http://h:1"), ("b", "http://h:2")]), b"");
        let two = Founding::new("prod", &settings(&[("b", "http://h:2"), ("a", "http://h:1")]), b"");
        assert_eq!(one, two);
        assert_ne!(one.id_of("a"), one.id_of("b"));
    }

    #[test]
    fn another_name_other_members_or_another_origin_is_another_cluster() {
        let members = settings(&[("a", "http://h:1"), ("b", "http://h:2")]);
        let cluster = |name, members: &[MemberSetting], origin: &[u8]| Founding::new(name, members, origin).cluster;
        let base = cluster("prod", &members, b"");
        assert_ne!(base, cluster("test", &members, b""));
        assert_ne!(base, cluster("prod", &members[..1], b""));
        assert_ne!(base, cluster("prod", &members, b"snapshot"));
    }
}
