//! Everything at a glance: endpoints with what they answer and how their traffic is split, nodes with what is held on
//! them, what happened last.

use std::collections::BTreeMap;

use berth_client::api::{Endpoint, Node};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    bounded, clean, cut,
    figures::{self, Lately},
    list,
    paint::{Paint, bar, bars, spark},
};
use crate::{
    output::{Ink, state_ink},
    tui::{
        app::{App, PANELS},
        board::Answered,
        mouse::Drawn,
        rows::Item,
        view::View,
    },
    view,
};

/// Screens from this width on put events beside the rest.
const TWO_COLUMNS: u16 = 170;

/// Room for the longest word of a node's state: `ready,cordoned`.
const STATE_WIDTH: usize = 14;

/// Names take no more: the rest of the line is what one looks for.
const NAME_MAX: usize = 24;

/// Names are cut to no less than this where nothing else can give way.
const NAME_MIN: usize = 8;

/// Columns between two others.
const GAP: usize = 2;

pub(super) fn draw(app: &mut App, frame: &mut Frame<'_>, area: Rect, paint: Paint) {
    let (left, right) = if area.width >= TWO_COLUMNS {
        let [left, right] = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).spacing(2).areas(area);
        (left, Some(right))
    } else {
        (area, None)
    };
    // A rule and headings above the rows.
    let rows = |count: usize| u16::try_from(count.max(1)).unwrap_or(u16::MAX).saturating_add(2);
    let (endpoints, nodes) = (rows(app.board.endpoints.len()), rows(app.board.nodes.len()));
    // Each gets what it needs up to its share; the rest is for events.
    let share = if right.is_some() { left.height / 2 } else { (left.height / 3).max(4) };
    // What endpoints leave over, nodes may have.
    let top = endpoints.min(share);
    let middle = nodes.min(share + (share - top));
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(top), Constraint::Length(middle), Constraint::Min(0)]).areas(left);
    panel(app, frame, top, paint, 0);
    panel(app, frame, middle, paint, 1);
    panel(app, frame, right.unwrap_or(bottom), paint, 2);
}

fn panel(app: &mut App, frame: &mut Frame<'_>, area: Rect, paint: Paint, nth: usize) {
    let [title, body] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let has_cursor = app.panel == nth;
    let style = if has_cursor { paint.bold() } else { paint.ink(Ink::Grey) };
    let count = app.place(&PANELS[nth]).items.len();
    let text = format!("{} {} ({count}) ", nth + 1, PANELS[nth].title());
    let rule = "─".repeat(usize::from(area.width).saturating_sub(text.chars().count()));
    frame.render_widget(Paragraph::new(Line::styled(text + &rule, style)), title);
    match &PANELS[nth] {
        panel @ (View::Endpoints | View::Nodes) => pictures(app, frame, body, paint, has_cursor, panel),
        list => list::draw(app, list, frame, body, paint, has_cursor),
    }
}

/// Draws rows that hold pictures, which a plain list cannot.
fn pictures(app: &mut App, frame: &mut Frame<'_>, area: Rect, paint: Paint, has_cursor: bool, panel: &View) {
    let height = usize::from(area.height).saturating_sub(1);
    if has_cursor {
        app.page_height = height;
    }
    let is_told = app.is_told;
    let place = app.place(panel);
    let (top, at, filter) = (place.scroll(height), place.line(), place.filter.clone());
    let items: Vec<Item> = place.items.iter().skip(top).take(height).cloned().collect();
    let names: Vec<String> = items.iter().map(|item| clean(&item.subject().to_string())).collect();
    let width = usize::from(area.width);
    let mut table = if *panel == View::Endpoints {
        endpoints(app, &items, &names, width)
    } else {
        nodes(app, &items, &names, width)
    };
    table.fit(width);
    let widths = table.widths();
    let mut lines = vec![Line::from(table.line(&table.headings, &widths, paint.bold(), paint))];
    for (nth, cells) in table.rows.iter().enumerate() {
        let style = if has_cursor && top + nth == at { paint.cursor() } else { paint.bold() };
        lines.push(Line::from(table.line(cells, &widths, style, paint)));
    }
    if items.is_empty() {
        lines.push(Line::styled(format!(" {}", list::nothing(is_told, filter.is_on())), paint.ink(Ink::Grey)));
    }
    frame.render_widget(bounded(lines, area.width), area);
    let rows = Rect { y: area.y.saturating_add(1), height: area.height.saturating_sub(1), ..area };
    app.drawn.push(Drawn { list: panel.clone(), area: rows, top });
}

/// What stands in a column of a row.
type Word = (String, Ink);

/// A panel as words: a column is as wide as its widest word, so that none is cut without a sign.
struct Table {
    headings: Vec<Word>,
    /// The first word of each is a name.
    rows: Vec<Vec<Word>>,
}

// === impl Table ===

impl Table {
    fn of(headings: &[&str], rows: Vec<Vec<Word>>) -> Self {
        Self { headings: headings.iter().map(|text| ((*text).to_owned(), Ink::Bold)).collect(), rows }
    }

    fn widths(&self) -> Vec<usize> {
        let all = || self.rows.iter().chain([&self.headings]);
        let widest = |at: usize| all().filter_map(|row| row.get(at)).map(|(text, _)| text.chars().count()).max();
        let mut widths: Vec<_> = (0..self.headings.len()).map(|at| widest(at).unwrap_or(0)).collect();
        if let Some(name) = widths.first_mut() {
            *name = (*name).max(NAME_MIN);
        }
        widths
    }

    /// Returns how wide it is; a column without words takes no room.
    fn width(&self) -> usize {
        let widths = self.widths();
        let shown = widths.iter().filter(|width| **width > 0);
        shown.clone().sum::<usize>() + GAP * shown.count().saturating_sub(1)
    }

    /// Cuts names, with a sign, for as much as the rest is too wide.
    fn fit(&mut self, width: usize) {
        let beyond = self.width().saturating_sub(width);
        let most = self.widths().first().map_or(0, |name| name.saturating_sub(beyond).max(NAME_MIN));
        for (name, _) in self.rows.iter_mut().filter_map(|row| row.first_mut()) {
            *name = cut(name, most);
        }
    }

    fn line(&self, words: &[Word], widths: &[usize], first: Style, paint: Paint) -> Vec<Span<'static>> {
        let mut spans = Vec::new();
        for (at, ((text, ink), width)) in words.iter().zip(widths).enumerate().filter(|(_, (_, width))| **width > 0) {
            let style = if at == 0 { first } else { paint.ink(*ink) };
            if at > 0 {
                spans.push(Span::raw(" ".repeat(GAP)));
            }
            let is_last = widths[at + 1..].iter().all(|width| *width == 0);
            let padded = if is_last { text.clone() } else { format!("{text:width$}") };
            spans.push(Span::styled(padded, style));
        }
        spans
    }
}

/// Takes the first of several ways to draw a panel that fits, else the last.
fn first_that_fits<T: Copy>(ways: &[T], width: usize, mut draw: impl FnMut(T) -> Table) -> Table {
    let mut drawn = Table::of(&[], Vec::new());
    for way in ways {
        drawn = draw(*way);
        if drawn.width() <= width {
            break;
        }
    }
    drawn
}

/// How an endpoint's line is drawn.
#[derive(Clone, Copy)]
struct Sizes {
    /// The figures of a rate, of a time and of a share.
    figures: [usize; 3],
    /// The line of history behind each.
    history: [usize; 3],
    /// A bar of the split; where there is no room for one, its numbers are enough.
    bar: usize,
    /// Whether deployments have their whole names, and what is theirs its unit.
    whole: bool,
}

/// From the widest to the narrowest.
const SIZES: [Sizes; 6] = [
    Sizes { figures: [7, 7, 6], history: [8, 8, 8], bar: 8, whole: true },
    Sizes { figures: [7, 7, 6], history: [8, 8, 8], bar: 4, whole: true },
    Sizes { figures: [7, 7, 6], history: [4, 4, 4], bar: 4, whole: true },
    Sizes { figures: [4, 6, 6], history: [4, 3, 3], bar: 4, whole: true },
    Sizes { figures: [4, 6, 6], history: [4, 3, 3], bar: 0, whole: false },
    Sizes { figures: [4, 6, 6], history: [0, 0, 0], bar: 0, whole: false },
];

/// Letters of a deployment's name that a narrow line has room for, so that two of them fit.
const SHORT_NAME: usize = 8;

/// What a split takes at least: a share, and a sign that there are others.
const SPLIT_MIN: usize = 12;

/// What a split gets before history does: two shares, and a sign.
const SPLIT_ROOM: usize = 17;

const TRAFFIC: &str = "TRAFFIC";

fn endpoints(app: &App, items: &[Item], names: &[String], width: usize) -> Table {
    let table = |sizes: Sizes, room: usize| {
        let rows = items.iter().zip(names).filter_map(|(item, name)| match item {
            Item::Endpoint(it) => Some(of_endpoint(app, it, cut(name, NAME_MAX), sizes, room)),
            _ => None,
        });
        let rate = if sizes.whole { "REQUESTS/S" } else { "REQ/S" };
        Table::of(&["ENDPOINT", "STATE", "READY", rate, "P95", "FAILED", TRAFFIC], rows.collect())
    };
    let best = first_that_fits(&SIZES, width, |sizes| table(sizes, usize::MAX));
    if best.width() <= width {
        return best;
    }
    // Splits give way, and say so; then history, and at last names.
    let room = |sizes: Sizes| width.saturating_sub(table(sizes, 0).width() - TRAFFIC.len());
    let [.., short, shortest] = SIZES;
    if room(short) >= SPLIT_ROOM { table(short, room(short)) } else { table(shortest, room(shortest).max(SPLIT_MIN)) }
}

fn of_endpoint(app: &App, endpoint: &Endpoint, name: String, sizes: Sizes, room: usize) -> Vec<Word> {
    let Sizes { figures, history, .. } = sizes;
    let state = &endpoint.provisioning_state;
    let own = app.board.deployments_of(&endpoint.name);
    let (ready, desired): (u64, u64) = own.iter().fold((0, 0), |(r, d), it| (r + it.ready, d + it.desired));
    let points = app.board.answered(&endpoint.name, None);
    let lately = Lately::of(&points, app.board.point_seconds());
    let drawn = |at: usize, figure: String, values: Vec<Option<u64>>| {
        format!("{figure:>width$} {}", spark(&values, history[at]), width = figures[at])
    };
    vec![
        (name, Ink::Bold),
        (format!("{state:9}"), state_ink(state)),
        (format!("{:>5}", format!("{ready}/{desired}")), if ready < desired { Ink::Yellow } else { Ink::Plain }),
        (drawn(0, lately.rate(), points.iter().map(|point| Some(point.requests)).collect()), Ink::Plain),
        (drawn(1, lately.p95(), points.iter().map(Answered::p95).collect()), Ink::Plain),
        (
            drawn(2, lately.failed(), points.iter().map(|point| Some(point.failed)).collect()),
            if lately.has_failures() { Ink::Red } else { Ink::Plain },
        ),
        split(endpoint, sizes, room),
    ]
}

/// Writes who gets what: the largest first, then the mirrors; `…` where some find no room.
fn split(endpoint: &Endpoint, sizes: Sizes, room: usize) -> Word {
    let most_first = |shares: &BTreeMap<String, u32>| {
        let mut shares: Vec<_> = shares.iter().filter(|(_, percent)| **percent > 0).collect();
        shares.sort_by_key(|(_, percent)| std::cmp::Reverse(**percent));
        shares.into_iter().map(|(name, percent)| (name.clone(), *percent)).collect::<Vec<_>>()
    };
    let short = |name: &str| if sizes.whole { name.to_owned() } else { cut(name, SHORT_NAME) };
    let unit = if sizes.whole { " %" } else { "" };
    let share = |(name, percent): (String, u32)| match sizes.bar {
        0 => format!("{} {percent}{unit}", short(&name)),
        width => format!("{name} {} {percent}{unit}", bar(u64::from(percent), 100, width)),
    };
    let mut parts: Vec<_> = most_first(&endpoint.traffic).into_iter().map(share).collect();
    let ink = if parts.is_empty() { Ink::Yellow } else { Ink::Plain };
    if parts.is_empty() {
        parts.push("no traffic".to_owned());
    }
    let mirrors = most_first(&endpoint.mirror_traffic);
    parts.extend(mirrors.into_iter().map(|(name, percent)| format!("mirror {} {percent}{unit}", short(&name))));
    // One space is enough between two that are read together.
    let gap = if sizes.whole { "  " } else { " " };
    let all = parts.len();
    let text = |shown: usize| parts[..shown].join(gap) + if shown < all { "…" } else { "" };
    let text = (1..=all).rev().map(text).find(|text| text.chars().count() <= room).unwrap_or_default();
    (text, ink)
}

/// How a node's line is drawn: the cells of its bars, and whether it tells what is used.
const NODE_LINES: [(usize, bool); 5] = [(16, true), (16, false), (10, false), (6, false), (0, false)];

fn nodes(app: &App, items: &[Item], names: &[String], width: usize) -> Table {
    first_that_fits(&NODE_LINES, width, |(cells, has_used)| {
        let rows = items.iter().zip(names).filter_map(|(item, name)| match item {
            Item::Node(it) => Some(of_node(app, it, cut(name, NAME_MAX), cells, has_used)),
            _ => None,
        });
        let cpu = match cells {
            0 => "CPU",
            1..10 => "CPU ▒reserve",
            10..16 => "CPU ▒ reserve",
            _ => "CPU █ held ▒ reserve",
        };
        Table::of(&["NODE", "STATE", cpu, "MEMORY", "GPU", "REPLICAS", "", ""], rows.collect())
    })
}

fn of_node(app: &App, node: &Node, name: String, cells: usize, has_used: bool) -> Vec<Word> {
    let (state, ink) = match view::wish(node) {
        Some(wish) => (format!("{},{wish}", node.state), Ink::Yellow),
        None => (node.state.clone(), state_ink(&node.state)),
    };
    let (capacity, held) = (node.capacity.unwrap_or_default(), node.allocated.unwrap_or_default());
    let reserve = app.board.reserve_on(&node.node);
    let gauge = |held: u64, reserve: u64, capacity: u64| {
        let percent = held.saturating_mul(100).checked_div(capacity).unwrap_or(0);
        let used = held.saturating_sub(reserve);
        let bars = bars(used, reserve, capacity, cells);
        (format!("{bars}{}{percent:>3} %", if cells > 0 { " " } else { "" }), Ink::Plain)
    };
    // By memory: shares of a card count, and a whole card is all of its memory.
    let cards = node.gpus.iter().fold((0, 0), |(held, all), gpu| (held + gpu.held_mib, all + gpu.memory_mib));
    let card = match cards {
        (_, 0) => (format!("{:width$}", "-", width = cells + 6), Ink::Plain),
        (held, all) => gauge(held, app.board.cards_in_reserve_on(&node.node), all),
    };
    let out = node.gpus.iter().filter(|gpu| gpu.state != "healthy").count();
    let out = if out > 0 { format!("{out} GPU out") } else { String::new() };
    let used = node.used.filter(|_| has_used).map(|used| format!("{} used", figures::cores(used.cpu_milli)));
    vec![
        (name, Ink::Bold),
        (format!("{state:STATE_WIDTH$}"), ink),
        gauge(held.cpu_milli, reserve.cpu_milli, capacity.cpu_milli),
        gauge(held.memory_mib, reserve.memory_mib, capacity.memory_mib),
        card,
        (format!("{:>8}", node.replicas), Ink::Plain),
        (out, Ink::Red),
        (used.unwrap_or_default(), Ink::Grey),
    ]
}
