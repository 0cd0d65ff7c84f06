//! Every RPC that is spoken here, with its path on gRPC and its paths on the JSON gateway: one table from which the
//! dispatcher, the JSON gateway, the metrics and the compatibility document's test are fed.

/// The gRPC service that an RPC belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Service {
    /// `etcdserverpb.KV`.
    Kv,
    /// `etcdserverpb.Watch`.
    Watch,
    /// `etcdserverpb.Lease`.
    Lease,
    /// `etcdserverpb.Cluster`.
    Cluster,
    /// `etcdserverpb.Maintenance`.
    Maintenance,
    /// `etcdserverpb.Auth`.
    Auth,
    /// `v3lockpb.Lock`.
    Lock,
    /// `v3electionpb.Election`.
    Election,
    /// `grpc.health.v1.Health`.
    Health,
}

/// What flows in which direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// One request, one answer.
    Unary,
    /// One request, many answers.
    Answers,
    /// Many requests, many answers.
    Both,
}

/// One RPC.
#[derive(Debug)]
pub struct Rpc {
    /// Its service.
    pub service: Service,
    /// Its path on gRPC: `/package.Service/Method`.
    pub path: &'static str,
    /// What flows in which direction.
    pub shape: Shape,
    /// Its paths on the JSON gateway, all `POST`; the first is the main one.
    pub json: &'static [&'static str],
}

impl Rpc {
    /// `package.Service`.
    #[must_use]
    pub fn service_name(&self) -> &'static str {
        self.split().0
    }

    /// `Method`.
    #[must_use]
    pub fn method_name(&self) -> &'static str {
        self.split().1
    }

    /// Whether its requests carry what is to be written, and so may be great. A transaction may turn out to only read.
    #[must_use]
    pub fn writes(&self) -> bool {
        matches!(self.path, "/etcdserverpb.KV/Put" | "/etcdserverpb.KV/Txn" | "/etcdserverpb.KV/DeleteRange")
    }

    fn split(&self) -> (&'static str, &'static str) {
        self.path.trim_start_matches('/').split_once('/').unwrap_or((self.path, ""))
    }
}

macro_rules! rpcs {
    ($($service:ident $shape:ident $path:literal => [$($json:literal),*];)*) => {
        /// All of them; the hot ones first, since the dispatcher looks from the front.
        pub static RPCS: &[Rpc] = &[$(
            Rpc { service: Service::$service, shape: Shape::$shape, path: $path, json: &[$($json),*] },
        )*];
    };
}

rpcs! {
    Kv Unary "/etcdserverpb.KV/Range" => ["/v3/kv/range"];
    Kv Unary "/etcdserverpb.KV/Put" => ["/v3/kv/put"];
    Kv Unary "/etcdserverpb.KV/Txn" => ["/v3/kv/txn"];
    Kv Unary "/etcdserverpb.KV/DeleteRange" => ["/v3/kv/deleterange"];
    Kv Unary "/etcdserverpb.KV/Compact" => ["/v3/kv/compaction"];
    Watch Both "/etcdserverpb.Watch/Watch" => ["/v3/watch"];
    Lease Unary "/etcdserverpb.Lease/LeaseGrant" => ["/v3/lease/grant"];
    Lease Unary "/etcdserverpb.Lease/LeaseRevoke" => ["/v3/lease/revoke", "/v3/kv/lease/revoke"];
    Lease Both "/etcdserverpb.Lease/LeaseKeepAlive" => ["/v3/lease/keepalive"];
    Lease Unary "/etcdserverpb.Lease/LeaseTimeToLive" => ["/v3/lease/timetolive", "/v3/kv/lease/timetolive"];
    Lease Unary "/etcdserverpb.Lease/LeaseLeases" => ["/v3/lease/leases", "/v3/kv/lease/leases"];
    Cluster Unary "/etcdserverpb.Cluster/MemberAdd" => ["/v3/cluster/member/add"];
    Cluster Unary "/etcdserverpb.Cluster/MemberRemove" => ["/v3/cluster/member/remove"];
    Cluster Unary "/etcdserverpb.Cluster/MemberUpdate" => ["/v3/cluster/member/update"];
    Cluster Unary "/etcdserverpb.Cluster/MemberList" => ["/v3/cluster/member/list"];
    Cluster Unary "/etcdserverpb.Cluster/MemberPromote" => ["/v3/cluster/member/promote"];
    Maintenance Unary "/etcdserverpb.Maintenance/Alarm" => ["/v3/maintenance/alarm"];
    Maintenance Unary "/etcdserverpb.Maintenance/Status" => ["/v3/maintenance/status"];
    Maintenance Unary "/etcdserverpb.Maintenance/Defragment" => ["/v3/maintenance/defragment"];
    Maintenance Unary "/etcdserverpb.Maintenance/Hash" => ["/v3/maintenance/hash"];
    Maintenance Unary "/etcdserverpb.Maintenance/HashKV" => ["/v3/maintenance/hashkv"];
    Maintenance Answers "/etcdserverpb.Maintenance/Snapshot" => ["/v3/maintenance/snapshot"];
    Maintenance Unary "/etcdserverpb.Maintenance/MoveLeader" => ["/v3/maintenance/transfer-leadership"];
    Maintenance Unary "/etcdserverpb.Maintenance/Downgrade" => ["/v3/maintenance/downgrade"];
    Auth Unary "/etcdserverpb.Auth/AuthEnable" => ["/v3/auth/enable"];
    Auth Unary "/etcdserverpb.Auth/AuthDisable" => ["/v3/auth/disable"];
    Auth Unary "/etcdserverpb.Auth/AuthStatus" => ["/v3/auth/status"];
    Auth Unary "/etcdserverpb.Auth/Authenticate" => ["/v3/auth/authenticate"];
    Auth Unary "/etcdserverpb.Auth/UserAdd" => ["/v3/auth/user/add"];
    Auth Unary "/etcdserverpb.Auth/UserGet" => ["/v3/auth/user/get"];
    Auth Unary "/etcdserverpb.Auth/UserList" => ["/v3/auth/user/list"];
    Auth Unary "/etcdserverpb.Auth/UserDelete" => ["/v3/auth/user/delete"];
    Auth Unary "/etcdserverpb.Auth/UserChangePassword" => ["/v3/auth/user/changepw"];
    Auth Unary "/etcdserverpb.Auth/UserGrantRole" => ["/v3/auth/user/grant"];
    Auth Unary "/etcdserverpb.Auth/UserRevokeRole" => ["/v3/auth/user/revoke"];
    Auth Unary "/etcdserverpb.Auth/RoleAdd" => ["/v3/auth/role/add"];
    Auth Unary "/etcdserverpb.Auth/RoleGet" => ["/v3/auth/role/get"];
    Auth Unary "/etcdserverpb.Auth/RoleList" => ["/v3/auth/role/list"];
    Auth Unary "/etcdserverpb.Auth/RoleDelete" => ["/v3/auth/role/delete"];
    Auth Unary "/etcdserverpb.Auth/RoleGrantPermission" => ["/v3/auth/role/grant"];
    Auth Unary "/etcdserverpb.Auth/RoleRevokePermission" => ["/v3/auth/role/revoke"];
    Lock Unary "/v3lockpb.Lock/Lock" => ["/v3/lock/lock"];
    Lock Unary "/v3lockpb.Lock/Unlock" => ["/v3/lock/unlock"];
    Election Unary "/v3electionpb.Election/Campaign" => ["/v3/election/campaign"];
    Election Unary "/v3electionpb.Election/Proclaim" => ["/v3/election/proclaim"];
    Election Unary "/v3electionpb.Election/Leader" => ["/v3/election/leader"];
    Election Answers "/v3electionpb.Election/Observe" => ["/v3/election/observe"];
    Election Unary "/v3electionpb.Election/Resign" => ["/v3/election/resign"];
    Health Unary "/grpc.health.v1.Health/Check" => [];
    Health Answers "/grpc.health.v1.Health/Watch" => [];
}

/// The RPC with this gRPC path, and its place in [`RPCS`].
#[must_use]
pub fn by_path(path: &str) -> Option<(usize, &'static Rpc)> {
    RPCS.iter().enumerate().find(|(_, rpc)| rpc.path == path)
}

/// The RPC that the JSON gateway serves at this path.
#[must_use]
pub fn by_json_path(path: &str) -> Option<&'static Rpc> {
    RPCS.iter().find(|rpc| rpc.json.contains(&path))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_names_every_method_of_the_descriptors_and_no_other() {
        let pool = prost_reflect::DescriptorPool::decode(althing_etcd_proto::DESCRIPTORS).unwrap();
        let described: BTreeSet<String> = pool
            .services()
            .flat_map(|service| {
                let name = service.full_name().to_owned();
                service.methods().map(move |method| format!("/{name}/{}", method.name())).collect::<Vec<_>>()
            })
            .collect();
        let listed: BTreeSet<String> = RPCS.iter().map(|rpc| rpc.path.to_owned()).collect();
        assert_eq!(described, listed);
    }

    #[test]
    fn the_shape_of_each_rpc_is_that_of_its_descriptor() {
        let pool = prost_reflect::DescriptorPool::decode(althing_etcd_proto::DESCRIPTORS).unwrap();
        for rpc in RPCS {
            let service = pool.get_service_by_name(rpc.service_name()).unwrap();
            let method = service.methods().find(|method| method.name() == rpc.method_name()).unwrap();
            let shape = match (method.is_client_streaming(), method.is_server_streaming()) {
                (false, false) => Shape::Unary,
                (false, true) => Shape::Answers,
                (_, true) => Shape::Both,
                (true, false) => panic!("{} takes a stream and gives one answer", rpc.path),
            };
            assert_eq!(rpc.shape, shape, "{}", rpc.path);
        }
    }

    #[test]
    fn no_two_rpcs_share_a_path() {
        let paths: Vec<&str> = RPCS.iter().flat_map(|rpc| rpc.json.iter().chain([&rpc.path])).copied().collect();
        assert_eq!(paths.iter().collect::<BTreeSet<_>>().len(), paths.len());
    }

    #[test]
    fn every_rpc_and_every_json_path_is_in_the_compatibility_document() {
        let document = include_str!("../../../docs/compatibility-etcd.md");
        for rpc in RPCS {
            let name = format!("`{}.{}`", rpc.service_name().rsplit('.').next().unwrap(), rpc.method_name());
            assert!(document.contains(&name), "{name} is missing");
            for path in rpc.json {
                assert!(document.contains(&format!("`{path}`")), "{path} is missing");
            }
        }
    }
}
