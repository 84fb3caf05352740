//! The ratios to the relay by payload, as a picture for documents: events per second on the left, CPU per event on the
//! right.

use std::{ops::Range, path::Path};

use anyhow::anyhow;
use framegate_tests::bench::spread::Spread;
use plotters::prelude::*;

use crate::{compare::Rounds, goals::Figure, sides::Side};

/// Draws the rounds that have a relay to a file, one line for each side and transport.
pub(crate) fn write(path: &Path, all: &[Rounds]) -> anyhow::Result<()> {
    draw(path, all).map_err(|error| anyhow!("{}: {error}", path.display()))
}

fn draw<'a>(path: &'a Path, all: &[Rounds]) -> Result<(), Box<dyn std::error::Error + 'a>> {
    let area = SVGBackend::new(path, (1000, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let halves = area.split_evenly((1, 2));
    for (half, figure, title) in
        [(&halves[0], Figure::Rate, "events/s, relay = 1"), (&halves[1], Figure::Cpu, "CPU per event, relay = 1")]
    {
        let lines = SIDES.map(|(side, color)| (side, color, points(all, side, figure)));
        let top = lines.iter().flat_map(|(.., points)| points.iter().map(|(_, ratio)| ratio.high)).fold(2.0, f64::max);
        let mut chart = ChartBuilder::on(half)
            .caption(title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(40)
            .build_cartesian_2d(SIZES, 0.0..top * 1.05)?;
        let size = |power: &f64| {
            let (unit, name) =
                [(20.0, "MiB"), (10.0, "KiB")].into_iter().find(|(unit, _)| power >= unit).unwrap_or((0.0, "B"));
            format!("{:.0} {name}", (power - unit).exp2())
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_desc("an image")
            .x_labels(12)
            .x_label_formatter(&size)
            .light_line_style(WHITE)
            .draw()?;
        chart.draw_series(LineSeries::new([(SIZES.start, 1.0), (SIZES.end, 1.0)], BLACK.stroke_width(1)))?;
        for (side, color, points) in &lines {
            if points.is_empty() {
                continue;
            }
            let middle = points.iter().map(|(size, ratio)| (*size, ratio.median));
            chart
                .draw_series(LineSeries::new(middle.clone(), color.stroke_width(2)))?
                .label(side.name())
                .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
            let spread = points.iter().map(|(size, ratio)| {
                ErrorBar::new_vertical(*size, ratio.low, ratio.median, ratio.high, color.filled(), 6)
            });
            chart.draw_series(spread)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerLeft)
            .border_style(BLACK)
            .background_style(WHITE)
            .draw()?;
    }
    area.present()?;
    Ok(())
}

/// The points of rows that differ from the usual one only in size; the size as a power of two.
fn points(all: &[Rounds], side: Side, figure: Figure) -> Vec<(f64, Spread)> {
    let usual = all.iter().filter(|rounds| rounds.row.sides[0] == Side::Relay && !rounds.row.broadcast);
    let ratio = |rounds: &Rounds| rounds.ratio(side, |measured| figure.of(measured, rounds.row.streams));
    usual.filter_map(|rounds| Some(((rounds.row.payload as f64).log2(), ratio(rounds)?))).collect()
}

/// From 64 bytes to 16 MiB, as powers of two, with some room.
const SIZES: Range<f64> = 5.5..24.5;
/// Python is far off the scale in both pictures.
const SIDES: [(Side, RGBColor); 3] = [
    (Side::Framegate, RGBColor(0, 90, 170)),
    (Side::Linked, RGBColor(200, 90, 0)),
    (Side::Standalone, RGBColor(0, 130, 60)),
];
