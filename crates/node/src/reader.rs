//! Reads that may take long: a plain function that any thread may run.

use althing_api::keyed::{KeyedRequest, Moment};
use althing_api::request::Body;
use althing_api::{Answer, Error, ErrorKind, Header, Request};
use althing_strong::{Export, Feed, Page, Reader};
use bytes::Bytes;

use crate::effects::{ExportSource, FeedSource, ReadWork};
use crate::input::ReadDone;

/// Does one read.
#[must_use]
pub fn read(work: ReadWork) -> ReadDone {
    match work {
        ReadWork::Request { id, reader, request, header } => {
            ReadDone::Request { id, result: answer(&reader, request, header).map_err(Error::from) }
        }
        ReadWork::Keyed { id, reader, request, moment, header } => {
            ReadDone::Request { id, result: keyed(&reader, &request, moment, header) }
        }
        ReadWork::History { group, reader, request } => {
            let result = reader.history(request.from, request.to, request.max_bytes);
            ReadDone::History { group, from: request.from, result }
        }
        ReadWork::Page { purpose, source, max_bytes } => {
            let (export, result) = page(source, max_bytes);
            ReadDone::Page { purpose, export, result: result.map_err(Error::from) }
        }
        ReadWork::Feed { parent, child, source, max_bytes } => {
            let (feed, page) = feed(source, max_bytes);
            ReadDone::Fed { parent, child, feed, page }
        }
    }
}

/// Answers what only reads keyed values.
pub(crate) fn keyed(reader: &Reader, request: &KeyedRequest, moment: Moment, header: Header) -> Result<Answer, Error> {
    let (answer, revision) = reader.keyed(request, moment)?;
    Ok(Answer { header: Header { revision, ..header }, body: Body::Keyed(answer) })
}

fn feed(source: FeedSource, max_bytes: usize) -> (Option<Box<Feed>>, Result<Option<Page>, ErrorKind>) {
    let feed = match source {
        FeedSource::Start { reader, slice, from } => reader.feed(slice, from).map(Box::new),
        FeedSource::Next(feed) => Ok(feed),
    };
    match feed {
        Ok(mut feed) => {
            let page = feed.next_page(max_bytes);
            (Some(feed), page)
        }
        Err(error) => (None, Err(error)),
    }
}

fn page(source: ExportSource, max_bytes: usize) -> (Option<Box<Export>>, Result<Option<Bytes>, ErrorKind>) {
    let export = match source {
        ExportSource::Start(reader) => reader.export().map(Box::new),
        ExportSource::Next(export) => Ok(export),
    };
    match export {
        Ok(mut export) => {
            let page = export.next_page(max_bytes);
            (Some(export), page)
        }
        Err(error) => (None, Err(error)),
    }
}

fn answer(reader: &Reader, request: Request, header: Header) -> Result<Answer, ErrorKind> {
    let (body, revision) = match request {
        Request::Range(range) => {
            let (response, revision) = reader.range(&range)?;
            (Body::Range(response), revision)
        }
        Request::Txn(txn) => {
            let (response, revision) = reader.txn(&txn)?;
            (Body::Txn(response), revision)
        }
        Request::LeaseLeases => (Body::LeaseLeases(reader.leases()?), header.revision),
        Request::MemberList { .. } => (Body::Members(reader.members()?), header.revision),
        // Etcd lists by kind, of every member, whichever one the question names.
        Request::Alarm { kind, .. } => {
            let mut alarms = reader.alarms()?;
            alarms.retain(|alarm| kind.is_none_or(|kind| alarm.kind == kind));
            (Body::Alarms(alarms), header.revision)
        }
        Request::Hash => (Body::Hash(reader.hash()?), header.revision),
        Request::HashKv(revision) => (Body::HashKv(reader.hash_kv(revision)?), header.revision),
        other => return Err(ErrorKind::Unsupported(format!("{other:?} is not a read"))),
    };
    Ok(Answer { header: Header { revision, ..header }, body })
}
