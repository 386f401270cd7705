//! `berth version`.

use berth_client::api::ClusterInfo;
use serde::Serialize;

use super::Context;
use crate::output::Fault;

#[derive(Serialize)]
struct Versions {
    client: &'static str,
    cluster: Option<ClusterInfo>,
}

pub(super) async fn run(context: &Context) -> Result<(), Fault> {
    // A version is asked for most when nothing answers, so that is no error and must not take long.
    let client = context.client.with_deadline(std::time::Duration::from_secs(1));
    let versions = Versions { client: env!("CARGO_PKG_VERSION"), cluster: client.cluster_info().await.ok() };
    let out = &context.out;
    Ok(out.value(&versions, versions.client, || {
        out.line(format!("berth    {}", versions.client));
        match &versions.cluster {
            Some(info) => out.line(format!("cluster  {} (feature level {})", info.version, info.feature_level)),
            None => out.aside("cluster  none answers"),
        }
    })?)
}
