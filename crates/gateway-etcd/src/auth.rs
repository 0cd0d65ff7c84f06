//! `etcdserverpb.Auth`, as an etcd with authentication off and without users or roles answers it.
//!
//! What an etcd in that state would do and Althing cannot (store a user or a role) is refused with "authentication is
//! not enabled".

use althing_etcd_proto::authpb::Permission;
use althing_etcd_proto::etcdserverpb as pb;
use althing_etcd_proto::etcdserverpb::auth_server::Auth;
use tonic::{Request, Response, Status};

use crate::backend::{Backend, Context, wire_header};
use crate::status::Refusal;

pub(crate) struct AuthService(pub(crate) Backend);

type Answer<T> = Result<Response<T>, Status>;

impl AuthService {
    async fn header<T: Send>(&self, request: &Request<T>) -> Result<Option<pb::ResponseHeader>, Status> {
        self.0.fresh_header(&Context::of(request)).await.map(|header| Some(wire_header(header)))
    }
}

/// What etcd says about a user that does not exist, also if it has no name.
fn no_user<T>() -> Answer<T> {
    Err(Refusal::UserNotFound.into())
}

/// What etcd says about a role that does not exist, also if it has no name.
fn no_role<T>() -> Answer<T> {
    Err(Refusal::RoleNotFound.into())
}

/// Whether a permission names a range that can hold a key.
fn is_range(permission: &Permission) -> bool {
    let end: &[u8] = &permission.range_end;
    !permission.key.is_empty() && (matches!(end, [] | [0]) || &permission.key[..] < end)
}

#[tonic::async_trait]
impl Auth for AuthService {
    async fn auth_enable(&self, _: Request<pb::AuthEnableRequest>) -> Answer<pb::AuthEnableResponse> {
        Err(Refusal::RootUserMissing.into())
    }

    async fn auth_disable(&self, request: Request<pb::AuthDisableRequest>) -> Answer<pb::AuthDisableResponse> {
        Ok(Response::new(pb::AuthDisableResponse { header: self.header(&request).await? }))
    }

    async fn auth_status(&self, request: Request<pb::AuthStatusRequest>) -> Answer<pb::AuthStatusResponse> {
        let header = self.header(&request).await?;
        Ok(Response::new(pb::AuthStatusResponse { header, enabled: false, auth_revision: FIRST_AUTH_REVISION }))
    }

    async fn authenticate(&self, _: Request<pb::AuthenticateRequest>) -> Answer<pb::AuthenticateResponse> {
        Err(Refusal::AuthNotEnabled.into())
    }

    async fn user_add(&self, request: Request<pb::AuthUserAddRequest>) -> Answer<pb::AuthUserAddResponse> {
        let refusal = if request.get_ref().name.is_empty() { Refusal::UserEmpty } else { Refusal::AuthNotEnabled };
        Err(refusal.into())
    }

    async fn user_get(&self, _: Request<pb::AuthUserGetRequest>) -> Answer<pb::AuthUserGetResponse> {
        no_user()
    }

    async fn user_list(&self, request: Request<pb::AuthUserListRequest>) -> Answer<pb::AuthUserListResponse> {
        Ok(Response::new(pb::AuthUserListResponse { header: self.header(&request).await?, users: Vec::new() }))
    }

    async fn user_delete(&self, _: Request<pb::AuthUserDeleteRequest>) -> Answer<pb::AuthUserDeleteResponse> {
        no_user()
    }

    async fn user_change_password(
        &self,
        _: Request<pb::AuthUserChangePasswordRequest>,
    ) -> Answer<pb::AuthUserChangePasswordResponse> {
        no_user()
    }

    async fn user_grant_role(&self, _: Request<pb::AuthUserGrantRoleRequest>) -> Answer<pb::AuthUserGrantRoleResponse> {
        no_user()
    }

    async fn user_revoke_role(
        &self,
        _: Request<pb::AuthUserRevokeRoleRequest>,
    ) -> Answer<pb::AuthUserRevokeRoleResponse> {
        no_user()
    }

    async fn role_add(&self, request: Request<pb::AuthRoleAddRequest>) -> Answer<pb::AuthRoleAddResponse> {
        let refusal = if request.get_ref().name.is_empty() { Refusal::RoleEmpty } else { Refusal::AuthNotEnabled };
        Err(refusal.into())
    }

    async fn role_get(&self, _: Request<pb::AuthRoleGetRequest>) -> Answer<pb::AuthRoleGetResponse> {
        no_role()
    }

    async fn role_list(&self, request: Request<pb::AuthRoleListRequest>) -> Answer<pb::AuthRoleListResponse> {
        Ok(Response::new(pb::AuthRoleListResponse { header: self.header(&request).await?, roles: Vec::new() }))
    }

    async fn role_delete(&self, _: Request<pb::AuthRoleDeleteRequest>) -> Answer<pb::AuthRoleDeleteResponse> {
        no_role()
    }

    async fn role_grant_permission(
        &self,
        request: Request<pb::AuthRoleGrantPermissionRequest>,
    ) -> Answer<pb::AuthRoleGrantPermissionResponse> {
        match &request.get_ref().perm {
            None => Err(Refusal::PermissionNotGiven.into()),
            Some(permission) if !is_range(permission) => Err(Refusal::InvalidAuthManagement.into()),
            Some(_) => no_role(),
        }
    }

    async fn role_revoke_permission(
        &self,
        _: Request<pb::AuthRoleRevokePermissionRequest>,
    ) -> Answer<pb::AuthRoleRevokePermissionResponse> {
        no_role()
    }
}

/// The revision of an etcd's users and roles before the first is made.
const FIRST_AUTH_REVISION: u64 = 1;

#[cfg(test)]
mod tests {
    use althing_etcd_proto::etcdserverpb::auth_client::AuthClient;

    use super::*;
    use crate::testing::TestNode;

    #[tokio::test]
    async fn it_answers_as_an_etcd_with_authentication_off() {
        let mut client = AuthClient::new(TestNode::default().gateway());
        let status = client.auth_status(pb::AuthStatusRequest {}).await.unwrap().into_inner();
        assert_eq!((status.enabled, status.auth_revision), (false, 1));
        let refused = client.authenticate(pb::AuthenticateRequest::default()).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
        assert_eq!(refused.message(), "etcdserver: authentication is not enabled");
        let refused = client.user_get(pb::AuthUserGetRequest { name: "root".into() }).await.unwrap_err();
        assert_eq!(refused.message(), "etcdserver: user name not found");
        let refused = client.user_get(pb::AuthUserGetRequest::default()).await.unwrap_err();
        assert_eq!(refused.message(), "etcdserver: user name not found");
        assert_eq!(client.role_list(pb::AuthRoleListRequest {}).await.unwrap().into_inner().roles.len(), 0);
    }

    #[tokio::test]
    async fn a_permission_is_looked_at_before_the_role_that_is_not_there() {
        let mut client = AuthClient::new(TestNode::default().gateway());
        let permission = |key: &'static str, end: &'static str| {
            Some(Permission { key: key.into(), range_end: end.into(), ..Default::default() })
        };
        for (perm, text) in [
            (None, "etcdserver: permission not given"),
            (permission("", ""), "etcdserver: invalid auth management"),
            (permission("b", "a"), "etcdserver: invalid auth management"),
            (permission("a", "b"), "etcdserver: role name not found"),
        ] {
            let request = pb::AuthRoleGrantPermissionRequest { name: "r".into(), perm };
            assert_eq!(client.role_grant_permission(request).await.unwrap_err().message(), text);
        }
    }
}
