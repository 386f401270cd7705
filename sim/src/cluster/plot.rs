//! The plot: free, used and reserved over time, one panel per dimension, as SVG.
//!
//! Three stacked steps, two axes and a legend are rectangles and text; a plotting library would bring fonts and a raster
//! backend for them.

use std::fmt::Write as _;

use super::{Amounts, Sizing, report::clock};

const WIDTH: u64 = 820;
const PANEL_HEIGHT: u64 = 150;
/// Between panels: the title of the next one and the times under the last.
const GAP: u64 = 58;
const LEFT: u64 = 96;
const RIGHT: u64 = 20;
const TOP: u64 = 64;
/// Times written under a panel; more would touch.
const TICKS_MAX: usize = 10;
/// Minutes shown after the last change, when there is nothing to tell how long it lasts.
const LAST_MINUTES: u64 = 60;

/// The layers from the bottom up: name, colour. Told apart in grey and by the colour-blind too.
const LAYERS: [(&str, &str); 3] = [("used", "#2b6cb0"), ("reserved", "#ecb03c"), ("free", "#e6ebf1")];

/// Draws what is held over time.
pub fn plot(sizing: &Sizing) -> String {
    let panels: Vec<_> = (0..Amounts::default().dimensions().len())
        .filter(|at| sizing.samples.iter().any(|sample| sample.capacity.dimensions()[*at].1 > 0))
        .collect();
    let height = TOP + panels.len().max(1) as u64 * (PANEL_HEIGHT + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#1a202c\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    let title = sizing.to_string();
    let title = escaped(title.lines().next().unwrap_or_default());
    push(&mut svg, format_args!("<text x=\"{LEFT}\" y=\"22\" font-size=\"14\" font-weight=\"600\">{title}</text>"));
    legend(&mut svg);
    for (row, at) in panels.into_iter().enumerate() {
        panel(&mut svg, sizing, at, TOP + row as u64 * (PANEL_HEIGHT + GAP));
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String) {
    for (nth, (name, color)) in LAYERS.into_iter().enumerate() {
        let x = LEFT + nth as u64 * 90;
        push(svg, format_args!("<rect x=\"{x}\" y=\"32\" width=\"11\" height=\"11\" fill=\"{color}\"/>"));
        push(svg, format_args!("<text x=\"{}\" y=\"42\">{name}</text>", x + 16));
    }
}

/// Draws one dimension.
fn panel(svg: &mut String, sizing: &Sizing, at: usize, top: u64) {
    let amount = |amounts: &Amounts| amounts.dimensions()[at].1;
    let name = Amounts::default().dimensions()[at].0;
    let samples = &sizing.samples;
    let most = samples.iter().map(|it| amount(&it.capacity).max(amount(&it.used) + amount(&it.reserved))).max();
    let most = most.unwrap_or(0).max(1);
    let first = samples.first().map_or(0, |sample| sample.minute);
    let last = samples.last().map_or(0, |sample| sample.minute);
    // The last step is as wide as those before it are on average.
    let mean = (last - first).checked_div(samples.len().saturating_sub(1) as u64).unwrap_or(0);
    let end = last + if mean == 0 { LAST_MINUTES } else { mean };
    let x = |minute: u64| LEFT + (minute - first) * (WIDTH - LEFT - RIGHT) / (end - first).max(1);
    let tall = |amount: u64| (u128::from(amount) * u128::from(PANEL_HEIGHT) / u128::from(most)) as u64;
    let bottom = top + PANEL_HEIGHT;
    push(svg, format_args!("<text x=\"{LEFT}\" y=\"{}\" font-weight=\"600\">{name}</text>", top - 6));
    for (nth, sample) in samples.iter().enumerate() {
        let until = samples.get(nth + 1).map_or(end, |next| next.minute);
        let (left, width) = (x(sample.minute), x(until) - x(sample.minute));
        let (used, reserved) = (amount(&sample.used), amount(&sample.reserved));
        let free = amount(&sample.capacity).saturating_sub(used + reserved);
        let mut base = 0;
        for (part, (layer, color)) in [used, reserved, free].into_iter().zip(LAYERS) {
            let (low, high) = (tall(base), tall(base + part));
            base += part;
            if high > low && width > 0 {
                let title = format!("{} {layer} from {}", shown(at, part), clock(sample.minute));
                push(
                    svg,
                    format_args!(
                        "<rect x=\"{left}\" y=\"{}\" width=\"{width}\" height=\"{}\" fill=\"{color}\"><title>{}</title></rect>",
                        bottom - high,
                        high - low,
                        escaped(&title)
                    ),
                );
            }
        }
    }
    axes(svg, top, most, at);
    let every = samples.len().div_ceil(TICKS_MAX).max(1);
    for sample in samples.iter().step_by(every) {
        let left = x(sample.minute);
        push(
            svg,
            format_args!(
                "<text x=\"{left}\" y=\"{}\" text-anchor=\"middle\" fill=\"#4a5568\">{}</text>",
                bottom + 16,
                clock(sample.minute)
            ),
        );
    }
}

fn axes(svg: &mut String, top: u64, most: u64, at: usize) {
    let (bottom, right) = (top + PANEL_HEIGHT, WIDTH - RIGHT);
    for (y, amount) in [(top, most), (top + PANEL_HEIGHT / 2, most / 2), (bottom, 0)] {
        push(
            svg,
            format_args!(
                "<line x1=\"{LEFT}\" y1=\"{y}\" x2=\"{right}\" y2=\"{y}\" stroke=\"#a0aec0\" stroke-width=\"0.5\"/>"
            ),
        );
        push(
            svg,
            format_args!(
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#4a5568\">{}</text>",
                LEFT - 8,
                y + 4,
                shown(at, amount)
            ),
        );
    }
}

/// Writes an amount of a dimension as people read it.
fn shown(at: usize, amount: u64) -> String {
    let all = Amounts { cpu_milli: amount, memory_mib: amount, gpus: amount, gpu_memory_mib: amount };
    all.dimensions()[at].2.clone()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn push(svg: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = svg.write_fmt(line);
    svg.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Sample;

    #[test]
    fn layers_stack_up_to_what_there_is() {
        let capacity = Amounts { cpu_milli: 4_000, ..Amounts::default() };
        let used = |cpu_milli| Amounts { cpu_milli, ..Amounts::default() };
        let sample = |minute, cpu| Sample { minute, capacity, used: used(cpu), ..Sample::default() };
        let samples = vec![sample(0, 1_000), sample(60, 4_000)];
        let svg = plot(&Sizing { fits: true, shape: "a<b".into(), samples, ..Sizing::default() });
        let heights: Vec<u64> = svg
            .lines()
            .filter(|line| line.contains("<title>"))
            .filter_map(|line| line.split("height=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(heights, [37, 113, 150], "a quarter used, the rest free; then all of it used\n{svg}");
        assert!(!svg.contains("memory"), "a dimension that no node has is not drawn");
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    }
}
