//! The document that describes the routes: OpenAPI 3.1, written from the descriptors and the comments of the protos.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::routes::{Route, Routes};

/// How every refusal looks.
const REFUSAL: &str = "berth.api.v1.ErrorDetail";

/// Comments of the protos, by file and place.
struct Words(BTreeMap<(String, Vec<i32>), String>);

/// Writes the document.
pub(super) fn document(routes: &Routes) -> Value {
    let words = Words::of(&routes.pool);
    let mut needed = BTreeSet::new();
    let paths: Map<_, _> = routes.iter().map(|route| (route.path.clone(), path(route, &words, &mut needed))).collect();
    let refusal = routes.pool.get_message_by_name(REFUSAL);
    needed.extend(refusal.map(Shape::Message));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Berth",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The gRPC API over HTTP: one route per method, its message as the body or, where nothing \
                            changes, as the query. JSON is the standard mapping of the messages, with the field names of \
                            the protos. Any coordinator takes any call. A change without a `request_id` gets one, or \
                            takes the `idempotency-key` header; only a named one can be sent again without being done \
                            twice.",
        },
        "servers": [{ "url": "/" }],
        "tags": tags(routes, &words),
        "paths": paths,
        "components": { "schemas": schemas(needed, &words) },
    })
}

fn tags(routes: &Routes, words: &Words) -> Vec<Value> {
    let services: BTreeMap<_, _> = routes
        .iter()
        .map(|route| route.method.parent_service())
        .map(|service| (service.name().to_owned(), words.at(service.parent_file().name(), service.path())))
        .collect();
    services.into_iter().map(|(name, said)| described(json!({ "name": name }), said)).collect()
}

/// Describes one route.
fn path(route: &Route, words: &Words, needed: &mut BTreeSet<Shape>) -> Value {
    let (method, service) = (&route.method, route.method.parent_service());
    let output = schema_of(&Kind::Message(method.output()), needed);
    let media = if method.is_server_streaming() { "application/x-ndjson" } else { "application/json" };
    let mut operation = json!({
        "operationId": format!("{}{}", service.name(), method.name()),
        "tags": [service.name()],
        "responses": {
            "200": { "description": "The answer", "content": { media: { "schema": output } } },
            "default": {
                "description": "A refusal",
                "content": { "application/json": { "schema": reference(REFUSAL) } },
            },
        },
    });
    if route.is_upload() {
        let header = method.input().get_field_by_name("header").map(|field| field.kind());
        let fields = header.as_ref().and_then(Kind::as_message).map(|message| parameters(message, words, needed));
        operation["parameters"] = Value::from(fields.unwrap_or_default());
        let bytes = json!({ "application/octet-stream": { "schema": {} } });
        operation["requestBody"] = json!({ "required": true, "content": bytes });
    } else if route.is_read() {
        operation["parameters"] = Value::from(parameters(&method.input(), words, needed));
    } else {
        let input = schema_of(&Kind::Message(method.input()), needed);
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": input } } });
    }
    let said = words.at(service.parent_file().name(), method.path());
    if let Some(said) = said {
        operation["summary"] = Value::from(first_sentence(said));
    }
    json!({ route.verb().as_str().to_ascii_lowercase(): described(operation, said) })
}

/// What a list of routes shows, without the full stop.
fn first_sentence(said: &str) -> &str {
    said.split_once(". ").map_or(said, |(first, _)| first).trim_end_matches('.')
}

fn parameters(message: &MessageDescriptor, words: &Words, needed: &mut BTreeSet<Shape>) -> Vec<Value> {
    let parameter = |field: FieldDescriptor| {
        let schema = field_schema(&field, needed);
        let parameter = json!({ "name": field.name(), "in": "query", "required": false, "schema": schema });
        described(parameter, words.at(message.parent_file().name(), field.path()))
    };
    message.fields().map(parameter).collect()
}

/// A message or an enum, in the order of its name.
#[derive(Clone, Debug)]
enum Shape {
    Message(MessageDescriptor),
    Enum(EnumDescriptor),
}

impl Shape {
    fn name(&self) -> &str {
        match self {
            Self::Message(message) => message.full_name(),
            Self::Enum(enumeration) => enumeration.full_name(),
        }
    }
}

impl PartialEq for Shape {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Shape {}

impl PartialOrd for Shape {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Shape {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.name().cmp(other.name())
    }
}

/// Describes what the routes mention, and what that mentions.
fn schemas(mut needed: BTreeSet<Shape>, words: &Words) -> Map<String, Value> {
    let mut found = Map::new();
    while let Some(shape) = needed.pop_first() {
        if found.contains_key(shape.name()) {
            continue;
        }
        let mut more = BTreeSet::new();
        let schema = match &shape {
            Shape::Message(message) => message_schema(message, words, &mut more),
            Shape::Enum(enumeration) => {
                let names: Vec<_> = enumeration.values().map(|value| value.name().to_owned()).collect();
                let said = words.at(enumeration.parent_file().name(), enumeration.path());
                described(json!({ "type": "string", "enum": names }), said)
            }
        };
        found.insert(shape.name().to_owned(), schema);
        needed.extend(more.into_iter().filter(|shape| !found.contains_key(shape.name())));
    }
    found
}

fn message_schema(message: &MessageDescriptor, words: &Words, needed: &mut BTreeSet<Shape>) -> Value {
    let file = message.parent_file();
    let property = |field: FieldDescriptor| {
        let schema = described(field_schema(&field, needed), words.at(file.name(), field.path()));
        (field.name().to_owned(), schema)
    };
    let properties: Map<_, _> = message.fields().map(property).collect();
    let schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    described(schema, words.at(file.name(), message.path()))
}

fn field_schema(field: &FieldDescriptor, needed: &mut BTreeSet<Shape>) -> Value {
    if field.is_map()
        && let Kind::Message(entry) = field.kind()
    {
        let value = schema_of(&entry.map_entry_value_field().kind(), needed);
        return json!({ "type": "object", "additionalProperties": value });
    }
    let schema = schema_of(&field.kind(), needed);
    if field.is_list() { json!({ "type": "array", "items": schema }) } else { schema }
}

fn schema_of(kind: &Kind, needed: &mut BTreeSet<Shape>) -> Value {
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::String => json!({ "type": "string" }),
        Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
        Kind::Float | Kind::Double => json!({ "type": "number" }),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({ "type": "integer", "format": "int32" }),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({ "type": "integer", "format": "int64" }),
        Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        Kind::Uint64 | Kind::Fixed64 => json!({ "type": "integer", "minimum": 0, "format": "int64" }),
        Kind::Message(message) => {
            needed.insert(Shape::Message(message.clone()));
            reference(message.full_name())
        }
        Kind::Enum(enumeration) => {
            needed.insert(Shape::Enum(enumeration.clone()));
            reference(enumeration.full_name())
        }
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn described(mut schema: Value, said: Option<&str>) -> Value {
    if let Some(said) = said {
        schema["description"] = Value::from(said);
    }
    schema
}

// === impl Words ===

impl Words {
    fn of(pool: &DescriptorPool) -> Self {
        let mut words = BTreeMap::new();
        for file in pool.files() {
            let Some(info) = &file.file_descriptor_proto().source_code_info else { continue };
            for place in &info.location {
                if let Some(text) = &place.leading_comments {
                    let lines: Vec<_> = text.lines().map(str::trim).collect();
                    words.insert((file.name().to_owned(), place.path.clone()), lines.join(" ").trim().to_owned());
                }
            }
        }
        Self(words)
    }

    fn at(&self, file: &str, path: &[i32]) -> Option<&str> {
        self.0.get(&(file.to_owned(), path.to_vec())).map(String::as_str)
    }
}
