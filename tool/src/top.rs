//! `top`: running devices, live on a terminal.
//!
//! | module | what it does |
//! |---|---|
//! | `sample` | two moments of each device, and what lies between them |
//! | `screen` | drawing them |
//! | `tiers` | what became of cold pages, in words |
//! | `terminal` | a terminal that is put back whatever happens |

mod sample;
mod screen;
mod terminal;
mod tiers;

use std::time::{Duration, Instant};

use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, read};

use crate::output;
use sample::Samples;
use screen::Screen;
use terminal::{Terminal, Woken};

/// Columns and lines of a screen that is printed.
const ONCE: (u16, u16) = (80, 24);

/// Watch running devices: ratio, memory, requests, latencies, compressed sizes.
///
/// Keys: q quits, the arrow keys and Tab choose the device that is shown in full.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  compcache top
  compcache top compcache0 --interval 0.5
  compcache top --once                           one screen as text, for a script or a report")]
pub(crate) struct TopArgs {
    /// Devices, as --name of 'compcache serve' or the paths of control sockets [default: all that run]
    #[arg(value_name = "DEVICE")]
    devices: Vec<String>,
    /// Seconds between two looks
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = parse_interval)]
    interval: Duration,
    /// Print one screen as text, over one interval
    #[arg(long)]
    once: bool,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok();
    match seconds.filter(|seconds| (0.1..=60.0).contains(seconds)) {
        Some(seconds) => Ok(Duration::from_secs_f64(seconds)),
        None => Err("expected 0.1 to 60 seconds".to_owned()),
    }
}

/// Shows devices until a key or a signal says to stop.
///
/// # Errors
/// One line: no device, no terminal.
pub(crate) fn run(args: &TopArgs) -> Result<(), String> {
    let mut samples = Samples::connect(&args.devices)?;
    if args.once {
        std::thread::sleep(args.interval);
        samples.take()?;
        return output::print(&text(&samples, ONCE)?);
    }
    let mut terminal = Terminal::open()?;
    let result = watch(&mut terminal, &mut samples, args.interval);
    // Before an error is printed.
    drop(terminal);
    result
}

fn watch(terminal: &mut Terminal, samples: &mut Samples, interval: Duration) -> Result<(), String> {
    let mut chosen = 0;
    let mut next = Instant::now() + interval;
    loop {
        chosen = chosen.min(samples.devices().len().saturating_sub(1));
        terminal.draw(|frame| Screen::new(samples, chosen).draw(frame))?;
        match terminal.wait(next)? {
            Woken::Stop => return Ok(()),
            Woken::Time => {
                samples.take()?;
                next = Instant::now() + interval;
            }
            Woken::Event => match read() {
                Ok(event) => match action(&event) {
                    Action::Quit => return Ok(()),
                    Action::Move(step) => {
                        let count = samples.devices().len().max(1);
                        chosen = (chosen + count).saturating_add_signed(step) % count;
                    }
                    Action::Nothing => {}
                },
                Err(error) => return Err(format!("the terminal: {error}")),
            },
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Action {
    Quit,
    /// To the next device, or the one before.
    Move(isize),
    /// Drawing again, which also is right after a change of size.
    Nothing,
}

fn action(event: &Event) -> Action {
    let Event::Key(KeyEvent {
        code,
        modifiers,
        kind: KeyEventKind::Press | KeyEventKind::Repeat,
        ..
    }) = event
    else {
        return Action::Nothing;
    };
    match code {
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Action::Quit,
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Action::Quit,
        KeyCode::Down | KeyCode::Right | KeyCode::Tab | KeyCode::Char('j') => Action::Move(1),
        KeyCode::Up | KeyCode::Left | KeyCode::BackTab | KeyCode::Char('k') => Action::Move(-1),
        _ => Action::Nothing,
    }
}

/// A screen as text, without the spaces at the ends of lines.
fn text(samples: &Samples, (width, height): (u16, u16)) -> Result<String, String> {
    let failed = |error: std::convert::Infallible| error.to_string();
    let mut terminal = ratatui::Terminal::new(TestBackend::new(width, height)).map_err(failed)?;
    let drawn = terminal.draw(|frame| Screen::new(samples, 0).draw(frame));
    drawn.map_err(failed)?;
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(usize::from(width)).map(|cells| {
        let line: String = cells.iter().map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned() + "\n"
    });
    let text: String = lines.collect();
    Ok(text.trim_end().to_owned() + "\n")
}

#[cfg(test)]
mod tests;
