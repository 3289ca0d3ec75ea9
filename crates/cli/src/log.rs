//! The log on standard error: warnings by default, only errors with `--quiet`, more with `-v`.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::printable::{LineBreaks, escape};
use crate::{display, environment};

/// Starts the log at the level of the options.
pub(crate) fn start(verbose: u8, quiet: bool) {
    let level = match verbose {
        0 if quiet => Level::ERROR,
        0 => Level::WARN,
        1 => Level::INFO,
        2 => Level::DEBUG,
        _ => Level::TRACE,
    };
    // The targets of all crates of vmroot begin with this.
    let filter = Targets::new().with_target("vmroot", level);
    let is_terminal = io::stderr().is_terminal();
    let has_colour = environment::wants_colour(is_terminal) && !display::is_json();
    let format = LineFormat { is_terminal, has_colour, is_json: display::is_json() };
    let lines = tracing_subscriber::fmt::layer().with_writer(|| AboveRows).event_format(format);
    tracing_subscriber::registry().with(filter).with(lines).init();
}

/// Writes log lines above the rows of progress. The subscriber writes each line with one call.
struct AboveRows;

impl Write for AboveRows {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        display::write_log(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Formats an event as one line: level, module for debugging, message and fields.
struct LineFormat {
    /// Whether messages are escaped: they may hold text of an image.
    is_terminal: bool,
    has_colour: bool,
    /// Whether each line is a JSON object.
    is_json: bool,
}

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        if self.is_json {
            let mut text = String::new();
            context.format_fields(Writer::new(&mut text), event)?;
            let level = level.as_str().to_ascii_lowercase();
            return writer.write_str(&display::log_event(&level, event.metadata().target(), &text));
        }
        match self.has_colour {
            true => write!(writer, "\x1b[{}m{level:>5}\x1b[0m", colour_code(level))?,
            false => write!(writer, "{level:>5}")?,
        }
        let mut text = String::new();
        // Through a separate writer without colours.
        context.format_fields(Writer::new(&mut text), event)?;
        let text = match self.is_terminal {
            true => String::from_utf8_lossy(&escape(text.as_bytes(), LineBreaks::Escaped)).into_owned(),
            false => text,
        };
        // The module is only useful for debugging.
        match level {
            Level::DEBUG | Level::TRACE => writeln!(writer, " {}: {text}", event.metadata().target()),
            _ => writeln!(writer, " {text}"),
        }
    }
}

/// Returns the colour's number in an SGR escape sequence.
fn colour_code(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        _ => 35,
    }
}
