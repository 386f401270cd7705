//! `POST /score`: the body an Azure client sends to a scoring script, answered by a bare ONNX file.
//!
//! The request is `{"data": …}`, `{"input_data": …}` or `{"inputs": …}` (or the value alone). The value is nested lists
//! for a model with one input, an object of them by input name for any model, or a table `{"columns": […], "data": […]}`
//! whose columns are the inputs. A single row may leave out the batch dimension.
//!
//! The answer is `{"predictions": …, "outputs": {name: …}}`: every output as nested lists, and as `predictions` the one
//! a client most likely wants: the output named `label` or `output_label`, else the first. A trailing dimension of one is
//! dropped from `predictions`, so that a regression answers numbers, not lists of one number.

use indexmap::IndexMap;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tract_onnx::prelude::Tensor;

use super::model::{Dim, Model, Port, describe};
use super::tensor;

/// Keys under which clients of Azure's samples put the rows, in the order they are looked for.
const KEYS: [&str; 3] = ["data", "input_data", "inputs"];

/// Outputs that hold the answer itself, as the exporters of scikit-learn, LightGBM and XGBoost name them.
const LABELS: [&str; 3] = ["label", "output_label", "labels"];

#[derive(Deserialize)]
struct Table<'a> {
    columns: Vec<String>,
    #[serde(borrow)]
    data: Vec<Vec<&'a RawValue>>,
    /// pandas writes row labels; they say nothing to a model.
    #[serde(rename = "index")]
    _index: Option<IgnoredAny>,
}

#[derive(Serialize)]
struct Answer<'a> {
    predictions: Box<RawValue>,
    outputs: IndexMap<&'a str, Box<RawValue>>,
}

type Object<'a> = IndexMap<String, &'a RawValue>;

/// Reads a scoring request into the model's inputs, in the model's order.
pub(super) fn read(model: &Model, body: &[u8]) -> Result<Vec<Tensor>, String> {
    let whole: &RawValue =
        serde_json::from_slice(body).map_err(|cause| format!("the body is not JSON: {cause}; {}", expected(model)))?;
    let value = match object(whole) {
        Some(fields) => KEYS
            .iter()
            .find_map(|key| fields.get(*key).copied())
            .or_else(|| by_name(model, &fields).then_some(whole))
            .ok_or_else(|| format!("the body has none of {}; {}", KEYS.join(", "), expected(model)))?,
        None => whole,
    };
    let given = match object(value) {
        None => single(model, value)?,
        Some(fields) if fields.contains_key("columns") && fields.contains_key("data") => table(model, value)?,
        Some(fields) => named(model, &fields)?,
    };
    model.arrange(given)
}

/// Renders the answer.
pub(super) fn render(model: &Model, results: &[Tensor]) -> Result<Vec<u8>, String> {
    let mut outputs = IndexMap::new();
    for (port, result) in model.outputs.iter().zip(results) {
        outputs.insert(port.name.as_str(), tensor::to_json(result, true)?);
    }
    let label = LABELS.iter().find_map(|label| model.outputs.iter().position(|port| port.name == *label));
    let answer = results.get(label.unwrap_or(0)).ok_or("the model gave no output")?;
    let shape = match answer.shape() {
        [rest @ .., 1] if !rest.is_empty() => rest,
        shape => shape,
    };
    let body = Answer { predictions: tensor::render(answer, shape)?, outputs };
    serde_json::to_vec(&body).map_err(|cause| cause.to_string())
}

fn expected(model: &Model) -> String {
    format!("expected {{\"data\": …}} for the inputs {}", describe(&model.inputs))
}

fn object(value: &RawValue) -> Option<Object<'_>> {
    if value.get().starts_with('{') { serde_json::from_str(value.get()).ok() } else { None }
}

fn by_name(model: &Model, fields: &Object<'_>) -> bool {
    !fields.is_empty() && fields.keys().all(|name| model.input(name).is_some())
}

fn single(model: &Model, value: &RawValue) -> Result<Vec<(String, Tensor)>, String> {
    match &model.inputs[..] {
        [port] => Ok(vec![(port.name.clone(), read_port(port, value)?)]),
        inputs => Err(format!("the model has {} inputs: name them; {}", inputs.len(), expected(model))),
    }
}

fn named(model: &Model, fields: &Object<'_>) -> Result<Vec<(String, Tensor)>, String> {
    fields
        .iter()
        .map(|(name, value)| match model.input(name) {
            Some(port) => Ok((name.clone(), read_port(port, value)?)),
            None => Err(format!("{name} is not an input of the model; {}", expected(model))),
        })
        .collect()
}

fn table(model: &Model, value: &RawValue) -> Result<Vec<(String, Tensor)>, String> {
    let table: Table<'_> =
        serde_json::from_str(value.get()).map_err(|cause| format!("the table cannot be read: {cause}"))?;
    if let Some(row) = table.data.iter().find(|row| row.len() != table.columns.len()) {
        return Err(format!("a row has {} cells for {} columns", row.len(), table.columns.len()));
    }
    let join = |cells: &mut dyn Iterator<Item = &RawValue>| {
        format!("[{}]", cells.map(RawValue::get).collect::<Vec<_>>().join(","))
    };
    if let ([port], false) = (&model.inputs[..], table.columns.len() == 1 && model.input(&table.columns[0]).is_some()) {
        let rows: Vec<String> = table.data.iter().map(|row| join(&mut row.iter().copied())).collect();
        let rows = raw(format!("[{}]", rows.join(",")))?;
        return Ok(vec![(port.name.clone(), read_port(port, &rows)?)]);
    }
    let mut given = Vec::with_capacity(table.columns.len());
    for (column, name) in table.columns.iter().enumerate() {
        let port = model.input(name);
        let port = port.ok_or_else(|| format!("column {name} is not an input of the model; {}", expected(model)))?;
        let cells = raw(join(&mut table.data.iter().filter_map(|row| row.get(column).copied())))?;
        let cells = read_port(port, &cells)?;
        // An exporter gives each column of a data frame an input of one column.
        let upright = port.dims.as_ref().is_some_and(|dims| dims.len() == 2) && cells.rank() == 1;
        given.push((name.clone(), if upright { lengthen(cells, 1)? } else { cells }));
    }
    Ok(given)
}

fn raw(text: String) -> Result<Box<RawValue>, String> {
    RawValue::from_string(text).map_err(|cause| cause.to_string())
}

fn read_port(port: &Port, value: &RawValue) -> Result<Tensor, String> {
    let tensor =
        tensor::from_nested(port.datatype, value).map_err(|problem| format!("input {}: {problem}", port.name))?;
    let one_row = port.dims.as_ref().is_some_and(|dims| {
        dims.len() == tensor.rank() + 1
            && matches!(dims.first(), Some(Dim::Free(_) | Dim::Fixed(1)))
            // `[1, 2, 3]` for columns of one cell is three rows, not a row of three.
            && dims.last() != Some(&Dim::Fixed(1))
    });
    let column = port
        .dims
        .as_ref()
        .is_some_and(|dims| dims.len() == 2 && tensor.rank() == 1 && dims.last() == Some(&Dim::Fixed(1)));
    match (one_row, column) {
        (true, _) => lengthen(tensor, 0),
        (_, true) => lengthen(tensor, 1),
        _ => Ok(tensor),
    }
}

fn lengthen(mut tensor: Tensor, axis: usize) -> Result<Tensor, String> {
    tensor.insert_axis(axis).map_err(|cause| cause.to_string())?;
    Ok(tensor)
}
