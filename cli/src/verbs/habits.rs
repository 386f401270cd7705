//! Verbs of other tools, done by ours.

use super::{Context, deployment, endpoint, node};
use crate::{
    args::{
        Deletable, DeleteArgs, DeleteDeploymentArgs, DeleteEndpointArgs, DeploymentName, DeploymentVerb, EndpointName,
        EndpointVerb, Habit, NodeVerb,
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
    let DeleteArgs { noun, name, yes, no_wait } = args;
    match noun {
        Deletable::Endpoint => {
            let args = DeleteEndpointArgs { name: EndpointName::of(name), yes, no_wait };
            endpoint::run(context, EndpointVerb::Delete(args)).await
        }
        Deletable::Deployment => {
            let args = DeleteDeploymentArgs { name: DeploymentName::of(name), yes, no_wait };
            deployment::run(context, DeploymentVerb::Delete(args)).await
        }
        Deletable::Node => node::run(context, NodeVerb::Forget { node: name, yes }).await,
    }
}
