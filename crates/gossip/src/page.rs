//! Push/pull: all that a node knows, in pages, over a connection that was checked by its handshake.
//!
//! Both sides send all of their pages, the one that called first. A page stands on its own, so the receiver takes in each as
//! it comes.
//!
//! ```text
//! page   version:1  owner:identity  incarnation  more:1  count  member*  count  item*
//! ```

use althing_codec::wire::{DecodeError, Reader, Writer};
use bytes::Bytes;
use foca::{Member, State};

use crate::codec::{read_member, write_member};
use crate::identity::Identity;
use crate::state::Item;

/// The version of the format that this program speaks.
const PAGE_VERSION: u64 = 1;
/// Bytes at which a page closes; what fills it may exceed this by its own size.
const PAGE_BYTES: usize = 64 * 1024;
/// Bytes of a page.
pub const MAX_PAGE_BYTES: usize = PAGE_BYTES + 1024;
/// Pages of one side: enough for [`crate::MAX_MEMBERS`] with every value at its longest.
pub const MAX_PAGES: usize = 128;

/// Whether another page follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum More {
    /// One does.
    Follows,
    /// This is the last.
    Last,
}

/// A part of what a node knows.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Page {
    /// Who sends it.
    pub owner: Member<Identity>,
    pub more: More,
    pub members: Vec<Member<Identity>>,
    pub items: Vec<Item>,
}

fn encode(owner: &Member<Identity>, more: More, members: &[Bytes], items: &[Bytes]) -> Bytes {
    let mut writer = Writer::with_capacity(1024);
    writer.u64(PAGE_VERSION);
    write_member(owner, &mut writer);
    writer.bool(more == More::Follows);
    for parts in [members, items] {
        writer.u64(parts.len() as u64);
        parts.iter().for_each(|part| writer.raw(part));
    }
    writer.finish()
}

/// All pages of what a node knows; at least one.
pub(crate) fn pages<'a>(
    owner: &Member<Identity>,
    members: impl Iterator<Item = &'a Member<Identity>>,
    items: impl Iterator<Item = Item>,
) -> Vec<Bytes> {
    let member = |member: &Member<Identity>| {
        let mut writer = Writer::with_capacity(64);
        write_member(member, &mut writer);
        writer.finish()
    };
    let item = |item: Item| {
        let mut writer = Writer::with_capacity(64);
        item.write(&mut writer);
        writer.finish()
    };
    let (mut sheets, mut bytes) = (vec![(Vec::new(), Vec::new())], 0);
    let parts = members.map(|known| (Part::Member, member(known)));
    for (part, encoded) in parts.chain(items.map(|known| (Part::Item, item(known)))) {
        if bytes + encoded.len() > PAGE_BYTES {
            sheets.push((Vec::new(), Vec::new()));
            bytes = 0;
        }
        bytes += encoded.len();
        if let Some((members, items)) = sheets.last_mut() {
            match part {
                Part::Member => members.push(encoded),
                Part::Item => items.push(encoded),
            }
        }
    }
    let last = sheets.len() - 1;
    let more = |at| if at == last { More::Last } else { More::Follows };
    sheets.iter().enumerate().map(|(at, (members, items))| encode(owner, more(at), members, items)).collect()
}

#[derive(Clone, Copy)]
enum Part {
    Member,
    Item,
}

/// Whether another page follows this one, for the host that reads them from a connection.
pub fn more(page: &Bytes) -> Result<More, DecodeError> {
    let mut reader = open(page)?;
    read_member(&mut reader)?;
    read_more(&mut reader)
}

fn open(page: &Bytes) -> Result<Reader, DecodeError> {
    let mut reader = Reader::new(page.clone());
    match reader.u64("version")? {
        PAGE_VERSION => Ok(reader),
        found => Err(DecodeError::Version { what: "a push/pull page", found, known: PAGE_VERSION }),
    }
}

fn read_more(reader: &mut Reader) -> Result<More, DecodeError> {
    Ok(if reader.bool("more")? { More::Follows } else { More::Last })
}

/// Reads a page.
pub(crate) fn read(page: &Bytes) -> Result<Page, DecodeError> {
    let mut reader = open(page)?;
    let owner = read_member(&mut reader)?;
    if owner.state() != State::Alive {
        return Err(DecodeError::Unknown { field: "owner's state", value: 1 });
    }
    let more = read_more(&mut reader)?;
    let (mut members, mut items) = (Vec::new(), Vec::new());
    for _ in 0..reader.count("members")? {
        members.push(read_member(&mut reader)?);
    }
    for _ in 0..reader.count("items")? {
        items.extend(Item::read(&mut reader)?);
    }
    reader.finish()?;
    Ok(Page { owner, more, members, items })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Contact, MAX_CONTACT_BYTES};
    use crate::state::{Key, MAX_TEXT_BYTES, Stamp, Value};
    use althing_types::NodeId;
    use proptest::prelude::*;

    fn member(node: u64) -> Member<Identity> {
        let contact = Contact::new(&"c".repeat(MAX_CONTACT_BYTES)).unwrap();
        Member::new(Identity { node: NodeId(node), generation: 1, renewal: 0, contact }, 3, State::Alive)
    }

    fn item(node: u64) -> Item {
        let value = Value::Text("t".repeat(MAX_TEXT_BYTES));
        Item { node: NodeId(node), stamp: Stamp { generation: 1, version: 2 }, key: Key::Zone, value }
    }

    #[test]
    fn a_node_that_knows_nobody_sends_one_page() {
        let pages = pages(&member(1), [].iter(), [].into_iter());
        assert_eq!(pages.len(), 1);
        let page = read(&pages[0]).unwrap();
        assert_eq!((page.owner, page.more, page.members, page.items), (member(1), More::Last, vec![], vec![]));
    }

    #[test]
    fn much_knowledge_travels_in_bounded_pages() {
        let known: Vec<_> = (2..1_000).map(member).collect();
        let pages = pages(&member(1), known.iter(), (2..1_000).map(item));
        assert!(pages.len() > 5 && pages.iter().all(|page| page.len() <= MAX_PAGE_BYTES));
        let read: Vec<_> = pages.iter().map(|page| read(page).unwrap()).collect();
        let follow: Vec<_> = pages.iter().map(|page| more(page).unwrap() == More::Follows).collect();
        assert!(follow.iter().rev().skip(1).all(|follows| *follows) && !follow[follow.len() - 1]);
        assert_eq!(read.iter().flat_map(|page| page.members.clone()).collect::<Vec<_>>(), known);
        assert_eq!(read.iter().flat_map(|page| page.items.clone()).count(), 998);
    }

    #[test]
    fn the_largest_cluster_fits_into_the_pages_of_one_side() {
        // Every member with every contact, and all seven values at their longest.
        let bytes = crate::MAX_MEMBERS * (200 + 7 * (MAX_TEXT_BYTES + 40));
        assert!(bytes / PAGE_BYTES < MAX_PAGES, "{bytes}");
    }

    proptest! {
        #[test]
        fn hostile_pages_are_refused_or_read(input: Vec<u8>) {
            let bytes = Bytes::from(input);
            let _ = read(&bytes);
            let _ = more(&bytes);
        }

        #[test]
        fn a_page_that_was_tampered_with_never_panics(at: prop::sample::Index, byte: u8) {
            let mut page = pages(&member(1), [member(2)].iter(), [item(2)].into_iter()).remove(0).to_vec();
            let at = at.index(page.len());
            page[at] = byte;
            let _ = read(&Bytes::from(page));
        }
    }
}
