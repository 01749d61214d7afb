//! Plots as SVG: plain enough to be read as text, on a light ground so that they show in dark pages, too.

use std::fmt::Write as _;

/// Width, beside the names, and height, pixels.
const SIZE: (f64, f64) = (410.0, 320.0);
/// Room for the axes: left, top, bottom.
const MARGIN: (f64, f64, f64) = (56.0, 36.0, 44.0);
/// What a letter of a name takes at most, and what is around it.
const LETTER: f64 = 6.7;
const AROUND: f64 = 20.0;
/// From one label along the bottom to the next, at least.
const TICK: f64 = 44.0;
/// Told apart without colour vision, too (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];

/// One line of points, (x, y).
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A plot of lines.
pub(crate) struct Plot {
    pub(crate) title: String,
    /// What is along the bottom and along the side.
    pub(crate) axes: (String, String),
    /// From and to, along the side.
    pub(crate) range: (f64, f64),
    pub(crate) lines: Vec<Line>,
}

impl Plot {
    pub(crate) fn svg(&self) -> String {
        let (left, top, bottom) = MARGIN;
        let longest = self.lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0);
        let right = (longest as f64 * LETTER).ceil() + AROUND;
        let (width, height) = (SIZE.0 + right, SIZE.1);
        let xs = || self.lines.iter().flat_map(|line| line.points.iter().map(|point| point.0));
        let (low, high) = (xs().fold(f64::MAX, f64::min), xs().fold(f64::MIN, f64::max));
        let across = |x: f64| left + (x - low) / (high - low).max(1e-9) * (width - left - right);
        let up = |y: f64| height - bottom - (y - self.range.0) / (self.range.1 - self.range.0) * (height - top - bottom);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n<text x=\"{left}\" y=\"20\" font-size=\"14\">{}</text>\n",
            escaped(&self.title)
        );
        for step in 0..=5 {
            let y = self.range.0 + (self.range.1 - self.range.0) * f64::from(step) / 5.0;
            let at = up(y);
            let _ = writeln!(svg, "<path d=\"M{left} {at:.1}H{:.1}\" stroke=\"#ddd\"/>", width - right);
            let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{y:.2}</text>", left - 6.0, at + 4.0);
        }
        let mut ticks: Vec<f64> = xs().collect();
        ticks.sort_unstable_by(f64::total_cmp);
        ticks.dedup();
        let mut free = f64::MIN;
        for x in ticks {
            let at = across(x);
            if at < free {
                continue;
            }
            free = at + TICK;
            let label = if x.fract() == 0.0 { format!("{x:.0}") } else { format!("{x:.2}") };
            let _ = writeln!(svg, "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>", height - bottom + 16.0);
        }
        let middle = left + (width - left - right) / 2.0;
        let _ = writeln!(svg, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>", height - 8.0, escaped(&self.axes.0));
        let half = height / 2.0;
        let side = escaped(&self.axes.1);
        let _ = writeln!(svg, "<text transform=\"translate(14 {half}) rotate(-90)\" text-anchor=\"middle\">{side}</text>");
        for (at, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            let points: Vec<String> = line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", across(*x), up(*y))).collect();
            let _ = writeln!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>", points.join(" "));
            let y = top + 18.0 * at as f64 + 8.0;
            let name = escaped(&line.name);
            let _ = writeln!(svg, "<text x=\"{}\" y=\"{y}\" fill=\"{colour}\">{name}</text>", width - right + 10.0);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_holds_its_lines_in_its_frame() {
        let plot = Plot {
            title: "a < b".into(),
            axes: ("x".into(), "y".into()),
            range: (0.0, 1.0),
            lines: vec![Line { name: "one".into(), points: vec![(0.0, 0.0), (10.0, 1.0)] }],
        };
        let svg = plot.svg();
        assert!(svg.contains("a &lt; b") && svg.contains("points=\"56.0,276.0 410.0,36.0\""), "{svg}");
        // Three letters of 6.7 pixels and what is around them.
        assert!(svg.contains("viewBox=\"0 0 451 320\""), "{svg}");
    }
}
