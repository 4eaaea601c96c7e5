//! Bars, one file a shape.
//!
//! Only rectangles, lines and text: no fonts of the machine are needed.

use super::{Line, figure};
use crate::contest::{Better, Role};
use crate::machine::State;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const WIDTH: i32 = 900;
const LEFT: i32 = 330;
const RIGHT: i32 = 90;
const TOP: i32 = 44;
const ROW: i32 = 26;
/// Figures further apart than this are drawn on a logarithmic scale.
const LINEAR_MAX: f64 = 30.0;

/// Draws each shape of `lines` into `folder`. The files.
pub fn charts(folder: &Path, state: State, lines: &[Line]) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(folder)?;
    let shapes = lines.chunk_by(|one, other| (one.suite, &one.shape) == (other.suite, &other.shape));
    let draw = |shape: &[Line]| {
        let path = folder.join(format!("{}-{}-{}.svg", shape[0].suite, slug(&shape[0].shape), state.name()));
        draw(&path, state, shape).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(path)
    };
    shapes.map(draw).collect()
}

/// `2p2c, 10 ms windows` as `2p2c-10-ms-windows`.
fn slug(shape: &str) -> String {
    let parts = shape.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_lowercase()
}

/// Figures as lengths.
struct Scale {
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Scale {
    fn of(lines: &[Line]) -> Self {
        let max = lines.iter().map(|line| line.max).fold(f64::MIN_POSITIVE, f64::max);
        let min = lines.iter().map(|line| line.min).filter(|min| *min > 0.0).fold(max, f64::min);
        if max / min > LINEAR_MAX {
            Scale { from: (min / 1.5).ln(), to: max.ln(), logarithmic: true }
        } else {
            Scale { from: 0.0, to: max, logarithmic: false }
        }
    }

    fn x(&self, value: f64) -> i32 {
        let value = if self.logarithmic { value.max(f64::MIN_POSITIVE).ln() } else { value };
        let part = ((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0);
        LEFT + (part * f64::from(WIDTH - LEFT - RIGHT)) as i32
    }
}

fn draw(path: &Path, state: State, lines: &[Line]) -> Result<(), Box<dyn std::error::Error>> {
    let height = TOP + ROW * lines.len() as i32 + 14;
    let area = SVGBackend::new(path, (WIDTH as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let text = |size: i32, right: bool| {
        let horizontal = if right { HPos::Right } else { HPos::Left };
        ("sans-serif", size).into_font().color(&RGBColor(40, 40, 40)).pos(Pos::new(horizontal, VPos::Center))
    };
    let scale = Scale::of(lines);
    let good = match lines[0].better {
        Better::Higher => "more is better",
        Better::Lower => "less is better",
    };
    let logarithmic = if scale.logarithmic { ", logarithmic" } else { "" };
    let title = format!("{}: {}, {}, {good}{logarithmic} ({})", lines[0].suite, lines[0].shape, lines[0].unit, state.name());
    area.draw(&Text::new(title, (14, TOP / 2), text(17, false)))?;
    for (row, line) in lines.iter().enumerate() {
        let middle = TOP + ROW * row as i32 + ROW / 2;
        let [min, median, max] = [line.min, line.median, line.max].map(|value| scale.x(value));
        area.draw(&Text::new(line.subject.clone(), (LEFT - 8, middle), text(13, true)))?;
        area.draw(&Rectangle::new([(LEFT, middle - 8), (median.max(LEFT + 1), middle + 8)], color(line.role).filled()))?;
        area.draw(&PathElement::new([(min, middle), (max, middle)], BLACK.stroke_width(1)))?;
        for end in [min, max] {
            area.draw(&PathElement::new([(end, middle - 4), (end, middle + 4)], BLACK.stroke_width(1)))?;
        }
        area.draw(&Text::new(figure(line.median), (max.max(median) + 6, middle), text(13, false)))?;
    }
    area.present()?;
    Ok(())
}

fn color(role: Role) -> RGBColor {
    match role {
        Role::Mill => RGBColor(214, 105, 40),
        Role::Baseline | Role::Yardstick => RGBColor(70, 90, 120),
        Role::Peer => RGBColor(150, 165, 185),
        Role::Narrow => RGBColor(215, 220, 228),
    }
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn a_shape_makes_a_file_name() {
        assert_eq!(slug("8p8c, 10 ms windows: median"), "8p8c-10-ms-windows-median");
        assert_eq!(slug("publish_batch(32), 1p2w"), "publish-batch-32-1p2w");
    }
}
