//! The example's dashboard, asked of a Prometheus that scrapes a cluster: every question has an answer, labelled as its panel says.

use std::{fs, net::SocketAddr, path::Path, time::Instant};

use serde_json::Value;

use crate::scrape::{PATIENCE, call, prometheus, well_and_ill};

/// What the dashboard asks.
#[derive(Debug)]
struct Question {
    expr: String,
    /// Labels that its panel names what it draws by.
    labels: Vec<String>,
}

/// Lists what every panel and every variable asks.
fn questions() -> Vec<Question> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/telemetry/grafana-dashboard.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(path).expect("the dashboard")).expect("JSON");
    let mut found = Vec::new();
    collect(&dashboard["panels"], &mut found);
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        let query = variable["query"].as_str().expect("a query");
        let Some(of) = query.strip_prefix("label_values(").and_then(|of| of.strip_suffix(')')) else {
            assert_eq!(variable["type"], "datasource", "{query} is asked in a way that nobody looks at");
            continue;
        };
        let (series, label) = of.rsplit_once(", ").expect("a series and a label");
        found.push(Question { expr: format!("count by ({label}) ({series})"), labels: vec![label.to_owned()] });
    }
    found
}

fn collect(part: &Value, found: &mut Vec<Question>) {
    match part {
        Value::Object(fields) => {
            if let Some(expr) = fields.get("expr").and_then(Value::as_str) {
                let legend = fields.get("legendFormat").and_then(Value::as_str).unwrap_or_default();
                let labels = legend.split("{{").skip(1).filter_map(|rest| rest.split_once("}}"));
                let labels = labels.map(|(label, _)| label.trim().to_owned()).collect();
                found.push(Question { expr: expr.to_owned(), labels });
            }
            fields.values().for_each(|field| collect(field, found));
        }
        Value::Array(parts) => parts.iter().for_each(|part| collect(part, found)),
        _ => {}
    }
}

impl Question {
    /// Returns it as Grafana asks it, of endpoints and deployments that are there: a series without such a label is no answer.
    fn asked(&self) -> String {
        let all = [("$endpoint", "well|ill"), ("$deployment", "blue"), ("$__rate_interval", "1m")];
        let asked = all.iter().fold(self.expr.clone(), |expr, (name, value)| expr.replace(name, value));
        assert!(!asked.contains('$'), "{asked} has a variable that nobody set");
        asked
    }

    /// Returns whether an answer has everything that the panel shows.
    fn is_answered(&self, told: &[Value]) -> bool {
        let is_there = |one: &Value, label: &String| one["metric"][label].as_str().is_some_and(|text| !text.is_empty());
        !told.is_empty() && told.iter().all(|one| self.labels.iter().all(|label| is_there(one, label)))
    }
}

#[test]
fn every_question_of_the_dashboard_is_answered() {
    let questions = questions();
    assert!(questions.len() >= 20, "{questions:#?}");
    let Some(program) = prometheus() else {
        crate::berth::not_required("prometheus");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (dev, prometheus) = well_and_ill(folder.path(), &program);
    let ingress: SocketAddr = dev.ingress.parse().expect("an address");
    for question in &questions {
        let asked = question.asked();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = prometheus.told(&asked);
            if told.as_ref().is_some_and(|told| question.is_answered(told)) {
                break;
            }
            assert!(Instant::now() < deadline, "{asked}, by {:?}, is {told:?}", question.labels);
            // Rates are of what happens.
            call(ingress, "well");
            call(ingress, "ill");
        }
    }
    assert_eq!(dev.stop(), 0);
}
