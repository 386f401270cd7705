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

pub(super) async fn run(context: &Context, own: bool) -> Result<(), Fault> {
    // A version is asked for most when nothing answers, so that is no error and must not take long.
    let client = context.client.with_deadline(std::time::Duration::from_secs(1));
    let cluster = if own { None } else { client.cluster_info().await.ok() };
    let versions = Versions { client: env!("CARGO_PKG_VERSION"), cluster };
    let out = &context.out;
    Ok(out.value(&versions, versions.client, || {
        out.line(format!("berth    {}", versions.client));
        match &versions.cluster {
            Some(info) => out.line(format!("cluster  {} (feature level {})", info.version, info.feature_level)),
            None if own => {}
            None => out.aside("cluster  none answers"),
        }
    })?)
}
