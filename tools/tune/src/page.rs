//! The page: one file, no scripts and nothing from elsewhere, in the reader's choice of light and dark.

use std::fmt::Write;

use bytebufferpool::{CLASSES, DefaultSize, Growth, MIN_CLASS_SIZE};

use crate::replay::Outcome;
use crate::setting::{POLICIES, policy_name};
use crate::{Report, bytes, choice};

pub(crate) fn page(report: &Report<'_>) -> String {
    let mut html = String::new();
    // Where it lies is of no interest to whoever is shown the page.
    let name = escape(report.name.rsplit('/').next().unwrap_or(&report.name));
    let usage = report.options.usage;
    let _ = write!(
        html,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>Tuned for {name}</title>\n<style>{STYLE}</style>\n\
         <main>\n<header><p class=\"kicker\">bytebufferpool · tune</p>\n<h1>{name}</h1>\n\
         <p>{} messages through {} settings of the real pool, {} in flight, {} bytes a write, {} messages a second.</p>\n\
         </header>\n",
        grouped(report.lengths.len()),
        report.grid.len(),
        usage.in_flight,
        usage.append,
        grouped(usage.rate),
    );
    sizes(&mut html, &report.lengths);
    best(&mut html, report);
    figure(
        &mut html,
        "Sizes in the trace",
        "Messages per size class, and where the best setting ends up: a new buffer has room for everything left of \
         <b class=\"default\">default</b>; a buffer larger than the <b class=\"max\">max size</b> is freed when it is \
         returned.",
        &histogram(report),
    );
    figure(
        &mut html,
        "Sizes learned over time",
        "<b class=\"default\">Default size</b> and <b class=\"max\">max size</b> after each calibration. Solid: the \
         best setting. Dotted: the defaults.",
        &learned(report),
    );
    figure(
        &mut html,
        "Work against memory",
        "A dot per setting: down is less work beside writing (growing, copying, trips to the heap), left is less memory \
         cached at worst. The line joins those that no other beats in both. Point at a dot to see its setting; the \
         table at the end has them all. The best stands below the line if it begins with the sizes that it learned.",
        &scatter(report),
    );
    figure(
        &mut html,
        "Hit rate and cached bytes of each setting",
        "Settings in order of their worst case. Below, the bar reaches from the mean of the cached bytes to the most.",
        &strips(report),
    );
    table(&mut html, report);
    html.push_str("</main>\n</html>\n");
    html
}

fn sizes(html: &mut String, lengths: &[u32]) {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize] as usize;
    html.push_str("<dl class=\"tiles\">");
    for (what, length) in [
        ("smallest", at(0.0)),
        ("median", at(0.5)),
        ("95 % up to", at(0.95)),
        ("99 % up to", at(0.99)),
        ("largest", at(1.0)),
    ] {
        let _ = write!(html, "<div><dt>{what}</dt><dd>{}</dd></div>", bytes(length));
    }
    html.push_str("</dl>\n");
}

fn best(html: &mut String, report: &Report<'_>) {
    html.push_str("<section class=\"card best\"><div><h2>The best setting</h2><table><tr><th></th><th>best</th>");
    html.push_str("<th>defaults</th></tr>");
    for (what, best, default) in report.figures() {
        let _ = write!(html, "<tr><th>{what}</th><td><b>{best}</b></td><td>{default}</td></tr>");
    }
    html.push_str("</table></div><div><h2>As code</h2>");
    let _ = write!(html, "<pre><code>{}</code></pre>", escape(&report.setting.code()));
    if report.outcome.calibrations == 0 {
        html.push_str(
            "<p class=\"note\">The trace is too short to learn from: no size class had as many uses as a \
                       threshold asks for.</p>",
        );
    }
    html.push_str("</div></section>\n");
}

fn figure(html: &mut String, title: &str, text: &str, svg: &str) {
    let _ = writeln!(
        html,
        "<section class=\"card\"><h2>{title}</h2><p>{text}</p><div class=\"plot\">{svg}</div></section>"
    );
}

// The plots. All are 960 wide, with the same left and right margin, so that they line up.

const WIDTH: f64 = 960.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 936.0;

fn svg(height: f64, label: &str) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{label}\">")
}

/// Maps figures to the page, linear or by logarithm.
#[derive(Clone, Copy)]
struct Axis {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
    log: bool,
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.log { value.max(f64::MIN_POSITIVE).ln() } else { value };
        let (from, to) = (scale(self.from), scale(self.to));
        self.start + (scale(value) - from) / (to - from) * (self.end - self.start)
    }
}

fn y_line(svg: &mut String, y: f64, label: &str) {
    let _ = write!(
        svg,
        "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" \
         text-anchor=\"end\">{label}</text>",
        LEFT - 8.0,
        y + 4.0,
    );
}

fn x_label(svg: &mut String, x: f64, y: f64, label: &str) {
    let _ = write!(svg, "<text class=\"tick\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{label}</text>");
}

/// Ends where the plot does.
fn end_label(svg: &mut String, y: f64, label: &str) {
    let _ = write!(svg, "<text class=\"tick\" x=\"{RIGHT}\" y=\"{y:.1}\" text-anchor=\"end\">{label}</text>");
}

/// Powers of two, or of four, sixteen … if that would be too many.
fn byte_ticks(from: f64, to: f64, most: usize) -> Vec<f64> {
    let (low, high) = (from.log2().ceil() as i32, to.log2().floor() as i32);
    let step = (1..).find(|step| (high - low) / step < most as i32).unwrap_or(1);
    (low..=high).step_by(step as usize).map(|power| 2_f64.powi(power)).collect()
}

fn class_of(length: usize) -> usize {
    (0..CLASSES - 1).find(|&class| length <= MIN_CLASS_SIZE << class).unwrap_or(CLASSES - 1)
}

fn histogram(report: &Report<'_>) -> String {
    const TOP: f64 = 42.0;
    const BOTTOM: f64 = 262.0;
    let mut counts = [0_u64; CLASSES];
    for &length in &report.lengths {
        counts[class_of(length as usize)] += 1;
    }
    let last = report.outcome.last();
    let (default, max) = (class_of(last.default_size), class_of(last.max_size));
    let used = |class: &usize| counts[*class] > 0 || [default, max].contains(class);
    let from = (0..CLASSES).find(used).unwrap_or(0).saturating_sub(1);
    let to = (0..CLASSES).rfind(used).unwrap_or(0).saturating_add(1).min(CLASSES - 1);
    let most = counts.into_iter().max().unwrap_or(1) as f64;
    let y = Axis { from: 0.0, to: most, start: BOTTOM, end: TOP, log: false };
    let step = (RIGHT - LEFT) / (to - from + 1) as f64;
    let left_of = |class: usize| LEFT + (class - from) as f64 * step;
    let mut out = svg(300.0, "Histogram of sizes");
    let max_x = left_of(max) + step;
    if max_x < RIGHT {
        let _ = write!(
            out,
            "<rect class=\"above\" x=\"{max_x:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\"/>",
            RIGHT - max_x,
            BOTTOM - TOP
        );
    }
    let one_percent = report.lengths.len() as f64 / 100.0;
    for percent in percent_ticks(most / one_percent) {
        y_line(&mut out, y.at(f64::from(percent) * one_percent), &format!("{percent} %"));
    }
    for (class, &count) in counts.iter().enumerate().take(to + 1).skip(from) {
        let x = left_of(class);
        let top = if count > 0 { y.at(count as f64).min(BOTTOM - 2.0) } else { BOTTOM };
        let width = (step * 0.76).min(72.0);
        let share = count as f64 / report.lengths.len() as f64 * 100.0;
        let size = bytes(MIN_CLASS_SIZE << class);
        let _ = write!(
            out,
            "<rect class=\"bar\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\" rx=\"2\">\
             <title>up to {size}: {} messages, {share:.2} %</title></rect>",
            x + (step - width) / 2.0,
            BOTTOM - top,
            grouped(count as usize),
        );
        let label = if step < 52.0 { short(&size) } else { size };
        x_label(&mut out, x + step / 2.0, BOTTOM + 20.0, &label);
    }
    // Beside each other where they are one class; else above each other where the labels would meet.
    let near = left_of(max) - left_of(default) < 150.0;
    marker(&mut out, max_x, "max", &bytes(last.max_size), if near { 32.0 } else { 14.0 }, BOTTOM);
    // Last, on top: the max size has the wider line, so that both can be seen where they are one.
    marker(&mut out, left_of(default) + step, "default", &bytes(last.default_size), 14.0, BOTTOM);
    out + "</svg>"
}

fn marker(out: &mut String, x: f64, class: &str, size: &str, y: f64, bottom: f64) {
    let (anchor, text_x) = if x > RIGHT - 130.0 { ("end", x - 6.0) } else { ("start", x + 6.0) };
    let _ = write!(
        out,
        "<path class=\"mark {class}\" d=\"M{x:.1} {:.1}V{bottom}\"/><text class=\"label {class}\" x=\"{text_x:.1}\" \
         y=\"{:.1}\" text-anchor=\"{anchor}\">{class} {size}</text>",
        y - 10.0,
        y + 1.0,
    );
}

/// `64 KiB` as `64K`.
fn short(size: &str) -> String {
    size.replace(" B", "").replace(" KiB", "K").replace(" MiB", "M")
}

fn learned(report: &Report<'_>) -> String {
    const TOP: f64 = 16.0;
    const BOTTOM: f64 = 250.0;
    let both = [&report.outcome, &report.default];
    let sizes = || both.iter().flat_map(|outcome| &outcome.learned).flat_map(|one| [one.default_size, one.max_size]);
    let (least, most) = (sizes().min().unwrap_or(64) as f64, sizes().max().unwrap_or(64) as f64);
    let y = Axis { from: least / 1.6, to: most * 1.6, start: BOTTOM, end: TOP, log: true };
    let x = Axis { from: 0.0, to: report.lengths.len() as f64, start: LEFT, end: RIGHT, log: false };
    let mut out = svg(298.0, "Learned sizes over time");
    for size in byte_ticks(y.from, y.to, 9) {
        y_line(&mut out, y.at(size), &bytes(size as usize));
    }
    for tick in 0..=4 {
        let message = report.lengths.len() * tick / 4;
        let (at, y, message) = (x.at(message as f64), BOTTOM + 22.0, grouped(message));
        // Centered, the last one would be cut at the edge.
        if tick < 4 { x_label(&mut out, at, y, &message) } else { end_label(&mut out, y, &message) }
    }
    end_label(&mut out, BOTTOM + 42.0, "message");
    for (outcome, style) in [(&report.default, "dotted"), (&report.outcome, "solid")] {
        for (class, pick) in [("max", 1), ("default", 0)] {
            let path = steps(outcome, |one| [one.default_size, one.max_size][pick] as f64, x, y);
            let _ = write!(out, "<path class=\"line {class} {style}\" d=\"{path}\"/>");
        }
    }
    out + "</svg>"
}

fn steps(outcome: &Outcome, size: impl Fn(&crate::replay::Learned) -> f64, x: Axis, y: Axis) -> String {
    let mut path = String::new();
    for (index, one) in outcome.learned.iter().enumerate() {
        let (at_x, at_y) = (x.at(one.after as f64), y.at(size(one)));
        let _ = if index == 0 { write!(path, "M{at_x:.1} {at_y:.1}") } else { write!(path, "H{at_x:.1}V{at_y:.1}") };
    }
    path + &format!("H{RIGHT}")
}

fn scatter(report: &Report<'_>) -> String {
    const TOP: f64 = 44.0;
    const BOTTOM: f64 = 400.0;
    let cached = |outcome: &Outcome| (outcome.cached_bytes_max as f64).max(64.0);
    let work = |outcome: &Outcome| outcome.overhead_ns().max(0.1);
    let all = || report.outcomes.iter().chain([&report.outcome, &report.default]);
    let x = padded(all().map(cached), LEFT + 14.0, RIGHT - 14.0);
    let y = padded(all().map(work), BOTTOM - 14.0, TOP + 14.0);
    let mut out = svg(440.0, "Work against cached bytes");
    for tick in decimal_ticks(y.from, y.to) {
        y_line(&mut out, y.at(tick), &format!("{tick} ns"));
    }
    for tick in byte_ticks(x.from, x.to, 10) {
        let at = x.at(tick);
        let _ = write!(out, "<path class=\"grid\" d=\"M{at:.1} {TOP}V{BOTTOM}\"/>");
        x_label(&mut out, at, BOTTOM + 20.0, &bytes(tick as usize));
    }
    end_label(&mut out, BOTTOM + 36.0, "cached at worst");
    let _ = write!(out, "<text class=\"panel\" x=\"{LEFT}\" y=\"{:.1}\">work per use</text>", TOP - 4.0);
    legend(&mut out);
    let front = choice::front(&report.outcomes);
    let mut line: Vec<(f64, f64)> = report
        .outcomes
        .iter()
        .zip(&front)
        .filter(|&(_, &front)| front)
        .map(|(outcome, _)| (x.at(cached(outcome)), y.at(work(outcome))))
        .collect();
    line.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
    let points: Vec<String> = line.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = write!(out, "<polyline class=\"front\" points=\"{}\"/>", points.join(" "));
    for (setting, outcome) in report.grid.iter().zip(&report.outcomes) {
        let title = format!("{setting}\n{}", summary(outcome));
        dot(&mut out, x.at(cached(outcome)), y.at(work(outcome)), setting.policy, setting.growth, &title);
    }
    callout(&mut out, x.at(cached(&report.default)), y.at(work(&report.default)), "defaults", "plain");
    let best = (x.at(cached(&report.outcome)), y.at(work(&report.outcome)));
    let title = format!("{}\n{}", report.setting, summary(&report.outcome));
    dot(&mut out, best.0, best.1, report.setting.policy, report.setting.growth, &title);
    callout(&mut out, best.0, best.1, "best", "chosen");
    out + "</svg>"
}

fn padded(values: impl Iterator<Item = f64>, start: f64, end: f64) -> Axis {
    let (least, most) = values.fold((f64::MAX, 0.0), |(least, most), value| (value.min(least), value.max(most)));
    Axis { from: least / 1.25, to: most * 1.25, start, end, log: true }
}

/// From 0 up to `most`, a round number apart.
fn percent_ticks(most: f64) -> impl Iterator<Item = u32> {
    let step = [1, 2, 5, 10].into_iter().find(|step| most / f64::from(*step) < 6.0).unwrap_or(20);
    (0..=most as u32).step_by(step as usize)
}

/// 1, 2 and 5 times powers of ten.
fn decimal_ticks(from: f64, to: f64) -> Vec<f64> {
    let powers = (from.log10().floor() as i32)..=(to.log10().ceil() as i32);
    // Multiplied and not divided below 1, digits come out as 0.30000000000000004.
    let scaled =
        |factor: f64, power: i32| if power < 0 { factor / 10_f64.powi(-power) } else { factor * 10_f64.powi(power) };
    powers
        .flat_map(|power| [1.0, 2.0, 5.0].map(|factor| scaled(factor, power)))
        .filter(|tick| (from..=to).contains(tick))
        .collect()
}

fn legend(out: &mut String) {
    let mut x = LEFT;
    let mut item = |policy, growth, text: &str, width: f64| {
        dot(out, x + 6.0, 14.0, policy, growth, text);
        let _ = write!(out, "<text class=\"tick\" x=\"{:.1}\" y=\"18\">{text}</text>", x + 16.0);
        x += width;
    };
    for policy in POLICIES {
        let name = policy_name(policy);
        let width = 36.0 + name.len() as f64 * 8.5;
        item(policy, Growth::NextClass, &name, width);
    }
    x += 24.0;
    let mut item = |growth, text: &str, width: f64| {
        dot(out, x + 6.0, 14.0, DefaultSize::Percentile(0.75), growth, text);
        let _ = write!(out, "<text class=\"tick\" x=\"{:.1}\" y=\"18\">{text}</text>", x + 16.0);
        x += width;
    };
    item(Growth::NextClass, "grows to the next class", 218.0);
    item(Growth::MaxSize, "to the max size", 0.0);
}

fn dot(out: &mut String, x: f64, y: f64, policy: DefaultSize, growth: Growth, title: &str) {
    let class = POLICIES.iter().position(|&other| other == policy).unwrap_or(0);
    let title = escape(title);
    let _ = match growth {
        Growth::MaxSize => write!(
            out,
            "<path class=\"dot p{class}\" d=\"M{x:.1} {:.1}l6 6-6 6-6-6z\"><title>{title}</title></path>",
            y - 6.0
        ),
        _ => write!(
            out,
            "<circle class=\"dot p{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"><title>{title}</title></circle>"
        ),
    };
}

fn callout(out: &mut String, x: f64, y: f64, text: &str, class: &str) {
    let (anchor, text_x) = if x > RIGHT - 110.0 { ("end", x - 14.0) } else { ("start", x + 14.0) };
    let _ = write!(
        out,
        "<circle class=\"ring {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"10\"/><text class=\"callout {class}\" \
         x=\"{text_x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{text}</text>",
        y - 8.0
    );
}

fn summary(outcome: &Outcome) -> String {
    format!(
        "hit rate {:.2} %, {:.3} growths a use, {:.1} ns, cached {} at worst, {} in the mean",
        outcome.hit_rate() * 100.0,
        outcome.growths_per_use(),
        outcome.overhead_ns(),
        bytes(outcome.cached_bytes_max),
        bytes(outcome.cached_bytes_mean as usize),
    )
}

/// The same settings in both, in one order.
fn strips(report: &Report<'_>) -> String {
    const HITS: (f64, f64) = (128.0, 24.0);
    const CACHED: (f64, f64) = (330.0, 170.0);
    let mut order: Vec<usize> = (0..report.outcomes.len()).collect();
    order.sort_by_key(|&index| {
        let outcome = &report.outcomes[index];
        (outcome.cached_bytes_max, outcome.cached_bytes_mean as usize)
    });
    let least = report.outcomes.iter().map(Outcome::hit_rate).fold(1.0, f64::min);
    // Hit rates are close to 1: the axis shows what is below it.
    let span = (1.0 - least).max(0.001) * 1.1;
    let hits = Axis { from: 1.0 - span, to: 1.0, start: HITS.0, end: HITS.1, log: false };
    let extremes = |figure: fn(&Outcome) -> f64| report.outcomes.iter().map(figure).map(|bytes| bytes.max(64.0));
    let low = extremes(|outcome| outcome.cached_bytes_mean).fold(f64::MAX, f64::min);
    let high = extremes(|outcome| outcome.cached_bytes_max as f64).fold(0.0, f64::max);
    let cached = Axis { from: low / 1.5, to: high * 1.2, start: CACHED.0, end: CACHED.1, log: true };
    let mut out = svg(362.0, "Hit rate and cached bytes per setting");
    let _ = write!(
        out,
        "<text class=\"panel\" x=\"{LEFT}\" y=\"12\">hit rate</text><text class=\"panel\" x=\"{LEFT}\" y=\"158\">cached \
         bytes, mean to worst</text>"
    );
    let digits = if span < 0.02 { 2 } else { 1 };
    for share in [0.0, 0.5, 1.0] {
        let rate = 1.0 - span * share;
        y_line(&mut out, hits.at(rate), &format!("{:.digits$} %", rate * 100.0));
    }
    for size in byte_ticks(cached.from, cached.to, 6) {
        y_line(&mut out, cached.at(size), &bytes(size as usize));
    }
    let step = (RIGHT - LEFT) / order.len() as f64;
    for (place, &index) in order.iter().enumerate() {
        let (setting, outcome) = (&report.grid[index], &report.outcomes[index]);
        let x = LEFT + (place as f64 + 0.5) * step;
        let policy = POLICIES.iter().position(|&other| other == setting.policy).unwrap_or(0);
        let (top, bottom) =
            (cached.at((outcome.cached_bytes_max as f64).max(64.0)), cached.at(outcome.cached_bytes_mean.max(64.0)));
        if index == report.best {
            let _ = write!(
                out,
                "<rect class=\"here\" x=\"{:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" rx=\"3\"/><text \
                 class=\"callout chosen\" x=\"{x:.1}\" y=\"350\" text-anchor=\"middle\">best</text>",
                x - step / 2.0 - 2.0,
                HITS.1,
                step + 4.0,
                CACHED.0 - HITS.1 + 6.0,
            );
        }
        let title = escape(&format!("{setting}\n{}", summary(outcome)));
        let _ = write!(
            out,
            "<g><title>{title}</title><circle class=\"dot p{policy}\" cx=\"{x:.1}\" cy=\"{:.1}\" r=\"3.5\"/><rect \
             class=\"dot p{policy}\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"1.5\"/></g>",
            hits.at(outcome.hit_rate()),
            x - step * 0.4,
            step * 0.8,
            (bottom - top).max(3.0),
        );
    }
    out + "</svg>"
}

fn table(html: &mut String, report: &Report<'_>) {
    let front = choice::front(&report.outcomes);
    let mut order: Vec<usize> = (0..report.outcomes.len()).collect();
    order.sort_by_key(|&index| (!front[index], report.outcomes[index].cached_bytes_max));
    let _ = write!(
        html,
        "<section class=\"card\"><details><summary><h2>All {} settings</h2></summary><p>Those that no other beats in \
         both work and memory come first, in bold.</p><div class=\"plot\"><table class=\"all\"><tr><th>default size</th>\
         <th>growth</th><th>max percentile</th><th>threshold</th><th>hit rate</th><th>growths / use</th><th>work / use\
         </th><th>cached, mean</th><th>cached, worst</th></tr>",
        order.len()
    );
    for index in order {
        let (setting, outcome) = (&report.grid[index], &report.outcomes[index]);
        let _ = write!(
            html,
            "<tr{}><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.2} %</td><td>{:.3}</td><td>{:.1} ns</td><td>{}</td>\
             <td>{}</td></tr>",
            if front[index] { " class=\"front\"" } else { "" },
            policy_name(setting.policy),
            if setting.growth == Growth::MaxSize { "max size" } else { "next class" },
            setting.max_percentile,
            grouped(setting.threshold as usize),
            outcome.hit_rate() * 100.0,
            outcome.growths_per_use(),
            outcome.overhead_ns(),
            bytes(outcome.cached_bytes_mean as usize),
            bytes(outcome.cached_bytes_max),
        );
    }
    html.push_str("</table></div></details></section>\n");
}

/// With thin spaces between groups of three digits.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = include_str!("page.css");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_cannot_put_markup_on_the_page() {
        assert_eq!(escape("<script>\"&"), "&lt;script&gt;&quot;&amp;");
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(byte_ticks(100.0, 5000.0, 9), [128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0]);
        assert!(byte_ticks(1.0, 1e9, 6).len() <= 6);
        for (most, ticks) in
            [(0.4, &[0][..]), (4.2, &[0, 1, 2, 3, 4]), (30.1, &[0, 10, 20, 30]), (68.0, &[0, 20, 40, 60])]
        {
            assert_eq!(percent_ticks(most).collect::<Vec<_>>(), ticks);
        }
        assert_eq!(decimal_ticks(0.04, 3.0), [0.05, 0.1, 0.2, 0.5, 1.0, 2.0]);
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
    }
}
