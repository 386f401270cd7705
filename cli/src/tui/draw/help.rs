//! The keys.

use ratatui::text::{Line, Span};

use super::paint::Paint;

const KEYS: &[(&str, &[(&str, &str)])] = &[
    (
        "go",
        &[
            (":", "open a screen by name; tab completes, the arrows bring back what was typed before"),
            ("ctrl-a", "list the names"),
            ("enter", "go into what is under the cursor"),
            ("esc", "clear the filter, the marks, or go back"),
            ("[ ]", "back and forward"),
            ("-", "the screen before this one"),
            ("P X g", "pulses, tree, GPU graphs"),
            ("1-3 tab", "panels of the dashboard"),
            ("q ctrl-c", "leave"),
        ],
    ),
    (
        "look",
        &[
            ("/ /!", "show only what matches, or what does not"),
            ("d", "describe; for a deployment: why its replicas are where they are"),
            ("y", "yaml"),
            ("l p b", "log; of the replica that ended last; of the environment's build"),
            ("m", "what becomes of mirrored copies"),
            ("x", "explain a request by its id"),
            ("w", "what would happen without this node"),
            ("ctrl-w ←→", "more columns; what lies beside the screen"),
            ("N A S O", "order by name, age, state, the next column; again turns it round"),
            ("space", "mark; u, r and ctrl-d then mean all that is marked"),
            ("c", "copy the name"),
            ("ctrl-r", "draw everything again, read a page again"),
        ],
    ),
    (
        "change",
        &[
            ("t", "traffic: arrows move 1 %, with shift 10 %; enter shows the plan, y does it"),
            ("s", "scale a deployment"),
            ("u", "keep new replicas away from a node, or let them back"),
            ("r", "restart a deployment; drain a node, or withdraw that; shows first what it does"),
            ("ctrl-l", "take a deployment back to the generation before; shows the plan"),
            ("e", "edit in $EDITOR; shows the plan, y does it"),
            ("ctrl-d", "delete endpoints, deployments; replace replicas; forget lost nodes"),
            ("ctrl-k", "replace a replica now: its requests are cut"),
        ],
    ),
];

pub(super) fn lines(paint: Paint) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for (title, keys) in KEYS {
        lines.push(Line::styled(*title, paint.bold()));
        for (key, what) in *keys {
            lines.push(Line::from(vec![Span::styled(format!("  {key:10}"), paint.bold()), Span::raw(*what)]));
        }
        lines.push(Line::raw(""));
    }
    lines
}
