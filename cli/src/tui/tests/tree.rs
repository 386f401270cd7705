//! The tree stays one, however it is ordered and filtered.

use super::*;

/// A line of a tree is ordered among its siblings, and what a filter keeps stays in what it belongs to.
#[test]
fn a_tree_stays_a_tree() {
    let names = |keys: &str| {
        let mut at = app(View::Tree);
        if !keys.is_empty() {
            press(&mut at, keys);
        }
        at.place(&View::Tree).items.iter().map(|item| item.subject().to_string()).collect::<Vec<_>>().join(" ")
    };
    let whole = "digits fraud fraud/blue a1000000 b2000000 fraud/green c3000000 node-2 GPU-7f3a";
    for (keys, lines) in [
        ("", whole),
        ("N", whole),
        ("N N", "fraud fraud/green c3000000 node-2 GPU-7f3a fraud/blue b2000000 a1000000 digits"),
        ("N N N", whole),
        ("S", "fraud fraud/blue a1000000 b2000000 fraud/green c3000000 node-2 GPU-7f3a digits"),
        ("/b2 enter", "fraud fraud/blue b2000000"),
        ("/gpu enter", "fraud fraud/green c3000000 node-2 GPU-7f3a"),
        ("/serving enter", "fraud fraud/blue a1000000 b2000000"),
        ("/digits enter", "digits"),
        ("/none enter", ""),
        ("/!90 enter", "digits"),
        ("/!0/1 enter", "digits fraud fraud/blue a1000000 b2000000"),
        ("/b2 enter N N", "fraud fraud/blue b2000000"),
    ] {
        assert_eq!(names(keys), lines, "{keys}");
    }
}

/// What a filter looked for stands out from what it is in, with colours and without.
#[test]
fn what_a_tree_shows_only_for_what_is_in_it_is_dimmed() {
    use ratatui::style::{Color, Modifier};
    for (keys, dimmed) in [("/b2 enter", "fraud fraud/blue"), ("/fraud enter", ""), ("/!90 enter", ""), ("", "")] {
        for color in [true, false] {
            let mut at = app(View::Tree);
            if !keys.is_empty() {
                press(&mut at, keys);
            }
            // The line under the cursor has a look of its own.
            press(&mut at, "G");
            let mut terminal = ratatui::Terminal::new(ratatui::backend::TestBackend::new(120, 40)).expect("a screen");
            terminal.draw(|frame| super::super::draw::frame(&mut at, frame, color)).expect("a frame");
            let buffer = terminal.backend().buffer();
            let lines = at.place(&View::Tree).items.len();
            let is_dim = |cell: &ratatui::buffer::Cell| match color {
                true => cell.fg == Color::DarkGray,
                false => cell.modifier.contains(Modifier::DIM),
            };
            let dim = (0..lines).filter(|line| {
                let y = u16::try_from(3 + line).expect("a line of the screen");
                // All of it: a cell may be grey for what it says.
                let mut cells = (1..120).filter_map(|x| buffer.cell((x, y))).filter(|cell| cell.symbol() != " ");
                cells.all(is_dim)
            });
            let names: Vec<_> = dim.map(|line| at.place(&View::Tree).items[line].subject().to_string()).collect();
            let expected: Vec<_> = dimmed.split(' ').filter(|name| !name.is_empty()).collect();
            assert_eq!(names, expected, "{keys} {color}");
        }
    }
}
