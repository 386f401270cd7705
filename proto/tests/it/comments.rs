//! The published protos explain themselves: who generates a client from them has nothing else to read, and the REST document is
//! written from the same words.

use std::{collections::BTreeMap, path::Path};

use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};

/// What callers see: the API, and what they apply.
const FILES: &[&str] = &[
    "berth/api/v1/alert.proto",
    "berth/api/v1/api.proto",
    "berth/api/v1/board.proto",
    "berth/api/v1/mirror.proto",
    "berth/api/v1/plan.proto",
    "berth/api/v1/quota.proto",
    "berth/api/v1/request.proto",
    "berth/store/v1/model.proto",
];

/// Lists everything of a file that has a name, with its place in the descriptor.
fn named(file: &FileDescriptorProto) -> Vec<(String, Vec<i32>)> {
    let mut found = Vec::new();
    for (at, message) in (0..).zip(&file.message_type) {
        of_message(message, vec![4, at], &mut found);
    }
    for (at, enumeration) in (0..).zip(&file.enum_type) {
        of_enum(enumeration, &[5, at], &mut found);
    }
    for (at, service) in (0..).zip(&file.service) {
        found.push((service.name().to_owned(), vec![6, at]));
        for (method_at, method) in (0..).zip(&service.method) {
            found.push((format!("{}.{}", service.name(), method.name()), vec![6, at, 2, method_at]));
        }
    }
    found
}

fn of_message(message: &DescriptorProto, path: Vec<i32>, found: &mut Vec<(String, Vec<i32>)>) {
    for (at, field) in (0..).zip(&message.field) {
        found.push((format!("{}.{}", message.name(), field.name()), [path.as_slice(), &[2, at]].concat()));
    }
    let maps = |nested: &DescriptorProto| nested.options.as_ref().is_some_and(|options| options.map_entry());
    for (at, nested) in (0..).zip(&message.nested_type).filter(|(_, nested)| !maps(nested)) {
        of_message(nested, [path.as_slice(), &[3, at]].concat(), found);
    }
    found.push((message.name().to_owned(), path));
}

fn of_enum(enumeration: &EnumDescriptorProto, path: &[i32], found: &mut Vec<(String, Vec<i32>)>) {
    found.push((enumeration.name().to_owned(), path.to_vec()));
    // An unspecified value says what it says everywhere: that nothing was said.
    for (at, value) in (0..).zip(&enumeration.value).filter(|(_, value)| !value.name().ends_with("_UNSPECIFIED")) {
        found.push((format!("{}.{}", enumeration.name(), value.name()), [path, &[2, at]].concat()));
    }
}

#[test]
fn everything_that_callers_see_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let published = std::fs::read_dir(root.join("berth/api/v1")).expect("the API's files").count();
    let listed = FILES.iter().filter(|file| file.starts_with("berth/api/v1/")).count();
    assert_eq!(listed, published, "every file of the API is looked at");
    let protos = protox::compile(FILES, [root]).expect("the .proto files compile");
    let mut silent = Vec::new();
    let mut seen = 0;
    for file in protos.file.iter().filter(|file| FILES.contains(&file.name())) {
        let places = file.source_code_info.iter().flat_map(|info| &info.location);
        let said: BTreeMap<_, _> = places.map(|place| (place.path.clone(), place.leading_comments())).collect();
        for (name, path) in named(file) {
            seen += 1;
            if said.get(&path).is_none_or(|text| text.trim().is_empty()) {
                silent.push(format!("{}: {name}", file.name()));
            }
        }
    }
    assert!(silent.is_empty(), "without a comment above it: {silent:#?}");
    assert!(seen > 700, "{seen} were looked at");
}
