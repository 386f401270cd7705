//! Everything at a glance: endpoints with what they answer and how their traffic is split, nodes with what is held on
//! them, what happened last.

use berth_client::api::{Endpoint, Node};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    clean,
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

/// Panels from this width on have longer lines and bars.
const ROOMY: u16 = 100;

/// Room for the longest word of a node's state: `ready,cordoned`.
const STATE_WIDTH: usize = 14;

/// Room for what stands in a roomy line of a node after its name, and for what it uses behind that.
const NODE_WIDTH: usize = 2 + STATE_WIDTH + 3 * 24 + 10;
const USED_WIDTH: usize = 18;

/// Names take no more: the rest of the line is what one looks for.
const NAME_MAX: usize = 24;

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
    let widest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let name_width = widest.clamp(8, NAME_MAX);
    let is_roomy = area.width >= ROOMY;
    // Behind everything else: whole or not at all.
    let has_used = usize::from(area.width) >= name_width + NODE_WIDTH + USED_WIDTH;
    let headings = if *panel == View::Endpoints { endpoint_headings(is_roomy) } else { node_headings(is_roomy) };
    let title = if *panel == View::Endpoints { "ENDPOINT" } else { "NODE" };
    let mut lines = vec![Line::styled(format!("{title:name_width$}  {headings}"), paint.bold())];
    for (nth, (item, name)) in items.iter().zip(&names).enumerate() {
        let style = if has_cursor && top + nth == at { paint.cursor() } else { paint.bold() };
        let name: String = name.chars().take(name_width).collect();
        let mut spans = vec![Span::styled(format!("{name:name_width$}"), style), Span::raw("  ")];
        match item {
            Item::Endpoint(endpoint) => spans.extend(of_endpoint(app, endpoint, paint, is_roomy)),
            Item::Node(node) => spans.extend(of_node(app, node, paint, is_roomy, has_used)),
            _ => {}
        }
        lines.push(Line::from(spans));
    }
    if items.is_empty() {
        lines.push(Line::styled(format!(" {}", list::nothing(is_told, filter.is_on())), paint.ink(Ink::Grey)));
    }
    frame.render_widget(Paragraph::new(lines), area);
    let rows = Rect { y: area.y.saturating_add(1), height: area.height.saturating_sub(1), ..area };
    app.drawn.push(Drawn { list: panel.clone(), area: rows, top });
}

/// How wide the parts of an endpoint's line are.
#[derive(Clone, Copy)]
struct Sizes {
    /// The figures of a rate, of a time and of a share.
    figures: [usize; 3],
    /// The line of history behind each.
    history: [usize; 3],
    /// A bar of the split; where there is no room for one, its numbers are enough.
    bar: usize,
}

const WIDE: Sizes = Sizes { figures: [7, 7, 6], history: [8, 8, 8], bar: 8 };
const NARROW: Sizes = Sizes { figures: [4, 6, 6], history: [4, 3, 3], bar: 0 };

/// Letters of a deployment's name that a narrow line has room for, so that two of them fit.
const SHORT_NAME: usize = 8;

fn sizes(is_roomy: bool) -> Sizes {
    if is_roomy { WIDE } else { NARROW }
}

fn endpoint_headings(is_roomy: bool) -> String {
    let Sizes { figures, history, .. } = sizes(is_roomy);
    let [rate, p95, failed] = [0, 1, 2].map(|at| figures[at] + 1 + history[at]);
    // As wide as what stands below.
    let heading = if is_roomy { format!("{:>6}", "FAILED") } else { "FAILED".to_owned() };
    let requests = if is_roomy { "REQUESTS/S" } else { "REQ/S" };
    format!("{:9} {:>5}  {requests:rate$}  {:p95$}  {heading:failed$}  TRAFFIC", "STATE", "READY", "P95")
}

fn of_endpoint(app: &App, endpoint: &Endpoint, paint: Paint, is_roomy: bool) -> Vec<Span<'static>> {
    let Sizes { figures, history, bar: bar_width } = sizes(is_roomy);
    let state = &endpoint.provisioning_state;
    let mut spans = vec![Span::styled(format!("{state:9}"), paint.ink(state_ink(state)))];
    let own = app.board.deployments_of(&endpoint.name);
    let (ready, desired): (u64, u64) = own.iter().fold((0, 0), |(r, d), it| (r + it.ready, d + it.desired));
    let ink = if ready < desired { Ink::Yellow } else { Ink::Plain };
    spans.push(Span::styled(format!(" {:>5}  ", format!("{ready}/{desired}")), paint.ink(ink)));
    let points = app.board.answered(&endpoint.name, None);
    let lately = Lately::of(&points, app.board.point_seconds());
    let drawn = |at: usize, figure: String, values: Vec<Option<u64>>| {
        format!("{figure:>width$} {}", spark(&values, history[at]), width = figures[at])
    };
    spans.push(Span::raw(drawn(0, lately.rate(), points.iter().map(|point| Some(point.requests)).collect())));
    spans.push(Span::raw("  "));
    spans.push(Span::raw(drawn(1, lately.p95(), points.iter().map(Answered::p95).collect())));
    spans.push(Span::raw("  "));
    let ink = if lately.has_failures() { Ink::Red } else { Ink::Plain };
    let failed = drawn(2, lately.failed(), points.iter().map(|point| Some(point.failed)).collect());
    spans.push(Span::styled(failed, paint.ink(ink)));
    let most_first = |shares: &std::collections::BTreeMap<String, u32>| {
        let mut shares: Vec<_> = shares.iter().filter(|(_, percent)| **percent > 0).collect();
        shares.sort_by_key(|(_, percent)| std::cmp::Reverse(**percent));
        shares.into_iter().map(|(name, percent)| (name.clone(), *percent)).collect::<Vec<_>>()
    };
    let short = |name: &str| name.chars().take(SHORT_NAME).collect::<String>();
    let before = spans.len();
    for (name, percent) in most_first(&endpoint.traffic) {
        let text = match bar_width {
            // One space is enough between two that are read together.
            0 => format!("{}{} {percent}", if spans.len() == before { "  " } else { " " }, short(&name)),
            _ => format!("  {name} {} {percent} %", bar(u64::from(percent), 100, bar_width)),
        };
        spans.push(Span::raw(text));
    }
    for (name, percent) in most_first(&endpoint.mirror_traffic) {
        spans.push(Span::styled(format!("  mirror {name} {percent} %"), paint.ink(Ink::Grey)));
    }
    if endpoint.traffic.values().all(|percent| *percent == 0) {
        spans.push(Span::styled("  no traffic", paint.ink(Ink::Yellow)));
    }
    spans
}

/// Cells of a bar in a node's line.
fn cells(is_roomy: bool) -> usize {
    if is_roomy { 16 } else { 6 }
}

fn node_headings(is_roomy: bool) -> String {
    let wide = cells(is_roomy) + 6;
    let cpu = if is_roomy { "CPU █ held ▒ reserve" } else { "CPU ▒reserve" };
    format!("{:STATE_WIDTH$}  {cpu:wide$}  {:wide$}  {:wide$}  REPLICAS", "STATE", "MEMORY", "GPU")
}

fn of_node(app: &App, node: &Node, paint: Paint, is_roomy: bool, has_used: bool) -> Vec<Span<'static>> {
    let (state, ink) = match view::wish(node) {
        Some(wish) => (format!("{},{wish}", node.state), Ink::Yellow),
        None => (node.state.clone(), state_ink(&node.state)),
    };
    let mut spans = vec![Span::styled(format!("{state:STATE_WIDTH$}"), paint.ink(ink))];
    let (capacity, held) = (node.capacity.unwrap_or_default(), node.allocated.unwrap_or_default());
    let reserve = app.board.reserve_on(&node.node);
    let cells = cells(is_roomy);
    let mut gauge = |held: u64, reserve: u64, capacity: u64| {
        let percent = held.saturating_mul(100).checked_div(capacity).unwrap_or(0);
        let used = held.saturating_sub(reserve);
        spans.push(Span::raw(format!("  {} {percent:>3} %", bars(used, reserve, capacity, cells))));
    };
    gauge(held.cpu_milli, reserve.cpu_milli, capacity.cpu_milli);
    gauge(held.memory_mib, reserve.memory_mib, capacity.memory_mib);
    // By memory: shares of a card count, and a whole card is all of its memory.
    let cards = node.gpus.iter().fold((0, 0), |(held, all), gpu| (held + gpu.held_mib, all + gpu.memory_mib));
    if cards.1 > 0 {
        let reserve = app.board.cards_in_reserve_on(&node.node);
        gauge(cards.0, reserve, cards.1);
    } else {
        spans.push(Span::raw(format!("  {:width$}", "-", width = cells + 6)));
    }
    spans.push(Span::raw(format!("  {:>8}", node.replicas)));
    let out = node.gpus.iter().filter(|gpu| gpu.state != "healthy").count();
    if out > 0 {
        spans.push(Span::styled(format!("  {out} GPU out"), paint.ink(Ink::Red)));
    }
    if let Some(used) = node.used.filter(|_| has_used) {
        spans.push(Span::styled(format!("  {} used", figures::cores(used.cpu_milli)), paint.ink(Ink::Grey)));
    }
    spans
}
