//! Talking to a cluster that runs, over its etcd API.

use std::future::poll_fn;
use std::path::PathBuf;
use std::time::Duration;

use althing_etcd_proto::etcdserverpb as pb;
use clap::Args;
use http_body_util::BodyExt;
use pb::cluster_client::ClusterClient;
use pb::maintenance_client::MaintenanceClient;
use tonic::body::Body;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tower_service::Service;

use crate::error::CliError;

/// Where a cluster is reached, and how this client proves who it is.
#[derive(Clone, Debug, Default, Args)]
pub struct RemoteArgs {
    /// Client endpoints of the cluster, as HOST:PORT or URL.
    #[arg(
        long,
        env = "ALTHING_ENDPOINTS",
        value_name = "ENDPOINT",
        value_delimiter = ',',
        default_value = "127.0.0.1:2379"
    )]
    pub endpoints: Vec<String>,
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

fn read(file: &PathBuf) -> Result<Vec<u8>, CliError> {
    std::fs::read(file).map_err(|error| CliError::usage(format!("cannot read {}: {error}", file.display())))
}

impl RemoteArgs {
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

    /// The metrics page of the node behind one endpoint.
    pub async fn metrics(&self, endpoint: &str) -> Result<String, CliError> {
        let mut channel = self.channel(endpoint)?;
        let request = http::Request::get("/metrics").body(Body::empty()).map_err(CliError::failed)?;
        let ask = async {
            poll_fn(|context| channel.poll_ready(context)).await.map_err(CliError::failed)?;
            let response = channel.call(request).await.map_err(CliError::failed)?;
            let page = response.into_body().collect().await.map_err(|status| CliError::failed(status_text(&status)))?;
            Ok(String::from_utf8_lossy(&page.to_bytes()).into_owned())
        };
        let late = |_| CliError::failed(format!("no answer within {} ms", self.timeout_ms));
        tokio::time::timeout(self.timeout(), ask).await.map_err(late)?
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
    use std::error::Error;
    let mut text = status.message().to_owned();
    let mut cause = status.source();
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
