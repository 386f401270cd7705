//! The `.proto` files as data, and messages read without knowing what they mean: what else could notice a field that
//! no test has ever set?

use std::{collections::BTreeSet, path::Path};

use prost::{
    DecodeError,
    bytes::Buf,
    encoding::{self, DecodeContext, WireType},
};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, field_descriptor_proto::Type,
};

/// The messages and enums of every package.
pub(crate) struct Protos(FileDescriptorSet);

// === impl Protos ===

impl Protos {
    /// Reads the files of this crate.
    pub(crate) fn load() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
        let files = [
            "berth/api/v1/api.proto",
            "berth/api/v1/plan.proto",
            "berth/node/v1/node.proto",
            "berth/store/v1/snapshot.proto",
        ];
        Self(protox::compile(files, [root]).expect("the .proto files compile"))
    }

    /// Finds a message by its full name; `.a.b.Outer.Inner` works too, which is how maps are declared.
    fn message(&self, full: &str) -> &DescriptorProto {
        let found = self.0.file.iter().find_map(|file| {
            let rest = full.strip_prefix(&format!(".{}.", file.package()))?;
            let mut parts = rest.split('.');
            let first = parts.next()?;
            let mut message = file.message_type.iter().find(|message| message.name() == first)?;
            for part in parts {
                message = message.nested_type.iter().find(|message| message.name() == part)?;
            }
            Some(message)
        });
        found.unwrap_or_else(|| panic!("there is no message {full}"))
    }

    fn enumeration(&self, full: &str) -> &EnumDescriptorProto {
        let found = self.0.file.iter().find_map(|file| {
            let rest = full.strip_prefix(&format!(".{}.", file.package()))?;
            file.enum_type.iter().find(|enumeration| enumeration.name() == rest)
        });
        found.unwrap_or_else(|| panic!("there is no enum {full}"))
    }

    /// Lists the messages of a package.
    pub(crate) fn messages_of(&self, package: &str) -> BTreeSet<String> {
        let files = self.0.file.iter().filter(|file| file.package() == package);
        files.flat_map(|file| &file.message_type).map(|message| format!(".{package}.{}", message.name())).collect()
    }

    /// Lists a message and all it is made of.
    pub(crate) fn reachable(&self, roots: impl IntoIterator<Item = String>) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open: Vec<String> = roots.into_iter().collect();
        while let Some(name) = open.pop() {
            if found.insert(name.clone()) {
                let fields = self.message(&name).field.iter().filter(|field| field.r#type() == Type::Message);
                open.extend(fields.map(|field| field.type_name().to_owned()));
            }
        }
        found
    }

    /// Lists everything a message can say: its fields, and the values of its enums but the unspecified one.
    pub(crate) fn sayable(&self, message: &str) -> BTreeSet<String> {
        let mut sayable = BTreeSet::new();
        for field in &self.message(message).field {
            sayable.insert(said(message, field));
            if field.r#type() == Type::Enum {
                let values = &self.enumeration(field.type_name()).value;
                sayable.extend(
                    values.iter().filter(|value| value.number() != 0).map(|value| said_value(field, value.number())),
                );
            }
        }
        sayable
    }

    /// Notes what `bytes` of a message say.
    pub(crate) fn listen(
        &self,
        message: &str,
        mut bytes: &[u8],
        heard: &mut BTreeSet<String>,
    ) -> Result<(), DecodeError> {
        while bytes.has_remaining() {
            let (tag, wire) = encoding::decode_key(&mut bytes)?;
            let field = self.message(message).field.iter().find(|field| field.number() == tag as i32);
            let Some(field) = field else {
                // Removed since the bytes were written.
                encoding::skip_field(wire, tag, &mut bytes, DecodeContext::default())?;
                continue;
            };
            heard.insert(said(message, field));
            match (wire, field.r#type()) {
                (WireType::Varint, Type::Enum) => {
                    let value = encoding::decode_varint(&mut bytes)?;
                    heard.insert(said_value(field, value as i32));
                }
                (WireType::LengthDelimited, Type::Message) => {
                    let length = encoding::decode_varint(&mut bytes)? as usize;
                    let (inner, rest) = bytes.split_at(length);
                    bytes = rest;
                    self.listen(field.type_name(), inner, heard)?;
                }
                (wire, _) => encoding::skip_field(wire, tag, &mut bytes, DecodeContext::default())?,
            }
        }
        Ok(())
    }
}

fn said(message: &str, field: &FieldDescriptorProto) -> String {
    format!("{message}.{}", field.name())
}

fn said_value(field: &FieldDescriptorProto, value: i32) -> String {
    format!("{} = {value}", field.type_name())
}

/// What `buf` would find wrong, as far as it matters to whoever generates a client: a file that does not lie where its package
/// says, or a module that does not name this folder.
#[test]
fn the_files_lie_where_their_packages_say() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let module = std::fs::read_to_string(root.join("buf.yaml")).expect("buf.yaml");
    for line in ["version: v2", "  - path: .", "    - MINIMAL", "    - WIRE"] {
        assert!(module.lines().any(|found| found == line), "{line} in {module}");
    }
    let mut folders = vec![root.clone()];
    let mut checked = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "proto") {
                let text = std::fs::read_to_string(&path).expect("a file");
                let package = text.lines().find_map(|line| line.strip_prefix("package ")).expect("a package");
                let folder = package.trim_end_matches(';').replace('.', "/");
                assert_eq!(path.parent(), Some(root.join(folder).as_path()), "{}", path.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 10, "{checked} files");
}
