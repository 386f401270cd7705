//! Local files and folders that a document names: found relative to it, and told when they are not there.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use berth_core::{
    error::Code,
    id::Digest,
    model::{AssetKind, AssetRef},
};

use super::{
    fields::{Field, clip},
    finding::Findings,
};

/// Documents and text files beside them are read whole; larger ones are a mistake.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// Something to upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) kind: AssetKind,
}

// === impl Source ===

impl Source {
    /// Returns a reference whose digest is still to be found out.
    pub(super) fn pending(&self) -> AssetRef {
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        AssetRef { digest: Digest::default(), kind: self.kind, name, size_bytes: 0 }
    }
}

/// Finds the file or folder a field names.
pub(super) fn find(field: &Field<'_>, folder: &Path, findings: &mut Findings) -> Option<Source> {
    let text = field.text(findings)?;
    let path = local(field, text, folder, findings)?;
    let missing = |findings: &mut Findings, why: String| {
        let what = format!("`{}` {why}", path.display());
        let try_ = near_path(&path, Path::new(findings.file()));
        findings.error(Code::PathMissing, field.place(), &field.path, what, try_);
    };
    // The base name is what replicas see: the one that was written, where one was.
    let named = if path.file_name().is_some() { Ok(path.clone()) } else { fs::canonicalize(&path) };
    match named.and_then(|path| fs::metadata(&path).map(|meta| (path, meta))) {
        Ok((path, meta)) if meta.is_dir() => Some(Source { path, kind: AssetKind::Folder }),
        Ok((path, meta)) if meta.is_file() => Some(Source { path, kind: AssetKind::File }),
        Ok(_) => {
            missing(findings, "is neither a file nor a folder".to_owned());
            None
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            missing(findings, "does not exist".to_owned());
            None
        }
        Err(error) => {
            missing(findings, format!("cannot be read: {error}"));
            None
        }
    }
}

/// Reads a small text file a field names.
pub(super) fn read_text(field: &Field<'_>, folder: &Path, findings: &mut Findings) -> Option<(PathBuf, String)> {
    let source = find(field, folder, findings)?;
    match read_bounded(&source.path) {
        Ok(text) => Some((source.path, text)),
        Err(error) => {
            let what = format!("`{}` cannot be read: {error}", source.path.display());
            findings.error(Code::PathMissing, field.place(), &field.path, what, "");
            None
        }
    }
}

/// Reads a text that is not absurdly large, from a file or a pipe; `-` is standard input.
pub(super) fn read_bounded(path: &Path) -> io::Result<String> {
    if path == Path::new("-") {
        return read_whole(io::stdin().lock());
    }
    if path.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
    }
    read_whole(fs::File::open(path)?)
}

fn read_whole(from: impl io::Read) -> io::Result<String> {
    let mut text = String::new();
    // One byte more than allowed tells a file of just that size from a larger one.
    from.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > TEXT_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "larger than 1 MiB"));
    }
    Ok(text)
}

/// Resolves a local path; references into Azure are refused with what to do instead.
fn local(field: &Field<'_>, text: &str, folder: &Path, findings: &mut Findings) -> Option<PathBuf> {
    if text.is_empty() {
        field.refuse(findings, "is empty", "give a path relative to this file");
        return None;
    }
    let scheme = ["azureml:", "runs:", "wasbs:", "abfss:", "https:", "http:", "/subscriptions/"]
        .into_iter()
        .find(|scheme| text.starts_with(scheme));
    if scheme.is_some() {
        let what = format!("`{}` points into Azure; there is no registry here", clip(text));
        field.refuse(findings, what, "download it and give the path of the file or folder");
        return None;
    }
    let text = text.strip_prefix("file://").or_else(|| text.strip_prefix("file:")).unwrap_or(text);
    // `.` in the middle says nothing, and would be shown to people.
    Some(folder.join(text).components().collect())
}

/// Suggests the entry of the same folder whose name is nearest; never the file that is being read, which is known to be
/// something else.
fn near_path(path: &Path, read: &Path) -> String {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return String::new();
    };
    // A folder with more entries than a person would list is not searched to its end.
    let read = fs::canonicalize(read).ok();
    let is_read = |path: &Path| read.is_some() && fs::canonicalize(path).ok() == read;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(1_000);
    let others = entries.filter(|entry| !is_read(&entry.path()));
    let names: Vec<String> = others.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    match berth_core::error::nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("`{}`", folder.join(near).display()),
        None => "paths are relative to the file that names them".to_owned(),
    }
}
