//! What a key asks of the world outside the screen, and how the client does it.

use std::collections::BTreeMap;

use berth_client::{
    Client, Error,
    api::{
        DeleteDeploymentRequest, DeleteEndpointRequest, LogsRequest, ScaleDeploymentRequest, SetTrafficRequest,
        TrafficMap,
    },
};

use super::view::{Page, PageKind, Subject};

/// Lines of a log that a page shows at first.
const TAIL_LINES: u64 = 500;

/// What a key asks of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Quit,
    /// Look at everything again.
    Refresh,
    /// Fetch what a page shows.
    Open(Page),
    /// Hand text to the terminal's clipboard.
    Copy(String),
    SetTraffic {
        endpoint: String,
        shares: BTreeMap<String, u32>,
        revision: u64,
    },
    Scale {
        endpoint: String,
        deployment: String,
        instance_count: u32,
    },
    Cordon {
        node: String,
        cordoned: bool,
    },
    DeleteEndpoint(String),
    DeleteDeployment {
        endpoint: String,
        name: String,
    },
}

/// Does what changes the cluster and says what was done.
pub(crate) async fn change(client: &Client, act: Act) -> Result<String, Error> {
    // The client names a request that has no name yet, so that a retry of it is applied once.
    let request_id = String::new();
    match act {
        Act::SetTraffic { endpoint, shares, revision } => {
            let text = crate::view::shares(&shares);
            let request = SetTrafficRequest {
                request_id,
                endpoint: endpoint.clone(),
                split: Some(TrafficMap { percent: shares }),
                mirror: None,
                strict_azure: false,
                if_revision: Some(revision),
            };
            client.put_traffic(request).await?;
            Ok(format!("traffic of {endpoint} is {text}"))
        }
        Act::Scale { endpoint, deployment, instance_count } => {
            let name = format!("{endpoint}/{deployment}");
            let request =
                ScaleDeploymentRequest { request_id, endpoint, name: deployment, instance_count, if_revision: None };
            client.scale_deployment(request).await?;
            Ok(format!("{name} goes to {}", berth_core::units::Count(u64::from(instance_count), "instance")))
        }
        Act::Cordon { node, cordoned } => {
            client.cordon_node(&node, cordoned).await?;
            Ok(if cordoned { format!("{node} takes nothing new") } else { format!("{node} takes replicas again") })
        }
        Act::DeleteEndpoint(name) => {
            client.delete_endpoint(DeleteEndpointRequest { request_id, name: name.clone(), if_revision: None }).await?;
            Ok(format!("{name} is being deleted"))
        }
        Act::DeleteDeployment { endpoint, name } => {
            let text = format!("{endpoint}/{name} is being deleted");
            client.delete_deployment(DeleteDeploymentRequest { request_id, endpoint, name, if_revision: None }).await?;
            Ok(text)
        }
        Act::Quit | Act::Refresh | Act::Open(_) | Act::Copy(_) => Ok(String::new()),
    }
}

/// Fetches what a page shows, as lines. What follows a log goes on through `more` until nobody reads any more.
pub(crate) async fn fetch(client: &Client, page: &Page) -> Result<Vec<String>, Error> {
    match (page.kind, &page.of) {
        (PageKind::Yaml, of) => yaml(client, of).await,
        (PageKind::Describe, Subject::Deployment { endpoint, name }) => {
            let verdict = client.explain_deployment(endpoint, name).await?;
            Ok(lines(&verdict.text))
        }
        (PageKind::Describe, of) => yaml(client, of).await,
        (PageKind::Logs, of) => logs(client, of, false).await,
        (PageKind::PrepareLogs, of) => logs(client, of, true).await,
    }
}

async fn yaml(client: &Client, of: &Subject) -> Result<Vec<String>, Error> {
    let text = match of {
        Subject::Endpoint(name) => crate::output::as_yaml(&client.get_endpoint(name).await?)?,
        Subject::Deployment { endpoint, name } => {
            crate::output::as_yaml(&client.get_deployment(endpoint, name).await?)?
        }
        Subject::Replica { id, endpoint, deployment } => {
            let replicas = client.list_replicas(endpoint, deployment).await?;
            crate::output::as_yaml(&replicas.iter().find(|replica| replica.replica == *id))?
        }
        Subject::Node(name) | Subject::Device { node: name, .. } => {
            let nodes = client.list_nodes().await?;
            crate::output::as_yaml(&nodes.iter().find(|node| node.node == *name))?
        }
        Subject::Event(seq) => {
            let events = client.events().await?;
            crate::output::as_yaml(&events.iter().find(|event| event.seq == *seq))?
        }
        Subject::Coordinator(id) => {
            let members = client.list_members().await?.members;
            crate::output::as_yaml(&members.iter().find(|member| member.id == *id))?
        }
        Subject::Line(_) => String::new(),
    };
    Ok(lines(&text))
}

async fn logs(client: &Client, of: &Subject, prepare: bool) -> Result<Vec<String>, Error> {
    let (endpoint, deployment, replica) = match of {
        Subject::Deployment { endpoint, name } => (endpoint.clone(), name.clone(), String::new()),
        Subject::Replica { id, endpoint, deployment } => (endpoint.clone(), deployment.clone(), id.clone()),
        _ => return Ok(Vec::new()),
    };
    let request =
        LogsRequest { endpoint, deployment, replica, tail_lines: TAIL_LINES, prepare, ..LogsRequest::default() };
    let mut stream = client.logs(request).await?;
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await? {
        all.extend(lines(&String::from_utf8_lossy(&chunk.data)));
    }
    if all.is_empty() {
        all.push("nothing was written yet".to_owned());
    }
    Ok(all)
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
