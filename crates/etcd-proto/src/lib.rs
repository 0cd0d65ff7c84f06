//! etcd's v3 wire protocol as of etcd 3.6: messages, servers and clients generated from the .proto files beside this
//! crate, which state the public protocol's package, service, field names and numbers.
//!
//! Everything in the modules is generated; what a field means is said by etcd's API reference, and what Althing makes
//! of it by `docs/compatibility-etcd.md`.

pub mod codec;

/// Generated modules: their items carry the protocol's own names and no comments of ours.
macro_rules! generated {
    ($(#[$doc:meta])* $module:ident, $package:literal) => {
        $(#[$doc])*
        #[allow(missing_docs, clippy::all, clippy::too_many_lines)]
        pub mod $module {
            tonic::include_proto!($package);
        }
    };
}

generated! {
    /// Keys, values and events.
    mvccpb, "mvccpb"
}
generated! {
    /// Users, roles and permissions.
    authpb, "authpb"
}
generated! {
    /// KV, Watch, Lease, Cluster, Maintenance and Auth.
    etcdserverpb, "etcdserverpb"
}
generated! {
    /// The lock service.
    v3lockpb, "v3lockpb"
}
generated! {
    /// The election service.
    v3electionpb, "v3electionpb"
}
generated! {
    /// The standard health service of gRPC (`grpc.health.v1`).
    health, "grpc.health.v1"
}

/// The descriptors of all of the above, a serialized `google.protobuf.FileDescriptorSet`: what a JSON gateway needs to
/// know the fields by name.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
