//! The members' table.
use althing_api::ErrorKind;
use althing_api::cluster::Member;

use crate::command::Command;

/// What speaks against a change of the members, given the members and the ids that were removed.
#[allow(unused_variables)]
pub fn check_change(members: &[Member], command: &Command) -> Result<(), ErrorKind> {
    unimplemented!()
}
