//! `berth sim cluster`: how many nodes a described fleet needs.

use std::{fs, path::Path};

use berth_core::error::{Code, Error};
use berth_sim::cluster;

use crate::{
    args::SimClusterArgs,
    output::{Fault, Output},
    yaml,
};

pub(super) fn run(args: &SimClusterArgs, out: &Output) -> Result<(), Fault> {
    let (description, warnings) = yaml::load_cluster(&args.file)?;
    out.warnings(&warnings);
    let sizing = cluster::size(&description)?;
    if let Some(path) = &args.svg {
        fs::write(path, cluster::plot(&sizing)).map_err(|error| not_written(path, &error))?;
        out.aside(format!("the plot is in {}", path.display()));
    }
    let count = sizing.count.map(|count| count.to_string()).unwrap_or_default();
    out.value(&sizing, &count, || out.line(sizing.to_string()))?;
    if sizing.fits { Ok(()) } else { Err(Fault::answered(1)) }
}

fn not_written(path: &Path, error: &std::io::Error) -> Error {
    let code = if error.kind() == std::io::ErrorKind::StorageFull { Code::DiskFull } else { Code::PathMissing };
    Error::new(code, format!("`{}` cannot be written", path.display())).why(error.to_string())
}
