//! Projects, their quotas and loans, as an operator meets them.

use std::fs;

use crate::berth::Dev;

const FILES: &str = "\
name: fraud
project: team-a
auth_mode: none
---
name: blue
endpoint_name: fraud
command: [sleep, '1000']
instance_type: Standard_DS4_v2
instance_count: 1
";

#[test]
fn a_project_meets_its_limit_borrows_and_is_told_when_it_is_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("all.yml");
    fs::write(&path, FILES).expect("a file");
    let file = path.display().to_string();
    let dev = Dev::start(&folder.path().join("data"), &["--nodes", "2"]);

    let nothing = dev.run(&["quota", "show"]).good();
    assert!(nothing.err.contains("`berth quota set PROJECT FAMILY=AMOUNT`"), "{nothing:#?}");
    let set = dev.run(&["quota", "set", "team-a", "standardDSv2=24"]).good();
    assert!(set.out.contains("team-a   standardDSv2Family  cores  0"), "{set:#?}");
    dev.run(&["apply", "-f", &file, "--no-wait"]).good();
    assert_eq!(dev.run(&["endpoint", "show", "fraud", "-o", "json"]).good().json()["project"], "team-a");

    fs::write(&path, FILES.replace("instance_count: 1", "instance_count: 3")).expect("a file");
    let planned = dev.run(&["plan", "-f", &file]);
    let scaled = dev.run(&["scale", "fraud/blue", "3", "--no-wait"]);
    assert_eq!((planned.code, scaled.code), (255, 1), "{planned:#?} {scaled:#?}");
    for part in [
        "(E_QUOTA)",
        "ceil(1.2 × 3) = 4 instances × 8 cores = 32 cores of standardDSv2Family, 16 more than now, project team-a has 8 of 24 free",
        "try: lower to 2 instances, or `berth quota set team-a standardDSv2Family=32`, or `berth quota lend team-a standardDSv2Family=8 --for 24h`",
    ] {
        assert!(planned.err.contains(part) && scaled.err.contains(part), "{part} in {planned:#?} {scaled:#?}");
    }

    let empty = dev.run(&["quota", "lend", "team-a", "standardDSv2Family=8", "--for", "24h"]);
    assert!(empty.code == 1 && empty.err.contains("`berth quota set --pool standardDSv2Family=8`"), "{empty:#?}");
    dev.run(&["quota", "set", "--pool", "standardDSv2Family=8"]).good();
    let loan = dev.run(&["quota", "lend", "team-a", "standardDSv2Family=8", "--for", "24h", "-o", "json"]).good();
    let loan = loan.json()["loan"].as_str().expect("an id").to_owned();
    dev.run(&["scale", "fraud/blue", "3", "--no-wait"]).good();
    let shown = dev.run(&["quota", "show", "team-a", "-o", "json"]).good().json();
    let line = &shown["quotas"][0];
    assert_eq!(
        ["used_milli", "reserve_milli", "limit_milli", "lent_milli", "free_milli", "over_milli"]
            .map(|name| line[name].as_u64()),
        [Some(32_000), Some(8_000), Some(24_000), Some(8_000), Some(0), Some(0)]
    );

    let returned = dev.run(&["quota", "return", &loan[..8]]).good();
    assert!(returned.out.contains("is returned"), "{returned:#?}");
    let over = dev.run(&["quota", "show"]).good();
    assert!(over.err.contains("warning: team-a is over by 8 cores of standardDSv2Family since"), "{over:#?}");
    let replicas = dev.run(&["get", "replicas", "-o", "json"]).good().json();
    assert_eq!(replicas.as_array().map(Vec::len), Some(3), "what runs stays");
    let tsv = dev.run(&["quota", "show", "-o", "tsv"]).good();
    assert_eq!(tsv.out.lines().count(), 1, "a line per family: {tsv:#?}");
    assert!(tsv.out.trim_end().ends_with("\tcores\t32000"), "{tsv:#?}");
    let lower = dev.run(&["quota", "set", "team-a", "standardDSv2Family=1"]).good();
    assert!(lower.err.contains("over by 31 cores") && lower.err.contains("what runs stays"), "{lower:#?}");
    dev.run(&["scale", "fraud/blue", "1", "--no-wait"]).good();
    dev.run(&["quota", "set", "team-a", "--unlimited", "standardDSv2Family"]).good();
    dev.run(&["scale", "fraud/blue", "3", "--no-wait"]).good();

    for (args, part) in [
        (&["quota", "set", "team-a", "H1O0=8", "cpu=much"][..], "cpu=much: is no FAMILY=AMOUNT"),
        (&["quota", "set", "team-a", "H1O0=8"], "did you mean `H100`?"),
        (&["quota", "set", "cpu=8"], "`cpu=8` is no project"),
        (&["quota", "set", "team-a"], "no family is named"),
        (&["quota", "show", "team-b"], "did you mean `team-a`?"),
        (&["quota", "return", "ffff0000"], "E_LOAN_NOT_FOUND"),
        (&["quota", "lend", "team-a", "cpu=1", "--for", "30s"], "1m to 7d"),
    ] {
        let ran = dev.run(args);
        assert_eq!(ran.code, 1, "{args:?} {ran:#?}");
        assert!(ran.err.contains(part), "{args:?} {ran:#?}");
    }
    assert_eq!(dev.stop(), 0);
}
