//! Verbs of other tools, done by ours.

use super::{Context, deployment, endpoint, node, replica};
use crate::{
    args::{
        Deletable, DeleteArgs, DeleteDeploymentArgs, DeleteEndpointArgs, DeploymentName, DeploymentVerb, EndpointName,
        EndpointVerb, Habit, NodeVerb, ReplaceArgs, ReplicaVerb,
    },
    output::Fault,
};

pub(super) async fn run(context: &Context, habit: Habit) -> Result<(), Fault> {
    match habit {
        Habit::Drain(args) => node::run(context, NodeVerb::Drain(args)).await,
        Habit::Cordon { node } => node::run(context, NodeVerb::Cordon { node }).await,
        Habit::Uncordon { node } => node::run(context, NodeVerb::Uncordon { node }).await,
        Habit::Delete(args) => delete(context, args).await,
    }
}

async fn delete(context: &Context, args: DeleteArgs) -> Result<(), Fault> {
    let DeleteArgs { noun, name, yes, no_wait, now, grace_period } = args;
    match noun {
        Deletable::Endpoint => {
            let args = DeleteEndpointArgs { name: EndpointName::of(name), yes, no_wait };
            endpoint::run(context, EndpointVerb::Delete(args)).await
        }
        Deletable::Deployment => {
            let args = DeleteDeploymentArgs { name: DeploymentName::of(name), yes, no_wait };
            deployment::run(context, DeploymentVerb::Delete(args)).await
        }
        Deletable::Replica => {
            let args = ReplaceArgs { replica: name, now: now || grace_period == Some(0), yes };
            replica::run(context, ReplicaVerb::Replace(args)).await
        }
        Deletable::Node => node::run(context, NodeVerb::Forget { node: name, yes }).await,
    }
}
