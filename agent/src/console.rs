//! The agent's lines on the serial console and in the kernel's log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use gild_boards::Board;
use log::{Level, LevelFilter};
use nix::fcntl::OFlag;
use nix::sys::termios::{BaudRate, SetArg, cfsetspeed, tcgetattr, tcsetattr};

/// What each line on the console begins with.
const PREFIX: &str = "gild: ";

/// Sends the log to the console, to the board's serial port if that is not the console, and to the kernel's log.
pub fn start(board: Option<&Board>) {
    let console = Console::open(board);
    env_logger::Builder::new()
        .filter_level(LevelFilter::Warn)
        .filter_module("gild", LevelFilter::Info)
        .format(|out, record| {
            let mark = if record.level() == Level::Warn {
                "warning: "
            } else {
                ""
            };
            out.write_all(lines(&format!("{mark}{}", record.args())).as_bytes())
        })
        .target(env_logger::Target::Pipe(Box::new(console)))
        .init();
}

/// Every line with its prefix, and nothing in it that a terminal would obey: some of it comes from the network.
fn lines(message: &str) -> String {
    let clean = message
        .lines()
        .map(|line| line.replace(char::is_control, "\u{fffd}"));
    clean.fold(String::new(), |text, line| text + PREFIX + &line + "\n")
}

struct Console {
    terminals: Vec<File>,
    kernel_log: Option<File>,
}

impl Console {
    fn open(board: Option<&Board>) -> Self {
        let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
        let mut terminals: Vec<File> = terminal("/dev/console").into_iter().collect();
        terminals.extend(
            other_ports(board, &active, !terminals.is_empty())
                .iter()
                .filter_map(|port| serial_port(port, board)),
        );
        Self {
            terminals,
            kernel_log: OpenOptions::new().write(true).open("/dev/kmsg").ok(),
        }
    }
}

/// Serial ports to write to beside `/dev/console`. A kernel command line may name a console that this board does not
/// have: then `/dev/console` cannot be opened, and a silent board looks like a dead one.
fn other_ports(board: Option<&Board>, active: &str, console_works: bool) -> Vec<String> {
    let wanted = board.map(|board| board.console.device.as_str());
    match wanted.filter(|device| Path::new("/dev").join(device).exists()) {
        Some(device) if active.split_whitespace().any(|name| name == device) => Vec::new(),
        Some(device) => vec![device.to_owned()],
        None if console_works => Vec::new(),
        None => real_serial_ports(),
    }
}

/// The serial ports that have hardware behind them: the 8250 driver also makes empty ones, of type 0.
fn real_serial_ports() -> Vec<String> {
    let Ok(ports) = fs::read_dir("/sys/class/tty") else {
        return Vec::new();
    };
    ports
        .flatten()
        .filter(|port| {
            fs::read_to_string(port.path().join("type")).is_ok_and(|kind| kind.trim() != "0")
        })
        .filter_map(|port| port.file_name().into_string().ok())
        .collect()
}

fn terminal(path: impl AsRef<Path>) -> Option<File> {
    OpenOptions::new()
        .write(true)
        .custom_flags(OFlag::O_NOCTTY.bits())
        .open(path)
        .ok()
}

/// A port that is no console still has the speed of its reset state.
fn serial_port(device: &str, board: Option<&Board>) -> Option<File> {
    let port = terminal(Path::new("/dev").join(device))?;
    let baud = match board.map(|board| board.console.baud) {
        Some(1_500_000) => BaudRate::B1500000,
        _ => BaudRate::B115200,
    };
    if let Ok(mut settings) = tcgetattr(&port)
        && cfsetspeed(&mut settings, baud).is_ok()
    {
        // At the wrong speed the lines are unreadable, and there is no better place to say so.
        let _ = tcsetattr(&port, SetArg::TCSANOW, &settings);
    }
    Some(port)
}

impl Write for Console {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        for terminal in &mut self.terminals {
            // A console that fails must not stop the work, nor the other outputs.
            let _ = terminal.write_all(text);
        }
        if let Some(kernel_log) = &mut self.kernel_log {
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                // Level 7, debug: the kernel keeps it and does not print it on the console a second time.
                let _ = kernel_log.write_all(&[b"<7>", line].concat());
            }
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_begins_with_the_name() {
        assert_eq!(lines("one\ntwo"), "gild: one\ngild: two\n");
    }

    #[test]
    fn what_a_terminal_would_obey_is_taken_out() {
        assert_eq!(
            lines("name \u{1b}[2Jx\r"),
            "gild: name \u{fffd}[2Jx\u{fffd}\n"
        );
    }
}
