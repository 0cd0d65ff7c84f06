//! Talking to a cluster that runs, over its etcd API.

use std::future::poll_fn;
use std::path::PathBuf;
use std::time::Duration;

use althing_etcd_proto::etcdserverpb as pb;
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Full};
use pb::cluster_client::ClusterClient;
use pb::maintenance_client::MaintenanceClient;
use tonic::body::Body;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tower_service::Service;

use crate::contexts::{Context, Contexts};
use crate::error::CliError;

/// Where a cluster is reached, and how this client proves who it is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Args)]
pub struct RemoteArgs {
    /// Client endpoints of the cluster, as HOST:PORT or URL.
    ///
    /// Default: those of --context; else $ALTHING_ENDPOINTS or $ALTHING_ENDPOINT; else those of the context in use; else
    /// 127.0.0.1:2379.
    #[arg(long, alias = "endpoint", value_name = "ENDPOINT", value_delimiter = ',')]
    pub endpoints: Vec<String>,
    /// The cluster to ask, by the name that `althing context set` gave it.
    #[arg(long, env = "ALTHING_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// The CA that signs the servers' certificates (PEM); with it, endpoints without a scheme speak TLS.
    #[arg(long, env = "ALTHING_CACERT", value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// This client's certificate (PEM).
    #[arg(long, env = "ALTHING_CERT", value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// The private key of --cert (PEM).
    #[arg(long, env = "ALTHING_KEY", value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// How long to wait for an answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 5_000)]
    pub timeout_ms: u64,
}

/// Where a cluster is looked for when nobody says.
const DEFAULT_ENDPOINT: &str = "127.0.0.1:2379";

fn read(file: &PathBuf) -> Result<Vec<u8>, CliError> {
    std::fs::read(file).map_err(|error| CliError::usage(format!("cannot read {}: {error}", file.display())))
}

impl RemoteArgs {
    /// With what the environment and the contexts say where nothing is given.
    pub fn resolved(self) -> Result<Self, CliError> {
        let variable = |name: &str| std::env::var_os(name)?.into_string().ok().filter(|value| !value.is_empty());
        self.resolve_with(variable, Contexts::load)
    }

    /// A context fills in what is not given; it counts only where no endpoint is given, or where it is named.
    fn resolve_with(
        mut self,
        variable: impl Fn(&str) -> Option<String>,
        contexts: impl FnOnce() -> Result<Contexts, CliError>,
    ) -> Result<Self, CliError> {
        let named = self.context.clone();
        if self.endpoints.is_empty() && named.is_none() {
            let said = variable("ALTHING_ENDPOINTS").or_else(|| variable("ALTHING_ENDPOINT"));
            self.endpoints = said.iter().flat_map(|list| list.split(',')).map(|one| one.trim().to_owned()).collect();
        }
        if self.endpoints.is_empty() || named.is_some() {
            let contexts = contexts()?;
            if let Some(context) = contexts.choose(named.as_deref())? {
                self.fill(context);
            }
        }
        if self.endpoints.is_empty() {
            self.endpoints.push(DEFAULT_ENDPOINT.to_owned());
        }
        Ok(self)
    }

    fn fill(&mut self, context: &Context) {
        if self.endpoints.is_empty() {
            self.endpoints.clone_from(&context.endpoints);
        }
        if self.cacert.is_none() {
            self.cacert.clone_from(&context.cacert);
        }
        if self.cert.is_none() {
            self.cert.clone_from(&context.cert);
            self.key.clone_from(&context.key);
        }
    }

    /// How long an answer may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// A connection to one endpoint, made when it is first used.
    pub fn channel(&self, endpoint: &str) -> Result<Channel, CliError> {
        let url = match (endpoint.contains("://"), &self.cacert) {
            (true, _) => endpoint.to_owned(),
            (false, Some(_)) => format!("https://{endpoint}"),
            (false, None) => format!("http://{endpoint}"),
        };
        let bad = |error: tonic::transport::Error| CliError::usage(format!("{endpoint:?} is no endpoint: {error}"));
        let mut builder = Endpoint::from_shared(url.clone()).map_err(bad)?.connect_timeout(self.timeout());
        if url.starts_with("https://") {
            builder = builder.tls_config(self.tls()?).map_err(bad)?;
        }
        Ok(builder.connect_lazy())
    }

    fn tls(&self) -> Result<ClientTlsConfig, CliError> {
        let mut tls = ClientTlsConfig::new();
        if let Some(ca) = &self.cacert {
            tls = tls.ca_certificate(Certificate::from_pem(read(ca)?));
        }
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        Ok(tls)
    }

    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(self.timeout());
        request
    }

    /// The members, as the first endpoint that answers tells them.
    pub async fn members(&self) -> Result<pb::MemberListResponse, CliError> {
        let mut failures = Vec::new();
        for endpoint in &self.endpoints {
            let mut client = ClusterClient::new(self.channel(endpoint)?);
            let asked = client.member_list(self.request(pb::MemberListRequest { linearizable: false }));
            match tokio::time::timeout(self.timeout(), asked).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => failures.push(format!("{endpoint}: {}", status_text(&status))),
                Err(_) => failures.push(format!("{endpoint}: no answer within {} ms", self.timeout_ms)),
            }
        }
        Err(CliError::failed(format!("no endpoint answers: {}", failures.join("; "))))
    }

    /// How the node behind one endpoint stands.
    pub async fn status(&self, endpoint: &str) -> Result<pb::StatusResponse, CliError> {
        let mut client = MaintenanceClient::new(self.channel(endpoint)?);
        let asked = client.status(self.request(pb::StatusRequest::default()));
        match tokio::time::timeout(self.timeout(), asked).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(CliError::failed(status_text(&status))),
            Err(_) => Err(CliError::failed(format!("no answer within {} ms", self.timeout_ms))),
        }
    }

    /// Sends one HTTP request to an endpoint. The answer's head comes within the time that an answer may take; its body
    /// has no deadline.
    pub async fn http(&self, endpoint: &str, request: http::Request<Bytes>) -> Result<http::Response<Body>, CliError> {
        let mut channel = self.channel(endpoint)?;
        let ask = async {
            poll_fn(|context| channel.poll_ready(context)).await.map_err(transport_text)?;
            channel.call(request.map(|body| Body::new(Full::new(body)))).await.map_err(transport_text)
        };
        match tokio::time::timeout(self.timeout(), ask).await {
            Ok(answered) => answered.map_err(CliError::Failed),
            Err(_) => Err(CliError::failed(format!("no answer within {} ms", self.timeout_ms))),
        }
    }

    /// The metrics page of the node behind one endpoint.
    pub async fn metrics(&self, endpoint: &str) -> Result<String, CliError> {
        let request = http::Request::get("/metrics").body(Bytes::new()).map_err(CliError::failed)?;
        let response = self.http(endpoint, request).await?;
        let page = tokio::time::timeout(self.timeout(), response.into_body().collect()).await;
        let page = page.map_err(|_| CliError::failed(format!("no answer within {} ms", self.timeout_ms)))?;
        let page = page.map_err(|status| CliError::failed(status_text(&status)))?;
        Ok(String::from_utf8_lossy(&page.to_bytes()).into_owned())
    }

    /// The stream of a snapshot of the node behind the first endpoint. It has no deadline: it is as long as the data.
    pub async fn snapshot(&self) -> Result<tonic::Streaming<pb::SnapshotResponse>, CliError> {
        let endpoint = self.endpoints.first().ok_or_else(|| CliError::usage("no endpoint is given"))?;
        let mut client = MaintenanceClient::new(self.channel(endpoint)?);
        let stream = client.snapshot(pb::SnapshotRequest::default()).await;
        Ok(stream.map_err(|status| CliError::failed(format!("{endpoint}: {}", status_text(&status))))?.into_inner())
    }
}

/// A status in words: its message, and what caused it when the connection failed.
#[must_use]
pub fn status_text(status: &tonic::Status) -> String {
    with_causes(status.message().to_owned(), status)
}

/// A failure of a connection in words, with what caused it.
fn transport_text(error: tonic::transport::Error) -> String {
    with_causes(error.to_string(), &error)
}

fn with_causes(mut text: String, error: &dyn std::error::Error) -> String {
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

/// One of the runtimes that commands which talk to a cluster need.
pub fn block_on<T>(future: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::failed)?;
    runtime.block_on(future)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts() -> Result<Contexts, CliError> {
        Ok(Contexts::parse(
            "current = \"prod\"\n[contexts.prod]\nendpoints = [\"https://p:1\"]\ncacert = \"/ca\"\n\
             [contexts.test]\nendpoints = [\"t:1\", \"t:2\"]\n",
        )
        .unwrap())
    }

    fn endpoints(given: &[&str], context: Option<&str>, variables: &[(&str, &str)]) -> (Vec<String>, bool) {
        let args = RemoteArgs {
            endpoints: given.iter().map(|one| (*one).to_owned()).collect(),
            context: context.map(str::to_owned),
            ..RemoteArgs::default()
        };
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let resolved = args.resolve_with(variable, contexts).unwrap();
        (resolved.endpoints, resolved.cacert.is_some())
    }

    #[test]
    fn a_flag_goes_before_a_variable_and_a_variable_before_the_context_in_use() {
        let variables = [("ALTHING_ENDPOINT", "v:1, v:2")];
        assert_eq!(endpoints(&["f:1"], None, &variables), (vec!["f:1".to_owned()], false));
        assert_eq!(endpoints(&[], None, &variables), (vec!["v:1".to_owned(), "v:2".to_owned()], false));
        assert_eq!(endpoints(&[], None, &[]), (vec!["https://p:1".to_owned()], true));
    }

    #[test]
    fn a_context_that_is_named_goes_before_variables_and_lends_its_ca_to_endpoints_that_are_given() {
        let variables = [("ALTHING_ENDPOINTS", "v:1")];
        assert_eq!(endpoints(&[], Some("test"), &variables).0, ["t:1", "t:2"]);
        assert_eq!(endpoints(&["f:1"], Some("prod"), &[]), (vec!["f:1".to_owned()], true));
    }

    #[test]
    fn without_anything_the_cluster_is_looked_for_on_this_machine() {
        let nothing = || Ok(Contexts::default());
        let resolved = RemoteArgs::default().resolve_with(|_| None, nothing).unwrap();
        assert_eq!(resolved.endpoints, [DEFAULT_ENDPOINT]);
    }
}
