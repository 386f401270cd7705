//! Tables without borders: aligned columns, two spaces apart.

use super::style::{Ink, paint};

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    ink: Ink,
}

/// Rows under headings.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
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
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Lays out every row, the headings first.
    pub(crate) fn render(&self, color: bool) -> String {
        let mut lines =
            vec![self.line(self.headings.iter().map(|text| Cell::inked(*text, Ink::Bold)).collect(), color)];
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

#[cfg(test)]
mod tests {
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
}
