//! A terminal that is put back whatever happens: at the end, after an error, a panic, a signal.

use std::io::{IsTerminal, stdout};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::poll;
use ratatui::{DefaultTerminal, Frame};

use crate::serve::machine::StopSignals;

/// How often signals are looked at while keys are waited for.
const GLANCE: Duration = Duration::from_millis(100);

/// The terminal in raw mode, on its other screen, until this is dropped.
pub(crate) struct Terminal {
    terminal: DefaultTerminal,
    /// Blocked and looked at, so that a signal cannot end the process on the other screen.
    signals: StopSignals,
}

/// Why waiting ended.
pub(crate) enum Woken {
    /// It is time.
    Time,
    /// A key, a change of size: to be read.
    Event,
    /// A signal says to stop.
    Stop,
}

impl Terminal {
    /// Takes the terminal over. A panic puts it back before it is printed.
    ///
    /// # Errors
    /// One line: standard output is no terminal.
    pub(crate) fn open() -> Result<Self, String> {
        if !stdout().is_terminal() {
            return Err("standard output is no terminal; try --once".to_owned());
        }
        let signals = StopSignals::block()?;
        let terminal = ratatui::try_init().map_err(|error| {
            ratatui::restore();
            format!("the terminal: {error}; try --once")
        })?;
        Ok(Self { terminal, signals })
    }

    /// Draws a screen.
    ///
    /// # Errors
    /// The terminal has gone away.
    pub(crate) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> Result<(), String> {
        let drawn = self.terminal.draw(draw);
        drawn
            .map(|_| ())
            .map_err(|error| format!("the terminal: {error}"))
    }

    /// Waits for whatever comes first.
    ///
    /// # Errors
    /// The terminal has gone away.
    pub(crate) fn wait(&self, until: Instant) -> Result<Woken, String> {
        loop {
            if self.signals.wait(Duration::ZERO)? {
                return Ok(Woken::Stop);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Woken::Time);
            }
            match poll(left.min(GLANCE)) {
                Ok(true) => return Ok(Woken::Event),
                Ok(false) => {}
                Err(error) => return Err(format!("the terminal: {error}")),
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        ratatui::restore();
    }
}
