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
