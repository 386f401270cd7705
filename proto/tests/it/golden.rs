//! Golden bytes: every stored form as the version in its name wrote it.
//!
//! A golden file never changes. A new field gets a value in `samples` and new files beside the old ones (`v002_…`); the
//! old ones must still be read, the new field at its default. What changed and why goes to `proto/CHANGELOG.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    path::{Path, PathBuf},
};

use berth_core::error::Error;
use berth_proto::{node, store};

use crate::{protos::Protos, samples};

/// The version whose files are written as [`samples`] says today.
const VERSION: u8 = store::DATA_VERSION;

/// The two bytes before every stored message.
const HEADER: usize = 2;

/// Asserts what is read from bytes.
type Check = Box<dyn Fn(&[u8])>;

/// A stored form: its file, the message in it, what is written today, and a check of what is read.
struct Form {
    file: String,
    message: &'static str,
    bytes: Vec<u8>,
    check: Check,
}

fn form<T: PartialEq + Debug + 'static>(
    name: &str,
    message: &'static str,
    value: T,
    encode: fn(&T) -> Vec<u8>,
    decode: fn(&[u8]) -> Result<T, Error>,
) -> Form {
    let file = format!("v{VERSION:03}_{name}.bin");
    let bytes = encode(&value);
    let shown = file.clone();
    let check = move |bytes: &[u8]| assert_eq!(decode(bytes).as_ref(), Ok(&value), "{shown} is read differently now");
    Form { file, message, bytes, check: Box::new(check) }
}

fn forms() -> Vec<Form> {
    let entries = samples::entries().into_iter().map(|(name, entry)| {
        let name = format!("entry_{name}");
        form(&name, ".berth.store.v1.Entry", entry, store::encode_entry, store::decode_entry)
    });
    let replies = samples::replies().into_iter().map(|(name, reply)| {
        let name = format!("reply_{name}");
        form(&name, ".berth.store.v1.Reply", reply, store::encode_reply, store::decode_reply)
    });
    let rest = [
        form(
            "snapshot",
            ".berth.store.v1.Snapshot",
            samples::snapshot(),
            store::encode_snapshot,
            store::decode_snapshot,
        ),
        form("route_table", ".berth.node.v1.RouteTable", samples::table(), node::encode_table, node::decode_table),
    ];
    entries.chain(replies).chain(rest).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn files() -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder()).expect("the golden folder is there");
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.expect("a folder entry");
        let name = entry.file_name().into_string().expect("a plain name");
        (name, std::fs::read(entry.path()).expect("a readable file"))
    };
    entries.map(file).collect()
}

#[test]
fn bytes_are_written_and_read_as_ever() {
    let files = files();
    for form in forms() {
        let golden = files.get(&form.file).unwrap_or_else(|| {
            panic!("{} is missing: `cargo test -p berth-proto write_new_goldens -- --ignored`", form.file)
        });
        assert_eq!(hex::encode(&form.bytes), hex::encode(golden), "{} is written differently now", form.file);
        (form.check)(golden);
    }
}

#[test]
fn every_file_is_checked() {
    let known: BTreeSet<_> = forms().into_iter().map(|form| form.file).collect();
    let stray: Vec<_> = files().into_keys().filter(|file| !known.contains(file)).collect();
    assert!(stray.is_empty(), "no test reads {stray:?}");
}

/// A field or enum value that no golden file holds could change its number or type unnoticed.
#[test]
fn everything_that_can_be_stored_is_in_a_file() {
    let protos = Protos::load();
    let files = files();
    let mut heard = BTreeSet::new();
    for form in forms() {
        let golden = files.get(&form.file).map_or(&[][..], |bytes| &bytes[HEADER..]);
        protos.listen(form.message, golden, &mut heard).expect("golden bytes are well formed");
    }
    let roots: BTreeSet<_> = forms().iter().map(|form| form.message.to_owned()).collect();
    let stored = protos.reachable(roots);
    let silent: Vec<_> =
        stored.iter().flat_map(|message| protos.sayable(message)).filter(|said| !heard.contains(said)).collect();
    assert!(silent.is_empty(), "give these a value in `samples` and write new goldens: {silent:#?}");
    let unused: Vec<_> =
        protos.messages_of("berth.store.v1").into_iter().filter(|message| !stored.contains(message)).collect();
    assert!(unused.is_empty(), "nothing stores {unused:?}");
}

#[test]
fn every_version_is_in_the_change_log() {
    let log = include_str!("../../CHANGELOG.md");
    let versions: BTreeSet<String> = files().into_keys().filter_map(|file| Some(file.get(1..4)?.to_owned())).collect();
    assert!(versions.contains(&format!("{VERSION:03}")), "version {VERSION} has no golden bytes");
    for version in versions {
        assert!(log.contains(&format!("\n## v{version}, ")), "v{version} is not in CHANGELOG.md");
    }
}

/// Writes what is missing and never touches what is there.
#[test]
#[ignore = "writes files; run it by hand after adding a stored form"]
fn write_new_goldens() {
    for form in forms() {
        let path = folder().join(form.file);
        if !path.exists() {
            std::fs::write(path, form.bytes).expect("a writable folder");
        }
    }
}
