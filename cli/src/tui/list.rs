//! Where one is in a list: the row under the cursor, the filter, the order, the marks.
//!
//! The cursor and the marks stay with what a row is about, not with its line: rows come and go while one looks. The rows
//! are laid out when the board, the filter or the order changed; moving the cursor lays out nothing.

use std::{cmp::Ordering, collections::BTreeSet};

use super::{
    rows::{self, Item, Look},
    view::{Subject, View},
};

/// No column but the last takes more room: one long name would push the others off the screen.
const COLUMN_MAX: usize = 44;

/// Where one is in a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListPlace {
    at: Option<Subject>,
    /// The line of the cursor as last laid out; where it stays when its row goes.
    line: usize,
    /// The first line shown.
    top: usize,
    /// Columns after the first that are scrolled off at the left.
    left: usize,
    pub(crate) filter: Filter,
    sort: Option<Sort>,
    pub(crate) marked: BTreeSet<Subject>,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) items: Vec<Item>,
    /// What the items were made of.
    laid: Option<Laid>,
    /// The widest text of each column that was shown: columns grow while one scrolls and never jump back.
    widths: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Laid {
    revision: u64,
    wide: bool,
    filter: Filter,
    sort: Option<Sort>,
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

    /// Returns whether a text is shown.
    pub(crate) fn lets<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> bool {
        !self.is_on() || texts.into_iter().any(|text| text.to_lowercase().contains(&self.text)) != self.inverse
    }
}

// === impl ListPlace ===

impl ListPlace {
    /// Lists the rows anew if anything they depend on changed, and finds the cursor in them again.
    pub(crate) fn lay_out(&mut self, view: &View, look: Look<'_>) {
        let laid = Laid {
            revision: look.board.revision,
            wide: look.wide,
            filter: self.filter.clone(),
            sort: self.sort.clone(),
        };
        if self.laid.as_ref() == Some(&laid) {
            return;
        }
        let columns = rows::columns(view, look.wide);
        if columns != self.columns {
            self.widths.clear();
            self.columns = columns;
        }
        self.items = rows::items(view, look.board);
        if self.filter.is_on() {
            let filter = &self.filter;
            let lets = |item: &Item| filter.lets(item.cells(look).iter().map(crate::output::Cell::text));
            self.items = filtered(std::mem::take(&mut self.items), filter.inverse, lets);
        }
        if let Some(sort) = &self.sort
            && let Some(column) = self.columns.iter().position(|name| *name == sort.column)
        {
            let text =
                |item: &Item| item.cells(look).get(column).map(|cell| cell.text().to_owned()).unwrap_or_default();
            let keyed: Vec<_> = std::mem::take(&mut self.items).into_iter().map(|item| (text(&item), item)).collect();
            self.items = sorted(keyed, sort.descending);
        }
        self.laid = Some(laid);
        let found = self.at.as_ref().and_then(|at| {
            // It is mostly where it was.
            let still = self.items.get(self.line).is_some_and(|item| item.is(at));
            if still { Some(self.line) } else { self.items.iter().position(|item| item.is(at)) }
        });
        self.line = found.unwrap_or_else(|| self.line.min(self.items.len().saturating_sub(1)));
        self.at = self.items.get(self.line).map(Item::subject);
    }

    /// Moves the cursor.
    pub(crate) fn step(&mut self, step: Step, page: usize) {
        let last = self.items.len().saturating_sub(1);
        self.line = match step {
            Step::Up => self.line.saturating_sub(1),
            Step::Down => (self.line + 1).min(last),
            Step::PageUp => self.line.saturating_sub(page.max(1)),
            Step::PageDown => (self.line + page.max(1)).min(last),
            Step::Top => 0,
            Step::Bottom => last,
        };
        self.at = self.items.get(self.line).map(Item::subject);
    }

    /// Moves the cursor to a line.
    pub(crate) fn go_to(&mut self, line: usize) {
        self.line = line.min(self.items.len().saturating_sub(1));
        self.at = self.items.get(self.line).map(Item::subject);
    }

    /// Scrolls by a column; the first, which says what a row is about, stays.
    pub(crate) fn sideways(&mut self, right: bool) {
        let most = self.columns.len().saturating_sub(2);
        self.left = if right { (self.left + 1).min(most) } else { self.left.saturating_sub(1) };
    }

    /// Returns how many columns after the first are scrolled off.
    pub(crate) fn left(&self) -> usize {
        self.left.min(self.columns.len().saturating_sub(2))
    }

    /// Scrolls so that the cursor shows, and returns the first line to show.
    pub(crate) fn scroll(&mut self, height: usize) -> usize {
        if self.line < self.top {
            self.top = self.line;
        }
        if height > 0 && self.line >= self.top + height {
            self.top = self.line + 1 - height;
        }
        // Nothing is left empty below while there is more above.
        self.top = self.top.min(self.items.len().saturating_sub(height));
        self.top
    }

    /// Returns the width of each column, with room for what is shown now.
    pub(crate) fn widths(&mut self, shown: &[Vec<crate::output::Cell>]) -> Vec<usize> {
        self.widths.resize(self.columns.len(), 0);
        let last = self.columns.len().saturating_sub(1);
        for (at, name) in self.columns.iter().enumerate() {
            let cells = shown.iter().filter_map(|cells| cells.get(at)).map(|cell| cell.text().chars().count());
            let heading = name.chars().count() + self.arrow(name).chars().count();
            let most = cells.chain([heading]).max().unwrap_or(0);
            let most = if at == last { most } else { most.min(COLUMN_MAX) };
            self.widths[at] = self.widths[at].max(most);
        }
        self.widths.clone()
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

/// Keeps the lines that a filter lets through. In a tree what they belong to stays above them; turned round, what is in
/// a line goes with it.
fn filtered(items: Vec<Item>, inverse: bool, lets: impl Fn(&Item) -> bool) -> Vec<Item> {
    if inverse {
        let mut hidden: Option<usize> = None;
        let is_kept = |item: &Item| {
            if hidden.is_some_and(|depth| item.depth() > depth) {
                return false;
            }
            hidden = if lets(item) { None } else { Some(item.depth()) };
            hidden.is_none()
        };
        let mut items = items;
        items.retain(is_kept);
        return items;
    }
    // From below: the next line that is less far in is what a kept one belongs to.
    let mut wanted = 0;
    let mut kept: Vec<Item> = items
        .into_iter()
        .rev()
        .filter(|item| {
            let is_kept = item.depth() < wanted || lets(item);
            if is_kept {
                wanted = item.depth();
            }
            is_kept
        })
        .collect();
    kept.reverse();
    kept
}

/// A line, and the text that orders it.
type Keyed = (String, Item);

/// Orders lines; those of a tree among their siblings, each with what is in it.
fn sorted(lines: Vec<Keyed>, descending: bool) -> Vec<Item> {
    let mut families: Vec<(Keyed, Vec<Keyed>)> = Vec::new();
    for line in lines {
        match families.last_mut().filter(|((_, parent), _)| line.1.depth() > parent.depth()) {
            Some((_, within)) => within.push(line),
            None => families.push((line, Vec::new())),
        }
    }
    families.sort_by(|((left, _), _), ((right, _), _)| {
        let order = natural(left, right);
        if descending { order.reverse() } else { order }
    });
    let mut all = Vec::new();
    for ((_, parent), within) in families {
        all.push(parent);
        all.extend(sorted(within, descending));
    }
    all
}

/// Compares as people do: ages by what they mean, digits by their value, else letters.
pub(crate) fn natural(left: &str, right: &str) -> Ordering {
    if let (Some(a), Some(b)) = (span_seconds(left), span_seconds(right)) {
        return a.cmp(&b).then_with(|| left.cmp(right));
    }
    let (mut a, mut b) = (left, right);
    loop {
        let order = match (number(a), number(b)) {
            (Some((x, rest_a)), Some((y, rest_b))) => {
                (a, b) = (rest_a, rest_b);
                x.cmp(&y)
            }
            _ => match (a.chars().next(), b.chars().next()) {
                (Some(x), Some(y)) => {
                    (a, b) = (&a[x.len_utf8()..], &b[y.len_utf8()..]);
                    x.to_lowercase().cmp(y.to_lowercase())
                }
                (x, y) => return x.cmp(&y).then_with(|| left.cmp(right)),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Splits a leading number off.
fn number(text: &str) -> Option<(u128, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    // Longer ones are ids, not numbers: letter by letter will do.
    let value = text[..end.min(30)].parse().ok().filter(|_| end <= 30)?;
    Some((value, &text[end..]))
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
    use std::{cell::Cell, sync::Arc};

    use berth_client::api::Node;

    use super::*;
    use crate::tui::board::Board;

    fn lay(place: &mut ListPlace, names: &[&str]) -> Vec<String> {
        let node = |name: &&str| Arc::new(Node { node: (*name).to_owned(), ..Node::default() });
        let mut board = Board::default();
        board.nodes = names.iter().map(node).collect();
        // Whatever came before, this is another board.
        board.revision = place.laid.as_ref().map_or(0, |laid| laid.revision + 1);
        let formatted = Cell::new(0);
        place.lay_out(&View::Nodes, Look { board: &board, wide: false, now_ms: 0, formatted: &formatted });
        place.items.iter().map(|item| item.subject().to_string()).collect()
    }

    #[test]
    fn the_cursor_stays_with_its_row() {
        let mut place = ListPlace::default();
        lay(&mut place, &["a", "c", "d"]);
        place.step(Step::Down, 10);
        lay(&mut place, &["a", "b", "c", "d"]);
        assert_eq!((place.line(), place.at()), (2, Some(&Subject::Node("c".to_owned()))));
        lay(&mut place, &["a", "b", "d"]);
        assert_eq!(place.at(), Some(&Subject::Node("d".to_owned())), "a row that is gone leaves its line");
        lay(&mut place, &[]);
        assert_eq!(place.at(), None);
    }

    #[test]
    fn a_filter_may_be_turned_round() {
        let mut place = ListPlace { filter: Filter::typed("Q"), ..ListPlace::default() };
        assert_eq!(lay(&mut place, &["aq", "c", "qd"]), ["aq", "qd"]);
        place.filter = Filter::typed("!q");
        assert_eq!(lay(&mut place, &["aq", "c", "qd"]), ["c"]);
        place.filter = Filter::typed("!");
        assert_eq!(lay(&mut place, &["aq", "c"]).len(), 2, "nothing typed hides nothing");
    }

    #[test]
    fn sorting_turns_round_and_ends() {
        let mut place = ListPlace::default();
        let names = ["node-10", "node-9", "node-1"];
        place.sort_by("NODE");
        assert_eq!(lay(&mut place, &["9", "10", "1"]), ["1", "9", "10"]);
        assert_eq!(lay(&mut place, &names), ["node-1", "node-9", "node-10"]);
        place.sort_by("NODE");
        assert_eq!(lay(&mut place, &["9", "10", "1"]), ["10", "9", "1"]);
        place.sort_by("NODE");
        assert_eq!(lay(&mut place, &names), names);
    }

    #[test]
    fn order_is_as_people_count() {
        for (less, more) in [
            ("59s", "4m12s"),
            ("4m12s", "3h0m"),
            ("9", "10"),
            ("node-9", "node-10"),
            ("node-9-1", "node-9-2"),
            ("a", "B"),
            ("4/64", "16/64"),
        ] {
            assert_eq!(natural(less, more), Ordering::Less, "{less} before {more}");
            assert_eq!(natural(more, less), Ordering::Greater, "{more} after {less}");
        }
    }

    #[test]
    fn the_cursor_is_always_on_the_screen() {
        let mut place = ListPlace::default();
        let names: Vec<_> = (0..100).map(|n| format!("{n:02}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        lay(&mut place, &names);
        for step in [Step::Bottom, Step::PageUp, Step::Up, Step::Top, Step::PageDown, Step::Down] {
            place.step(step, 10);
            let top = place.scroll(10);
            assert!((top..top + 10).contains(&place.line()), "{step:?}: line {} of {top}", place.line());
        }
        place.step(Step::Bottom, 10);
        place.scroll(10);
        assert_eq!(place.scroll(60), 40, "a taller screen is filled");
    }
}
