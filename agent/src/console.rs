//! The agent's lines on the serial console and in the kernel's log.
//!
//! A serial port that cannot send must not stop PID 1. No write to a terminal waits longer than [`WRITABLE`]. A terminal that waited so
//! long loses lines until it accepts bytes again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use gild_boards::Board;
use log::{Level, LevelFilter};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{BaudRate, SetArg, cfsetspeed, tcgetattr, tcsetattr};

use crate::journal::Journal;
use crate::syslog::Syslog;
use crate::uptime::uptime;

/// What each line on the console begins with.
const PREFIX: &str = "gild: ";

/// Sends the log to the console, to the kernel's log, and to the board's serial port if that is not the console. Returns the journal, which
/// keeps the lines for the card, and the sender to a log server.
pub fn start(board: Option<&Board>) -> (Journal, Syslog) {
    let console = Console::open(board);
    let copies = (console.journal.clone(), console.syslog.clone());
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
    copies
}

/// Every line with its prefix, without control characters that a terminal would obey: some of the text comes from the network.
fn lines(message: &str) -> String {
    let clean = message
        .lines()
        .map(|line| line.replace(char::is_control, "\u{fffd}"));
    clean.fold(String::new(), |text, line| text + PREFIX + &line + "\n")
}

struct Console {
    terminals: Vec<Terminal>,
    kernel_log: Option<File>,
    journal: Journal,
    syslog: Syslog,
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
            terminals: terminals.into_iter().map(Terminal::new).collect(),
            kernel_log: OpenOptions::new().write(true).open("/dev/kmsg").ok(),
            journal: Journal::default(),
            syslog: Syslog::default(),
        }
    }
}

/// Serial ports to write to in addition to `/dev/console`. If the kernel's command line names a console that this board does not have,
/// `/dev/console` cannot be opened, and a silent board looks like a dead one.
fn other_ports(board: Option<&Board>, active: &str, console_works: bool) -> Vec<String> {
    let wanted = board.map(|board| board.console.device.as_str());
    match wanted.filter(|device| Path::new("/dev").join(device).exists()) {
        Some(device) if active.split_whitespace().any(|name| name == device) => Vec::new(),
        Some(device) => vec![device.to_owned()],
        None if console_works => Vec::new(),
        None => real_serial_ports(),
    }
}

/// The serial ports with real hardware. The 8250 driver also makes empty ones, of type 0.
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

/// How long a terminal may block the agent. A port of 115 200 bit/s sends the kernel's whole buffer of 4 KiB in less time.
const WRITABLE: Duration = Duration::from_secs(1);

/// A terminal. Writing to it never waits long.
struct Terminal {
    device: File,
    is_stuck: bool,
}

impl Terminal {
    fn new(device: File) -> Self {
        Self {
            device,
            is_stuck: false,
        }
    }

    /// Writes what the terminal accepts in time. The rest is lost.
    fn write(&mut self, mut text: &[u8]) {
        let patience = if self.is_stuck {
            Duration::ZERO
        } else {
            WRITABLE
        };
        let deadline = Instant::now() + patience;
        self.is_stuck = false;
        while !text.is_empty() {
            match self.device.write(text) {
                Ok(0) => return,
                Ok(written) => text = &text[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !self.is_writable_before(deadline) {
                        self.is_stuck = true;
                        return;
                    }
                }
                // If a console fails, the work and the other outputs must go on.
                Err(_) => return,
            }
        }
    }

    fn is_writable_before(&self, deadline: Instant) -> bool {
        let rest = deadline.saturating_duration_since(Instant::now());
        let mut wanted = [PollFd::new(self.device.as_fd(), PollFlags::POLLOUT)];
        let timeout = PollTimeout::try_from(rest).unwrap_or(PollTimeout::ZERO);
        poll(&mut wanted, timeout).is_ok_and(|ready| ready > 0)
    }
}

/// The kernel opens the console for PID 1 in blocking mode, and the panic hook writes to it.
pub fn never_block_standard_streams() {
    for stream in [io::stdout().as_fd(), io::stderr().as_fd()] {
        // A failure is harmless: then a stuck port can only delay a panic that comes before there is a log.
        let _ = fcntl(stream, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
    }
}

fn terminal(path: impl AsRef<Path>) -> Option<File> {
    OpenOptions::new()
        .write(true)
        .custom_flags((OFlag::O_NOCTTY | OFlag::O_NONBLOCK).bits())
        .open(path)
        .ok()
}

/// If a port is not a console, it still has the speed that it had after reset.
fn serial_port(device: &str, board: Option<&Board>) -> Option<File> {
    let port = terminal(Path::new("/dev").join(device))?;
    let baud = match board.map(|board| board.console.baud) {
        Some(1_500_000) => BaudRate::B1500000,
        _ => BaudRate::B115200,
    };
    if let Ok(mut settings) = tcgetattr(&port)
        && cfsetspeed(&mut settings, baud).is_ok()
    {
        // At the wrong speed nobody can read the lines, but no other place could report it better.
        let _ = tcsetattr(&port, SetArg::TCSANOW, &settings);
    }
    Some(port)
}

impl Write for Console {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let time = uptime().unwrap_or_default();
        let lines = String::from_utf8_lossy(text);
        self.journal.note(&lines, time);
        self.syslog.note(&lines);
        for terminal in &mut self.terminals {
            terminal.write(text);
        }
        if let Some(kernel_log) = &mut self.kernel_log {
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                // At level 7 (debug) the kernel keeps the line but does not print it on the console again.
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
    fn a_terminal_that_takes_nothing_does_not_stop_the_writer_and_gets_later_lines() {
        use std::io::Read;
        use std::sync::mpsc;

        let pair = nix::pty::openpty(None, None).expect("a pseudo terminal");
        fcntl(&pair.slave, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a flag");
        let mut terminal = Terminal::new(File::from(pair.slave));
        let (done, is_done) = mpsc::channel();
        let writer = std::thread::spawn(move || {
            // This is more than a terminal's buffer holds, and nobody reads it.
            for _ in 0..100 {
                terminal.write(&[b'x'; 4096]);
            }
            let was_stuck = terminal.is_stuck;
            done.send(was_stuck).expect("the test waits");
            terminal
        });
        let was_stuck = is_done.recv_timeout(Duration::from_mins(1));
        assert_eq!(was_stuck, Ok(true), "the writer waits for a reader");
        let mut terminal = writer.join().expect("the writer ends");
        let mut master = File::from(pair.master);
        let mut read = vec![0; 1 << 20];
        let (sent, is_read) = mpsc::channel();
        std::thread::spawn(move || {
            while let Ok(length) = master.read(&mut read) {
                if read[..length].contains(&b'y') {
                    let _ = sent.send(());
                }
            }
        });
        let late = std::iter::repeat_with(|| {
            terminal.write(b"y\n");
            is_read.recv_timeout(Duration::from_millis(10))
        });
        assert!(late.take(1000).any(|read| read.is_ok()), "later lines come");
    }

    #[test]
    fn what_a_terminal_would_obey_is_taken_out() {
        assert_eq!(
            lines("name \u{1b}[2Jx\r"),
            "gild: name \u{fffd}[2Jx\u{fffd}\n"
        );
    }
}
