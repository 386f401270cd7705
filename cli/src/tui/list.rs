//! Where one is in a list: the row under the cursor, the filter, the order, the marks.
//!
//! The cursor and the marks stay with what a row is about, not with its line: rows come and go while one looks.

use std::{cmp::Ordering, collections::BTreeSet};

use super::{
    rows::{Row, Rows},
    view::Subject,
};

/// Where one is in a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListPlace {
    at: Option<Subject>,
    /// The line of the cursor as last laid out; where it stays when its row goes.
    line: usize,
    /// The first line shown.
    top: usize,
    pub(crate) filter: Filter,
    sort: Option<Sort>,
    pub(crate) marked: BTreeSet<Subject>,
}

/// Which rows are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) text: String,
    /// Shows what does not match.
    pub(crate) inverse: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Sort {
    column: &'static str,
    descending: bool,
}

/// A movement of the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Up,
    Down,
    PageUp,
    PageDown,
    Top,
    Bottom,
}

// === impl Filter ===

impl Filter {
    /// Reads what is typed after `/`: a leading `!` turns it round.
    pub(crate) fn typed(text: &str) -> Self {
        match text.strip_prefix('!') {
            Some(rest) => Self { text: rest.to_lowercase(), inverse: true },
            None => Self { text: text.to_lowercase(), inverse: false },
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        !self.text.is_empty()
    }

    fn lets(&self, row: &Row) -> bool {
        if !self.is_on() {
            return true;
        }
        let found = row.cells.iter().any(|cell| cell.text().to_lowercase().contains(&self.text));
        found != self.inverse
    }
}

// === impl ListPlace ===

impl ListPlace {
    /// Filters and orders the rows of a list and finds the cursor in them again.
    pub(crate) fn lay_out(&mut self, rows: &mut Rows) {
        rows.rows.retain(|row| self.filter.lets(row));
        if let Some(sort) = &self.sort
            && let Some(column) = rows.columns.iter().position(|name| *name == sort.column)
        {
            let text = |row: &Row| row.cells.get(column).map(|cell| cell.text().to_owned()).unwrap_or_default();
            rows.rows.sort_by(|left, right| {
                let order = natural(&text(left), &text(right));
                if sort.descending { order.reverse() } else { order }
            });
        }
        let found = self.at.as_ref().and_then(|at| rows.rows.iter().position(|row| row.subject == *at));
        self.line = found.unwrap_or_else(|| self.line.min(rows.rows.len().saturating_sub(1)));
        self.at = rows.rows.get(self.line).map(|row| row.subject.clone());
    }

    /// Moves the cursor.
    pub(crate) fn step(&mut self, step: Step, rows: &Rows, page: usize) {
        let last = rows.rows.len().saturating_sub(1);
        self.line = match step {
            Step::Up => self.line.saturating_sub(1),
            Step::Down => (self.line + 1).min(last),
            Step::PageUp => self.line.saturating_sub(page.max(1)),
            Step::PageDown => (self.line + page.max(1)).min(last),
            Step::Top => 0,
            Step::Bottom => last,
        };
        self.at = rows.rows.get(self.line).map(|row| row.subject.clone());
    }

    /// Scrolls so that the cursor shows, and returns the first line to show.
    pub(crate) fn scroll(&mut self, height: usize) -> usize {
        if self.line < self.top {
            self.top = self.line;
        }
        if height > 0 && self.line >= self.top + height {
            self.top = self.line + 1 - height;
        }
        self.top
    }

    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// Returns what the row under the cursor is about.
    pub(crate) fn at(&self) -> Option<&Subject> {
        self.at.as_ref()
    }

    /// Orders by a column; once more turns the order round, a third time ends it.
    pub(crate) fn sort_by(&mut self, column: &'static str) {
        self.sort = match &self.sort {
            Some(sort) if sort.column == column && sort.descending => None,
            Some(sort) if sort.column == column => Some(Sort { column, descending: true }),
            _ => Some(Sort { column, descending: false }),
        };
    }

    /// Returns the sign that stands behind an ordering column's heading.
    pub(crate) fn arrow(&self, column: &str) -> &'static str {
        match &self.sort {
            Some(sort) if sort.column == column && sort.descending => "↓",
            Some(sort) if sort.column == column => "↑",
            _ => "",
        }
    }

    /// Marks the row under the cursor, or takes its mark away.
    pub(crate) fn mark(&mut self) {
        if let Some(at) = &self.at
            && !self.marked.remove(at)
        {
            self.marked.insert(at.clone());
        }
    }
}

/// Compares as people do: numbers by value where both begin with one, else letters.
fn natural(left: &str, right: &str) -> Ordering {
    let seconds = |text: &str| span_seconds(text).or_else(|| leading_number(text));
    match (seconds(left), seconds(right)) {
        (Some(a), Some(b)) => a.cmp(&b).then_with(|| left.cmp(right)),
        _ => left.to_lowercase().cmp(&right.to_lowercase()),
    }
}

fn leading_number(text: &str) -> Option<u64> {
    let digits = text.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().ok()
}

/// Reads an age as the lists write it: `4m12s`, `3d2h`.
fn span_seconds(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut number = String::new();
    for c in text.chars() {
        let unit = match c {
            '0'..='9' => {
                number.push(c);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        number.clear();
    }
    (number.is_empty() && !text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(names: &[&str]) -> Rows {
        let row = |name: &&str| Row { subject: Subject::Node((*name).to_owned()), cells: vec![(*name).into()] };
        Rows { columns: vec!["NODE"], rows: names.iter().map(row).collect() }
    }

    fn shown(place: &mut ListPlace, names: &[&str]) -> Vec<String> {
        let mut rows = rows(names);
        place.lay_out(&mut rows);
        rows.rows.iter().map(|row| row.subject.to_string()).collect()
    }

    #[test]
    fn the_cursor_stays_with_its_row() {
        let mut place = ListPlace::default();
        shown(&mut place, &["a", "c", "d"]);
        place.step(Step::Down, &rows(&["a", "c", "d"]), 10);
        shown(&mut place, &["a", "b", "c", "d"]);
        assert_eq!((place.line(), place.at()), (2, Some(&Subject::Node("c".to_owned()))));
        shown(&mut place, &["a", "b", "d"]);
        assert_eq!(place.at(), Some(&Subject::Node("d".to_owned())), "a row that is gone leaves its line");
        shown(&mut place, &[]);
        assert_eq!(place.at(), None);
    }

    #[test]
    fn a_filter_may_be_turned_round() {
        let mut place = ListPlace { filter: Filter::typed("B"), ..ListPlace::default() };
        assert_eq!(shown(&mut place, &["ab", "c", "bd"]), ["ab", "bd"]);
        place.filter = Filter::typed("!b");
        assert_eq!(shown(&mut place, &["ab", "c", "bd"]), ["c"]);
        place.filter = Filter::typed("!");
        assert_eq!(shown(&mut place, &["ab", "c"]).len(), 2, "nothing typed hides nothing");
    }

    #[test]
    fn sorting_turns_round_and_ends() {
        let mut place = ListPlace::default();
        let names = ["node-10", "node-9", "node-1"];
        place.sort_by("NODE");
        assert_eq!(shown(&mut place, &["9", "10", "1"]), ["1", "9", "10"]);
        assert_eq!(shown(&mut place, &["4m12s", "59s", "3h0m"]), ["59s", "4m12s", "3h0m"]);
        place.sort_by("NODE");
        assert_eq!(shown(&mut place, &["9", "10", "1"]), ["10", "9", "1"]);
        place.sort_by("NODE");
        assert_eq!(shown(&mut place, &names), names);
    }

    #[test]
    fn the_cursor_is_always_on_the_screen() {
        let mut place = ListPlace::default();
        let names: Vec<_> = (0..100).map(|n| format!("{n:02}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        shown(&mut place, &names);
        for step in [Step::Bottom, Step::PageUp, Step::Up, Step::Top, Step::PageDown, Step::Down] {
            place.step(step, &rows(&names), 10);
            let top = place.scroll(10);
            assert!((top..top + 10).contains(&place.line()), "{step:?}: line {} of {top}", place.line());
        }
    }
}
