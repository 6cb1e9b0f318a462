//! A plot that follows its reader's choice of light or dark.
//!
//! plotters writes colors as attributes, and a style takes precedence over these. Nothing else follows the choice where
//! a page shows the plot in an `<img>`.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use plotters::style::{RGBColor, WHITE};

pub const TEXT: RGBColor = RGBColor(30, 34, 40);
pub const FAINT: RGBColor = RGBColor(208, 215, 222);
pub const BLUE: RGBColor = RGBColor(0, 110, 184);

/// What all plots have, light and dark.
const COMMON_COLORS: [(RGBColor, RGBColor); 4] = [
    (WHITE, RGBColor(13, 17, 23)),
    (TEXT, RGBColor(230, 237, 243)),
    (FAINT, RGBColor(48, 54, 61)),
    (BLUE, RGBColor(78, 168, 240)),
];

/// Adds to the plot at `path` what each of its colors is on a dark page. `colors` are the plot's own, in pairs of light and
/// dark; a color that is neither there nor one of the above is an error.
pub fn follow_the_reader(path: &Path, colors: &[(RGBColor, RGBColor)]) -> Result<(), Box<dyn Error>> {
    let plot = fs::read_to_string(path)?;
    let mut style = String::from("<style>@media (prefers-color-scheme: dark) {");
    for color in colors_of(&plot) {
        let pair = COMMON_COLORS.iter().chain(colors).find(|(light, _)| hex(*light) == color);
        let (_, dark) = pair.ok_or_else(|| format!("{color} has no color for a dark page"))?;
        for place in ["fill", "stroke"] {
            write!(style, " [{place}=\"{color}\"] {{ {place}: {} }}", hex(*dark))?;
        }
    }
    style.push_str(" }</style>");
    let (head, rest) = plot.split_once('\n').ok_or("a plot begins with a line of its own")?;
    fs::write(path, format!("{head}\n{style}\n{rest}"))?;
    Ok(())
}

fn colors_of(plot: &str) -> BTreeSet<&str> {
    plot.split('"').filter(|text| text.len() == 7 && text.starts_with('#')).collect()
}

fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}
