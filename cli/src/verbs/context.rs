//! `berth context`: names for clusters.

use berth_core::error::{Code, Error};
use serde::Serialize;

use super::{Deleted, cluster::options};
use crate::{
    args::{ContextCommand, ContextVerb, GlobalArgs},
    contexts::{Context, Contexts},
    output::{Cell, Fault, Listed, Misused, Output},
};

/// A context as it is listed.
#[derive(Serialize)]
struct Row {
    name: String,
    api: String,
    current: bool,
}

pub(super) fn run(command: ContextCommand, global: &GlobalArgs, out: &Output) -> Result<(), Fault> {
    let mut contexts = Contexts::load()?;
    match command.verb.unwrap_or(ContextVerb::Ls) {
        ContextVerb::Ls => {
            let row = |(name, context): (&String, &Context)| Row {
                name: name.clone(),
                api: context.api.clone(),
                current: contexts.current.as_ref() == Some(name),
            };
            let rows: Vec<_> = contexts.contexts.iter().map(row).collect();
            out.list(&rows, "no contexts yet; `berth context set NAME --api HOST:PORT` makes one")?;
        }
        ContextVerb::Use { name } => {
            let api = contexts.named(&name).or_misused()?.api.clone();
            contexts.current = Some(name.clone());
            contexts.save()?;
            let text = format!("verbs talk to {name} ({api}) from now on");
            out.did(&Row { name: name.clone(), api, current: true }, &name, text)?;
        }
        ContextVerb::Set { name, .. } => {
            let api = global.api.as_deref().ok_or_else(|| {
                let error = Error::new(Code::Invalid, "a context needs its coordinators");
                Fault::misused(error.try_(format!("berth context set {name} --api HOST:PORT[,HOST:PORT…]")))
            })?;
            // It is used from any folder.
            let file = |text: &Option<String>| text.as_ref().map(std::path::absolute).transpose();
            let context = file(&global.ca).and_then(|ca| {
                let (client_cert, client_key) = (file(&global.client_cert)?, file(&global.client_key)?);
                Ok(Context { api: api.to_owned(), ca, client_cert, client_key })
            });
            let context = context.map_err(|error| {
                Fault::misused(Error::new(Code::PathMissing, "a file has no path").why(error.to_string()))
            })?;
            // What could not be called later is refused now.
            options(&context).or_misused()?;
            contexts.contexts.insert(name.clone(), context);
            contexts.current.get_or_insert_with(|| name.clone());
            let path = contexts.save()?;
            let current = contexts.current.as_ref() == Some(&name);
            let row = Row { name: name.clone(), api: api.to_owned(), current };
            out.did(&row, &name, format!("{name} is {api}, in {}", path.display()))?;
        }
        ContextVerb::Delete { name } => {
            contexts.named(&name).or_misused()?;
            contexts.contexts.remove(&name);
            contexts.current = contexts.current.filter(|current| *current != name);
            contexts.save()?;
            let deleted = Deleted { deleted: name.clone(), noun: "context", with: Vec::new() };
            out.did(&deleted, &name, format!("{name} is forgotten"))?;
        }
    }
    Ok(())
}

impl Listed for Row {
    const COLUMNS: &'static [&'static str] = &["", "CONTEXT", "API"];
    const NARROW: usize = 3;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn cells(&self, _now_ms: u64) -> Vec<Cell> {
        vec![if self.current { "*" } else { "" }.into(), self.name.as_str().into(), self.api.as_str().into()]
    }
}
