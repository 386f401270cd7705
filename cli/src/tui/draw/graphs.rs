//! GPUs over time: how busy, how full, how hot and how hungry each card is, and who has its memory.

use berth_client::api::{CardPoint, Gpu, Node};
use berth_core::units::Mib;
use berth_proto::node::v1::DeviceSample;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    bounded, clean,
    paint::{Paint, bar, graph},
};
use crate::{
    output::Ink,
    tui::{app::App, list::Filter, view::View},
    view::short_id,
};

/// A scale that does not move with what is measured: a line that is half as high is half as hot.
const CELSIUS_MOST: u64 = 100;

/// Room before a line of history.
const HEAD: usize = 26;

pub(super) fn draw(app: &mut App, frame: &mut Frame<'_>, area: Rect, paint: Paint) {
    app.page_height = usize::from(area.height);
    let filter = app.place(&View::GpuGraphs).filter.clone();
    let width = usize::from(area.width).saturating_sub(HEAD).clamp(10, 120);
    let shown = app.board.nodes.iter().flat_map(|node| node.gpus.iter().map(move |gpu| (node, gpu)));
    let cards = shown.filter(|(node, gpu)| lets(&filter, node, gpu)).count();
    let height = height(usize::from(area.height), cards, app.board.replicas.iter().map(|it| it.devices.len()).sum());
    let mut lines = Vec::new();
    for node in &app.board.nodes {
        for gpu in node.gpus.iter().filter(|gpu| lets(&filter, node, gpu)) {
            lines.extend(card(app, node, gpu, paint, (width, height)));
        }
    }
    if lines.is_empty() {
        let why = if filter.is_on() { "nothing matches the filter; esc clears it" } else { "no node has a GPU" };
        lines.push(Line::styled(why, paint.ink(Ink::Grey)));
    }
    let top = app.page_top(lines.len(), usize::from(area.height));
    frame.render_widget(bounded(lines.into_iter().skip(top), area.width), area);
}

/// Points of a line: two minutes, two seconds each.
const POINTS: usize = 60;
/// Graphs of a card.
const GRAPHS: usize = 4;
/// Lines that a graph takes at most: a higher one says nothing more.
const HEIGHT_MAX: usize = 8;

/// Returns how high each graph may be so that every card is on the screen; one line where they are too many.
fn height(area: usize, cards: usize, held: usize) -> usize {
    // A card has a head, and an empty line below what is held on it.
    let graphs = area.saturating_sub(2 * cards + held);
    graphs.checked_div(cards * GRAPHS).unwrap_or(1).clamp(1, HEIGHT_MAX)
}

fn lets(filter: &Filter, node: &Node, gpu: &Gpu) -> bool {
    filter.lets([node.node.as_str(), gpu.uuid.as_str(), gpu.model.as_str(), gpu.state.as_str()])
}

/// Returns the memory in use at a time; a point at which a card said nothing else tells nothing of its memory either.
fn used(point: &CardPoint) -> Option<u64> {
    let figures = [point.utilization_percent, point.temperature_celsius, point.power_milliwatt];
    (point.used_mib > 0 || figures.iter().any(Option::is_some)).then_some(point.used_mib)
}

/// What a full graph of power stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PowerScale {
    /// The most the card may draw.
    Limit(u32),
    /// The most it was seen to draw, where it does not say what it may.
    Seen(u32),
}

impl PowerScale {
    fn of(sample: &DeviceSample, history: impl Iterator<Item = u32>) -> Self {
        match sample.power_limit_milliwatt.filter(|limit| *limit > 0) {
            Some(limit) => Self::Limit(limit),
            None => Self::Seen(history.chain(sample.power_milliwatt).max().unwrap_or(0)),
        }
    }

    fn most_milliwatt(self) -> u64 {
        let (Self::Limit(most) | Self::Seen(most)) = self;
        u64::from(most)
    }

    fn said(self) -> String {
        match self {
            Self::Limit(limit) => format!("  up to {} W", limit / 1_000),
            Self::Seen(0) => String::new(),
            Self::Seen(most) => format!("  power limit not told: its graph is of the most seen, {} W", most / 1_000),
        }
    }
}

fn card(app: &App, node: &Node, gpu: &Gpu, paint: Paint, (width, height): (usize, usize)) -> Vec<Line<'static>> {
    let simulated = if gpu.simulated { " simulated" } else { "" };
    let head = format!("{} {}  {} {}{simulated}  ", node.node, gpu.uuid, gpu.model, Mib(gpu.memory_mib));
    let word = crate::view::gpu::word(node, gpu);
    let state = Span::styled(word.to_owned(), paint.ink(crate::view::gpu::ink(word)));
    let mut lines = vec![Line::from(vec![Span::styled(clean(&head), paint.bold()), state])];
    let history = app.board.card(&node.node, &gpu.uuid);
    let sample = gpu.sample.clone().unwrap_or_default();
    let scale = PowerScale::of(&sample, history.iter().filter_map(|point| point.power_milliwatt));
    lines[0].push_span(Span::styled(scale.said(), paint.ink(Ink::Grey)));
    // Where there is room for it, a point is as wide as fits.
    let columns = (width / POINTS).max(1);
    let line_of = |value: fn(&CardPoint) -> Option<u64>| -> Vec<Option<u64>> {
        history.iter().flat_map(|point| std::iter::repeat_n(value(point), columns)).collect()
    };
    let told = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let mut line = |name: &str, now: String, points: Vec<Option<u64>>, most: u64| {
        for (at, row) in graph(&points, width, height, most).into_iter().enumerate() {
            // The words stand beside the lowest line, where a zero shows.
            let (name, now) = if at + 1 == height.max(1) { (name, now.as_str()) } else { ("", "") };
            lines.push(Line::from(format!("  {name:7} {now:>12}  {row}")));
        }
    };
    line(
        "busy",
        told(sample.utilization_percent.map(|it| format!("{it} %"))),
        line_of(|it| it.utilization_percent.map(u64::from)),
        100,
    );
    let memory = gpu.sample.as_ref().map(|it| Mib(it.used_mib).to_string());
    line("memory", told(memory), line_of(used), gpu.memory_mib);
    line(
        "heat",
        told(sample.temperature_celsius.map(|it| format!("{it} °C"))),
        line_of(|it| it.temperature_celsius.map(u64::from)),
        CELSIUS_MOST,
    );
    line(
        "power",
        told(sample.power_milliwatt.map(|it| format!("{} W", it / 1_000))),
        line_of(|it| it.power_milliwatt.map(u64::from)),
        scale.most_milliwatt(),
    );
    for replica in app.board.replicas.iter().filter(|replica| replica.node == node.node) {
        // A slice is named by its card and its own number.
        let Some(grant) = replica.devices.iter().find(|grant| grant.uuid.starts_with(gpu.uuid.as_str())) else {
            continue;
        };
        let used = sample.processes.iter().find(|process| process.pid == replica.pid && replica.pid != 0);
        let held = grant.memory_mib.unwrap_or(gpu.memory_mib);
        let used_mib = used.and_then(|process| process.used_mib);
        let used_text = used_mib.map_or(String::new(), |mib| format!(", uses {}", Mib(mib)));
        lines.push(Line::from(format!(
            "  {} {}/{}  {} {}{used_text}",
            short_id(&replica.replica),
            replica.endpoint,
            replica.deployment,
            bar(held, gpu.memory_mib, 20),
            Mib(held),
        )));
    }
    lines.push(Line::raw(""));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A card is drawn against what it may take; where nobody says that, against what it took, and that is said.
    #[test]
    fn power_is_drawn_against_what_a_card_may_take() {
        let drawn = |limit, now, history: &[u32]| {
            let sample = DeviceSample { power_limit_milliwatt: limit, power_milliwatt: now, ..DeviceSample::default() };
            let scale = PowerScale::of(&sample, history.iter().copied());
            (scale.most_milliwatt(), scale.said())
        };
        let seen = "  power limit not told: its graph is of the most seen, 70 W";
        assert_eq!(drawn(Some(72_000), Some(70_000), &[71_000]), (72_000, "  up to 72 W".to_owned()));
        assert_eq!(drawn(None, Some(60_000), &[70_000, 50_000]), (70_000, seen.to_owned()));
        assert_eq!(drawn(None, Some(70_000), &[]), (70_000, seen.to_owned()));
        assert_eq!(drawn(Some(0), None, &[]), (0, String::new()), "nothing was said of power");
    }

    #[test]
    fn graphs_take_the_room_there_is() {
        for (area, cards, held, high) in
            [(21, 1, 1, 4), (57, 1, 1, 8), (21, 2, 4, 1), (37, 2, 2, 3), (37, 100, 0, 1), (37, 0, 0, 1)]
        {
            assert_eq!(height(area, cards, held), high, "{cards} cards in {area} lines");
        }
    }
}
