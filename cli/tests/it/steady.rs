//! What a cluster says, without what differs from run to run, for a test to compare the whole of it.

/// Hides what differs from run to run: ids, addresses, times, counts of bytes and keys. Spaces stay as they are, and a table
/// is laid out anew around what is hidden, once it is seen that every cell begins below its heading: what is not aligned
/// is said to be so, and a snapshot never says that.
pub(crate) fn steady(text: &str) -> String {
    steady_by(text, word)
}

/// The same with another way to hide words.
pub(crate) fn steady_by(text: &str, hide: fn(&str) -> String) -> String {
    // Which of the two a leader hears first is a race; it stands in a last column.
    let text = text.replace("is starting: its process does not answer yet", "is starting: starts its process");
    let text = text.replace("is preparing: builds its environment", "is preparing: fetches its model and code");
    // What a slot had ready may start before a leader hears that it was prepared.
    let is_heard = |line: &&str| !(line.contains("replica.preparing") && line.ends_with("where its slot had them"));
    let lines: Vec<&str> = text.lines().filter(is_heard).collect();
    let mut out = String::new();
    let mut at = 0;
    while at < lines.len() {
        match columns(lines[at]) {
            None => {
                out.push_str(&format!("{}\n", words(lines[at], hide)));
                at += 1;
            }
            Some(starts) => {
                let rows: Vec<_> = lines[at..].iter().take_while(|line| is_row(line)).copied().collect();
                at += rows.len();
                out.push_str(&laid_out(&rows, &starts, hide));
            }
        }
    }
    out
}

/// Finds where the columns of a line of headings begin; nothing when it is another line.
fn columns(line: &str) -> Option<Vec<usize>> {
    let chars: Vec<char> = line.chars().collect();
    let is_heading = chars.iter().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || " /()%".contains(*c));
    let begins = |at: usize| chars[at] != ' ' && chars[at.saturating_sub(2)..at].iter().all(|c| *c == ' ');
    let starts: Vec<usize> = (0..chars.len()).filter(|at| begins(*at)).collect();
    (is_heading && starts.len() > 1).then_some(starts)
}

/// Returns whether a line goes on with a table: what is empty, indented or one sentence does not.
fn is_row(line: &str) -> bool {
    let is_marked = line.starts_with("   ") || line.starts_with("* ");
    is_marked || (!line.is_empty() && !line.starts_with(' ') && line.contains("  "))
}

/// Lays the rows of a table out around what is hidden in them.
fn laid_out(rows: &[&str], starts: &[usize], hide: fn(&str) -> String) -> String {
    // A column without a heading comes first.
    let starts: Vec<usize> =
        [0].into_iter().filter(|first| starts[0] != *first).chain(starts.iter().copied()).collect();
    let mut cells: Vec<Vec<String>> = Vec::new();
    for row in rows {
        let chars: Vec<char> = row.chars().collect();
        let at = |at: usize| chars.get(at).copied().unwrap_or(' ');
        // Two spaces before every cell, and none at its beginning unless there is nothing in it.
        let is_off = |(nth, start): (usize, &usize)| {
            let end = starts.get(nth + 1).copied().unwrap_or(chars.len());
            let is_blank = (*start..end).all(|place| at(place) == ' ');
            let is_apart = *start == 0 || (at(*start - 1) == ' ' && at(*start - 2) == ' ');
            !is_apart || (at(*start) == ' ' && !is_blank)
        };
        if let Some((_, start)) = starts.iter().enumerate().find(|it| is_off(*it)) {
            return format!("NOT ALIGNED at {start}: {row}\n");
        }
        let ends = starts.iter().skip(1).copied().chain([usize::MAX]);
        let cut = starts.iter().zip(ends).map(|(start, end)| {
            let cell: String = chars.iter().take(end).skip(*start).collect();
            words(cell.trim_end(), hide).trim_end().to_owned()
        });
        cells.push(cut.collect());
    }
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..starts.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let padded: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    cells.iter().map(line).collect()
}

/// Hides the words of a line that differ, between the spaces that it has.
fn words(line: &str, hide: fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut before = "";
    for part in line.split_inclusive(' ') {
        let (text, space) = part.strip_suffix(' ').map_or((part, ""), |text| (text, " "));
        // A count of the log grows with every entry.
        let is_count = matches!(before, "index" | "entry")
            && text.trim_end_matches([':', ',']).bytes().all(|byte| byte.is_ascii_digit());
        out.push_str(&if is_count { text.replace(|c: char| c.is_ascii_digit(), "#") } else { hide(text) });
        out.push_str(space);
        before = if text.is_empty() { before } else { text };
    }
    while out.contains("##") {
        out = out.replace("##", "#");
    }
    out
}

pub(crate) fn word(word: &str) -> String {
    let end = word.trim_end_matches([',', ';', ':', ')', '.']);
    let (core, tail) = word.split_at(end.len());
    let bare = core.trim_start_matches('(');
    let lead = &core[..core.len() - bare.len()];
    let hex = |len: usize| bare.len() == len && bare.bytes().all(|b| b.is_ascii_hexdigit());
    let is_time = bare.len() > 1
        && bare.starts_with(|c: char| c.is_ascii_digit())
        && bare.ends_with(['s', 'm', 'h'])
        && bare.chars().all(|c| c.is_ascii_digit() || "smh.".contains(c));
    let shown = if let Some((before, port)) = bare.rsplit_once("127.0.0.1:") {
        let rest = port.trim_start_matches(|c: char| c.is_ascii_digit());
        format!("{before}ADDR{rest}")
    } else if bare.len() == 36 && bare.matches('-').count() == 4 || hex(8) || hex(16) || hex(32) {
        "ID".to_owned()
    } else if bare.strip_prefix("c-").is_some_and(|id| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit())) {
        "CLUSTER".to_owned()
    } else if bare.len() == 43 && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
        "KEY".to_owned()
    } else if bare.starts_with("'join-v1-") {
        "'TOKEN'".to_owned()
    } else if bare.len() > 19 && bare.ends_with('Z') && bare.as_bytes()[10] == b'T' {
        "MOMENT".to_owned()
    } else if is_time {
        "TIME".to_owned()
    } else if bare.len() > 3 && bare.bytes().all(|b| b.is_ascii_digit()) {
        "NUMBER".to_owned()
    } else {
        bare.to_owned()
    };
    format!("{lead}{shown}{tail}")
}

/// Hides every figure, too, its unit, and that there is none yet: what is measured is of no two runs the same.
pub(crate) fn measured(text: &str) -> String {
    match text {
        "-" => "#".to_owned(),
        "%" | "MiB" | "GiB" => String::new(),
        text if text.starts_with(|c: char| c.is_ascii_digit()) => "#".to_owned(),
        text => word(text),
    }
}

#[test]
fn words_that_differ_are_hidden_and_others_are_not() {
    for (given, shown) in [
        ("replica 1f2e3d4c on node-1,", "replica ID on node-1,\n"),
        ("  uri http://127.0.0.1:4711/e/talk", "  uri http://ADDR/e/talk\n"),
        ("at index 87: PL01", "at index #: PL01\n"),
        ("for 4m12s (8.5s)", "for TIME (TIME)\n"),
        ("64 cores, 123456 bytes", "64 cores, NUMBER bytes\n"),
        ("primary    RkecMT0_Nv_gdtcPoVcZa5i-kg8yBVZ3uQ8lh_psTvo", "primary    KEY\n"),
        ("cluster = c-e2a55af4c6859c49", "cluster = CLUSTER\n"),
    ] {
        assert_eq!(steady(given), shown);
    }
}

#[test]
fn a_table_keeps_its_columns_and_one_that_is_torn_says_so() {
    let aligned =
        "REPLICA   NODE    FOR    WHY\n1f2e3d4c  node-1  4m12s  its place\n00000000  n       5s\n1 replica in all\n";
    let shown =
        "REPLICA  NODE    FOR   WHY\nID       node-1  TIME  its place\nID       n       TIME\n1 replica in all\n";
    assert_eq!(steady(aligned), shown);
    let starred = "   CONTEXT  API\n*  here     127.0.0.1:1\n   there    127.0.0.1:65000\n";
    assert_eq!(steady(starred), "   CONTEXT  API\n*  here     ADDR\n   there    ADDR\n");
    let torn = "REPLICA   NODE    FOR\n1f2e3d4c   node-1  5s\n";
    assert!(steady(torn).starts_with("NOT ALIGNED at 10: 1f2e3d4c"), "{}", steady(torn));
    assert_eq!(steady("primary    a\nsecondary  b\n"), "primary    a\nsecondary  b\n");
}
