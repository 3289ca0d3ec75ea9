//! The log on standard error: warnings by default, only errors with `--quiet`, more with `-v`.

use std::fmt;
use std::io::{self, IsTerminal};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::environment;
use crate::printable::{LineBreaks, escape};

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
    let format = LineFormat { is_terminal, has_colour: is_terminal && environment::wants_colour() };
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).event_format(format);
    tracing_subscriber::registry().with(filter).with(lines).init();
}

/// Formats an event as one line: level, module for debugging, message and fields.
struct LineFormat {
    /// Whether messages are escaped: they may hold text of an image.
    is_terminal: bool,
    has_colour: bool,
}

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
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
