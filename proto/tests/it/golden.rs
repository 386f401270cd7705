//! Golden bytes: every stored form as the version in its name wrote it.
//!
//! A golden file never changes. Whoever adds a field gives it a value in `samples`, a heading in `proto/CHANGELOG.md`, and
//! files of that version beside the old ones. The old ones must still be read, the new field at its zero, which is not
//! written: so what is read from an old file is written as the same bytes again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    path::{Path, PathBuf},
};

use berth_core::error::Error;
use berth_proto::{node, store};

use crate::{protos::Protos, samples};

/// Old files that are not written as the same bytes again, each with the reason: a removed field, a default other than
/// zero.
const REWRITTEN: &[(&str, &str)] = &[];

/// The two bytes before every stored message.
const HEADER: usize = 2;

/// Reads bytes and writes what was read.
type Rewrite = Box<dyn Fn(&[u8]) -> Result<Vec<u8>, Error>>;

/// Asserts what is read from bytes.
type Check = Box<dyn Fn(&[u8])>;

/// A stored form: its name, the message in it, and what today's build makes of it.
struct Form {
    name: String,
    message: &'static str,
    bytes: Vec<u8>,
    check: Check,
    rewrite: Rewrite,
}

/// The golden files of one form by version.
type Versions = BTreeMap<u16, Vec<u8>>;

fn form<T: PartialEq + Debug + 'static>(
    name: String,
    message: &'static str,
    value: T,
    encode: fn(&T) -> Vec<u8>,
    decode: fn(&[u8]) -> Result<T, Error>,
) -> Form {
    let bytes = encode(&value);
    let shown = name.clone();
    let check = move |bytes: &[u8]| assert_eq!(decode(bytes).as_ref(), Ok(&value), "{shown} is read differently now");
    let rewrite = move |bytes: &[u8]| decode(bytes).map(|value| encode(&value));
    Form { name, message, bytes, check: Box::new(check), rewrite: Box::new(rewrite) }
}

fn forms() -> Vec<Form> {
    let entries = samples::entries().into_iter().map(|(name, entry)| {
        let name = format!("entry_{name}");
        form(name, ".berth.store.v1.Entry", entry, store::encode_entry, store::decode_entry)
    });
    let replies = samples::replies().into_iter().map(|(name, reply)| {
        let name = format!("reply_{name}");
        form(name, ".berth.store.v1.Reply", reply, store::encode_reply, store::decode_reply)
    });
    let rest = [
        form(
            "snapshot".into(),
            ".berth.store.v1.Snapshot",
            samples::snapshot(),
            store::encode_snapshot,
            store::decode_snapshot,
        ),
        form(
            "route_table".into(),
            ".berth.node.v1.RouteTable",
            samples::table(),
            node::encode_table,
            node::decode_table,
        ),
    ];
    entries.chain(replies).chain(rest).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn file_name(version: u16, form: &str) -> String {
    format!("v{version:03}_{form}.bin")
}

/// Reads the golden folder: files by form and version.
fn goldens() -> BTreeMap<String, Versions> {
    let mut goldens: BTreeMap<String, Versions> = BTreeMap::new();
    for entry in std::fs::read_dir(folder()).expect("the golden folder is there") {
        let entry = entry.expect("a folder entry");
        let name = entry.file_name().into_string().expect("a plain name");
        let parts = name.strip_prefix('v').and_then(|rest| rest.strip_suffix(".bin")?.split_once('_'));
        let parts = parts.and_then(|(version, form)| Some((version.parse().ok()?, form)));
        let (version, form) = parts.unwrap_or_else(|| panic!("{name} is not named vNNN_form.bin"));
        let bytes = std::fs::read(entry.path()).expect("a readable file");
        goldens.entry(form.to_owned()).or_default().insert(version, bytes);
    }
    goldens
}

/// Lists the versions of the change log.
fn logged() -> BTreeSet<u16> {
    let lines = include_str!("../../CHANGELOG.md").lines();
    let version = |line: &str| line.strip_prefix("## v")?.split_once(", ")?.0.parse().ok();
    lines.filter_map(version).collect()
}

#[test]
fn the_newest_bytes_are_what_is_written_today() {
    let goldens = goldens();
    for form in forms() {
        let newest = goldens.get(&form.name).and_then(|versions| versions.last_key_value());
        let (version, golden) = newest.unwrap_or_else(|| {
            panic!("{} has no file: `cargo test -p berth-proto write_new_goldens -- --ignored`", form.name)
        });
        let file = file_name(*version, &form.name);
        assert_eq!(hex::encode(&form.bytes), hex::encode(golden), "{file} is written differently now");
        (form.check)(golden);
    }
}

#[test]
fn every_file_is_still_read() {
    let forms: BTreeMap<_, _> = forms().into_iter().map(|form| (form.name.clone(), form)).collect();
    for (name, versions) in goldens() {
        let form = forms.get(&name).unwrap_or_else(|| panic!("no sample is stored as {name}"));
        for (version, golden) in versions {
            let file = file_name(version, &name);
            let again = (form.rewrite)(&golden).unwrap_or_else(|error| panic!("{file} is not read any more: {error}"));
            if !REWRITTEN.iter().any(|(rewritten, _)| *rewritten == file) {
                assert_eq!(hex::encode(&again[HEADER..]), hex::encode(&golden[HEADER..]), "{file} loses something");
            }
        }
    }
}

/// A field or enum value that no golden file holds could change its number or type unnoticed.
#[test]
fn everything_that_can_be_stored_is_in_a_file() {
    let protos = Protos::load();
    let goldens = goldens();
    let mut heard = BTreeSet::new();
    for form in forms() {
        for golden in goldens.get(&form.name).into_iter().flat_map(Versions::values) {
            protos.listen(form.message, &golden[HEADER..], &mut heard).expect("golden bytes are well formed");
        }
    }
    let stored = protos.reachable(forms().iter().map(|form| form.message.to_owned()));
    let silent: Vec<_> =
        stored.iter().flat_map(|message| protos.sayable(message)).filter(|said| !heard.contains(said)).collect();
    assert!(silent.is_empty(), "give these a value in `samples` and write new goldens: {silent:#?}");
    let unused: Vec<_> =
        protos.messages_of("berth.store.v1").into_iter().filter(|message| !stored.contains(message)).collect();
    assert!(unused.is_empty(), "nothing stores {unused:?}");
}

#[test]
fn the_change_log_knows_every_version() {
    let written: BTreeSet<u16> = goldens().into_values().flat_map(Versions::into_keys).collect();
    assert_eq!(written, logged(), "versions with golden bytes, and versions in CHANGELOG.md");
}

/// Writes what differs from the newest file, under the newest version of the change log, and never touches what is
/// there.
#[test]
#[ignore = "writes files; run it by hand after a change of what is stored"]
fn write_new_goldens() {
    let version = logged().pop_last().expect("the change log has a version");
    let goldens = goldens();
    for form in forms() {
        let newest = goldens.get(&form.name).and_then(|versions| versions.last_key_value());
        if newest.is_some_and(|(_, golden)| *golden == form.bytes) {
            continue;
        }
        let path = folder().join(file_name(version, &form.name));
        assert!(!path.exists(), "{} was written already: a new change is a new version", path.display());
        std::fs::write(path, form.bytes).expect("a writable folder");
    }
}
