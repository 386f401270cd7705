//! Settings of the daemons: flags over variables over a file over the defaults, one list of names for all of them.
//!
//! Every source is brought into the same form first (a name and a text), then read once: a value means the same
//! wherever it was written, and all problems of all sources are told at once, each with where it stands.

mod coordinator;
mod file;
mod node;

#[cfg(test)]
mod tests;

pub(crate) use coordinator::coordinator;
pub(crate) use node::node;

use std::{
    collections::BTreeMap,
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    str::FromStr,
};

use berth_core::{
    address,
    error::{Code, Error, Problems, nearest},
};
use berth_node::doctor::CoordinatorTls;
use berth_proto::tls::{Audience, ServerFiles, TlsFiles};

/// Our own steps, and of the consensus library only what someone should look at: it tells every heartbeat at `info`.
const DEFAULT_LOG: &str = "info,openraft=warn";

/// One daemon's settings: what its section and its variables are called, and every name.
#[derive(Clone, Copy, Debug)]
struct Schema {
    /// The section of the file: `coordinator`.
    section: &'static str,
    /// What every variable starts with: `BERTH_COORDINATOR_`.
    prefix: &'static str,
    /// Every name, with its default as text; empty when it has none or is found out.
    names: &'static [(&'static str, &'static str)],
}

/// One setting as help shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Its name in a file; the flag's with dashes.
    pub(crate) name: &'static str,
    /// The variable that sets it.
    pub(crate) variable: String,
    /// Its default as text; empty when it has none or is found out.
    pub(crate) default: &'static str,
}

/// Lists every setting of a coordinator.
pub(crate) fn coordinator_settings() -> Vec<Shown> {
    coordinator::COORDINATOR.shown()
}

/// Lists every setting of a node.
pub(crate) fn node_settings() -> Vec<Shown> {
    node::NODE.shown()
}

// === impl Schema ===

impl Schema {
    fn shown(&self) -> Vec<Shown> {
        let shown = |(name, default): &(&'static str, &'static str)| Shown {
            name,
            variable: format!("{}{}", self.prefix, name.to_ascii_uppercase()),
            default,
        };
        self.names.iter().map(shown).collect()
    }
}

/// The texts of one source, with where each stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layer(BTreeMap<String, Given>);

#[derive(Clone, Debug)]
struct Given {
    text: String,
    place: String,
}

/// How a daemon logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogConfig {
    /// What to log.
    pub(crate) filter: String,
    /// Whether lines are JSON.
    pub(crate) json: bool,
}

/// Reads settings by name and collects what is wrong.
struct Reader {
    schema: Schema,
    layers: Vec<Layer>,
    problems: Problems,
    unknown: bool,
}

/// Reads the file named by a flag or by `BERTH_CONFIG`, the variables, and the flags.
fn read_layers(schema: Schema, flags: Layer, file: Option<&Path>) -> Result<Reader, Error> {
    let vars = || std::env::vars();
    let from_env =
        vars().find(|(name, text)| name == "BERTH_CONFIG" && !text.is_empty()).map(|(_, text)| PathBuf::from(text));
    let file = file.map(Path::to_owned).or(from_env);
    let mut reader = Reader::new(schema);
    let from_file = match &file {
        Some(path) => file::read(schema, path, &mut reader)?,
        None => Layer::default(),
    };
    let from_vars = reader.variables(vars());
    reader.layers = vec![flags, from_vars, from_file];
    Ok(reader)
}

/// Reads where the daemons of this host would listen, each with what it is for: what the file, the variables and the flags
/// say, and the usual place of whatever none of them names.
pub(crate) fn ports(flags: Layer, file: Option<&Path>) -> Result<Vec<(&'static str, SocketAddr)>, Error> {
    let mut of_coordinator = read_layers(coordinator::COORDINATOR, Layer::default(), file)?;
    let mut of_node = read_layers(node::NODE, flags, file)?;
    let mut ports = berth_node::doctor::usual_ports();
    for (what, address) in &mut ports {
        let named = match *what {
            "coordinators" => of_coordinator.optional("api", parse_listen),
            what => of_node.optional(what, parse_listen),
        };
        *address = named.unwrap_or(*address);
    }
    of_coordinator.finish()?;
    of_node.finish()?;
    Ok(ports)
}

/// Reads what a coordinator of this host would show, from the file and the variables; nothing where it speaks no TLS.
pub(crate) fn coordinator_tls(file: Option<&Path>) -> Result<Option<CoordinatorTls>, Error> {
    let mut from = read_layers(coordinator::COORDINATOR, Layer::default(), file)?;
    let own = from.certificate(["tls_cert", "tls_key"]);
    let client_ca = from.optional("tls_client_ca", |text| Ok(PathBuf::from(text)));
    let ca = from.optional("ca", |text| Ok(PathBuf::from(text)));
    let listens = from.optional("api", parse_listen);
    let advertise = from.optional("advertise", |text| Ok(text.to_owned()));
    from.finish()?;
    let host = advertise.map(|advertise| address::host(&advertise).to_owned());
    Ok(own.zip(ca).zip(listens).map(|((own, ca), listens)| CoordinatorTls {
        files: ServerFiles { own, client_ca },
        audience: Audience { ca, host: host.unwrap_or_else(|| listens.ip().to_string()) },
        listens,
    }))
}

// === impl Layer ===

impl Layer {
    /// Wraps what was given as flags.
    pub(crate) fn flags(given: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let given = given.into_iter().map(|(name, text)| {
            let place = format!("--{}", name.replace('_', "-"));
            (name.to_owned(), Given { text, place })
        });
        Self(given.collect())
    }

    /// Adds a flag whose name other verbs share.
    pub(crate) fn with(mut self, name: &str, text: Option<String>) -> Self {
        if let Some(text) = text {
            let place = format!("--{}", name.replace('_', "-"));
            self.0.insert(name.to_owned(), Given { text, place });
        }
        self
    }

    fn insert(&mut self, name: &str, text: String, place: String) {
        self.0.insert(name.to_owned(), Given { text, place });
    }
}

// === impl Reader ===

impl Reader {
    fn new(schema: Schema) -> Self {
        Self { schema, layers: Vec::new(), problems: Problems::default(), unknown: false }
    }

    /// Takes this daemon's variables; one that nobody knows is a slip that would otherwise go unnoticed.
    fn variables(&mut self, vars: impl Iterator<Item = (String, String)>) -> Layer {
        let mut layer = Layer::default();
        for (variable, text) in vars {
            let Some(rest) = variable.strip_prefix(self.schema.prefix) else { continue };
            let name = rest.to_ascii_lowercase();
            if self.knows(&name) {
                layer.insert(&name, text, variable);
            } else {
                let near =
                    self.near(&name).map(|near| format!("`{}{}`", self.schema.prefix, near.to_ascii_uppercase()));
                self.refuse_name(variable, near.unwrap_or_default());
            }
        }
        layer
    }

    fn knows(&self, name: &str) -> bool {
        self.schema.names.iter().any(|(known, _)| *known == name)
    }

    fn near(&self, name: &str) -> Option<&'static str> {
        nearest(name, self.schema.names.iter().map(|(known, _)| *known))
    }

    fn refuse_name(&mut self, place: String, try_: String) {
        self.unknown = true;
        self.problems.add_try(place, "unknown setting", try_);
    }

    /// Returns the text of a setting and where it stands, from the highest source that has it.
    fn text(&self, name: &str) -> Option<(String, String)> {
        let given = self.layers.iter().find_map(|layer| layer.0.get(name));
        match given {
            Some(given) => Some((given.text.clone(), given.place.clone())),
            None => {
                let (_, default) = self.schema.names.iter().find(|(known, _)| *known == name)?;
                (!default.is_empty()).then(|| ((*default).to_owned(), format!("the default of {name}")))
            }
        }
    }

    /// Reads a setting that may be absent.
    fn optional<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let (text, place) = self.text(name)?;
        match parse(text.trim()) {
            Ok(value) => Some(value),
            Err(why) => {
                self.problems.add(place, why);
                None
            }
        }
    }

    /// Reads a setting that must be there.
    fn required<T>(&mut self, name: &str, try_: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        if self.text(name).is_none() {
            self.problems.add_try(format!("--{}", name.replace('_', "-")), "is missing", try_);
            return None;
        }
        self.optional(name, parse)
    }

    /// Reads a certificate and its key, which go together.
    fn certificate(&mut self, names: [&str; 2]) -> Option<TlsFiles> {
        let [cert, key] = names.map(|name| self.optional(name, |text| Ok(PathBuf::from(text))));
        let missing = match (cert, key) {
            (Some(cert), Some(key)) => return Some(TlsFiles { cert, key }),
            (None, None) => return None,
            (Some(_), None) => names[1],
            (None, Some(_)) => names[0],
        };
        let flag = format!("--{}", missing.replace('_', "-"));
        self.problems.add_try(flag.as_str(), "a certificate and its key go together", format!("{flag} FILE"));
        None
    }

    /// Reads the settings every daemon shares.
    fn log(&mut self) -> LogConfig {
        let filter = self.optional("log", |text| {
            tracing_subscriber::EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
        });
        let json = self.optional("log_format", |text| match text {
            "text" => Ok(false),
            "json" => Ok(true),
            _ => Err(format!("`{text}` is neither text nor json")),
        });
        LogConfig { filter: filter.unwrap_or_else(|| DEFAULT_LOG.to_owned()), json: json.unwrap_or(false) }
    }

    fn finish(self) -> Result<(), Error> {
        let code = if self.unknown { Code::UnknownField } else { Code::Invalid };
        self.problems.into_result(code, &format!("the {} configuration", self.schema.section))
    }
}

/// What is promised of files of settings and of the words in them, over any text; see [`crate::fuzzing`]. Names are not
/// looked up.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn promise(text: &str) {
    for schema in [coordinator::COORDINATOR, node::NODE] {
        let mut reader = Reader::new(schema);
        if let Err(error) = file::parse(schema, text, "x.toml", &mut reader) {
            assert!(!error.what.is_empty(), "refused without a word");
        }
        let _ = reader.finish();
    }
    if let Ok(share) = parse_trace_share(text) {
        assert!(share <= berth_core::traffic::trace::SHARE_OF);
    }
    let items = parse_list(text).unwrap_or_default();
    assert!(items.iter().all(|item| !item.is_empty() && !item.contains(',')), "{items:?}");
    let _ = (parse_bool(text), parse_bytes(text), parse_collector(text), node::parse_labels(text));
}

/// Reads anything that reads itself.
fn parse<T: FromStr>(text: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| format!("`{text}`: {error}"))
}

/// Reads an address to listen on; a name is looked up.
fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| format!("`{text}` is not an address: {error}"))?;
    found.next().ok_or_else(|| format!("`{text}` has no address"))
}

/// Reads a list with commas.
fn parse_list(text: &str) -> Result<Vec<String>, String> {
    let items: Vec<_> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect();
    if items.is_empty() { Err("is an empty list".to_owned()) } else { Ok(items) }
}

/// Reads `true` or `false`.
fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

/// Reads a size into bytes.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let mib = berth_core::units::parse_mib(text).map_err(|error| error.to_string())?;
    mib.checked_mul(1 << 20).ok_or_else(|| format!("`{text}` is too large"))
}

/// Reads where a collector takes OTLP over gRPC: `http://HOST:4317`, or HOST:4317.
pub(crate) fn parse_collector(text: &str) -> Result<tonic::transport::Endpoint, String> {
    let expected = || format!("`{text}` is no collector: expected http://HOST:PORT, such as http://127.0.0.1:4317");
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: tonic::transport::Uri = url.parse().map_err(|_| expected())?;
    if uri.scheme_str() == Some("https") {
        return Err("collectors are spoken to without TLS; run one on this host and let it forward".to_owned());
    }
    if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) || uri.port().is_none() {
        return Err(expected());
    }
    Ok(tonic::transport::Endpoint::from(uri))
}

/// Reads a percentage into its share of traces, to a thousandth of a percent.
pub(crate) fn parse_trace_share(text: &str) -> Result<u32, String> {
    let expected = || format!("`{text}` is no percentage from 0 to 100, such as 0.5");
    // A percentage and a number of cores are written alike.
    let thousandths = berth_core::units::parse_cpu_milli(text).map_err(|_| expected())?;
    u32::try_from(thousandths).ok().filter(|share| *share <= berth_core::traffic::trace::SHARE_OF).ok_or_else(expected)
}
