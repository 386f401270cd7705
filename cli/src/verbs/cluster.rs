//! Which cluster is meant, and whom to believe of it.

use std::path::PathBuf;

use berth_client::{Address, Client, ClientOptions, TlsFiles, Trust, TrustFiles};
use berth_core::error::{Code, Error};

use super::UNREACHABLE;
use crate::{
    args::GlobalArgs,
    contexts::{Context, Contexts},
};

/// A cluster, and who said so.
#[derive(Debug)]
pub(super) struct Meant {
    pub(super) context: Context,
    pub(super) from: String,
}

/// Finds the cluster that is meant: by `--local`, `--api`, `--context`, `BERTH_API`, the context in use, or the default. Whom to
/// believe is said by flags, else by the context if it is one, else by variables.
pub(super) fn meant(global: &GlobalArgs) -> Result<Meant, Error> {
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
    find(global, &variable, Contexts::load)
}

fn find(
    global: &GlobalArgs,
    variable: &dyn Fn(&str) -> Option<String>,
    contexts: impl FnOnce() -> Result<Contexts, Error>,
) -> Result<Meant, Error> {
    if global.local {
        let context = Context { api: crate::dev::local_api(), ..Context::default() };
        return Ok(Meant { context, from: "--local".to_owned() });
    }
    let bare = |api: String| {
        let file = |name: &str| variable(name).map(PathBuf::from);
        let (client_cert, client_key) = (file("BERTH_CLIENT_CERT"), file("BERTH_CLIENT_KEY"));
        Context { api, ca: file("BERTH_CA"), client_cert, client_key }
    };
    let (mut context, from) = match (&global.api, &global.context) {
        (Some(api), _) => (bare(api.clone()), "--api".to_owned()),
        (None, Some(name)) => (contexts()?.named(name)?.clone(), format!("--context {name}")),
        (None, None) => match variable("BERTH_API") {
            Some(api) => (bare(api), "BERTH_API".to_owned()),
            None => match contexts()?.current() {
                Some(context) => (context.clone(), "the context in use".to_owned()),
                None => (bare("127.0.0.1:7400".to_owned()), "the default".to_owned()),
            },
        },
    };
    for (flag, file) in [
        (&global.ca, &mut context.ca),
        (&global.client_cert, &mut context.client_cert),
        (&global.client_key, &mut context.client_key),
    ] {
        *file = flag.as_ref().map(PathBuf::from).or(file.take());
    }
    if global.ca.is_some() && !context.api.contains("https://") {
        return Err(Error::new(Code::Invalid, "`--ca` is given, and no coordinator would be called over TLS")
            .why(format!("none of `{}` begins with `https://` ({from})", context.api))
            .try_("write --api https://HOST:PORT, or leave --ca out"));
    }
    Ok(Meant { context, from })
}

/// Makes a client of a cluster, for a person who waits.
pub(super) fn client(context: &Context) -> Result<Client, Error> {
    Ok(Client::new(ClientOptions { unreachable: UNREACHABLE, ..options(context)? }))
}

/// Reads how a cluster is called.
pub(crate) fn options(context: &Context) -> Result<ClientOptions, Error> {
    let mut options = ClientOptions::new(context.api.split(',').filter(|part| !part.trim().is_empty()))?;
    if let Some(address) = options.addresses.iter().find(|address| address.is_tls()) {
        options.trust = Some(trust(context, address)?);
    }
    Ok(options)
}

fn trust(context: &Context, address: &Address) -> Result<Trust, Error> {
    let ca = context.ca.clone().ok_or_else(|| {
        Error::new(Code::Tls, format!("{address} is called over TLS, and nobody is believed"))
            .try_("name the authority that signed the coordinators' certificates: --ca FILE")
    })?;
    let own = match (context.client_cert.clone(), context.client_key.clone()) {
        (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
        (None, None) => None,
        (cert, _) => {
            let missing = if cert.is_some() { "--client-key" } else { "--client-cert" };
            return Err(Error::new(Code::Invalid, "a certificate and its key go together")
                .why(format!("`{missing}` is missing"))
                .try_(format!("add {missing} FILE")));
        }
    };
    Trust::open(&TrustFiles { ca, own })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Cli;

    fn contexts() -> Contexts {
        let context = Context { api: "https://k:1".into(), ca: Some("k.pem".into()), ..Context::default() };
        Contexts { current: Some("kept".into()), contexts: [("kept".to_owned(), context)].into() }
    }

    /// Each row: flags, variables, where the cluster is and whom to believe; or a part of the refusal.
    #[test]
    fn whom_to_believe_comes_from_where_the_cluster_does_unless_a_flag_says_otherwise() {
        for (flags, variables, expected) in [
            (&[][..], &[][..], Ok(("https://k:1", Some("k.pem")))),
            (&["--context", "kept"], &[("BERTH_CA", "v.pem")], Ok(("https://k:1", Some("k.pem")))),
            (&["--context", "kept", "--ca", "f.pem"], &[], Ok(("https://k:1", Some("f.pem")))),
            (&["--api", "https://a:1"], &[("BERTH_CA", "v.pem")], Ok(("https://a:1", Some("v.pem")))),
            (&["--api", "https://a:1", "--ca", "f.pem"], &[("BERTH_CA", "v.pem")], Ok(("https://a:1", Some("f.pem")))),
            (&[], &[("BERTH_API", "b:1"), ("BERTH_CA", "v.pem")], Ok(("b:1", Some("v.pem")))),
            (&["--local"], &[("BERTH_CA", "v.pem")], Ok(("", None))),
            (&["--api", "a:1", "--ca", "f.pem"], &[], Err("https://")),
        ] {
            let words = ["berth", "status"].iter().chain(flags).copied();
            let global = Cli::try_parse_from(words).expect("flags").global;
            let variable = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, text): &(&str, &str)| (*text).to_owned())
            };
            match (find(&global, &variable, || Ok(contexts())), expected) {
                (Ok(meant), Ok((api, ca))) => {
                    assert!(api.is_empty() || meant.context.api == api, "{flags:?}: {meant:?}");
                    assert_eq!(meant.context.ca, ca.map(PathBuf::from), "{flags:?}");
                }
                (Err(error), Err(part)) => assert!(error.try_.contains(part), "{flags:?}: {error}"),
                (found, _) => panic!("{flags:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn what_is_missing_for_tls_is_named() {
        let context = |ca: Option<&str>, cert: Option<&str>| Context {
            api: "https://a:1".into(),
            ca: ca.map(PathBuf::from),
            client_cert: cert.map(PathBuf::from),
            client_key: None,
        };
        for (context, code, part) in [
            (context(None, None), Code::Tls, "--ca"),
            (context(Some("absent.pem"), Some("c")), Code::Invalid, "--client-key"),
            (context(Some("absent.pem"), None), Code::Certificate, "PEM"),
        ] {
            let error = options(&context).expect_err("it does not do");
            assert!(error.code == code && error.try_.contains(part), "{error}");
        }
        let plain = Context { api: "a:1".into(), ca: Some("absent.pem".into()), ..Context::default() };
        assert!(options(&plain).expect("no file is read").trust.is_none());
    }
}
