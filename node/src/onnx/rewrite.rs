//! Prepares a model for the engine: puts plain operators in place of those it lacks or computes badly, gives every free
//! dimension a name, and names what nobody can run.
//!
//! scikit-learn's exports are made of `ai.onnx.ml` operators. The engine knows the large ones (trees, linear models,
//! normalizers); the rest are small sums over operators it has, so they are spelled out here.

use std::collections::BTreeSet;

use tract_onnx::model::OnnxOpRegister;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, type_proto};

use super::trees;

/// Prefix of every name made here; no exporter writes it.
const OURS: &str = "berth.";

/// Replaces operators and names free dimensions, in place.
pub(super) fn rewrite(model: &mut ModelProto) {
    let standard = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let opset = model.opset_import.iter().find(|set| standard(&set.domain)).map_or(0, |set| set.version);
    if let Some(graph) = &mut model.graph {
        rewrite_graph(graph, opset, &mut 0);
        name_free_dims(graph);
    }
}

/// Lists the operators that `known` cannot build, by name.
pub(super) fn unknown_operators(model: &ModelProto, known: &OnnxOpRegister) -> BTreeSet<String> {
    let mut unknown = BTreeSet::new();
    if let Some(graph) = &model.graph {
        find_unknown(graph, known, &mut unknown);
    }
    unknown
}

fn find_unknown(graph: &GraphProto, known: &OnnxOpRegister, unknown: &mut BTreeSet<String>) {
    for node in &graph.node {
        if !known.0.contains_key(&node.op_type) {
            let domain = if node.domain.is_empty() { String::new() } else { format!("{}.", node.domain) };
            unknown.insert(format!("{domain}{}", node.op_type));
        }
        node.attribute.iter().filter_map(|a| a.g.as_ref()).for_each(|inner| find_unknown(inner, known, unknown));
    }
}

fn rewrite_graph(graph: &mut GraphProto, opset: i64, made: &mut usize) {
    let nodes = std::mem::take(&mut graph.node);
    for mut node in nodes {
        node.attribute.iter_mut().filter_map(|a| a.g.as_mut()).for_each(|inner| rewrite_graph(inner, opset, made));
        *made += 1;
        let mut spell = Spell { graph, opset, prefix: format!("{OURS}{made}"), parts: 0 };
        if !spell.out(&node) {
            graph.node.push(node);
        }
    }
}

/// Names dimensions of the inputs: exporters leave them out or write text the engine reads as arithmetic. Missing first
/// dimensions share one name, since they are the batch; every other missing dimension stands alone.
fn name_free_dims(graph: &mut GraphProto) {
    let mut given: Vec<String> = Vec::new();
    let mut alone = 0;
    for input in &mut graph.input {
        let Some(type_proto::Value::TensorType(tensor)) = input.r#type.as_mut().and_then(|t| t.value.as_mut()) else {
            continue;
        };
        let dims = tensor.shape.iter_mut().flat_map(|shape| shape.dim.iter_mut());
        for (axis, dim) in dims.enumerate() {
            let name = match &dim.value {
                Some(dimension::Value::DimValue(length)) if *length > 0 => continue,
                Some(dimension::Value::DimParam(text)) if !text.is_empty() && text != "?" => {
                    let index = given.iter().position(|seen| seen == text).unwrap_or(given.len());
                    if index == given.len() {
                        given.push(text.clone());
                    }
                    format!("d{index}")
                }
                _ if axis == 0 => "batch".to_owned(),
                _ => {
                    alone += 1;
                    format!("free{alone}")
                }
            };
            dim.value = Some(dimension::Value::DimParam(name));
        }
    }
    // They may speak of the names just replaced, and the engine derives them itself.
    graph.value_info.clear();
}

/// Writes the replacement of one node into its graph.
struct Spell<'a> {
    graph: &'a mut GraphProto,
    opset: i64,
    prefix: String,
    parts: usize,
}

// === impl Spell ===

impl Spell<'_> {
    /// Spells `node` out and returns whether that was possible.
    fn out(&mut self, node: &NodeProto) -> bool {
        let [output, ..] = &node.output[..] else { return false };
        let Some(input) = node.input.first() else { return false };
        match node.op_type.as_str() {
            // Maps of probabilities are served as the tensor they are made of, in class order.
            "ZipMap" => self.node("Identity", &[input], output, vec![]),
            "Scaler" => self.scaler(node, input, output),
            "ArrayFeatureExtractor" => return self.feature_extractor(node, input, output),
            "Imputer" => return self.imputer(node, input, output),
            "Binarizer" => self.binarizer(node, input, output),
            "LabelEncoder" => return self.label_encoder(node, input, output),
            "ReduceLogSumExp" => self.log_sum_exp(node, input, output),
            "TreeEnsembleClassifier" => return self.tree_classifier(node, input, output),
            "LinearClassifier" => return self.named_classes(node, output, "classlabels_ints"),
            "TreeEnsembleRegressor" => return self.tree_regressor(node, input, output),
            _ => return false,
        }
        true
    }

    fn scaler(&mut self, node: &NodeProto, input: &str, output: &str) {
        let float = self.cast(input, DataType::Float);
        let offset = self.floats(attribute(node, "offset").map_or(&[0.0], |a| &a.floats));
        let scale = self.floats(attribute(node, "scale").map_or(&[1.0], |a| &a.floats));
        let shifted = self.fresh();
        self.node("Sub", &[&float, &offset], &shifted, vec![]);
        self.node("Mul", &[&shifted, &scale], output, vec![]);
    }

    fn feature_extractor(&mut self, node: &NodeProto, input: &str, output: &str) -> bool {
        let Some(indices) = node.input.get(1) else { return false };
        let flat_shape = self.ints(&[-1]);
        let flat = self.fresh();
        self.node("Reshape", &[indices, &flat_shape], &flat, vec![]);
        let one_row = self.graph.initializer.iter().any(|tensor| tensor.name == input && tensor.dims.len() == 1);
        if one_row {
            // By the standard a vector is one row: the answer has two dimensions.
            let picked = self.fresh();
            self.node("Gather", &[input, &flat], &picked, vec![int("axis", 0)]);
            let axes = self.ints(&[1, -1]);
            self.node("Reshape", &[&picked, &axes], output, vec![]);
        } else {
            self.node("Gather", &[input, &flat], output, vec![int("axis", -1)]);
        }
        true
    }

    fn imputer(&mut self, node: &NodeProto, input: &str, output: &str) -> bool {
        let Some(values) = attribute(node, "imputed_value_floats") else { return false };
        let values = self.floats(&values.floats);
        let replaced = attribute(node, "replaced_value_float").map_or(f32::NAN, |a| a.f);
        let missing = self.fresh();
        if replaced.is_nan() {
            self.node("IsNaN", &[input], &missing, vec![]);
        } else {
            let replaced = self.floats(&[replaced]);
            self.node("Equal", &[input, &replaced], &missing, vec![]);
        }
        self.node("Where", &[&missing, &values, input], output, vec![]);
        true
    }

    fn binarizer(&mut self, node: &NodeProto, input: &str, output: &str) {
        let threshold = self.floats(&[attribute(node, "threshold").map_or(0.0, |a| a.f)]);
        let above = self.fresh();
        self.node("Greater", &[input, &threshold], &above, vec![]);
        self.node("Cast", &[&above], output, vec![int("to", DataType::Float as i64)]);
    }

    /// Text to integers and back is the engine's `CategoryMapper`; the other pairs of types stay unsupported.
    fn label_encoder(&mut self, node: &NodeProto, input: &str, output: &str) -> bool {
        let pair = |texts, numbers| attribute(node, texts).zip(attribute(node, numbers));
        if let Some((texts, numbers)) = pair("keys_strings", "values_int64s") {
            let other = attribute(node, "default_int64").map_or(-1, |a| a.i);
            self.mapper(input, output, &texts.strings, &numbers.ints, int("default_int64", other));
        } else if let Some((texts, numbers)) = pair("values_strings", "keys_int64s") {
            let other = attribute(node, "default_string").map_or(b"_Unused".to_vec(), |a| a.s.clone());
            self.mapper(input, output, &texts.strings, &numbers.ints, string("default_string", other));
        } else {
            return false;
        }
        true
    }

    fn mapper(&mut self, input: &str, output: &str, texts: &[Vec<u8>], numbers: &[i64], default: AttributeProto) {
        let texts = AttributeProto {
            name: "cats_strings".to_owned(),
            r#type: AttributeType::Strings as i32,
            strings: texts.to_vec(),
            ..AttributeProto::default()
        };
        self.node(
            "CategoryMapper",
            &[input],
            output,
            vec![texts, ints_attribute("cats_int64s", numbers.to_vec()), default],
        );
    }

    /// The engine looks up numbers only: classes with names become their positions, then names again.
    fn named_classes(&mut self, node: &NodeProto, output: &str, numbers: &str) -> bool {
        let Some(names) = attribute(node, "classlabels_strings").filter(|names| !names.strings.is_empty()) else {
            return false;
        };
        let positions: Vec<i64> = (0..names.strings.len() as i64).collect();
        let mut classifier = node.clone();
        let position = self.fresh();
        classifier.output[0].clone_from(&position);
        classifier.attribute.retain(|attribute| !attribute.name.starts_with("classlabels_"));
        classifier.attribute.push(ints_attribute(numbers, positions));
        self.graph.node.push(classifier);
        let names = self.strings(&names.strings);
        self.node("Gather", &[&names, &position], output, vec![int("axis", 0)]);
        true
    }

    /// The engine adds the exponentials as they are, which overflows where the standard's answer is an ordinary number
    /// (naive Bayes has logarithms below -1000): the largest is taken out first.
    fn log_sum_exp(&mut self, node: &NodeProto, input: &str, output: &str) {
        /// From here on the axes of every reduction are an input; a sum's have been one since 13.
        const AXES_AS_INPUT: i64 = 18;
        const SUM_AXES_AS_INPUT: i64 = 13;
        let keep = attribute(node, "keepdims").map_or(1, |a| a.i);
        let listed = attribute(node, "axes").map(|axes| axes.ints.clone());
        let given = node.input.get(1).filter(|name| !name.is_empty()).cloned();
        let reduce = |spell: &mut Self, op_type: &str, input: &str, keep: i64, from: i64| {
            let axes = match (&given, &listed) {
                (Some(name), _) => Some(name.clone()),
                (None, Some(axes)) if spell.opset >= from => Some(spell.ints(axes)),
                _ => None,
            };
            let mut attributes = vec![int("keepdims", keep)];
            if let (None, Some(listed)) = (&axes, &listed) {
                attributes.push(ints_attribute("axes", listed.clone()));
            }
            let reduced = spell.fresh();
            let inputs: Vec<&str> = [input].into_iter().chain(axes.as_deref()).collect();
            spell.node(op_type, &inputs, &reduced, attributes);
            reduced
        };
        let largest = reduce(self, "ReduceMax", input, 1, AXES_AS_INPUT);
        let (shifted, powers, log) = (self.fresh(), self.fresh(), self.fresh());
        self.node("Sub", &[input, &largest], &shifted, vec![]);
        self.node("Exp", &[&shifted], &powers, vec![]);
        let sum = reduce(self, "ReduceSum", &powers, keep, SUM_AXES_AS_INPUT);
        self.node("Log", &[&sum], &log, vec![]);
        let largest = reduce(self, "ReduceMax", input, keep, AXES_AS_INPUT);
        self.node("Add", &[&log, &largest], output, vec![]);
    }

    fn tree_classifier(&mut self, node: &NodeProto, input: &str, output: &str) -> bool {
        let names = attribute(node, "classlabels_strings").filter(|names| !names.strings.is_empty());
        let numbers = attribute(node, "classlabels_int64s").filter(|numbers| !numbers.ints.is_empty());
        let (labels, classes) = match (names, numbers) {
            (Some(names), _) => (self.strings(&names.strings), names.strings.len()),
            (None, Some(numbers)) => (self.ints(&numbers.ints), numbers.ints.len()),
            (None, None) => return false,
        };
        let (Some(probabilities), Some(ids)) = (node.output.get(1), attribute(node, "class_ids")) else { return false };
        let transform = text(node, "post_transform").unwrap_or_else(|| "NONE".to_owned());
        let one_score = classes == 2 && ids.ints.windows(2).all(|pair| pair[0] == pair[1]);
        let known = matches!(transform.as_str(), "NONE" | "LOGISTIC") || (transform == "SOFTMAX" && !one_score);
        if !known {
            // Left with a name nobody knows, so that loading refuses it by that name.
            self.node(&format!("TreeEnsembleClassifier with {transform}"), &[input], output, vec![]);
            return true;
        }
        // Weights without a sign are shares of votes, others are odds.
        let votes = attribute(node, "class_weights").is_some_and(|a| a.floats.iter().all(|weight| *weight >= 0.0));
        let columns = if one_score { 1 } else { classes };
        let scores = self.tree_scores(node, input, "class_", columns);
        let position = self.fresh();
        if classes == 2 {
            let second = if one_score { scores.clone() } else { self.column(&scores, 1) };
            let (above, number, flat) = (self.fresh(), self.fresh(), self.ints(&[-1]));
            let threshold = self.floats(&[if votes { 0.5 } else { 0.0 }]);
            self.node("Greater", &[&second, &threshold], &above, vec![]);
            self.node("Cast", &[&above], &number, vec![int("to", DataType::Int64 as i64)]);
            self.node("Reshape", &[&number, &flat], &position, vec![]);
        } else {
            self.node("ArgMax", &[&scores], &position, vec![int("axis", 1), int("keepdims", 0)]);
        }
        self.node("Gather", &[&labels, &position], output, vec![int("axis", 0)]);
        let mut positive = scores;
        if transform != "NONE" {
            let (op_type, attributes) =
                if transform == "SOFTMAX" { ("Softmax", vec![int("axis", 1)]) } else { ("Sigmoid", vec![]) };
            let transformed = self.fresh();
            self.node(op_type, &[&positive], &transformed, attributes);
            positive = transformed;
        }
        if one_score {
            // One score speaks for the second class; the first has what is left, or the opposite odds.
            let whole = self.floats(&[if votes || transform == "LOGISTIC" { 1.0 } else { 0.0 }]);
            let negative = self.fresh();
            self.node("Sub", &[&whole, &positive], &negative, vec![]);
            self.node("Concat", &[&negative, &positive], probabilities, vec![int("axis", 1)]);
        } else {
            self.node("Identity", &[&positive], probabilities, vec![]);
        }
        true
    }

    fn tree_regressor(&mut self, node: &NodeProto, input: &str, output: &str) -> bool {
        let targets = attribute(node, "n_targets").map_or(1, |a| a.i);
        if text(node, "post_transform").is_some_and(|t| t != "NONE") || !(1..=1 << 16).contains(&targets) {
            return false;
        }
        let scores = self.tree_scores(node, input, "target_", targets as usize);
        self.node("Identity", &[&scores], output, vec![]);
        true
    }

    /// Runs the trees of `node` for their bare scores, base values added; `leaf` is the prefix of the leaf attributes.
    fn tree_scores(&mut self, node: &NodeProto, input: &str, leaf: &str, columns: usize) -> String {
        let mut attributes = vec![int("columns", columns as i64)];
        for attribute in &node.attribute {
            let mut copy = attribute.clone();
            match attribute.name.strip_prefix(leaf) {
                Some(rest @ ("ids" | "nodeids" | "treeids" | "weights")) => {
                    copy.name = format!("leaf_{rest}");
                    if columns == 1 && rest == "ids" {
                        copy.ints.fill(0);
                    }
                }
                _ if attribute.name.starts_with("nodes_") || attribute.name == "aggregate_function" => {}
                _ => continue,
            }
            attributes.push(copy);
        }
        let scores = self.fresh();
        self.node(trees::OPERATOR, &[input], &scores, attributes);
        match attribute(node, "base_values").map(|a| &a.floats[..]).filter(|base| !base.is_empty()) {
            Some(base) => {
                // Two base values for one score are those of both classes; the second is the score's.
                let base = self.floats(if columns == 1 { &base[base.len() - 1..] } else { base });
                let sum = self.fresh();
                self.node("Add", &[&scores, &base], &sum, vec![]);
                sum
            }
            None => scores,
        }
    }

    fn column(&mut self, input: &str, column: i64) -> String {
        let (index, picked) = (self.ints(&[column]), self.fresh());
        self.node("Gather", &[input, &index], &picked, vec![int("axis", 1)]);
        picked
    }

    fn cast(&mut self, input: &str, to: DataType) -> String {
        let output = self.fresh();
        self.node("Cast", &[input], &output, vec![int("to", to as i64)]);
        output
    }

    fn node(&mut self, op_type: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) {
        self.parts += 1;
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: format!("{}.{}", self.prefix, self.parts),
            op_type: op_type.to_owned(),
            attribute,
            ..NodeProto::default()
        });
    }

    fn floats(&mut self, values: &[f32]) -> String {
        self.constant(TensorProto { float_data: values.to_vec(), ..tensor(DataType::Float, values.len()) })
    }

    fn ints(&mut self, values: &[i64]) -> String {
        self.constant(TensorProto { int64_data: values.to_vec(), ..tensor(DataType::Int64, values.len()) })
    }

    fn strings(&mut self, values: &[Vec<u8>]) -> String {
        self.constant(TensorProto { string_data: values.to_vec(), ..tensor(DataType::String, values.len()) })
    }

    fn constant(&mut self, tensor: TensorProto) -> String {
        let name = self.fresh();
        self.graph.initializer.push(TensorProto { name: name.clone(), ..tensor });
        name
    }

    fn fresh(&mut self) -> String {
        self.parts += 1;
        format!("{}.{}", self.prefix, self.parts)
    }
}

fn tensor(data_type: DataType, length: usize) -> TensorProto {
    TensorProto { dims: vec![length as i64], data_type: data_type as i32, ..TensorProto::default() }
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

fn text(node: &NodeProto, name: &str) -> Option<String> {
    attribute(node, name).map(|a| String::from_utf8_lossy(&a.s).into_owned())
}

fn int(name: &str, value: i64) -> AttributeProto {
    let r#type = AttributeType::Int as i32;
    AttributeProto { name: name.to_owned(), r#type, i: value, ..AttributeProto::default() }
}

fn string(name: &str, value: Vec<u8>) -> AttributeProto {
    let r#type = AttributeType::String as i32;
    AttributeProto { name: name.to_owned(), r#type, s: value, ..AttributeProto::default() }
}

fn ints_attribute(name: &str, values: Vec<i64>) -> AttributeProto {
    let r#type = AttributeType::Ints as i32;
    AttributeProto { name: name.to_owned(), r#type, ints: values, ..AttributeProto::default() }
}
