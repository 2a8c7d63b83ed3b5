//! A screen: all devices in a table, one of them in full.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize};
use ratatui::symbols;
use ratatui::text::{Line, Text};
use ratatui::widgets::{Bar, BarChart, BarGroup, LineGauge, Paragraph, Row, Table};

use super::sample::{Device, Samples};
use super::tiers;
use crate::control::Requests;
use crate::units;

/// Devices in the table; more are counted.
const DEVICES_MAX: usize = 4;
/// Columns of a bar of the histogram and the gap behind it: 16 of them are 80 columns.
const BAR: (u16, u16) = (4, 1);

/// What is drawn.
pub(crate) struct Screen<'a> {
    samples: &'a Samples,
    chosen: usize,
}

impl<'a> Screen<'a> {
    /// `chosen` is the device that is shown in full.
    pub(crate) fn new(samples: &'a Samples, chosen: usize) -> Self {
        Self { samples, chosen }
    }

    pub(crate) fn draw(&self, frame: &mut Frame<'_>) {
        let devices = self.samples.devices();
        let shown = devices.len().min(DEVICES_MAX) as u16;
        let cold = devices.get(self.chosen).map(tiers::lines);
        let cold = cold.unwrap_or_default();
        let [title, table, name, gauges, tiers, requests, head, sizes] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(shown + 1),
            Constraint::Length(2),
            Constraint::Length(2),
            Constraint::Length(cold.len() as u16),
            Constraint::Length(7),
            Constraint::Length(1),
            Constraint::Min(3),
        ])
        .areas(frame.area());
        frame.render_widget(self.title(), title);
        frame.render_widget(self.table(), table);
        let Some(device) = devices.get(self.chosen) else {
            return;
        };
        frame.render_widget(heading(device), name);
        draw_gauges(frame, device, gauges);
        frame.render_widget(Text::from_iter(cold), tiers);
        frame.render_widget(latencies(device), requests);
        let head_line = Line::from("pages by compressed size, up to bytes").bold();
        frame.render_widget(head_line, head);
        frame.render_widget(histogram(&device.now.sizes), sizes);
    }

    fn title(&self) -> Paragraph<'a> {
        let count = self.samples.devices().len();
        let more = match count {
            1 => String::new(),
            count => format!(" ({count} devices, Tab for the next)"),
        };
        Paragraph::new(format!("compcache top{more}, q quits")).dim()
    }

    fn table(&self) -> Table<'a> {
        let devices = self.samples.devices();
        // The chosen one is among those shown.
        let first = (self.chosen + 1).saturating_sub(DEVICES_MAX);
        let rows = devices.iter().enumerate().skip(first).take(DEVICES_MAX);
        let rows = rows.map(|(nth, device)| {
            let style = match nth == self.chosen {
                true => Style::new().reversed(),
                false => Style::new(),
            };
            row(device, nth == self.chosen).style(style)
        });
        let widths = [18, 10, 10, 10, 6, 9, 9];
        let header = [
            "", "stored", "memory", "limit", "ratio", "reads/s", "writes/s",
        ];
        Table::new(rows, widths.map(Constraint::Length)).header(right(header).bold())
    }
}

/// Cells, all but the first to the right.
fn right<T: Into<String>>(cells: impl IntoIterator<Item = T>) -> Row<'static> {
    let cells = cells.into_iter().enumerate().map(|(nth, cell)| {
        let line = Line::from(cell.into());
        match nth {
            0 => line,
            _ => line.right_aligned(),
        }
    });
    Row::new(cells)
}

fn row(device: &Device, chosen: bool) -> Row<'static> {
    let now = &device.now;
    let requests = device.requests();
    let rate = |kind: &str| {
        let of = requests.iter().find(|requests| requests.kind == kind);
        units::grouped(device.rate(of.map_or(0, |requests| requests.count)))
    };
    let mark = if chosen { '>' } else { ' ' };
    right([
        format!("{mark} {}", now.name),
        units::bytes(now.orig_data_size),
        units::bytes(now.mem_used_total),
        limit(now.mem_limit),
        ratio(now.orig_data_size, now.mem_used_total),
        rate("read"),
        rate("write"),
    ])
}

fn limit(bytes: u64) -> String {
    match bytes {
        0 => "none".to_owned(),
        bytes => units::bytes(bytes),
    }
}

fn ratio(stored: u64, memory: u64) -> String {
    match memory {
        0 => "-".to_owned(),
        memory => format!("{:.2}", stored as f64 / memory as f64),
    }
}

fn heading(device: &Device) -> Paragraph<'static> {
    let now = &device.now;
    let clients = if now.clients == 1 {
        "client"
    } else {
        "clients"
    };
    let text = format!(
        "\n{}: {}, {} {clients}, {} same-filled, {} incompressible",
        now.name,
        now.algorithm,
        now.clients,
        units::grouped(now.same_pages),
        units::grouped(now.huge_pages),
    );
    Paragraph::new(text).bold()
}

fn draw_gauges(frame: &mut Frame<'_>, device: &Device, area: Rect) {
    let now = &device.now;
    let [memory, fill] = Layout::vertical([Constraint::Length(1); 2]).areas(area);
    // Without a limit, the size of the device is the most that it can be asked for.
    let most = match now.mem_limit {
        0 => now.disksize,
        limit => limit,
    };
    let of = if now.mem_limit == 0 {
        "no limit"
    } else {
        "limit"
    };
    frame.render_widget(gauge("memory", now.mem_used_total, most, of), memory);
    frame.render_widget(
        gauge("filled", now.orig_data_size, now.disksize, "size"),
        fill,
    );
}

fn gauge(name: &str, part: u64, whole: u64, what: &str) -> LineGauge<'static> {
    let share = match whole {
        0 => 0.0,
        whole => (part as f64 / whole as f64).clamp(0.0, 1.0),
    };
    let of = match what {
        "no limit" => what.to_owned(),
        what => format!("of {} {what}", units::bytes(whole)),
    };
    let label = format!(
        "{name} {:>8} {of:<19} {:>7}",
        units::bytes(part),
        units::percent(part, whole)
    );
    LineGauge::default()
        .ratio(share)
        .label(label)
        .filled_symbol(symbols::line::THICK_HORIZONTAL)
        .unfilled_symbol(symbols::line::HORIZONTAL)
        .filled_style(match share {
            share if share >= 0.9 => Style::new().red(),
            _ => Style::new().green(),
        })
}

fn latencies(device: &Device) -> Table<'static> {
    let requests = device.requests();
    let rows = requests
        .into_iter()
        .map(|requests| latency(device, &requests));
    let widths = [12, 9, 12, 8, 8, 8, 8, 7];
    let header = right([
        "", "a second", "bytes/s", "p50", "p99", "p99.9", "max", "failed",
    ]);
    Table::new(rows, widths.map(Constraint::Length)).header(header.bold().top_margin(1))
}

fn latency(device: &Device, requests: &Requests) -> Row<'static> {
    let time = |share: f64| match requests.quantile_ns(share) {
        Some(ns) => units::nanoseconds(ns as f64),
        None => "-".to_owned(),
    };
    right([
        requests.kind.replace('_', " "),
        units::grouped(device.rate(requests.count)),
        units::bytes(device.rate(requests.bytes)),
        time(0.5),
        time(0.99),
        time(0.999),
        time(1.0),
        units::grouped(requests.failed),
    ])
}

fn histogram(sizes: &[u64]) -> BarChart<'static> {
    let class = 4096 / sizes.len().max(1);
    let bars: Vec<Bar<'_>> = sizes
        .iter()
        .enumerate()
        .map(|(nth, &pages)| {
            let label = ((nth + 1) * class).to_string();
            Bar::default()
                .value(pages)
                .text_value(short(pages))
                .label(label)
        })
        .collect();
    BarChart::default()
        .data(BarGroup::default().bars(&bars))
        .bar_width(BAR.0)
        .bar_gap(BAR.1)
        .bar_style(Style::new().cyan())
        .value_style(Style::new().cyan().reversed())
}

/// A count in four columns.
fn short(count: u64) -> String {
    match count {
        0 => String::new(),
        1..10_000 => count.to_string(),
        10_000..1_000_000 => format!("{}k", count / 1000),
        1_000_000..1_000_000_000 => format!("{}M", count / 1_000_000),
        _ => format!("{}G", count / 1_000_000_000),
    }
}
