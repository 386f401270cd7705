//! A model ready to run: its inputs and outputs as the protocol names them, and the plans of the engine.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use berth_core::error::{Code, Error};
use prost::Message as _;
use tract_onnx::pb::{GraphProto, ModelProto, ValueInfoProto, tensor_shape_proto::dimension, type_proto};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::DimLike as _;

use super::tensor::Datatype;
use super::{rewrite, trees};

/// Plans kept for single input shapes; callers with more shapes than this compile again, slower but bounded.
const SHAPE_PLANS: usize = 16;

/// One input or output.
#[derive(Clone, Debug)]
pub(super) struct Port {
    /// The name in the model.
    pub(super) name: String,
    /// The element type.
    pub(super) datatype: Datatype,
    /// The dimensions; `None` where the model leaves even their number open.
    pub(super) dims: Option<Vec<Dim>>,
}

/// One dimension of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dim {
    /// Always this long.
    Fixed(usize),
    /// Any length; the same name is the same length within a request.
    Free(String),
}

/// A loaded model.
pub(super) struct Model {
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    /// The plan for every shape, where the engine can make one.
    plan: Option<Arc<TypedRunnableModel>>,
    /// Set once a request has shown that the plan for every shape fails where a plan for its own shape does not: an
    /// answer computed from free lengths, mostly.
    plan_fails: AtomicBool,
    /// What plans for single shapes are made of.
    source: InferenceModel,
    by_shape: Mutex<VecDeque<ShapePlan>>,
}

/// The shapes of all inputs, and the plan for them alone.
type ShapePlan = (Vec<Vec<usize>>, Arc<TypedRunnableModel>);

// === impl Model ===

impl Model {
    /// Loads the model at `path`: an `.onnx` file, or a folder with `model.onnx` or a single `.onnx` file in it.
    pub(super) fn load(path: &Path) -> Result<Self, Error> {
        let file = find_file(path)?;
        let unreadable = |why: String| {
            Error::new(Code::ModelUnreadable, format!("cannot load the model {}", file.display())).why(why)
        };
        let bytes = std::fs::read(&file).map_err(|cause| unreadable(cause.to_string()))?;
        let mut proto = ModelProto::decode(&*bytes)
            .ok()
            .filter(|proto| proto.graph.as_ref().is_some_and(|graph| !graph.output.is_empty()))
            .ok_or_else(|| unreadable("it is not an ONNX file".to_owned()).try_("export the model again"))?;
        drop(bytes);
        rewrite::rewrite(&mut proto);
        let mut engine = tract_onnx::onnx().with_ignore_value_info(true);
        engine.op_register.insert(trees::OPERATOR, trees::build);
        let unknown = rewrite::unknown_operators(&proto, &engine.op_register);
        if !unknown.is_empty() {
            let names = unknown.into_iter().collect::<Vec<_>>().join(", ");
            return Err(unreadable(format!("the built-in server has no operator {names}"))
                .try_("export with other operators, or serve it from a scoring script with onnxruntime"));
        }
        // The engine asserts what it takes for granted in a well-formed file.
        let built = catch_unwind(AssertUnwindSafe(|| Self::build(&proto, &engine, file.parent())));
        match built {
            Ok(Ok(model)) => Ok(model),
            Ok(Err(why)) => Err(unreadable(why)),
            Err(panic) => Err(unreadable(format!("the file is inconsistent: {}", panic_text(&*panic)))),
        }
    }

    fn build(proto: &ModelProto, engine: &tract_onnx::Onnx, folder: Option<&Path>) -> Result<Self, String> {
        let graph = proto.graph.as_ref().ok_or("it has no graph")?;
        let inputs = input_ports(graph)?;
        let folder = folder.and_then(Path::to_str);
        let parsed = engine.parse(proto, folder).map_err(|cause| chain(&cause))?;
        if let Some(name) = parsed.unresolved_inputs.first() {
            return Err(format!("nothing produces the value {name}"));
        }
        let source = parsed.model;
        let whole = inputs.iter().all(|port| port.dims.is_some()).then(|| compile(source.clone()));
        let (plan, sample) = match whole {
            Some(Ok(plan)) => (Some(Arc::clone(&plan)), plan),
            // Some graphs resolve only for lengths that are known: each shape then gets its own plan.
            refused => {
                let shapes: Option<Vec<_>> = inputs.iter().map(Port::smallest).collect();
                let reason = || refused.and_then(Result::err).unwrap_or_default();
                match shapes.map(|shapes| compile_for(&source, &inputs, &shapes)) {
                    Some(Ok(sample)) => (None, sample),
                    Some(Err(other)) => return Err(Some(reason()).filter(|r| !r.is_empty()).unwrap_or(other)),
                    None => return Err("an input does not say how many dimensions it has".to_owned()),
                }
            }
        };
        let outputs = output_ports(graph, &sample)?;
        Ok(Self { inputs, outputs, plan, plan_fails: AtomicBool::new(false), source, by_shape: Mutex::default() })
    }

    /// Finds the place of an output by name, or says which there are.
    pub(super) fn output_at(&self, name: &str) -> Result<usize, String> {
        self.outputs
            .iter()
            .position(|port| port.name == name)
            .ok_or_else(|| format!("output {name} is not of this model; its outputs are {}", describe(&self.outputs)))
    }

    /// Finds an input by name.
    pub(super) fn input(&self, name: &str) -> Option<&Port> {
        self.inputs.iter().find(|port| port.name == name)
    }

    /// Returns the given tensors in the model's order, or says all that is wrong with them.
    pub(super) fn arrange(&self, mut given: Vec<(String, Tensor)>) -> Result<Vec<Tensor>, String> {
        let mut problems = Vec::new();
        let mut ordered = Vec::with_capacity(self.inputs.len());
        let mut lengths: Vec<(&str, usize)> = Vec::new();
        for port in &self.inputs {
            let Some(at) = given.iter().position(|(name, _)| *name == port.name) else {
                problems.push(format!("input {} is missing: expected {port}", port.name));
                continue;
            };
            let (_, tensor) = given.swap_remove(at);
            match port.accept(&tensor, &mut lengths) {
                Ok(()) => ordered.push(tensor),
                Err(problem) => problems.push(problem),
            }
        }
        for (name, _) in &given {
            let twice = self.input(name).is_some();
            let what = if twice { "is given twice" } else { "is not an input of the model" };
            problems.push(format!("{name} {what}; the inputs are {}", describe(&self.inputs)));
        }
        if problems.is_empty() { Ok(ordered) } else { Err(problems.join("; ")) }
    }

    /// Runs the model on inputs that [`Model::arrange`] has passed.
    pub(super) fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, String> {
        let inputs: TVec<TValue> = inputs.into_iter().map(Tensor::into_tvalue).collect();
        let mut refused = None;
        if let Some(plan) = self.plan.as_ref().filter(|_| !self.plan_fails.load(Ordering::Relaxed)) {
            match self.run_plan(plan, inputs.clone()) {
                Ok(outputs) => return Ok(outputs),
                Err(why) => refused = Some(why),
            }
        }
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|input| input.shape().to_vec()).collect();
        let outputs = self.plan_for(shapes).and_then(|plan| self.run_plan(&plan, inputs));
        match (outputs, refused) {
            (Err(_), Some(first)) => Err(first),
            (outputs, refused) => {
                self.plan_fails.fetch_or(refused.is_some() && outputs.is_ok(), Ordering::Relaxed);
                outputs
            }
        }
    }

    fn run_plan(&self, plan: &Arc<TypedRunnableModel>, inputs: TVec<TValue>) -> Result<Vec<Tensor>, String> {
        self.finish(plan.run(inputs).map_err(|cause| chain(&cause))?)
    }

    fn finish(&self, outputs: TVec<TValue>) -> Result<Vec<Tensor>, String> {
        outputs
            .into_iter()
            .zip(&self.outputs)
            .map(|(value, port)| {
                let tensor = value.into_tensor();
                if tensor.datum_type() == port.datatype.datum() {
                    return Ok(tensor);
                }
                // Lengths the engine computed symbolically come out in its own type.
                tensor.cast_to_dt(port.datatype.datum()).map(|cast| cast.into_owned()).map_err(|cause| chain(&cause))
            })
            .collect()
    }

    fn plan_for(&self, shapes: Vec<Vec<usize>>) -> Result<Arc<TypedRunnableModel>, String> {
        let mut plans = self.by_shape.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = plans.iter().position(|(known, _)| *known == shapes) {
            // Moved to the back: the front is what has gone unused longest.
            if let Some(entry) = plans.remove(at) {
                let plan = Arc::clone(&entry.1);
                plans.push_back(entry);
                return Ok(plan);
            }
        }
        drop(plans);
        let plan = compile_for(&self.source, &self.inputs, &shapes)?;
        let mut plans = self.by_shape.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() == SHAPE_PLANS {
            plans.pop_front();
        }
        plans.push_back((shapes, Arc::clone(&plan)));
        Ok(plan)
    }
}

// === impl Port ===

impl Port {
    /// Returns the shape as the protocol writes it, `-1` for what is free.
    pub(super) fn wire_shape(&self) -> Vec<i64> {
        let fixed = |dim: &Dim| match dim {
            Dim::Fixed(length) => i64::try_from(*length).unwrap_or(i64::MAX),
            Dim::Free(_) => -1,
        };
        self.dims.as_ref().map_or_else(|| vec![-1], |dims| dims.iter().map(fixed).collect())
    }

    fn smallest(&self) -> Option<Vec<usize>> {
        let fixed = |dim: &Dim| match dim {
            Dim::Fixed(length) => *length,
            Dim::Free(_) => 1,
        };
        self.dims.as_ref().map(|dims| dims.iter().map(fixed).collect())
    }

    fn accept<'a>(&'a self, tensor: &Tensor, lengths: &mut Vec<(&'a str, usize)>) -> Result<(), String> {
        let shape = tensor.shape();
        if tensor.datum_type() != self.datatype.datum() {
            let got = Datatype::of(tensor.datum_type()).map_or("another type", Datatype::word);
            return Err(format!("input {} is {got}: expected {self}", self.name));
        }
        let Some(dims) = &self.dims else { return Ok(()) };
        let mismatch = || format!("input {} has shape {shape:?}: expected {self}", self.name);
        if dims.len() != shape.len() {
            return Err(mismatch());
        }
        for (dim, length) in dims.iter().zip(shape) {
            match dim {
                Dim::Fixed(want) if want != length => return Err(mismatch()),
                Dim::Fixed(_) => {}
                Dim::Free(name) => match lengths.iter().find(|(known, _)| known == name) {
                    Some((_, first)) if first != length => {
                        return Err(format!("{}; its free dimension is {first} in another input", mismatch()));
                    }
                    Some(_) => {}
                    None => lengths.push((name, *length)),
                },
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.datatype, self.wire_shape())
    }
}

/// Lists ports for a message.
pub(super) fn describe(ports: &[Port]) -> String {
    let mut text = String::new();
    for port in ports {
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{} {port}", port.name);
    }
    text
}

/// Returns what a panic said.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given")
}

fn find_file(path: &Path) -> Result<PathBuf, Error> {
    let missing = |why: &str| Error::new(Code::PathMissing, format!("no model at {}", path.display())).why(why);
    let about = std::fs::metadata(path).map_err(|cause| missing(&cause.to_string()))?;
    if about.is_file() {
        return Ok(path.to_path_buf());
    }
    let named = path.join("model.onnx");
    if named.is_file() {
        return Ok(named);
    }
    let entries = std::fs::read_dir(path).map_err(|cause| missing(&cause.to_string()))?;
    let mut files = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|file| file.extension().is_some_and(|extension| extension == "onnx"));
    match (files.next(), files.next()) {
        (Some(file), None) => Ok(file),
        (None, _) => Err(missing("the folder holds no .onnx file")),
        _ => Err(missing("the folder holds several .onnx files").try_("name one of them")),
    }
}

/// Lists what a graph takes, as it declares it.
pub(super) fn input_ports(graph: &GraphProto) -> Result<Vec<Port>, String> {
    let constant = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    graph
        .input
        .iter()
        .filter(|input| !constant(&input.name))
        .map(|input| {
            let (datatype, dims) = declared(input);
            let datatype =
                datatype.ok_or_else(|| format!("input {} is of a type that cannot be served", input.name))?;
            Ok(Port { name: input.name.clone(), datatype, dims })
        })
        .collect()
}

fn output_ports(graph: &GraphProto, sample: &TypedRunnableModel) -> Result<Vec<Port>, String> {
    graph
        .output
        .iter()
        .enumerate()
        .map(|(index, output)| {
            let (datatype, dims) = declared(output);
            let fact = sample.model().output_fact(index).map_err(|cause| chain(&cause))?;
            let datatype = datatype.or_else(|| Datatype::of(fact.datum_type));
            let datatype =
                datatype.ok_or_else(|| format!("output {} is of a type that cannot be served", output.name))?;
            let found = || {
                fact.shape
                    .iter()
                    .map(|dim| match dim.to_usize() {
                        Ok(length) => Dim::Fixed(length),
                        Err(_) => Dim::Free(dim.to_string()),
                    })
                    .collect()
            };
            Ok(Port { name: output.name.clone(), datatype, dims: Some(dims.unwrap_or_else(found)) })
        })
        .collect()
}

fn declared(value: &ValueInfoProto) -> (Option<Datatype>, Option<Vec<Dim>>) {
    let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        return (None, None);
    };
    let datum = tract_onnx::pb::tensor_proto::DataType::try_from(tensor.elem_type).ok();
    let datatype = datum.and_then(|datum| DatumType::try_from(datum).ok()).and_then(Datatype::of);
    let dims = tensor.shape.as_ref().map(|shape| {
        shape
            .dim
            .iter()
            .map(|dim| match &dim.value {
                Some(dimension::Value::DimValue(length)) if *length > 0 => Dim::Fixed(*length as usize),
                Some(dimension::Value::DimParam(name)) => Dim::Free(name.clone()),
                _ => Dim::Free(String::new()),
            })
            .collect()
    });
    (datatype, dims)
}

fn compile(model: InferenceModel) -> Result<Arc<TypedRunnableModel>, String> {
    model.into_optimized().and_then(|model| model.into_runnable()).map_err(|cause| chain(&cause))
}

fn compile_for(
    source: &InferenceModel,
    inputs: &[Port],
    shapes: &[Vec<usize>],
) -> Result<Arc<TypedRunnableModel>, String> {
    let mut model = source.clone();
    for (index, (port, shape)) in inputs.iter().zip(shapes).enumerate() {
        let fact = InferenceFact::dt_shape(port.datatype.datum(), shape);
        model.set_input_fact(index, fact).map_err(|cause| chain(&cause))?;
    }
    compile(model)
}

/// Joins an error of the engine with its causes into one line.
fn chain(cause: &TractError) -> String {
    format!("{cause:#}").replace('\n', " ")
}
