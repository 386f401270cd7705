//! Tree ensembles as one operator of the engine: forests and boosted trees of scikit-learn, XGBoost and LightGBM.
//!
//! The engine has one of its own, which walks all leaves before the one it wants (16 ms a row for 50 trees where this one
//! takes microseconds), trusts the indices of the file, and answers the wrong label for two classes with one score.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// The name under which the rewriting asks for it.
pub(super) const OPERATOR: &str = "berth.Trees";

/// Scores a row may have. A file says how many, and every row of a request gets memory for them.
const COLUMNS_MAX: usize = 1 << 16;

/// Scores of one request: 256 MiB of them, and another request may have as many.
const SCORES_MAX: usize = 1 << 26;

/// Scores of every column for every row; the same object is the same operator.
#[derive(Clone, Debug)]
struct Trees(Arc<Forest>);

#[derive(Debug)]
struct Forest {
    roots: Vec<usize>,
    nodes: Vec<Node>,
    /// What leaves add: a column and a weight.
    votes: Vec<(usize, f32)>,
    columns: usize,
    /// One more than the largest feature any node looks at.
    features: usize,
    aggregate: Aggregate,
}

#[derive(Clone, Debug)]
enum Node {
    Branch {
        feature: usize,
        test: Test,
        value: f32,
        missing_is_yes: bool,
        yes: usize,
        no: usize,
    },
    /// The range of its votes.
    Leaf {
        from: usize,
        to: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum Test {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
    Unequal,
}

#[derive(Clone, Copy, Debug)]
enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

/// Builds the operator of a node; refuses an ensemble that is not made of trees.
pub(super) fn build(_: &ParsingContext<'_>, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    Ok((expand(Trees(Arc::new(Forest::read(node)?))), vec![]))
}

// === impl Forest ===

impl Forest {
    fn read(node: &NodeProto) -> TractResult<Self> {
        let ints = |name: &str| -> TractResult<Vec<i64>> {
            Ok(node
                .attribute
                .iter()
                .find(|a| a.name == name)
                .with_context(|| format!("no attribute {name}"))?
                .ints
                .clone())
        };
        let index = |value: i64| usize::try_from(value).with_context(|| format!("{value} is not an index"));
        let floats = |name: &str| node.attribute.iter().find(|a| a.name == name).map_or(&[][..], |a| &a.floats);
        let (trees, ids) = (ints("nodes_treeids")?, ints("nodes_nodeids")?);
        let (features, values) = (ints("nodes_featureids")?, floats("nodes_values"));
        let (yes, no) = (ints("nodes_truenodeids")?, ints("nodes_falsenodeids")?);
        let modes = node.attribute.iter().find(|a| a.name == "nodes_modes").map_or(&[][..], |a| &a.strings);
        let missing = ints("nodes_missing_value_tracks_true").unwrap_or_default();
        let count = trees.len();
        let same = [ids.len(), features.len(), values.len(), yes.len(), no.len(), modes.len()];
        ensure!(count > 0 && same.iter().all(|length| *length == count), "the node attributes differ in length");

        let mut votes: BTreeMap<(i64, i64), Vec<(usize, f32)>> = BTreeMap::new();
        let columns = index(node.get_attr("columns")?)?;
        ensure!((1..=COLUMNS_MAX).contains(&columns), "{columns} scores a row are not supported");
        let weights = floats("leaf_weights");
        let (leaf_trees, leaf_ids, leaf_columns) = (ints("leaf_treeids")?, ints("leaf_nodeids")?, ints("leaf_ids")?);
        let same = [leaf_ids.len(), leaf_columns.len(), weights.len()];
        ensure!(same.iter().all(|length| *length == leaf_trees.len()), "the leaf attributes differ in length");
        for (at, weight) in weights.iter().enumerate() {
            let column = index(leaf_columns[at])?;
            ensure!(column < columns, "a leaf votes for column {column} of {columns}");
            votes.entry((leaf_trees[at], leaf_ids[at])).or_default().push((column, *weight));
        }

        let places: BTreeMap<(i64, i64), usize> =
            trees.iter().copied().zip(ids.iter().copied()).enumerate().map(|(at, key)| (key, at)).collect();
        ensure!(places.len() == count, "a node is listed twice");
        let mut forest =
            Self { roots: vec![], nodes: vec![], votes: vec![], columns, features: 0, aggregate: aggregate(node)? };
        let mut is_child = vec![false; count];
        for at in 0..count {
            let mut child = |id: i64| -> TractResult<usize> {
                let place = *places.get(&(trees[at], id)).with_context(|| format!("no node {id} in its tree"))?;
                // With one parent each and none for a root, no walk from a root can come back.
                ensure!(!std::mem::replace(&mut is_child[place], true), "node {id} has two parents");
                Ok(place)
            };
            let test = match std::str::from_utf8(&modes[at])? {
                "LEAF" => {
                    let from = forest.votes.len();
                    forest.votes.extend(votes.remove(&(trees[at], ids[at])).unwrap_or_default());
                    forest.nodes.push(Node::Leaf { from, to: forest.votes.len() });
                    continue;
                }
                "BRANCH_LEQ" => Test::AtMost,
                "BRANCH_LT" => Test::Below,
                "BRANCH_GTE" => Test::AtLeast,
                "BRANCH_GT" => Test::Above,
                "BRANCH_EQ" => Test::Equal,
                "BRANCH_NEQ" => Test::Unequal,
                other => bail!("nodes of mode {other} are not supported"),
            };
            let feature = index(features[at])?;
            forest.features = forest.features.max(feature.saturating_add(1));
            let missing_is_yes = missing.get(at).is_some_and(|tracks| *tracks != 0);
            let (yes, no) = (child(yes[at])?, child(no[at])?);
            forest.nodes.push(Node::Branch { feature, test, value: values[at], missing_is_yes, yes, no });
        }
        ensure!(votes.is_empty(), "a leaf attribute names a node that is no leaf");
        forest.roots = (0..count).filter(|at| !is_child[*at]).collect();
        let kinds: BTreeSet<i64> = trees.iter().copied().collect();
        ensure!(forest.roots.len() == kinds.len() && forest.reached() == count, "a tree has no root or several");
        Ok(forest)
    }

    /// Counts the nodes that can be walked to; fewer than all means a ring.
    fn reached(&self) -> usize {
        let mut open = self.roots.clone();
        let mut reached = 0;
        while let Some(at) = open.pop() {
            reached += 1;
            if let Node::Branch { yes, no, .. } = &self.nodes[at] {
                open.extend([*yes, *no]);
            }
        }
        reached
    }

    /// Returns how many scores some rows have; refuses what is more than a request may have.
    fn scores_of(&self, rows: usize) -> TractResult<usize> {
        let scores = rows.checked_mul(self.columns).filter(|scores| *scores <= SCORES_MAX);
        scores.with_context(|| format!("{rows} rows of {} scores are more than a request may have", self.columns))
    }

    fn score(&self, row: &[f32], scores: &mut [f32]) {
        let mut seen = vec![false; if self.needs_seen() { self.columns } else { 0 }];
        for root in &self.roots {
            let mut at = *root;
            let (from, to) = loop {
                match &self.nodes[at] {
                    Node::Leaf { from, to } => break (*from, *to),
                    Node::Branch { feature, test, value, missing_is_yes, yes, no } => {
                        let cell = row[*feature];
                        at = if test.holds(cell, *value) || (*missing_is_yes && cell.is_nan()) { *yes } else { *no };
                    }
                }
            };
            for (column, weight) in &self.votes[from..to] {
                let score = &mut scores[*column];
                match self.aggregate {
                    Aggregate::Sum | Aggregate::Average => *score += weight,
                    Aggregate::Min if std::mem::replace(&mut seen[*column], true) => *score = score.min(*weight),
                    Aggregate::Max if std::mem::replace(&mut seen[*column], true) => *score = score.max(*weight),
                    Aggregate::Min | Aggregate::Max => *score = *weight,
                }
            }
        }
        if matches!(self.aggregate, Aggregate::Average) {
            scores.iter_mut().for_each(|score| *score /= self.roots.len() as f32);
        }
    }

    fn needs_seen(&self) -> bool {
        matches!(self.aggregate, Aggregate::Min | Aggregate::Max)
    }
}

fn aggregate(node: &NodeProto) -> TractResult<Aggregate> {
    Ok(match node.get_attr_opt::<&str>("aggregate_function")?.unwrap_or("SUM") {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        "MIN" => Aggregate::Min,
        "MAX" => Aggregate::Max,
        other => bail!("aggregate function {other} is not supported"),
    })
}

impl Test {
    fn holds(self, cell: f32, value: f32) -> bool {
        match self {
            Self::AtMost => cell <= value,
            Self::Below => cell < value,
            Self::AtLeast => cell >= value,
            Self::Above => cell > value,
            Self::Equal => cell == value,
            Self::Unequal => cell != value,
        }
    }
}

// === impl Trees ===

impl PartialEq for Trees {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Trees {}

impl Hash for Trees {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl Expansion for Trees {
    fn name(&self) -> StaticName {
        OPERATOR.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[0].rank, 2)?;
        solver.equals(&outputs[0].datum_type, f32::datum_type())?;
        solver.equals(&outputs[0].rank, 2)?;
        solver.equals(&outputs[0].shape[0], &inputs[0].shape[0])?;
        solver.equals(&outputs[0].shape[1], self.0.columns.to_dim())
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

impl Op for Trees {
    fn name(&self) -> StaticName {
        OPERATOR.into()
    }

    op_as_typed_op!();
}

impl EvalOp for Trees {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let forest = &self.0;
        let input = args_1!(inputs);
        let input = input.cast_to::<f32>()?;
        let &[rows, width] = input.shape() else { bail!("trees take rows of features") };
        ensure!(width >= forest.features, "the trees look at {} features, a row has {width}", forest.features);
        let plain = input.try_as_plain_ram()?;
        let cells = plain.as_slice::<f32>()?;
        let mut scores = vec![0.0; forest.scores_of(rows)?];
        // A tree that branches has a feature; one that does not takes rows of nothing.
        for (row, scores) in cells.chunks_exact(width.max(1)).zip(scores.chunks_exact_mut(forest.columns)) {
            forest.score(row, scores);
        }
        Ok(tvec!(tensor1(&scores).into_shape(&[rows, forest.columns])?.into_tvalue()))
    }
}

impl TypedOp for Trees {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact([inputs[0].shape[0].clone(), self.0.columns.into()])))
    }

    as_op!();
}

/// Reads a stranger's trees; what is read is walked to the end for any row.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn walks_end(node: &NodeProto) {
    /// Wide enough for every row that is worth a fuzzer's memory.
    const WIDTH_MAX: usize = 1 << 12;
    let Ok(forest) = Forest::read(node) else { return };
    assert!((1..=COLUMNS_MAX).contains(&forest.columns), "{} columns", forest.columns);
    for cell in [0.0, f32::NAN, f32::INFINITY, -1.0] {
        if forest.features <= WIDTH_MAX {
            forest.score(&vec![cell; forest.features], &mut vec![0.0; forest.columns]);
        }
    }
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::AttributeProto;

    use super::*;

    fn ints(name: &str, ints: &[i64]) -> AttributeProto {
        AttributeProto { name: name.to_owned(), r#type: 7, ints: ints.to_vec(), ..AttributeProto::default() }
    }

    fn columns(i: i64) -> AttributeProto {
        AttributeProto { name: "columns".to_owned(), r#type: 2, i, ..AttributeProto::default() }
    }

    /// Two stumps on feature 0, at 1 and at 2; the leaves say 1 or 3, and 10 or 30.
    fn stumps() -> NodeProto {
        let modes = ["BRANCH_LEQ", "LEAF", "LEAF"].repeat(2);
        let strings = modes.iter().map(|mode| mode.as_bytes().to_vec()).collect();
        let floats = |name: &str, floats: &[f32]| AttributeProto {
            name: name.to_owned(),
            r#type: 6,
            floats: floats.to_vec(),
            ..AttributeProto::default()
        };
        let attribute = vec![
            columns(1),
            ints("nodes_treeids", &[0, 0, 0, 1, 1, 1]),
            ints("nodes_nodeids", &[0, 1, 2, 0, 1, 2]),
            ints("nodes_featureids", &[0; 6]),
            ints("nodes_truenodeids", &[1, 0, 0, 1, 0, 0]),
            ints("nodes_falsenodeids", &[2, 0, 0, 2, 0, 0]),
            ints("nodes_missing_value_tracks_true", &[1, 0, 0, 0, 0, 0]),
            floats("nodes_values", &[1.0, 0.0, 0.0, 2.0, 0.0, 0.0]),
            AttributeProto { name: "nodes_modes".to_owned(), r#type: 8, strings, ..AttributeProto::default() },
            ints("leaf_treeids", &[0, 0, 1, 1]),
            ints("leaf_nodeids", &[1, 2, 1, 2]),
            ints("leaf_ids", &[0; 4]),
            floats("leaf_weights", &[1.0, 3.0, 10.0, 30.0]),
        ];
        NodeProto { attribute, ..NodeProto::default() }
    }

    fn with(change: AttributeProto) -> NodeProto {
        let mut node = stumps();
        node.attribute.retain(|attribute| attribute.name != change.name);
        node.attribute.push(change);
        node
    }

    fn score(node: &NodeProto, cell: f32) -> f32 {
        let mut scores = [0.0];
        Forest::read(node).expect("trees").score(&[cell], &mut scores);
        scores[0]
    }

    #[test]
    fn leaves_add_up_and_missing_cells_go_where_told() {
        for (cell, want) in [(0.5, 11.0), (1.0, 11.0), (1.5, 13.0), (2.5, 33.0), (f32::NAN, 31.0)] {
            assert_eq!(score(&stumps(), cell), want, "{cell}");
        }
    }

    /// A row may be four bytes of a body, and a file may ask for many scores of each.
    #[test]
    fn scores_of_a_request_are_bounded() {
        let forest = Forest { columns: 1 << 10, ..Forest::read(&stumps()).expect("trees") };
        assert_eq!(forest.scores_of(1 << 16).expect("as many as there may be"), SCORES_MAX);
        for rows in [(1 << 16) + 1, usize::MAX] {
            let refused = forest.scores_of(rows).expect_err("too many").to_string();
            assert!(refused.contains("1024 scores"), "{refused}");
        }
    }

    #[test]
    fn leaves_aggregate_as_asked() {
        for (word, want) in [("SUM", 13.0), ("AVERAGE", 6.5), ("MIN", 3.0), ("MAX", 10.0)] {
            let s = word.as_bytes().to_vec();
            let name = "aggregate_function".to_owned();
            let node = with(AttributeProto { name, r#type: 3, s, ..AttributeProto::default() });
            assert_eq!(score(&node, 1.5), want, "{word}");
        }
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        for (change, why) in [
            (ints("nodes_truenodeids", &[0, 0, 0, 1, 0, 0]), "no root or several"),
            (ints("nodes_truenodeids", &[9, 0, 0, 1, 0, 0]), "no node 9"),
            (ints("nodes_falsenodeids", &[1, 0, 0, 2, 0, 0]), "two parents"),
            (ints("nodes_nodeids", &[0, 1, 1, 0, 1, 2]), "twice"),
            (ints("nodes_featureids", &[-1, 0, 0, 0, 0, 0]), "not an index"),
            (ints("nodes_featureids", &[0; 5]), "differ in length"),
            (ints("leaf_ids", &[0, 0, 0, 1]), "column 1 of 1"),
            (ints("leaf_nodeids", &[1, 2, 1, 0]), "no leaf"),
            (columns(0), "0 scores a row"),
            (columns(1 << 40), "are not supported"),
        ] {
            let refusal = Forest::read(&with(change)).expect_err(why);
            assert!(format!("{refusal:#}").contains(why), "{refusal:#}");
        }
    }
}
