//! `berth init`: a folder to begin in.

use std::{fs, io::Write as _, path::Path};

use berth_core::{
    error::{Code, Error},
    model::EndpointName,
};
use include_dir::{Dir, include_dir};
use serde::Serialize;

use crate::{
    args::{InitArgs, Serves},
    output::{Fault, Misused, Output},
};

/// What a folder begins with; `NAME` stands for the endpoint.
static TEMPLATES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates");

/// What was made, for programs.
#[derive(Serialize)]
struct Made {
    endpoint: String,
    files: Vec<String>,
}

pub(super) fn run(args: &InitArgs, out: &Output) -> Result<(), Fault> {
    let name = name(args).or_misused()?;
    let files = files(args.serves);
    let there: Vec<_> = files.iter().map(|(path, _)| args.dir.join(path)).filter(|path| path.exists()).collect();
    if let Some(first) = there.first() {
        let error = Error::new(Code::AlreadyExists, format!("{} is there already", first.display()));
        return Err(Fault::misused(error.try_("nothing was changed; name another folder")));
    }
    let mut made = Made { endpoint: name.to_string(), files: Vec::new() };
    for (path, text) in files {
        let path = args.dir.join(path);
        write(&path, &text.replace("NAME", name.as_str()))?;
        made.files.push(path.display().to_string());
    }
    Ok(out.value(&made, &made.files.join("\n"), || {
        made.files.iter().for_each(|file| out.line(file));
        let dir = args.dir.display();
        let sample = if args.serves == Serves::Onnx { String::new() } else { format!(" -f {dir}/sample.json") };
        out.aside(format!(
            "next: berth endpoint create -f {dir}/endpoint.yml\n      berth deployment create -f \
             {dir}/blue-deployment.yml --all-traffic\n      berth invoke {name}{sample}"
        ));
    })?)
}

/// Takes the folder's own name, as far as it can be an endpoint's.
fn name(args: &InitArgs) -> Result<EndpointName, Error> {
    let text = match &args.name {
        Some(name) => name.clone(),
        None => {
            let dir = std::path::absolute(&args.dir).unwrap_or_else(|_| args.dir.clone());
            let own = dir.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
            own.replace(['_', '.', ' '], "-")
        }
    };
    EndpointName::new(&text).map_err(|error| Error::new(Code::Invalid, error.to_string()).try_("--name ENDPOINT"))
}

fn files(serves: Serves) -> Vec<(String, &'static str)> {
    let folder = match serves {
        Serves::Script => "script",
        Serves::Command => "command",
        Serves::Onnx => "onnx",
    };
    let mut files = Vec::new();
    files.extend(
        TEMPLATES
            .get_file("endpoint.yml")
            .and_then(|file| file.contents_utf8())
            .map(|text| ("endpoint.yml".to_owned(), text)),
    );
    let mut folders: Vec<_> = TEMPLATES.get_dir(folder).into_iter().collect();
    while let Some(dir) = folders.pop() {
        folders.extend(dir.dirs());
        for file in dir.files() {
            let path = file.path().strip_prefix(folder).unwrap_or(file.path());
            files.extend(file.contents_utf8().map(|text| (path.display().to_string(), text)));
        }
    }
    files.sort();
    files
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(folder).and_then(|()| fs::File::create_new(path)?.write_all(text.as_bytes()));
    written.map_err(|error| {
        Error::new(Code::PathMissing, format!("{} cannot be written", path.display())).why(error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    #[test]
    fn what_it_makes_loads_without_a_warning() {
        for serves in [Serves::Script, Serves::Command, Serves::Onnx] {
            let folder = tempfile::tempdir().expect("a folder");
            let dir = folder.path().join("My_first.model");
            let args = InitArgs { dir: dir.clone(), serves, name: None };
            run(&args, &Output::new(crate::output::Format::Name, true, true)).expect("a folder");
            if serves == Serves::Onnx {
                fs::write(dir.join("model.onnx"), "x").expect("a model");
            }
            for file in ["endpoint.yml", "blue-deployment.yml"] {
                let loaded = yaml::load(&dir.join(file), None, &[]).unwrap_or_else(|error| panic!("{file}: {error:?}"));
                assert_eq!((loaded.documents.len(), &loaded.warnings), (1, &Vec::new()), "{file}");
            }
            let text = fs::read_to_string(dir.join("endpoint.yml")).expect("a file");
            assert!(text.contains("name: my-first-model\n"), "{text}");
            let again = run(&args, &Output::new(crate::output::Format::Name, true, true)).expect_err("it is there");
            assert_eq!(again.error().code, Code::AlreadyExists);
        }
    }
}
