//! What `-l FIELD=VALUE` means where names are taken: what `berth get -l` lists.

use berth_core::{
    error::{Code, Error},
    model::DeploymentKey,
};
use clap::ValueEnum as _;

use super::Context;
use crate::{
    args::{Deletable, SelectArgs, parse_key},
    output::{Fault, Listed},
    view::{is_unknown_field, selected},
};

/// Reads the kind that stands alone before a selector.
pub(super) fn kind(what: &[String]) -> Result<Deletable, Fault> {
    let [word] = what else {
        let error = Error::new(Code::Invalid, format!("`{}` and `-l` are given together", what.join(" ")));
        return Err(Fault::misused(error.why("a selector finds names by itself").try_("leave out the names, or `-l`")));
    };
    Deletable::from_str(word, true).map_err(|_| {
        let error = Error::new(Code::Invalid, format!("`{word}` is no kind of thing that `-l` finds"));
        Fault::misused(error.try_("endpoints, deployments, nodes or replicas, and `-l FIELD=VALUE`"))
    })
}

/// Finds the names of what is meant. A field that nothing has is an error of its own: [`is_unknown_field`].
pub(super) async fn names(context: &Context, kind: Deletable, only: &SelectArgs) -> Result<Vec<String>, Error> {
    fn of<T: Listed>(items: Vec<T>, only: &SelectArgs) -> Result<Vec<String>, Error> {
        Ok(selected(items, only)?.iter().map(Listed::name).collect())
    }
    let client = &context.client;
    match kind {
        Deletable::Endpoint => of(client.list_endpoints().await?, only),
        Deletable::Deployment => of(client.list_deployments("").await?, only),
        Deletable::Node => of(client.list_nodes().await?, only),
        Deletable::Replica => of(client.list_replicas("", "").await?, only),
    }
}

/// Finds whose logs are meant: those of deployments, or of the replicas alone that have a field which no deployment has.
pub(super) async fn logged(
    context: &Context,
    only: &SelectArgs,
) -> Result<Vec<(DeploymentKey, Option<String>)>, Error> {
    let client = &context.client;
    match selected(client.list_deployments("").await?, only) {
        Err(error) if is_unknown_field(&error) => {
            let found = selected(client.list_replicas("", "").await?, only)?;
            let of = |deployment: String, replica| Ok((parse_key(&deployment)?, Some(replica)));
            found.into_iter().map(|it| of(format!("{}/{}", it.endpoint, it.deployment), it.replica)).collect()
        }
        found => found?.iter().map(|it| Ok((parse_key(&it.name())?, None))).collect(),
    }
}

/// Takes that nothing has the field for that nothing is meant, as kubectl does, and says so.
pub(super) fn or_none<T>(context: &Context, found: Result<Vec<T>, Error>) -> Result<Vec<T>, Fault> {
    let found = match found {
        Err(error) if is_unknown_field(&error) => {
            context.out.aside(error.what);
            return Ok(Vec::new());
        }
        found => found?,
    };
    if found.is_empty() {
        context.out.aside("none of them");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_stands_behind_one_kind() {
        for (line, expected) in [
            ("deploy", Ok(Deletable::Deployment)),
            ("Pods", Ok(Deletable::Replica)),
            ("svc", Ok(Deletable::Endpoint)),
            ("no", Ok(Deletable::Node)),
            ("fraud", Err("is no kind of thing")),
            ("deploy/blue", Err("is no kind of thing")),
            ("deploy blue", Err("are given together")),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            match (kind(&words), expected) {
                (Ok(read), Ok(kind)) => assert_eq!(read, kind, "{line}"),
                (Err(fault), Err(part)) => assert!(fault.error().what.contains(part), "{line}: {fault:?}"),
                (read, _) => panic!("{line}: {read:?}"),
            }
        }
    }
}
