//! How good models are said to be, by metric: a small table of public scores, each with its source and date.
//!
//! Scores are comparable within a metric only, and only as far as their sources are. The table is meant to be edited.

use std::collections::HashMap;

use crate::RouterError;

/// The table that is used where the configuration brings none.
const TABLE: &str = include_str!("ranks.csv");
/// Its first line.
const HEADER: &str = "model,metric,score,source,date";

/// Scores by metric and model; more is better.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranks {
    metrics: HashMap<String, HashMap<String, f64>>,
}

impl Ranks {
    /// The table that comes with the program.
    pub(crate) fn included() -> Ranks {
        Ranks::read(TABLE).expect("the table is read by a test")
    }

    /// Reads a table: `model,metric,score,source,date` a line, `#` begins a comment, fields have no commas or quotes.
    pub(crate) fn read(table: &str) -> Result<Ranks, RouterError> {
        let mut ranks = Ranks::default();
        let mut lines = table.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        if lines.next().map(|(_, line)| line.trim()) != Some(HEADER) {
            return Err(RouterError::new("ranks", format!("the first line must be {HEADER:?}")));
        }
        for (n, line) in lines {
            let wrong = |detail: &str| RouterError::new(format!("ranks, line {}", n + 1), detail);
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            let [model, metric, score, source, date] = fields[..] else {
                return Err(wrong("it must have five fields, parted by commas"));
            };
            if [model, metric, source, date].iter().any(|field| field.is_empty()) {
                return Err(wrong("no field may be empty: a score without its source and date is hearsay"));
            }
            let score: f64 =
                score.parse().ok().filter(|score: &f64| score.is_finite()).ok_or_else(|| wrong("the score must be a number"))?;
            ranks.metrics.entry(metric.to_owned()).or_default().insert(model.to_ascii_lowercase(), score);
        }
        Ok(ranks)
    }

    /// The metrics that have scores.
    pub(crate) fn metrics(&self) -> Vec<&str> {
        let mut metrics: Vec<&str> = self.metrics.keys().map(String::as_str).collect();
        metrics.sort_unstable();
        metrics
    }

    /// The score of a model, by its name as its provider knows it. A dated or routed name (`gpt-5-2025-08-07`, `vendor/gpt-5`) has the
    /// score of the model that it begins or ends with.
    pub(crate) fn score(&self, metric: &str, name: &str) -> Option<f64> {
        let scores = self.metrics.get(metric)?;
        let name = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
        scores.get(&name).copied().or_else(|| scores.get(undated(&name)).copied())
    }
}

/// The name without a date at its end: `-2025-08-07`, `-20250929`, `-latest`.
fn undated(name: &str) -> &str {
    let fits = |pattern: &&&str| {
        let tail = name.len().checked_sub(pattern.len()).and_then(|at| name.get(at..));
        tail.is_some_and(|tail| {
            tail.bytes().zip(pattern.bytes()).all(|(byte, wanted)| if wanted == b'0' { byte.is_ascii_digit() } else { byte == wanted })
        })
    };
    let ending = ["-0000-00-00", "-00000000", "-latest"].iter().find(fits);
    ending.map_or(name, |ending| &name[..name.len() - ending.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_included_table_reads_and_has_the_metrics_that_clients_sort_by() {
        let ranks = Ranks::read(TABLE).expect("it reads");
        for metric in ["intelligence", "coding", "math"] {
            assert!(ranks.metrics().contains(&metric), "{metric}");
        }
    }

    #[test]
    fn a_dated_name_has_the_score_of_its_model() {
        let ranks = Ranks::read("# a comment\nmodel,metric,score,source,date\na-1,coding,7.5,made up,2026-01-02\n").expect("it reads");
        for (name, score) in [
            ("a-1", Some(7.5)),
            ("vendor/a-1", Some(7.5)),
            ("a-1-2026-01-02", Some(7.5)),
            ("a-1-20260102", Some(7.5)),
            ("a-1-latest", Some(7.5)),
            ("a-1-2", None),
            ("a", None),
        ] {
            assert_eq!(ranks.score("coding", name), score, "{name}");
        }
        assert_eq!(ranks.score("math", "a-1"), None);
    }

    #[test]
    fn a_score_without_a_source_is_refused() {
        for (table, expected) in [
            ("", "the first line"),
            ("model,metric,score,source,date\na,b,1,,2026", "line 2: no field may be empty"),
            ("model,metric,score,source,date\na,b,x,s,2026", "must be a number"),
            ("model,metric,score,source,date\na,b,1", "five fields"),
        ] {
            assert!(Ranks::read(table).expect_err(expected).to_string().contains(expected));
        }
    }
}
