//! What all plots share: colours, fonts, a canvas, and text in the places it belongs.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// What a plot is drawn on.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Width of every plot.
pub(super) const WIDTH: i32 = 1040;

/// Text.
pub(super) const INK: RGBColor = RGBColor(0x22, 0x26, 0x2B);
/// Text of lesser weight: units, axes.
pub(super) const FAINT_INK: RGBColor = RGBColor(0x5C, 0x64, 0x6E);
/// Lines behind the data.
pub(super) const GRID: RGBColor = RGBColor(0xE3, 0xE6, 0xEA);
/// Behind the row that is ours.
pub(super) const HIGHLIGHT: RGBColor = RGBColor(0xE6, 0xF1, 0xF8);
/// Ours: the blue of Okabe and Ito's palette, which all eyes tell from its neighbours.
pub(super) const OURS: RGBColor = RGBColor(0x00, 0x72, 0xB2);
/// Its second colour, vermilion.
pub(super) const SECOND: RGBColor = RGBColor(0xD5, 0x5E, 0x00);
/// Everybody else.
pub(super) const OTHERS: RGBColor = RGBColor(0x9A, 0xA3, 0xAD);

/// Our own allocator's name in the results.
pub(super) const OUR_NAME: &str = "alloc_xv";

const FONT: &str = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif";

/// Where text stands relative to its point.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    /// The point is the middle of its left edge.
    Left,
    /// The point is its centre.
    Centre,
    /// The point is the middle of its right edge.
    Right,
}

/// Draws on a white canvas of `height` pixels and returns the SVG text.
pub(super) fn canvas(
    height: i32,
    draw: impl FnOnce(&Area<'_>) -> Result<(), String>,
) -> Result<String, String> {
    let mut svg = String::new();
    {
        let area =
            SVGBackend::with_string(&mut svg, (WIDTH as u32, height as u32)).into_drawing_area();
        area.fill(&WHITE).map_err(in_words)?;
        draw(&area)?;
        area.present().map_err(in_words)?;
    }
    Ok(svg)
}

/// A drawing error as text.
pub(super) fn in_words(error: impl std::fmt::Display) -> String {
    format!("cannot draw: {error}")
}

pub(super) fn line(
    area: &Area<'_>,
    points: &[(i32, i32)],
    colour: RGBColor,
    width: u32,
) -> Result<(), String> {
    area.draw(&PathElement::new(
        points.to_vec(),
        colour.stroke_width(width),
    ))
    .map_err(in_words)
}

pub(super) fn filled(
    area: &Area<'_>,
    from: (i32, i32),
    to: (i32, i32),
    colour: RGBColor,
) -> Result<(), String> {
    area.draw(&Rectangle::new([from, to], colour.filled()))
        .map_err(in_words)
}

pub(super) fn dot(
    area: &Area<'_>,
    at: (i32, i32),
    radius: i32,
    colour: RGBColor,
    hollow: bool,
) -> Result<(), String> {
    if hollow {
        area.draw(&Circle::new(at, radius, WHITE.filled()))
            .map_err(in_words)?;
        return area
            .draw(&Circle::new(at, radius, colour.stroke_width(2)))
            .map_err(in_words);
    }
    area.draw(&Circle::new(at, radius, colour.filled()))
        .map_err(in_words)
}

/// Text of `size` pixels. The backend writes a font size somewhat below what it is asked for.
pub(super) fn text(
    area: &Area<'_>,
    at: (i32, i32),
    anchor: Anchor,
    size: u32,
    colour: RGBColor,
    bold: bool,
    text: &str,
) -> Result<(), String> {
    let horizontal = match anchor {
        Anchor::Left => HPos::Left,
        Anchor::Centre => HPos::Center,
        Anchor::Right => HPos::Right,
    };
    let weight = if bold {
        FontStyle::Bold
    } else {
        FontStyle::Normal
    };
    let style = TextStyle::from((FONT, size * 8 / 7).into_font().style(weight))
        .color(&colour)
        .pos(Pos::new(horizontal, VPos::Center));
    area.draw_text(text, &style, at).map_err(in_words)
}

/// A mark on the axis at the bottom, and what it stands for below it.
pub(super) fn tick_below(
    area: &Area<'_>,
    (x, bottom): (i32, i32),
    label: &str,
) -> Result<(), String> {
    line(area, &[(x, bottom), (x, bottom + 5)], INK, 1)?;
    let at = (x, bottom + 18);
    text(area, at, Anchor::Centre, 12, FAINT_INK, false, label)
}

/// The plot's title, top left, and what it shows in smaller letters below it.
pub(super) fn heading(area: &Area<'_>, title: &str, subtitle: &str) -> Result<(), String> {
    text(area, (24, 26), Anchor::Left, 19, INK, true, title)?;
    text(area, (24, 50), Anchor::Left, 13, FAINT_INK, false, subtitle)
}

/// A linear or logarithmic scale from values to pixels.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    from: i32,
    to: i32,
    logarithmic: bool,
}

impl Scale {
    pub(super) fn linear(values: (f64, f64), pixels: (i32, i32)) -> Self {
        Scale {
            low: values.0,
            high: values.1,
            from: pixels.0,
            to: pixels.1,
            logarithmic: false,
        }
    }

    /// Widened to whole decades, as far as half of one.
    pub(super) fn logarithmic(values: (f64, f64), pixels: (i32, i32)) -> Self {
        let (low, high) = (values.0.max(1.0).log10(), values.1.max(10.0).log10());
        Scale {
            low: low.floor(),
            high: high.ceil().max(low.floor() + 1.0),
            from: pixels.0,
            to: pixels.1,
            logarithmic: true,
        }
    }

    /// From value to value, without widening; for ticks of the caller's.
    pub(super) fn logarithmic_between(values: (f64, f64), pixels: (i32, i32)) -> Self {
        let low = values.0.max(1.0).log10();
        Scale {
            low,
            high: values.1.max(1.0).log10().max(low + 0.1),
            from: pixels.0,
            to: pixels.1,
            logarithmic: true,
        }
    }

    pub(super) fn pixel(&self, value: f64) -> i32 {
        let value = if self.logarithmic {
            value.max(1.0).log10()
        } else {
            value
        };
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.from + (share * f64::from(self.to - self.from)).round() as i32
    }

    /// Values worth a line: decades, or five or so round numbers.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            return (self.low as i32..=self.high as i32)
                .map(|power| 10f64.powi(power))
                .collect();
        }
        self.ticks_about(5)
    }

    /// About `count` round numbers on a linear scale, at steps of 1, 2 or 5.
    pub(super) fn ticks_about(&self, count: u32) -> Vec<f64> {
        let rough = (self.high - self.low) / f64::from(count);
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * power)
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let first = (self.low / step - 1e-9).ceil() as i64;
        (first..)
            .map(|nth| nth as f64 * step)
            .take_while(|value| *value <= self.high + step * 1e-9)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_map_ends_to_ends_and_clamp() {
        let scale = Scale::linear((1.0, 2.0), (100, 200));
        assert_eq!(
            [1.0, 1.5, 2.0, 9.0].map(|value| scale.pixel(value)),
            [100, 150, 200, 200]
        );
        let scale = Scale::logarithmic((20.0, 900.0), (0, 200));
        assert_eq!(
            [10.0, 100.0, 1000.0, 0.0].map(|value| scale.pixel(value)),
            [0, 100, 200, 0]
        );
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(
            Scale::linear((0.0, 4160.0), (0, 1)).ticks(),
            [0.0, 1000.0, 2000.0, 3000.0, 4000.0]
        );
        assert_eq!(
            Scale::linear((1.0, 2.12), (0, 1)).ticks_about(3),
            [1.0, 1.5, 2.0]
        );
        assert_eq!(
            Scale::logarithmic((20.0, 900.0), (0, 1)).ticks(),
            [10.0, 100.0, 1000.0]
        );
    }
}
