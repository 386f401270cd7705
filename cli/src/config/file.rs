//! The configuration file: one section per daemon, so that one file serves a host that runs both.

use std::path::Path;

use berth_core::error::{Code, Error, nearest};
use toml::{Table, Value};

use super::{Layer, Reader, Schema};

/// Every section a file may have.
const SECTIONS: &[&str] = &["coordinator", "node"];
/// Larger files are something else.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads this daemon's section; problems go to `reader`.
pub(super) fn read(schema: Schema, path: &Path, reader: &mut Reader) -> Result<Layer, Error> {
    let unreadable =
        |why: String| Error::new(Code::PathMissing, format!("`{}` cannot be read", path.display())).why(why);
    let meta = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if meta.len() > FILE_BYTES_MAX {
        return Err(unreadable("larger than 1 MiB".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    parse(schema, &text, &path.display().to_string(), reader)
}

/// Reads the text of a file.
pub(super) fn parse(schema: Schema, text: &str, file: &str, reader: &mut Reader) -> Result<Layer, Error> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        Error::new(Code::Invalid, format!("`{file}` is not TOML")).why(error.to_string().trim().to_owned())
    })?;
    let mut layer = Layer::default();
    for (section, value) in table {
        let place = format!("{file} [{section}]");
        match value {
            Value::Table(settings) if section == schema.section => {
                read_section(settings, file, &mut layer, reader);
            }
            Value::Table(_) if SECTIONS.contains(&section.as_str()) => {}
            Value::Table(_) => {
                let near = nearest(&section, SECTIONS.iter().copied()).map(|near| format!("`[{near}]`"));
                reader.refuse_name(place, near.unwrap_or_default());
            }
            _ => reader.refuse_name(format!("{file} {section}"), format!("put it under `[{}]`", schema.section)),
        }
    }
    Ok(layer)
}

fn read_section(settings: Table, file: &str, layer: &mut Layer, reader: &mut Reader) {
    for (name, value) in settings {
        let place = format!("{file} {}.{name}", reader.schema.section);
        if !reader.knows(&name) {
            let near = reader.near(&name).map(|near| format!("`{near}`")).unwrap_or_default();
            reader.refuse_name(place, near);
            continue;
        }
        match as_text(&value) {
            Some(text) => layer.insert(&name, text, place),
            None => reader.problems.add(place, format!("cannot be {}", value.type_str())),
        }
    }
}

/// Brings a value into the form flags have: lists with commas, tables as `key=value`.
fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        Value::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(as_text).collect();
            Some(items?.join(","))
        }
        Value::Table(pairs) => {
            let pairs: Option<Vec<_>> =
                pairs.iter().map(|(key, value)| Some(format!("{key}={}", as_text(value)?))).collect();
            Some(pairs?.join(","))
        }
        Value::Float(_) | Value::Datetime(_) => None,
    }
}
