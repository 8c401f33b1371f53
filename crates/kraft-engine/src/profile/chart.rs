//! A boot profile as a picture: SVG, alone or in an HTML page that loads nothing.

use std::fmt::Write as _;

use super::{BootProfile, BootReport, Part, millis};

/// The width of the picture in pixels.
const WIDTH: u32 = 960;

/// The space left of the bars.
const LEFT: u32 = 96;

/// The length of the longest bar.
const LENGTH: u32 = WIDTH - LEFT - 24;

/// The height of a bar, and of a bar with the space below it.
const BAR: (u32, u32) = (36, 60);

/// The height of what is above the bars: the title and the legend.
const TOP: u32 = 84;

/// The height of what is below the bars: the axis.
const BOTTOM: u32 = 32;

/// Draws the median run of a report, below that of an earlier one, as SVG.
pub fn svg(report: &BootReport, before: Option<&BootReport>) -> String {
    let bars = bars(report, before);
    let longest = bars
        .iter()
        .map(|(_, run)| sum(run))
        .max()
        .unwrap_or(0)
        .max(1);
    let height = TOP + BAR.1 * u32::try_from(bars.len()).unwrap_or(1) + BOTTOM;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"28\" font-size=\"18\">Boot of {}</text>\n",
        escaped(&report.target)
    );
    legend(&mut out, &bars);
    axis(&mut out, longest, height - BOTTOM);
    for (index, (label, run)) in (0_u32..).zip(&bars) {
        bar(&mut out, TOP + BAR.1 * index, label, run, longest);
    }
    out.push_str("</svg>\n");
    out
}

/// Returns a page with the picture, a table of the parts and one of the runs. It loads nothing.
pub fn html(report: &BootReport, before: Option<&BootReport>) -> String {
    let title = escaped(&report.target);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>Boot of {title}</title>\n<style>\n\
         body {{ font-family: sans-serif; margin: 24px; max-width: 1008px; background: #fff; color: #222 }}\n\
         table {{ border-collapse: collapse; margin: 24px 0 }}\n\
         th, td {{ padding: 4px 16px 4px 0; text-align: right; border-bottom: 1px solid #ddd }}\n\
         th:first-child, td:first-child {{ text-align: left }}\n\
         svg {{ max-width: 100%; height: auto }}\n</style>\n</head>\n<body>\n{}",
        svg(report, before)
    );
    let runs = report.runs.len();
    let (shortest, longest) = report.extremes();
    let _ = writeln!(
        out,
        "<p>{}{runs} {}, {} to {}. The chart shows the run with the median.</p>",
        match report.machine.as_str() {
            "" => String::new(),
            machine => format!("{}: ", escaped(machine)),
        },
        if runs == 1 { "run" } else { "runs" },
        millis(micros(shortest)),
        millis(micros(longest)),
    );
    out.push_str("<table>\n<tr><th>Part</th>");
    if before.is_some() {
        out.push_str("<th>Before</th>");
    }
    out.push_str("<th>Time</th></tr>\n");
    let cell = |time: Option<u64>| time.map_or_else(|| "–".to_owned(), millis);
    let median = |report: &BootReport| report.median().map(sum);
    let changes = report.changes(before.unwrap_or(report));
    let rows = changes
        .iter()
        .map(|it| (it.name.as_str(), it.before, it.now));
    let total = ("sum", median(before.unwrap_or(report)), median(report));
    for (name, old, now) in rows.chain([total]) {
        let _ = write!(out, "<tr><td>{}</td>", escaped(name));
        if before.is_some() {
            let _ = write!(out, "<td>{}</td>", cell(old));
        }
        let _ = writeln!(out, "<td>{}</td></tr>", cell(now));
    }
    out.push_str("</table>\n</body>\n</html>\n");
    out
}

/// Returns the bars with their labels.
fn bars<'a>(
    report: &'a BootReport,
    before: Option<&'a BootReport>,
) -> Vec<(&'static str, &'a BootProfile)> {
    let now = report.median().map(|run| ("now", run));
    let old = before.and_then(|report| Some(("before", report.median()?)));
    match old {
        Some(old) => [old].into_iter().chain(now).collect(),
        None => now.into_iter().map(|(_, run)| ("boot", run)).collect(),
    }
}

fn sum(run: &BootProfile) -> u64 {
    micros(run.total())
}

fn micros(time: std::time::Duration) -> u64 {
    super::micros(time)
}

/// Returns the length of a time, in pixels.
fn pixels(us: u64, longest: u64) -> u32 {
    let length = u128::from(us) * u128::from(LENGTH) / u128::from(longest.max(1));
    u32::try_from(length).unwrap_or(LENGTH).min(LENGTH)
}

/// Returns the colour of a part, or of the last one of several: colours that differ for colour-blind
/// users as well.
fn colour(name: &str) -> &'static str {
    let last = name.rsplit(" + ").next().unwrap_or(name);
    let part = Part::ALL.into_iter().find(|part| part.name() == last);
    match part {
        Some(Part::Kraft) => "#0072b2",
        Some(Part::Vmm) => "#56b4e9",
        Some(Part::Firmware) => "#f0e442",
        Some(Part::Kernel) => "#009e73",
        Some(Part::Output) => "#e69f00",
        Some(Part::Answer) => "#d55e00",
        None => "#999999",
    }
}

/// Returns the colour of the text on a part.
fn text_colour(name: &str) -> &'static str {
    match colour(name) {
        "#0072b2" => "#ffffff",
        _ => "#000000",
    }
}

/// Draws a square and a name for each part.
fn legend(out: &mut String, bars: &[(&str, &BootProfile)]) {
    let mut names: Vec<&str> = Vec::new();
    for part in bars.iter().flat_map(|(_, run)| &run.parts) {
        if !names.contains(&part.name.as_str()) {
            names.push(&part.name);
        }
    }
    let mut x = 16;
    for name in names {
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"44\" width=\"14\" height=\"14\" fill=\"{}\"/>\
             <text x=\"{}\" y=\"56\">{}</text>",
            colour(name),
            x + 20,
            escaped(name)
        );
        let length = u32::try_from(name.len()).unwrap_or(WIDTH).min(WIDTH);
        x = WIDTH.min(x + 44 + 7 * length);
    }
}

/// Draws lines at round times below the bars.
fn axis(out: &mut String, longest: u64, bottom: u32) {
    let mut step = 1;
    // 1, 2, 5, 10, 20, 50 …
    for factor in [2, 5, 10].into_iter().cycle() {
        if longest / step < 8 {
            break;
        }
        let power = 10_u64.saturating_pow(step.ilog10());
        step = power.saturating_mul(factor);
    }
    let times = (0..=10).map_while(|index| step.checked_mul(index));
    for at in times.take_while(|at| *at <= longest) {
        let x = LEFT + pixels(at, longest);
        let label = match step {
            ..1000 => format!("{at} µs"),
            _ => format!("{} ms", at / 1000),
        };
        let _ = writeln!(
            out,
            "<line x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"#dddddd\"/>\
             <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" fill=\"#666666\">{label}</text>",
            TOP - 8,
            bottom + 18
        );
    }
}

/// Draws one boot.
fn bar(out: &mut String, y: u32, label: &str, run: &BootProfile, longest: u64) {
    let middle = y + BAR.0 / 2 + 5;
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#666666\">{}</text>",
        LEFT - 12,
        middle - 8,
        LEFT - 12,
        middle + 8,
        millis(sum(run))
    );
    let mut before = 0;
    for part in &run.parts {
        let x = pixels(before, longest);
        before = before.saturating_add(part.us);
        let width = pixels(before, longest) - x;
        let x = LEFT + x;
        let (name, time) = (escaped(&part.name), millis(part.us));
        let _ = write!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{}\" fill=\"{}\" stroke=\"#ffffff\">\
             <title>{name}: {time}</title></rect>",
            BAR.0,
            colour(&part.name)
        );
        if width > 60 {
            let _ = write!(
                out,
                "<text x=\"{}\" y=\"{middle}\" text-anchor=\"middle\" fill=\"{}\">{time}</text>",
                x + width / 2,
                text_colour(&part.name)
            );
        }
        out.push('\n');
    }
}

/// Escapes a text for XML; control characters, which XML does not allow, are left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ if character.is_control() => {}
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn report(target: &str, ends: &[(Part, u64)]) -> BootReport {
        let ends: Vec<(Part, Duration)> = ends
            .iter()
            .map(|(part, at)| (*part, Duration::from_millis(*at)))
            .collect();
        let run = BootProfile::new(&ends, Duration::ZERO);
        BootReport::new(target, None, vec![run])
    }

    #[test]
    fn bars_are_as_long_as_their_parts() {
        let now = report("a", &[(Part::Kraft, 10), (Part::Output, 20)]);
        let before = report("a", &[(Part::Kraft, 40)]);
        let text = svg(&now, Some(&before));
        let bars: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("<title>"))
            .collect();
        let widths: Vec<&str> = bars
            .iter()
            .filter_map(|line| line.split("width=\"").nth(1)?.split('"').next())
            .collect();
        assert_eq!(widths, ["840", "210", "210"]);
    }

    #[test]
    fn names_from_outside_are_text_and_extreme_times_are_drawn() {
        let name = "<script>alert('1')</script>&\u{1b}\"";
        let mut odd = report(name, &[(Part::Kraft, 10)]);
        for (us, name) in [(0, "kraft"), (u64::MAX, "kraft"), (3, name)] {
            odd.runs[0].parts[0].us = us;
            odd.runs[0].parts[0].name = name.to_owned();
            let page = html(&odd, Some(&odd));
            assert!(
                !page.contains("<script") && !page.contains('\u{1b}'),
                "{page}"
            );
            assert!(page.len() < 100_000, "{}", page.len());
        }
    }
}
