//! A body that a model takes: zeros in its shapes, for whoever calls it for the first time.

use std::path::Path;

use berth_core::error::Error;
use serde_json::{Map, Value, json};

use super::model::{Dim, Model, Port};
use super::tensor::Datatype;

/// Numbers beyond which a body is no example any more.
const NUMBERS_MAX: usize = 1 << 20;

/// Reads a model and writes a body for its `/score`; nothing where its shapes are too large or leave too much open.
pub fn sample(path: &Path) -> Result<Option<String>, Error> {
    Ok(body(&Model::load(path)?).map(|body| body.to_string()))
}

fn body(model: &Model) -> Option<Value> {
    let data = match &model.inputs[..] {
        [port] => zeros(port)?,
        ports => {
            let named = ports.iter().map(|port| Some((port.name.clone(), zeros(port)?)));
            Value::Object(named.collect::<Option<Map<_, _>>>()?)
        }
    };
    Some(json!({ "data": data }))
}

/// One row of zeros: what may have any length has one.
fn zeros(port: &Port) -> Option<Value> {
    let dims = port.dims.as_ref()?;
    let length = |dim: &Dim| match dim {
        Dim::Fixed(length) => *length,
        Dim::Free(_) => 1,
    };
    let numbers = dims.iter().map(length).try_fold(1_usize, usize::checked_mul)?;
    if numbers > NUMBERS_MAX {
        return None;
    }
    let zero = match port.datatype {
        Datatype::Bool => json!(false),
        Datatype::Bytes => json!(""),
        _ => json!(0),
    };
    Some(dims.iter().rev().fold(zero, |item, dim| Value::Array(vec![item; length(dim)])))
}

#[cfg(test)]
mod tests {
    use super::super::score;
    use super::*;

    #[test]
    fn every_model_takes_its_own_sample() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx");
        let mut tried = 0;
        for entry in std::fs::read_dir(folder).expect("the fixtures") {
            let path = entry.expect("an entry").path();
            if path.extension().is_none_or(|end| end != "onnx") {
                continue;
            }
            let Ok(model) = Model::load(&path) else { continue };
            let Some(body) = body(&model) else { continue };
            let read = score::read(&model, body.to_string().as_bytes());
            assert!(read.is_ok(), "{}: {body}: {read:?}", path.display());
            tried += 1;
        }
        assert!(tried > 5, "{tried} models");
    }
}
