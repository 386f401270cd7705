//! Tables without borders: aligned columns, two spaces apart.

use serde_json::Value;

use super::style::{Ink, paint};

/// What `az` calls a column of values that have no name.
const UNNAMED: &str = "RESULT";

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    ink: Ink,
}

/// Rows under headings.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

// === impl Cell ===

impl Cell {
    /// Creates a cell in a colour.
    pub(crate) fn inked(text: impl Into<String>, ink: Ink) -> Self {
        Self { text: text.into(), ink }
    }

    /// Returns what it says.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the colour it says it in.
    pub(crate) fn ink(&self) -> Ink {
        self.ink
    }

    /// Creates a cell with a word of state in its colour.
    pub(crate) fn state(word: &str) -> Self {
        Self::inked(word, super::state_ink(word))
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::inked(text, Ink::Plain)
    }
}

// === impl Table ===

impl Table {
    pub(crate) fn new(headings: &[impl ToString]) -> Self {
        Self { headings: headings.iter().map(ToString::to_string).collect(), rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Lays out every row, the headings first.
    pub(crate) fn render(&self, color: bool) -> String {
        let mut lines =
            vec![self.line(self.headings.iter().map(|text| Cell::inked(text.as_str(), Ink::Bold)).collect(), color)];
        lines.extend(self.rows.iter().map(|row| self.line(row.clone(), color)));
        lines.join("\n")
    }

    /// Lays out the rows without headings.
    pub(crate) fn render_rows(&self, color: bool) -> Vec<String> {
        self.rows.iter().map(|row| self.line(row.clone(), color)).collect()
    }

    fn line(&self, cells: Vec<Cell>, color: bool) -> String {
        let last = cells.len().saturating_sub(1);
        let mut line = String::new();
        for (at, cell) in cells.iter().enumerate() {
            // A line break or a control character would tear the table, whoever wrote the text.
            let text: String = cell.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            line.push_str(&paint(&text, cell.ink, color));
            if at < last {
                let pad = self.width(at).saturating_sub(text.chars().count()) + 2;
                line.extend(std::iter::repeat_n(' ', pad));
            }
        }
        line.trim_end().to_owned()
    }

    fn width(&self, column: usize) -> usize {
        let rows = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.chars().count());
        rows.chain(self.headings.get(column).map(|text| text.len())).max().unwrap_or(0)
    }
}

/// Lays out what was picked from an answer: a row per item, a column per field. What has parts of its own fits in no cell
/// and is left out, as `az` does.
pub(super) fn of_values(value: &Value) -> Table {
    let rows: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    };
    let mut headings: Vec<&str> = Vec::new();
    let fits = |value: &Value| !value.is_object() && !value.is_array();
    for (name, _) in rows.iter().filter_map(|row| row.as_object()).flatten().filter(|(_, value)| fits(value)) {
        if !headings.contains(&name.as_str()) {
            headings.push(name);
        }
    }
    let widest = rows.iter().filter_map(|row| row.as_array()).map(Vec::len).max();
    let is_unnamed = headings.is_empty();
    let shown: Vec<String> = match widest.filter(|_| is_unnamed) {
        Some(columns) => (1..=columns).map(|column| format!("COLUMN {column}")).collect(),
        None if is_unnamed => vec![UNNAMED.to_owned()],
        None => headings.iter().map(|name| name.to_uppercase()).collect(),
    };
    let mut table = Table::new(&shown);
    for row in rows {
        let cells = match row {
            Value::Object(fields) => headings.iter().map(|name| cell(fields.get(*name))).collect(),
            Value::Array(cells) => cells.iter().map(|value| cell(Some(value))).collect(),
            one => vec![cell(Some(one))],
        };
        table.push(cells);
    }
    table
}

fn cell(value: Option<&Value>) -> Cell {
    match value {
        None | Some(Value::Null | Value::Array(_) | Value::Object(_)) => Cell::default(),
        Some(Value::String(text)) => Cell::state(text),
        Some(other) => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let mut table = Table::new(&["NAME", "STATE", "WHY"]);
        table.push(vec!["fraud".into(), Cell::state("serving"), "".into()]);
        table.push(vec!["a-longer-name".into(), Cell::state("failed"), "two\nlines".into()]);
        let expected = "\
NAME           STATE    WHY
fraud          serving
a-longer-name  failed   two lines";
        assert_eq!(table.render(false), expected);
        assert!(table.render(true).contains("\x1b[31mfailed\x1b[0m   two lines"));
    }

    #[test]
    fn what_was_picked_is_laid_out_as_az_does() {
        for (value, lines) in [
            (json!([{"Name": "web", "Ready": 2}, {"Name": "fraud"}]), "NAME   READY\nweb    2\nfraud"),
            (json!([{"name": "web", "tags": {"a": 1}}]), "NAME\nweb"),
            (json!(["blue", "green"]), "RESULT\nblue\ngreen"),
            (json!([["n1", 2], ["n2"]]), "COLUMN 1  COLUMN 2\nn1        2\nn2"),
            (json!({"blue": 90, "green": 10}), "BLUE  GREEN\n90    10"),
            (json!("Succeeded"), "RESULT\nSucceeded"),
            (json!(null), "RESULT"),
            (json!([]), "RESULT"),
        ] {
            assert_eq!(of_values(&value).render(false), lines, "{value}");
        }
    }
}
