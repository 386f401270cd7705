//! Figures as they stand in a line: short, and `-` where there is nothing to tell.

use crate::tui::board::Answered;

/// Points that count as now: nodes say what they answered once a second, one by one.
const NOW_POINTS: usize = 3;

/// What was answered lately.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lately {
    sum: Answered,
    seconds: f64,
}

// === impl Lately ===

impl Lately {
    pub(super) fn of(points: &[Answered], point_seconds: f64) -> Self {
        let now = &points[points.len().saturating_sub(NOW_POINTS)..];
        let mut lately = Self { seconds: point_seconds * now.len().max(1) as f64, ..Self::default() };
        now.iter().for_each(|point| lately.sum.add(*point));
        lately
    }

    pub(super) fn has_failures(&self) -> bool {
        self.sum.failed > 0
    }

    /// Writes requests per second.
    pub(super) fn rate(&self) -> String {
        if self.sum.requests == 0 { "-".to_owned() } else { rate(self.sum.requests as f64 / self.seconds) }
    }

    pub(super) fn p50(&self) -> String {
        if self.sum.requests == 0 { "-".to_owned() } else { took(self.sum.p50_us) }
    }

    pub(super) fn p95(&self) -> String {
        if self.sum.requests == 0 { "-".to_owned() } else { took(self.sum.p95_us) }
    }

    /// Writes the share that failed.
    pub(super) fn failed(&self) -> String {
        match (self.sum.requests, self.sum.failed) {
            (0, 0) => "-".to_owned(),
            (_, 0) => "0 %".to_owned(),
            (requests, failed) => match failed as f64 * 100.0 / requests.max(failed) as f64 {
                percent @ ..0.1 => format!("{percent:.2} %"),
                percent @ ..9.95 => format!("{percent:.1} %"),
                percent => format!("{percent:.0} %"),
            },
        }
    }
}

/// Writes a rate in four digits or fewer.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        ..9.95 => format!("{per_second:.1}"),
        ..9_999.5 => format!("{per_second:.0}"),
        ..999_500.0 => format!("{:.0}k", per_second / 1e3),
        _ => format!("{:.1}M", per_second / 1e6),
    }
}

/// Writes how long something took.
pub(super) fn took(us: u64) -> String {
    match us {
        0..10_000 => format!("{:.1} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        1_000_000..100_000_000 => format!("{:.1} s", us as f64 / 1e6),
        _ => format!("{} s", us / 1_000_000),
    }
}

/// Writes cores with one digit behind the point.
pub(super) fn cores(milli: u64) -> String {
    format!("{:.1} cores", milli as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stay_short() {
        for (per_second, text) in
            [(0.5, "0.5"), (9.96, "10"), (1_234.0, "1234"), (12_345.0, "12k"), (2_500_000.0, "2.5M")]
        {
            assert_eq!(rate(per_second), text);
        }
        for (us, text) in [(384, "0.4 ms"), (12_288, "12 ms"), (1_500_000, "1.5 s"), (134_000_000, "134 s")] {
            assert_eq!(took(us), text);
        }
    }

    #[test]
    fn now_is_the_last_points_and_nothing_is_a_dash() {
        let point = |requests, failed| Answered { requests, failed, p50_us: 256, p95_us: 512 };
        let lately = Lately::of(&[point(900, 900), point(10, 0), point(20, 1), point(30, 2)], 2.0);
        let told = (lately.rate(), lately.p50(), lately.p95(), lately.failed());
        assert_eq!(told, ("10".to_owned(), "0.3 ms".to_owned(), "0.5 ms".to_owned(), "5.0 %".to_owned()));
        let idle = Lately::of(&[], 2.0);
        assert_eq!((idle.rate(), idle.p95(), idle.failed()), ("-".to_owned(), "-".to_owned(), "-".to_owned()));
        assert_eq!(Lately::of(&[point(100_000, 1)], 2.0).failed(), "0.00 %", "a little is not nothing");
    }
}
