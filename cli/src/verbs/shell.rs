//! `berth completion` and `berth man`: what shells and `man` are given, made from the verbs themselves.

use std::{fs, path::Path};

use berth_core::error::{Code, Error};
use clap_complete::Shell;
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

pub(super) fn completion(shell: Shell, out: &Output) -> Result<(), Fault> {
    // Written whole first: the generator panics when its reader leaves.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "berth", &mut script);
    script.extend_from_slice(names(shell).as_bytes());
    out.bytes(&script);
    Ok(())
}

/// Lets a shell offer names of the cluster beside what its script knows by itself. `berth complete-names` takes the words before
/// the cursor and prints what fits behind them.
fn names(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => {
            r#"
_berth_names() {
    _berth "$@"
    local word="${COMP_WORDS[COMP_CWORD]}" names
    [[ $word == -* ]] && return
    names=$(berth complete-names -- "${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null) || return
    [[ -z $names ]] && return
    # Words in brackets only say what fits; now there is something that does.
    mapfile -t COMPREPLY < <(printf '%s\n' "${COMPREPLY[@]}" | grep -v '^\[' ; compgen -W "$names" -- "$word")
}
complete -F _berth_names -o nosort -o bashdefault -o default berth
"#
        }
        Shell::Zsh => {
            r#"
_berth_offer() {
    local -a names
    names=(${(f)"$(berth complete-names -- ${words[2,CURRENT-1]} 2>/dev/null)"})
    (( $#names )) && compadd -a names
}
_berth_names() {
    _berth_offer
    _berth "$@"
}
# In a folder of functions this file is read when something is first completed, and that wants names too.
[[ $funcstack[1] == _berth ]] && _berth_offer
(( $+functions[compdef] )) && compdef _berth_names berth
"#
        }
        // Its script knows no words of places, such as the nouns behind `get`.
        Shell::Fish => {
            "\ncomplete -c berth -f -a '(berth complete-names --values -- (commandline -opc)[2..-1] 2>/dev/null)'\n"
        }
        _ => "",
    }
}

pub(super) fn man(dir: &Path, out: &Output) -> Result<(), Fault> {
    let written = fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(args::command(), dir));
    written.map_err(|error| {
        Error::new(Code::Invalid, format!("cannot write manual pages into {}", dir.display())).why(error.to_string())
    })?;
    let dir = dir.display().to_string();
    Ok(out.did(&Written { dir: dir.clone() }, &dir, format!("read them with `man -l {dir}/berth.1`"))?)
}
