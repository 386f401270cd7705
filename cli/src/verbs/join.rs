//! `berth node join-command`: the one line for the second machine.

use std::path::{Path, PathBuf};

use berth_coordinator::keys::join_token;
use berth_core::{
    address,
    error::{Code, Error},
    join::{CaHash, JoinToken, is_lasting},
    time::LogTime,
};
use berth_proto::tls::authority_hash;
use serde::Serialize;

use super::Context;
use crate::{
    args::{JoinArgs, Ttl},
    output::{Fault, now_ms},
    view::iso,
};

/// Where a coordinator of this host keeps the token when it was set up by the packages.
const PACKAGED: &str = "/var/lib/berth/coordinator/node.token";

/// Where the token is.
const WHERE: &str = "run this where a coordinator keeps its data, or name a copy of its node.token with --token-file";

/// What to type where the coordinator's folder is another one: nobody but who started it knows which.
const TYPE: &str = "with what `--data-dir` was given: `berth node join-command --token-file DIR/node.token` for a \
                    `berth coordinator`, `berth node join-command --token-file DIR/coordinator-1/node.token` for a `berth dev`; \
                    on another machine, a copy of that file";

/// What joins, for programs.
#[derive(Serialize)]
struct Join {
    command: String,
    coordinators: Vec<String>,
    /// Until when a machine may join with it; zero: for ever.
    until_ms: u64,
}

pub(super) async fn run(context: &Context, args: JoinArgs) -> Result<(), Fault> {
    let mut places: Vec<PathBuf> = match args.token_file {
        Some(path) => vec![path],
        None => vec![PACKAGED.into()],
    };
    if places.len() == 1 && places[0] == Path::new(PACKAGED) {
        places.extend(crate::dev::local_dir().map(|dir| dir.join("coordinator-1/node.token")));
    }
    let found = places.iter().find_map(|path| std::fs::read_to_string(path).ok().map(|text| (path, text)));
    let (path, text) = found.ok_or_else(|| {
        let looked: Vec<_> = places.iter().map(|path| path.display().to_string()).collect();
        Error::new(Code::PathMissing, "the cluster's node token was not found on this host")
            .why(format!("looked at {}", looked.join(", ")))
            .try_(TYPE)
    })?;
    let lasting = lasting(&text).map_err(|why| {
        let error = Error::new(Code::Invalid, format!("{} does not hold the cluster's node token", path.display()));
        error.why(why).try_(WHERE)
    })?;
    let members = context.client.list_members().await?.members;
    let coordinators: Vec<String> = members.into_iter().map(|member| member.address).collect();
    let (token, until_ms) = match args.ttl {
        Ttl::Never => (lasting, 0),
        Ttl::For(span) => {
            let until =
                LogTime::from_millis(now_ms().saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)));
            (join_token(&lasting, until)?.to_string(), until.millis())
        }
    };
    // Who is believed here is who a new node will believe.
    let trusted =
        context.client.options().trust.as_ref().filter(|_| coordinators.iter().any(|one| address::is_tls(one)));
    let ca_hash = trusted.map(|trust| authority_hash(trust.ca())).transpose()?;
    let join = Join { command: command(&coordinators, &token, ca_hash.as_ref()), coordinators, until_ms };
    Ok(context.out.value(&join, &join.command, || {
        context.out.line(&join.command);
        if join.coordinators.iter().any(|address| is_loopback(address)) {
            context.out.aside(
                "these coordinators listen on loopback: the line is for this host, another machine cannot reach them; \
                 `berth coordinator --api` listens elsewhere",
            );
        } else {
            context.out.aside(
                "between hosts nothing is encrypted unless every node has `--peer-cert`, `--peer-key` and `--peer-ca`: \
                 use a network of your own",
            );
        }
        if join.coordinators.iter().any(|address| address::is_tls(address)) {
            context.out.aside(match ca_hash {
                Some(_) => "where coordinators ask for a certificate, add --client-cert FILE --client-key FILE",
                None => {
                    "copy the authority that signed the coordinators' certificates to ~/.berth/ca.pem there, or ask one at \
                     https:// for this line; where they ask for a certificate, add --client-cert FILE --client-key FILE"
                }
            });
        }
        context.out.aside(match join.until_ms {
            0 => "the line holds the cluster's lasting node token: whoever has it can register nodes for ever".to_owned(),
            until_ms => format!(
                "the line lets machines join until {}; nodes that did stay, and `--ttl` makes it hold longer or shorter",
                iso(until_ms)
            ),
        });
    })?)
}

/// Reads the lasting token, of which others are made. A node's own files hold what it joined with, and of that nothing is made.
fn lasting(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if JoinToken::parse(text).is_some() {
        return Err("it holds a join token, which a node joined with and which makes no others");
    }
    match is_lasting(text) {
        true => Ok(text.to_owned()),
        false => Err("what it holds is no token; a node keeps a file of this name for itself"),
    }
}

/// Writes the line. The token reaches the other machine's disk under a mode that others cannot read. Where the coordinators
/// can be reached from elsewhere the node can be too; a second node beside coordinators on loopback takes ports of its own.
fn command(coordinators: &[String], token: &str, ca_hash: Option<&CaHash>) -> String {
    let listens = match coordinators {
        all if all.iter().any(|address| is_loopback(address)) => {
            "--ingress 127.0.0.1:0 --gate 127.0.0.1:0 --metrics 127.0.0.1:0"
        }
        all if all.iter().any(|one| address::authority(one).starts_with('[')) => {
            "--ingress '[::]:7480' --gate '[::]:7481' --metrics '[::]:7482' --advertise auto --insecure"
        }
        _ => "--ingress 0.0.0.0:7480 --gate 0.0.0.0:7481 --metrics 0.0.0.0:7482 --advertise auto --insecure",
    };
    let ca = match ca_hash {
        Some(hash) => format!(" --ca-hash {hash}"),
        None if coordinators.iter().any(|one| address::is_tls(one)) => " --ca ~/.berth/ca.pem".to_owned(),
        None => String::new(),
    };
    format!(
        "(umask 077 && mkdir -p ~/.berth && printf '%s\\n' '{token}' > ~/.berth/node.token) && berth node \
         --coordinators {}{ca} --token-file ~/.berth/node.token --data-dir ~/.berth/node {listens}",
        coordinators.join(",")
    )
}

fn is_loopback(address: &str) -> bool {
    let host = address::host(address);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_made_of_the_lasting_token_alone() {
        let token = "ab".repeat(32);
        let join = join_token(&token, LogTime::from_millis(1)).expect("a key").to_string();
        for (text, holds) in [
            (format!("{token}\n"), true),
            (join, false),
            (format!("0123456789abcdef {token}"), false),
            (String::new(), false),
        ] {
            assert_eq!(lasting(&text).is_ok(), holds, "{text}");
        }
    }

    #[test]
    fn the_line_is_one_line_and_quotes_nothing_it_should_not() {
        let line = command(&["10.0.0.1:7400".into(), "10.0.0.2:7400".into()], "node-1.abc", None);
        assert_eq!(line.lines().count(), 1);
        assert!(line.contains("--coordinators 10.0.0.1:7400,10.0.0.2:7400 "), "{line}");
        let listens = " --ingress 0.0.0.0:7480 --gate 0.0.0.0:7481 --metrics 0.0.0.0:7482 --advertise auto --insecure";
        assert!(line.ends_with(listens), "{line}");
        let second = command(&["[fd00::1]:7400".into()], "t", None);
        assert!(second.contains("--gate '[::]:7481' --metrics '[::]:7482' --advertise auto"), "{second}");
        let hash = CaHash::of(vec![[10; 32]]).expect("one");
        let hashed = command(&["https://c1:7400".into()], "t", Some(&hash));
        assert!(
            hashed.contains(&format!("https://c1:7400 --ca-hash sha256:{} --token-file", "0a".repeat(32))),
            "{hashed}"
        );
        let secured = command(&["https://c1:7400".into()], "t", None);
        assert!(secured.contains("--coordinators https://c1:7400 --ca ~/.berth/ca.pem --token-file"), "{secured}");
    }

    #[test]
    fn loopback_is_known_in_every_spelling() {
        for (address, loopback) in [
            ("127.0.0.1:7400", true),
            ("[::1]:7400", true),
            ("localhost:1", true),
            ("10.0.0.1:7400", false),
            ("h:1", false),
            ("https://[::1]:7400", true),
            ("https://10.0.0.1:7400", false),
        ] {
            assert_eq!(is_loopback(address), loopback, "{address}");
        }
    }
}
