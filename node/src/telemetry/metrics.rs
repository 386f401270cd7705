//! Numbers as OTLP has them, read from the text that Prometheus reads: whatever a daemon counts is sent, under the same
//! names, and nothing is counted twice.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric::Data,
        number_data_point::Value,
    },
};

use super::attribute;

/// What is known of a metric from its comments.
#[derive(Default)]
struct Family<'a> {
    help: &'a str,
    kind: &'a str,
    samples: Vec<Sample<'a>>,
}

/// One line.
struct Sample<'a> {
    /// What follows the family's name: `_total`, `_bucket`.
    suffix: &'a str,
    labels: Vec<(&'a str, String)>,
    value: &'a str,
}

/// Words everything in a text of OpenMetrics. A line that cannot be read is left out: it is ours, and a test reads it.
pub(super) fn wire(text: &str, began_nanos: u64, now_nanos: u64) -> Vec<Metric> {
    let mut families: Vec<(&str, Family<'_>)> = Vec::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (Some(what), Some(name), rest) = (words.next(), words.next(), words.next().unwrap_or_default()) else {
                continue;
            };
            if families.last().is_none_or(|(last, _)| *last != name) {
                families.push((name, Family::default()));
            }
            let Some((_, family)) = families.last_mut() else { continue };
            match what {
                "HELP" => family.help = rest.trim_end_matches('.'),
                "TYPE" => family.kind = rest,
                _ => {}
            }
        } else if let Some((name, family)) = families.last_mut() {
            family.samples.extend(sample(line, name));
        }
    }
    let times = Times { began_nanos, now_nanos };
    families.into_iter().filter_map(|(name, family)| metric(name, family, times)).collect()
}

/// When counting began, and now.
#[derive(Clone, Copy)]
struct Times {
    began_nanos: u64,
    now_nanos: u64,
}

fn metric(name: &str, family: Family<'_>, times: Times) -> Option<Metric> {
    let data = match family.kind {
        "counter" => Data::Sum(Sum {
            data_points: points(&family, "_total", times),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        }),
        "gauge" => Data::Gauge(Gauge { data_points: points(&family, "", times) }),
        "histogram" => Data::Histogram(Histogram {
            data_points: histograms(&family, times),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
        }),
        _ => return None,
    };
    Some(Metric { name: name.to_owned(), description: family.help.to_owned(), data: Some(data), ..Metric::default() })
}

fn points(family: &Family<'_>, suffix: &str, times: Times) -> Vec<NumberDataPoint> {
    let of = family.samples.iter().filter(|sample| sample.suffix == suffix);
    let point = |sample: &Sample<'_>| {
        let value = match sample.value.parse::<i64>() {
            Ok(whole) => Value::AsInt(whole),
            Err(_) => Value::AsDouble(sample.value.parse().ok()?),
        };
        Some(NumberDataPoint {
            attributes: attributes(&sample.labels),
            start_time_unix_nano: times.began_nanos,
            time_unix_nano: times.now_nanos,
            value: Some(value),
            ..NumberDataPoint::default()
        })
    };
    of.filter_map(point).collect()
}

fn histograms(family: &Family<'_>, times: Times) -> Vec<HistogramDataPoint> {
    let mut found: BTreeMap<Vec<(&str, String)>, HistogramDataPoint> = BTreeMap::new();
    let mut counted: BTreeMap<Vec<(&str, String)>, u64> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        let end = labels.iter().position(|(name, _)| *name == "le").map(|at| labels.remove(at).1);
        let point = found.entry(labels.clone()).or_insert_with(|| HistogramDataPoint {
            attributes: attributes(&labels),
            start_time_unix_nano: times.began_nanos,
            time_unix_nano: times.now_nanos,
            ..HistogramDataPoint::default()
        });
        match sample.suffix {
            "_sum" => point.sum = sample.value.parse().ok(),
            "_count" => point.count = sample.value.parse().unwrap_or(0),
            "_bucket" => {
                // Prometheus adds up as it goes, OTLP does not.
                let so_far: u64 = sample.value.parse().unwrap_or(0);
                let before = counted.insert(labels, so_far).unwrap_or(0);
                point.bucket_counts.push(so_far.saturating_sub(before));
                if let Some(end) = end.filter(|end| end != "+Inf").and_then(|end| end.parse().ok()) {
                    point.explicit_bounds.push(end);
                }
            }
            _ => {}
        }
    }
    found.into_values().collect()
}

fn attributes(labels: &[(&str, String)]) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| attribute(name, value.as_str())).collect()
}

/// Reads `name_total{a="b"} 5`.
fn sample<'a>(line: &'a str, family: &str) -> Option<Sample<'a>> {
    let rest = line.strip_prefix(family)?;
    let end = rest.find(['{', ' '])?;
    let (suffix, rest) = rest.split_at(end);
    let (labels, value) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (Vec::new(), rest),
    };
    Some(Sample { suffix, labels, value: value.split_whitespace().next()? })
}

/// Reads labels up to the closing brace, and returns what follows.
fn labels(mut text: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        text = text.trim_start_matches(',');
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = text.split_once("=\"")?;
        let (mut value, mut is_escaped, mut end) = (String::new(), false, None);
        for (at, c) in quoted.char_indices() {
            match (is_escaped, c) {
                (false, '\\') => {
                    is_escaped = true;
                    continue;
                }
                (false, '"') => {
                    end = Some(at);
                    break;
                }
                (true, 'n') => value.push('\n'),
                _ => value.push(c),
            }
            is_escaped = false;
        }
        labels.push((name, value));
        text = &quoted[end? + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP berth_answers Answers.
# TYPE berth_answers counter
berth_answers_total{endpoint=\"fraud\",status=\"200\"} 7
berth_answers_total{endpoint=\"a \\\"b\\\" \\\\c\",status=\"500\"} 1
# HELP berth_level A level.
# TYPE berth_level gauge
berth_level 2.5
berth_level{x=\"y\"} -3
# HELP berth_took Seconds.
# TYPE berth_took histogram
berth_took_sum{d=\"blue\"} 1.5
berth_took_count{d=\"blue\"} 6
berth_took_bucket{le=\"0.1\",d=\"blue\"} 2
berth_took_bucket{le=\"1.0\",d=\"blue\"} 5
berth_took_bucket{le=\"+Inf\",d=\"blue\"} 6
# EOF
";

    #[test]
    fn what_prometheus_reads_is_what_a_collector_gets() {
        let metrics = wire(TEXT, 1, 2);
        let names: Vec<_> = metrics.iter().map(|metric| (metric.name.as_str(), metric.description.as_str())).collect();
        assert_eq!(names, [("berth_answers", "Answers"), ("berth_level", "A level"), ("berth_took", "Seconds")]);
        let Some(Data::Sum(answers)) = &metrics[0].data else { panic!("{:?}", metrics[0]) };
        assert!(answers.is_monotonic);
        let values: Vec<_> = answers.data_points.iter().map(|point| point.value).collect();
        assert_eq!(values, [Some(Value::AsInt(7)), Some(Value::AsInt(1))]);
        assert_eq!(answers.data_points[1].attributes[0], attribute("endpoint", "a \"b\" \\c"));
        let Some(Data::Gauge(level)) = &metrics[1].data else { panic!("{:?}", metrics[1]) };
        let values: Vec<_> = level.data_points.iter().map(|point| point.value).collect();
        assert_eq!(values, [Some(Value::AsDouble(2.5)), Some(Value::AsInt(-3))]);
        let Some(Data::Histogram(took)) = &metrics[2].data else { panic!("{:?}", metrics[2]) };
        let [point] = &took.data_points[..] else { panic!("{took:?}") };
        assert_eq!((point.count, point.sum, &point.bucket_counts[..]), (6, Some(1.5), &[2, 3, 1][..]));
        assert_eq!(point.explicit_bounds, [0.1, 1.0]);
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        for text in
            ["", "x 1", "# TYPE a counter\na_total{b=\"", "# TYPE a counter\na_total", "# TYPE a info\na_info 1"]
        {
            assert!(wire(text, 0, 0).iter().all(|metric| match &metric.data {
                Some(Data::Sum(sum)) => sum.data_points.is_empty(),
                _ => false,
            }));
        }
    }
}
