//! Protobuf and its JSON form, by the descriptors of the protocol.
//!
//! The rules are proto3's: bytes in base64, 64-bit integers as strings (numbers are taken too), enums by name or
//! number, fields by their own name or in camel case. Output is as etcd's gateway configures it: the fields' own names,
//! nothing that has its default value; unknown fields of a request are ignored.

use std::sync::OnceLock;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};

use crate::rpc::Rpc;

/// The messages of one RPC.
#[derive(Clone)]
pub(super) struct Schema {
    pub request: MessageDescriptor,
    pub response: MessageDescriptor,
}

const READ: DeserializeOptions = DeserializeOptions::new().deny_unknown_fields(false);
const WRITE: SerializeOptions = SerializeOptions::new().use_proto_field_name(true);

/// The descriptors, decoded when the first JSON request comes.
fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        DescriptorPool::decode(althing_etcd_proto::DESCRIPTORS)
            .expect("the build made the descriptors from the protocol")
    })
}

impl Schema {
    pub(super) fn of(rpc: &Rpc) -> Self {
        let service = pool().get_service_by_name(rpc.service_name());
        let method = service.and_then(|service| service.methods().find(|method| method.name() == rpc.method_name()));
        let method = method.expect("a test holds the table of RPCs against the descriptors");
        Self { request: method.input(), response: method.output() }
    }

    /// A request in gRPC's framing. An empty body is the message with nothing set.
    pub(super) fn request(&self, json: &[u8]) -> Result<Bytes, String> {
        let message = if json.trim_ascii().is_empty() {
            DynamicMessage::new(self.request.clone())
        } else {
            let mut reader = serde_json::Deserializer::from_slice(json);
            let message = DynamicMessage::deserialize_with_options(self.request.clone(), &mut reader, &READ)
                .map_err(|error| error.to_string())?;
            reader.end().map_err(|error| error.to_string())?;
            message
        };
        Ok(frame(&message))
    }

    /// A response message as JSON.
    pub(super) fn response(&self, message: Bytes) -> Result<Vec<u8>, String> {
        let message = DynamicMessage::decode(self.response.clone(), message).map_err(|error| error.to_string())?;
        let mut json = serde_json::Serializer::new(Vec::new());
        message.serialize_with_options(&mut json, &WRITE).map_err(|error| error.to_string())?;
        Ok(json.into_inner())
    }
}

/// gRPC's framing: a byte that says "not compressed", four of length, the message.
fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(super::frames::HEAD_BYTES + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    frame.put_slice(&message.encode_to_vec());
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use althing_etcd_proto::{etcdserverpb as pb, mvccpb};

    use super::*;
    use crate::rpc;

    fn schema(path: &str) -> Schema {
        Schema::of(rpc::by_json_path(path).unwrap())
    }

    fn request<M: Message + Default>(path: &str, json: &str) -> M {
        let framed = schema(path).request(json.as_bytes()).unwrap();
        M::decode(framed.slice(super::super::frames::HEAD_BYTES..)).unwrap()
    }

    fn response(path: &str, message: &impl Message) -> String {
        String::from_utf8(schema(path).response(message.encode_to_vec().into()).unwrap()).unwrap()
    }

    #[test]
    fn bytes_are_base64_in_any_of_its_forms_and_integers_are_strings_or_numbers() {
        for json in [r#"{"key":"/+8=","lease":"12"}"#, r#"{"key":"_-8","lease":12}"#, r#"{"key":"/+8","lease":12}"#] {
            let put: pb::PutRequest = request("/v3/kv/put", json);
            assert_eq!((put.key.as_ref(), put.lease), ([0xff, 0xef].as_slice(), 12), "{json}");
        }
    }

    #[test]
    fn enums_are_read_by_name_and_by_number_and_fields_by_either_name() {
        for json in [
            r#"{"sort_order":"DESCEND","rangeEnd":"AA==","sortTarget":3}"#,
            r#"{"sortOrder":2,"range_end":"AA==","sort_target":"MOD"}"#,
        ] {
            let range: pb::RangeRequest = request("/v3/kv/range", json);
            assert_eq!((range.sort_order, range.sort_target, range.range_end.as_ref()), (2, 3, [0].as_slice()));
        }
    }

    #[test]
    fn a_transaction_is_read_with_its_branches() {
        let txn: pb::TxnRequest = request(
            "/v3/kv/txn",
            r#"{"compare":[{"key":"YQ==","result":"EQUAL","target":"VERSION","version":"0"}],
                "success":[{"requestPut":{"key":"YQ==","value":"MQ=="}}],"failure":[{"request_range":{"key":"YQ=="}}]}"#,
        );
        assert_eq!((txn.compare.len(), txn.success.len(), txn.failure.len()), (1, 1, 1));
        assert_eq!(txn.compare[0].target_union, Some(pb::compare::TargetUnion::Version(0)));
    }

    #[test]
    fn an_empty_body_and_unknown_fields_are_taken() {
        assert_eq!(request::<pb::StatusRequest>("/v3/maintenance/status", ""), pb::StatusRequest {});
        assert_eq!(request::<pb::StatusRequest>("/v3/maintenance/status", r#"{"x":1}"#), pb::StatusRequest {});
    }

    #[test]
    fn what_is_not_json_or_of_another_type_is_refused() {
        for json in ["{", "[]", r#"{"key":5}"#, r#"{"key":"*"}"#, "{} {}"] {
            assert!(schema("/v3/kv/put").request(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn a_response_has_the_protocols_own_names_and_leaves_defaults_out() {
        let header = Some(pb::ResponseHeader { cluster_id: 7, revision: 3, ..Default::default() });
        let kv = mvccpb::KeyValue { key: "a".into(), mod_revision: 3, ..Default::default() };
        let range = pb::RangeResponse { header, kvs: vec![kv], more: false, count: 1 };
        assert_eq!(
            response("/v3/kv/range", &range),
            r#"{"header":{"cluster_id":"7","revision":"3"},"kvs":[{"key":"YQ==","mod_revision":"3"}],"count":"1"}"#
        );
    }

    #[test]
    fn names_that_are_not_in_snake_case_stay_as_they_are() {
        let grant = pb::LeaseGrantResponse { header: None, id: 5, ttl: 60, error: String::new() };
        assert_eq!(response("/v3/lease/grant", &grant), r#"{"ID":"5","TTL":"60"}"#);
        let members = vec![pb::Member { id: 1, peer_ur_ls: vec!["http://a:1".into()], ..Default::default() }];
        let list = pb::MemberListResponse { header: None, members };
        assert_eq!(response("/v3/cluster/member/list", &list), r#"{"members":[{"ID":"1","peerURLs":["http://a:1"]}]}"#);
    }

    #[test]
    fn a_key_value_survives_the_way_to_json_and_back() {
        let put =
            pb::PutRequest { key: vec![0, 1, 255].into(), value: "v".into(), lease: i64::MAX, ..Default::default() };
        let message = DynamicMessage::decode(schema("/v3/kv/put").request, put.encode_to_vec().as_slice()).unwrap();
        let mut json = serde_json::Serializer::new(Vec::new());
        message.serialize_with_options(&mut json, &WRITE).unwrap();
        let json = String::from_utf8(json.into_inner()).unwrap();
        assert_eq!(request::<pb::PutRequest>("/v3/kv/put", &json), put);
    }
}
