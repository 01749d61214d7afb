//! The table that a benchmark prints.

use std::fmt;

/// One line of the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// What it should reach; empty where there is no target.
    pub(crate) reach: String,
    /// What it reached.
    pub(crate) measured: String,
}

impl Row {
    /// A line.
    pub(crate) fn new(what: impl Into<String>, reach: impl Into<String>, measured: impl Into<String>) -> Row {
        Row { what: what.into(), reach: reach.into(), measured: measured.into() }
    }
}

/// Lines with the command that made them and the machine they were made on.
pub(crate) struct Report {
    /// The command.
    pub(crate) command: String,
    /// Its cores.
    pub(crate) cores: usize,
    /// The lines.
    pub(crate) rows: Vec<Row>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "`{}` on {} cores.\n", self.command, self.cores)?;
        writeln!(f, "| what | reach | measured |\n|---|---|---|")?;
        let cell = |text: &str| if text.is_empty() { "\u{2013}".to_owned() } else { text.replace('|', "\\|").replace('\n', " ") };
        for row in &self.rows {
            writeln!(f, "| {} | {} | {} |", cell(&row.what), cell(&row.reach), cell(&row.measured))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_markdown_table() {
        let rows = vec![Row::new("first | byte", "0.36 s", "0.30 s"), Row::new("memory", "", "600 MB")];
        let report = Report { command: "timbre bench all".into(), cores: 2, rows };
        let expected = "`timbre bench all` on 2 cores.\n\n| what | reach | measured |\n|---|---|---|\n\
                        | first \\| byte | 0.36 s | 0.30 s |\n| memory | \u{2013} | 600 MB |\n";
        assert_eq!(report.to_string(), expected);
    }
}
