//! Which table a request is for.
//!
//! A request names it in its metadata (`althing-table: orders`), which any client library can set, on one request or on all.
//! Whoever cannot (etcdctl) uses a port of the table's own: [`Gateway::for_table`](crate::Gateway::for_table). Without
//! either it is the default table.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use althing_api::Target;
use althing_types::TableName;
use http::HeaderMap;
use tonic::Status;

/// The header, or gRPC metadata, that names the table of a request.
pub const TABLE_HEADER: &str = "althing-table";

/// A table, and what its answers have told of it. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    name: TableName,
    /// The greatest Raft term that an answer has carried: streams put it into their headers, which the node's events
    /// do not carry. 0 until the first answer.
    term: AtomicU64,
}

/// What a gateway serves.
#[derive(Clone, Debug)]
pub(crate) enum Serves {
    /// The table that a request names, this one if it names none.
    Any(Table),
    /// This one only.
    Only(Table),
}

impl Table {
    pub(crate) fn new(name: TableName) -> Self {
        Self(Arc::new(Known { name, term: AtomicU64::new(0) }))
    }

    /// Whom to ask.
    pub(crate) fn target(&self) -> Target {
        Target::Table(self.0.name.clone())
    }

    /// The greatest term that is known.
    pub(crate) fn term(&self) -> u64 {
        self.0.term.load(Ordering::Relaxed)
    }

    /// Remembers the term of an answer.
    pub(crate) fn learn_term(&self, term: u64) {
        if term > self.term() {
            self.0.term.fetch_max(term, Ordering::Relaxed);
        }
    }
}

impl Serves {
    /// The table of requests that name none.
    pub(crate) const fn own(&self) -> &Table {
        match self {
            Self::Any(table) | Self::Only(table) => table,
        }
    }

    /// The table of a request with these headers.
    ///
    /// A table that is named by a header is known afresh for each request: its term is that of the beginning of a
    /// stream, or that of its own answers since.
    pub(crate) fn table(&self, headers: &HeaderMap) -> Result<Table, Status> {
        let Some(named) = headers.get(TABLE_HEADER) else { return Ok(self.own().clone()) };
        let text = named.to_str().unwrap_or("?");
        let name = TableName::new(text)
            .map_err(|bad| Status::invalid_argument(format!("etcdserver: the header {TABLE_HEADER}: {bad}")))?;
        let own = &self.own().0.name;
        match self {
            _ if name == *own => Ok(self.own().clone()),
            Self::Only(_) => Err(Status::invalid_argument(format!(
                "etcdserver: this port serves table {own} only, and the header {TABLE_HEADER} names {name}"
            ))),
            Self::Any(_) if name == TableName::META => Err(reserved()),
            Self::Any(_) => Ok(Table::new(name)),
        }
    }
}

/// The control plane keeps its objects in a table like any other; a stray write there would be taken for one.
fn reserved() -> Status {
    Status::permission_denied("etcdserver: table meta is the control plane's own: see `althing get`")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use tonic::Code;

    use super::*;

    fn naming(table: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(TABLE_HEADER), HeaderValue::from_static(table))])
    }

    fn named(serves: &Serves, headers: &HeaderMap) -> Result<Target, Code> {
        serves.table(headers).map(|table| table.target()).map_err(|status| status.code())
    }

    fn orders() -> TableName {
        TableName::new("orders").unwrap()
    }

    #[test]
    fn a_request_is_for_the_table_that_it_names_or_for_the_default_one() {
        let any = Serves::Any(Table::default());
        assert_eq!(named(&any, &HeaderMap::new()), Ok(Target::Table(TableName::DEFAULT)));
        assert_eq!(named(&any, &naming("default")), Ok(Target::Table(TableName::DEFAULT)));
        assert_eq!(named(&any, &naming("orders")), Ok(Target::Table(orders())));
        assert_eq!(named(&any, &naming("Orders")), Err(Code::InvalidArgument));
        assert_eq!(named(&any, &naming("meta")), Err(Code::PermissionDenied));
    }

    #[test]
    fn a_tables_own_port_serves_no_other() {
        let only = Serves::Only(Table::new(orders()));
        assert_eq!(named(&only, &HeaderMap::new()), Ok(Target::Table(orders())));
        assert_eq!(named(&only, &naming("orders")), Ok(Target::Table(orders())));
        assert_eq!(named(&only, &naming("default")), Err(Code::InvalidArgument));
    }

    #[test]
    fn requests_of_a_tables_own_port_share_the_greatest_term() {
        let only = Serves::Only(Table::new(orders()));
        only.table(&HeaderMap::new()).unwrap().learn_term(7);
        only.table(&naming("orders")).unwrap().learn_term(5);
        assert_eq!(only.own().term(), 7);
    }
}
