//! When the lines of a log were written.
//!
//! Processes write their logs themselves, and what they write says nothing of time. Their node looks again and again at how far
//! each log has grown, and keeps a mark of it: all before an offset was written by a time. The time of a line is that of the
//! first mark behind it: never earlier than the line, and later by no more than a look.

/// All before `until` was written by `at_ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The offset of the first byte that it says nothing of.
    pub until: u64,
    /// Milliseconds since the Unix epoch, by the clock of the node.
    pub at_ms: u64,
}

/// Returns by when the byte at `offset` was written. Marks are in the order of their offsets.
pub fn time_of(marks: &[Mark], offset: u64) -> Option<u64> {
    marks.get(marks.partition_point(|mark| mark.until <= offset)).map(|mark| mark.at_ms)
}

/// Returns where that begins which may have been written since a time. A clock that was set back makes times that are not in
/// order: what came after the last of the older ones is shown.
pub fn begin_of(marks: &[Mark], since_ms: u64) -> u64 {
    marks.iter().rev().find(|mark| mark.at_ms < since_ms).map_or(0, |mark| mark.until)
}

/// Returns at most `most` marks which say as much, only less exactly: times are later, never earlier.
pub fn thinned(marks: &[Mark], most: usize) -> Vec<Mark> {
    let of_one = marks.len().div_ceil(most.max(1)).max(1);
    marks.chunks(of_one).filter_map(|some| some.last().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(of: &[(u64, u64)]) -> Vec<Mark> {
        of.iter().map(|&(until, at_ms)| Mark { until, at_ms }).collect()
    }

    #[test]
    fn a_line_has_the_time_of_the_first_mark_behind_it() {
        let marks = marks(&[(10, 100), (25, 200), (26, 350)]);
        for (offset, time, why) in [
            (0, Some(100), "what was there before the first look"),
            (9, Some(100), "the last byte of a mark"),
            (10, Some(200), "a mark ends before its offset"),
            (25, Some(350), "one byte between two looks"),
            (26, None, "nobody has looked since"),
        ] {
            assert_eq!(time_of(&marks, offset), time, "{why}");
        }
        assert_eq!(time_of(&[], 0), None);
    }

    #[test]
    fn since_a_time_is_all_that_may_be_younger() {
        let steady = marks(&[(10, 100), (25, 200), (30, 350)]);
        let set_back = marks(&[(10, 900), (25, 100), (30, 300)]);
        for (marks, since_ms, begin, why) in [
            (&steady, 0, 0, "for ever"),
            (&steady, 100, 0, "written by then, and perhaps just then"),
            (&steady, 101, 10, "older by a millisecond"),
            (&steady, 300, 25, "between two looks"),
            (&steady, 351, 30, "nothing since"),
            (&set_back, 200, 25, "after the last that is older, though one before it is younger"),
            (&set_back, 1_000, 30, "all is older"),
        ] {
            assert_eq!(begin_of(marks, since_ms), begin, "{why}");
        }
        assert_eq!(begin_of(&[], 5), 0, "of what nothing is known nothing is left out");
    }

    #[test]
    fn fewer_marks_make_times_later_and_never_earlier() {
        let all = marks(&(1..=100).map(|n| (n * 10, n)).collect::<Vec<_>>());
        for most in [0, 1, 2, 7, 50, 99, 100, 1_000] {
            let fewer = thinned(&all, most);
            assert!(fewer.len() <= most.max(1), "{most}: {}", fewer.len());
            assert_eq!(fewer.last(), all.last(), "{most}: the end is told of");
            for offset in 0..1_000 {
                assert!(time_of(&fewer, offset) >= time_of(&all, offset), "{most} {offset}");
            }
        }
        assert_eq!(thinned(&all, 100), all);
        assert_eq!(thinned(&[], 3), []);
    }
}
