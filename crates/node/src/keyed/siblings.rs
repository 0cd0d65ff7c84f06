//! Concurrent values of a string, read and replaced by whoever has an eye for them.

use althing_api::ErrorKind;
use althing_clock::{Coded as _, DotContext};
use althing_datatypes::Op;
use althing_datatypes::op::{Existence, SetAnswer, SetExpiry, StringOp};
use althing_manifest::Conditional;
use althing_quorum::Level;
use althing_types::{GroupId, Instant, RequestId};
use bytes::Bytes;

use super::Asked;
use super::reads::Sight;
use crate::effects::Effects;
use crate::node::Node;

/// Who asks, for which key, at which level, until when.
type Question = (RequestId, Bytes, Option<Level>, Instant);

impl Node {
    /// All values of a string, and the context in which they were seen.
    pub(super) fn siblings(&mut self, now: Instant, group: GroupId, question: Question, out: &mut Effects) {
        let (id, key, level, deadline) = question;
        let op = Op::String(StringOp::Get);
        let asked = Asked { sight: Sight::Siblings, ..Asked::new(id, key, op, level, deadline) };
        self.keyed_read(now, group, asked, out);
    }

    /// A string in the place of what was seen in this context.
    pub(super) fn put_seen(
        &mut self,
        now: Instant,
        group: GroupId,
        question: Question,
        (value, context): (Bytes, Bytes),
        out: &mut Effects,
    ) {
        let (id, key, level, deadline) = question;
        match self.conditional(group) {
            Some(Conditional::Refuse) => {}
            Some(Conditional::Paxos) => {
                let reason =
                    "strings of this table are decided by rounds and have no concurrent values: compare and set them";
                return out.responses.push((id, Err(ErrorKind::Unsupported(reason.to_owned()).into())));
            }
            None => return out.responses.push((id, Err(ErrorKind::ShardUnavailable.into()))),
        }
        let Ok(seen) = DotContext::decode(context) else {
            let error = ErrorKind::InvalidArgument("the context does not parse: take one that was answered".to_owned());
            return out.responses.push((id, Err(error.into())));
        };
        let (expiry, condition, answer) = (SetExpiry::Clear, Existence::Any, SetAnswer::Done);
        let op = Op::String(StringOp::Set { value, expiry, condition, answer });
        let asked = Asked { seen: Some(seen), ..Asked::new(id, key, op, level, deadline) };
        self.keyed_write(now, group, asked, out);
    }
}
