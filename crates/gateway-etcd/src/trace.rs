//! W3C `traceparent` in: every RPC runs in a span that carries the caller's trace id, so that a log line can be found
//! from the caller's trace. With spans off this costs one check of a flag.

use http::HeaderMap;
use tracing::Span;

use crate::rpc::Rpc;

/// The caller's place in its trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct TraceParent<'a> {
    trace_id: &'a str,
    parent_id: &'a str,
}

impl<'a> TraceParent<'a> {
    /// Parses `version-traceid-parentid-flags` (W3C Trace Context, section 3.2). What is malformed is ignored, as that
    /// document asks.
    fn parse(header: &'a str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, trace_id, parent_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let known = version != "ff" && (version != "00" || parts.next().is_none());
        let shaped = hex(version, 2) && hex(trace_id, 32) && hex(parent_id, 16) && hex(flags, 2);
        let meant = trace_id.bytes().any(|digit| digit != b'0') && parent_id.bytes().any(|digit| digit != b'0');
        (known && shaped && meant).then_some(Self { trace_id, parent_id })
    }
}

fn hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The span of one RPC; disabled unless somebody listens at debug level.
pub(crate) fn span(rpc: &'static Rpc, headers: &HeaderMap) -> Span {
    let span = tracing::debug_span!(
        "rpc",
        rpc.service = rpc.service_name(),
        rpc.method = rpc.method_name(),
        trace_id = tracing::field::Empty,
        parent_id = tracing::field::Empty,
    );
    if !span.is_disabled() {
        let header = headers.get("traceparent").and_then(|value| value.to_str().ok());
        if let Some(parent) = header.and_then(TraceParent::parse) {
            span.record("trace_id", parent.trace_id);
            span.record("parent_id", parent.parent_id);
        }
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_well_formed_traceparent_gives_both_ids() {
        let header = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let parent = TraceParent::parse(&header).unwrap();
        assert_eq!((parent.trace_id, parent.parent_id), (TRACE, "00f067aa0ba902b7"));
    }

    #[test]
    fn a_later_version_may_carry_more_fields() {
        assert!(TraceParent::parse(&format!("01-{TRACE}-00f067aa0ba902b7-01-more")).is_some());
        assert!(TraceParent::parse(&format!("00-{TRACE}-00f067aa0ba902b7-01-more")).is_none());
    }

    #[test]
    fn a_malformed_traceparent_is_ignored() {
        for header in
            ["", "00", "00-xyz-00f067aa0ba902b7-01", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"]
        {
            assert_eq!(TraceParent::parse(header), None, "{header}");
        }
        let zeros = "0".repeat(32);
        assert_eq!(TraceParent::parse(&format!("00-{zeros}-00f067aa0ba902b7-01")), None);
    }
}
