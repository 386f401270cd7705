//! Verbs of the first hour: a deployment without a file, a folder to begin in, a look at one thing, a second machine.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, ValueEnum};

use super::{KubectlScope, WaitArgs};

/// `berth deploy`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["onnx", "script", "cmd"])))]
pub(crate) struct DeployArgs {
    /// The endpoint; made when it is not there.
    pub(crate) endpoint: String,
    /// An ONNX model, served by Berth itself.
    #[arg(long, value_name = "FILE")]
    pub(crate) onnx: Option<PathBuf>,
    /// A scoring script with `init()` and `run(data)`; its whole folder goes along.
    #[arg(long, value_name = "FILE")]
    pub(crate) script: Option<PathBuf>,
    /// A program that listens on $PORT.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) cmd: Option<String>,
    /// The deployment. Under another name than `blue`, only the deployment is written, into ENDPOINT-NAME.yml.
    #[arg(long, value_name = "NAME", default_value = "blue")]
    pub(crate) name: String,
    /// The model that a script finds under AZUREML_MODEL_DIR, or a program under its folder.
    #[arg(long, value_name = "PATH", conflicts_with = "onnx")]
    pub(crate) model: Option<PathBuf>,
    /// The folder a program starts in.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["onnx", "script"])]
    pub(crate) code: Option<PathBuf>,
    /// What a script imports, as a conda file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["onnx", "cmd"])]
    pub(crate) conda: Option<PathBuf>,
    /// What a script imports, as pip names it; may be given several times.
    #[arg(long, value_name = "REQUIREMENT", conflicts_with_all = ["onnx", "cmd", "conda"])]
    pub(crate) pip: Vec<String>,
    /// How many instances.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) instances: u32,
    /// All of the endpoint's traffic, or none; `berth traffic` shares it. All of it when the endpoint has no split yet.
    #[arg(long, value_enum, value_name = "PERCENT")]
    pub(crate) traffic: Option<AllOrNone>,
    /// Replace the file when it says something else.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Only write the file.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// A share that needs no arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AllOrNone {
    /// None.
    #[value(name = "0")]
    None,
    /// All.
    #[value(name = "100")]
    All,
}

/// `berth init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The folder; made when it is missing. Nothing in it is replaced.
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
    /// What is served.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) serves: Serves,
    /// The endpoint; the folder's name when absent.
    #[arg(long, value_name = "ENDPOINT")]
    pub(crate) name: Option<String>,
}

/// What a scaffold serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Serves {
    /// A Python scoring script, as Azure has it.
    #[default]
    Script,
    /// A program of one's own that speaks HTTP; needs nothing but Python's standard library.
    Command,
    /// An ONNX model.
    Onnx,
}

/// `berth describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// An ENDPOINT, an ENDPOINT/DEPLOYMENT, a node, a replica by its id or the beginning of it, or `event` and its number.
    #[arg(value_name = "NAME", num_args = 1..=2)]
    pub(crate) of: Vec<String>,
    #[command(flatten)]
    pub(crate) scope: KubectlScope,
}

/// `berth node join-command`.
#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// The cluster's node token; looked for where a coordinator or `berth dev` of this host keeps it when absent.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// How long the line lets a machine join: `2h`, `7d`, or `never`, for a token that does not run out. A node that joined in time
    /// stays.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_ttl)]
    pub(crate) ttl: Ttl,
}

/// How long a join token holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ttl {
    /// For so long.
    For(Duration),
    /// For ever: the lasting token itself.
    Never,
}

fn parse_ttl(text: &str) -> Result<Ttl, String> {
    if text == "never" {
        return Ok(Ttl::Never);
    }
    let span = super::parse_span(text).map_err(|why| format!("{why}, or `never` for a token that does not run out"))?;
    if span.is_zero() { Err("a token that never holds lets nobody join".to_owned()) } else { Ok(Ttl::For(span)) }
}
