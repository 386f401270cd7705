//! `berth completion` and `berth man`: what shells and `man` are given, made from the verbs themselves.

use std::{fs, path::Path};

use berth_core::error::{Code, Error};
use serde::Serialize;

use crate::{
    args,
    output::{Fault, Output},
};

/// Where manual pages were written, for programs.
#[derive(Serialize)]
struct Written {
    dir: String,
}

pub(super) fn completion(shell: clap_complete::Shell, out: &Output) -> Result<(), Fault> {
    // Written whole first: the generator panics when its reader leaves.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "berth", &mut script);
    out.bytes(&script);
    Ok(())
}

pub(super) fn man(dir: &Path, out: &Output) -> Result<(), Fault> {
    let written = fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(args::command(), dir));
    written.map_err(|error| {
        Error::new(Code::Invalid, format!("cannot write manual pages into {}", dir.display())).why(error.to_string())
    })?;
    let dir = dir.display().to_string();
    Ok(out.did(&Written { dir: dir.clone() }, &dir, format!("read them with `man -l {dir}/berth.1`"))?)
}
