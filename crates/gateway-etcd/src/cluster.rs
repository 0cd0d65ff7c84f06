//! `etcdserverpb.Cluster`.

use althing_api::Request as Ask;
use althing_api::cluster::Member;
use althing_api::request::Body;
use althing_etcd_proto::etcdserverpb as pb;
use althing_etcd_proto::etcdserverpb::cluster_server::Cluster;
use althing_types::NodeId;
use tonic::{Request, Response, Status};

use crate::backend::{Backend, Context, body};
use crate::status::Refusal;

pub(crate) struct ClusterService(pub(crate) Backend);

fn member(member: Member) -> pb::Member {
    pb::Member {
        id: member.id.get(),
        name: member.name,
        peer_ur_ls: member.peer_urls,
        client_ur_ls: member.client_urls,
        is_learner: member.is_learner,
    }
}

fn members(all: Vec<Member>) -> Vec<pb::Member> {
    all.into_iter().map(member).collect()
}

/// Etcd refuses peer URLs that are not `http` or `https` with a host and a port and nothing behind, before it asks
/// anybody.
fn checked(urls: Vec<String>) -> Result<Vec<String>, Refusal> {
    if urls.is_empty() || !urls.iter().all(|url| is_peer_url(url)) {
        return Err(Refusal::BadMemberUrls);
    }
    Ok(urls)
}

fn is_peer_url(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return false };
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let bare = !url.ends_with('/') && uri.path() == "/" && uri.query().is_none();
    scheme && bare && uri.port_u16().is_some() && uri.host().is_some_and(|host| !host.is_empty())
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        let context = Context::of(&request);
        let pb::MemberAddRequest { peer_ur_ls, is_learner } = request.into_inner();
        let asked = Ask::MemberAdd { peer_urls: checked(peer_ur_ls)?, is_learner };
        let answer = self.0.ask(asked, &context).await?;
        let (header, (added, all)) = body!(answer, Body::MemberAdd { added, members } => (added, members))?;
        Ok(Response::new(pb::MemberAddResponse { header, member: Some(member(added)), members: members(all) }))
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        let context = Context::of(&request);
        let id = NodeId(request.into_inner().id);
        let answer = self.0.ask(Ask::MemberRemove(id), &context).await?;
        let (header, all) = body!(answer, Body::Members(all) => all)?;
        Ok(Response::new(pb::MemberRemoveResponse { header, members: members(all) }))
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        let context = Context::of(&request);
        let pb::MemberUpdateRequest { id, peer_ur_ls } = request.into_inner();
        let asked = Ask::MemberUpdate { id: NodeId(id), peer_urls: checked(peer_ur_ls)? };
        let answer = self.0.ask(asked, &context).await?;
        let (header, all) = body!(answer, Body::Members(all) => all)?;
        Ok(Response::new(pb::MemberUpdateResponse { header, members: members(all) }))
    }

    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        let context = Context::of(&request);
        let linearizable = request.into_inner().linearizable;
        let answer = self.0.ask(Ask::MemberList { linearizable }, &context).await?;
        let (header, all) = body!(answer, Body::Members(all) => all)?;
        Ok(Response::new(pb::MemberListResponse { header, members: members(all) }))
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        let context = Context::of(&request);
        let id = NodeId(request.into_inner().id);
        let answer = self.0.ask(Ask::MemberPromote(id), &context).await?;
        let (header, all) = body!(answer, Body::Members(all) => all)?;
        Ok(Response::new(pb::MemberPromoteResponse { header, members: members(all) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_url_has_a_scheme_a_host_and_a_port_and_nothing_else() {
        assert!(is_peer_url("http://127.0.0.1:2380"));
        assert!(is_peer_url("https://[::1]:2380"));
        for url in ["", "127.0.0.1:2380", "http://host", "ftp://host:1", "http://host:1/", "http://host:1/path"] {
            assert!(!is_peer_url(url), "{url}");
        }
        for url in ["http://host:1?q", "unix://a:1"] {
            assert!(!is_peer_url(url), "{url}");
        }
    }

    #[test]
    fn a_list_of_peer_urls_is_refused_whole() {
        assert_eq!(checked(Vec::new()), Err(Refusal::BadMemberUrls));
        assert_eq!(checked(vec!["http://a:1".into(), "b".into()]), Err(Refusal::BadMemberUrls));
    }
}
